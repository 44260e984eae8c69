"""Processes that stand by to become kernels, on record: none is there that nobody knows."""

from __future__ import annotations

import json
from dataclasses import asdict

from kernel_supervisor.core.model import ProcessIdentity
from kernel_supervisor.records import rows
from kernel_supervisor.records.store import Store


async def save(records: Store, spare: str, process: ProcessIdentity | None = None) -> None:
    """Commit one: before it is started without its process, and again with it."""
    known = json.dumps(asdict(process)) if process is not None else ""
    await records.write(rows.replacing("spares", {"id": spare, "process": known}))


async def forget(records: Store, spare: str) -> None:
    """It is gone, or a kernel."""
    await records.write(("DELETE FROM spares WHERE id = ?", (spare,)))


async def left(records: Store) -> dict[str, ProcessIdentity | None]:
    """Those on record, by their ids; without a process where it is not known, or cannot be read."""
    found = await records.select("SELECT id, process FROM spares")
    return {str(spare): _identity(str(known)) for spare, known in found}


def _identity(known: str) -> ProcessIdentity | None:
    try:
        given = json.loads(known)
        return ProcessIdentity(pid=int(given["pid"]), start=int(given["start"]), boot=str(given["boot"]))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
