"""Kernels that somebody else started: found by their connection files, attached, never ended unasked."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionRecord

_PROBE_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A living kernel behind a connection file that is not ours."""

    id: str
    """What Jupyter calls it: the part of the file's name after `kernel-`."""
    connection_file: str
    language: str


async def find(env: Mapping[str, str]) -> list[Found]:
    """Every kernel in the client's Jupyter runtime folder that something answers for."""
    folder = env.get("JUPYTER_RUNTIME_DIR") or jupyter_runtime_dir()
    files = await asyncio.to_thread(lambda: sorted(Path(folder).glob("kernel-*.json")))
    found = await asyncio.gather(*(asyncio.to_thread(_living, path) for path in files))
    return [kernel for kernel in found if kernel is not None]


def _living(path: Path) -> Found | None:
    """The kernel of a connection file, if its shell socket is there. Stale files are normal."""
    try:
        info = json.loads(path.read_text())
        if not _listens(info):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Found(
        id=path.stem.removeprefix("kernel-"),
        connection_file=str(path),
        language=str(info.get("metadata", {}).get("language", "")) or "python",
    )


def _listens(info: dict[str, Any]) -> bool:
    if info.get("transport") == "ipc":
        address: Any = f"{info['ip']}-{info['shell_port']}"
        family = socket.AF_UNIX
    else:
        address, family = (info["ip"], int(info["shell_port"])), socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        return probe.connect_ex(address) == 0


async def choose(wanted: str, env: Mapping[str, str], directory: str) -> Found | None:
    """The kernel that `wanted` means: a connection file, an id or the beginning of one; None where nothing fits.

    Raises RefusedError where several fit, and for a connection file without a living kernel.
    """
    if wanted.endswith(".json"):
        kernel = await asyncio.to_thread(lambda: _living(Path(directory, os.path.expanduser(wanted))))
        if kernel is None:
            raise RefusedError(f"there is no living kernel behind the connection file {wanted}")
        return kernel
    matches = [kernel for kernel in await find(env) if kernel.id.startswith(wanted)]
    if len(matches) > 1:
        raise RefusedError(f"several kernels begin with {wanted!r}: {', '.join(kernel.id for kernel in matches)}")
    return matches[0] if matches else None


def record_of(kernel: Found, session: SessionRecord, logs: str) -> KernelRecord:
    """What we keep of a kernel that is not ours: how to reach it, and a message log that we write ourselves."""
    kernel_id = KernelId(secrets.token_hex(6))
    base = os.path.join(logs, f"{kernel_id}-1")
    return KernelRecord(
        id=kernel_id,
        session=session.name,
        generation=1,
        interpreter=Interpreter(name=kernel.id, kind="attached", argv=(), language=kernel.language),
        connection_file=kernel.connection_file,
        directory=session.directory,
        channel_identity=secrets.token_hex(16),
        owned=False,
        recorded=False,
        message_log=base + ".messages",
        standard_error=base + ".stderr",
        started_at=time.time(),
    )
