"""What questions about what is kept cost with 200 sessions, 20,000 entries and 5 GB. Bound: a second each."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from figures import COMMAND, about, interleaved, seconds, show, supervisor, verdict

from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    Interpreter,
    KernelId,
    KernelRecord,
    Region,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.paths import Paths, prepare
from kernel_supervisor.records.database import Database

SESSIONS, ENTRIES, BYTES = 200, 100, 5_000_000_000
BOUND_S = 1.0
QUESTIONS = (["status"], ["sessions"], ["prune", "--dry-run"], ["doctor"])
DAY_S = 86_400.0


def main() -> int:
    """Print the figures; exit 1 where one is past its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    rounds = 2 if parser.parse_args().quick else 20
    os.umask(0o077)  # as the daemon has it
    with supervisor() as paths:
        asyncio.run(_fill(paths))
        _run("start")
        parts = {" ".join(words): (lambda words=words: seconds(lambda: _run(*words))) for words in QUESTIONS}
        floor = [sys.executable, "-c", "import zmq"]
        figures = interleaved(
            {"import zmq": lambda: seconds(lambda: subprocess.run(floor, check=True)), **parts}, rounds
        )
        about(rounds)
        show(f"{SESSIONS} sessions, {BYTES / 1e9:.0f} GB", figures, floor="import zmq", unit="ms", scale=1000)
        held = [verdict(max(row) < BOUND_S, f"{name} within a second") for name, row in figures.items()]
    return 0 if all(held) else 1


def _run(*words: str) -> None:
    subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL)


async def _fill(paths: Paths) -> None:
    """Sessions of all ages, with sparse logs of two generations each."""
    prepare(paths)
    records = Database(paths.records)
    await records.open()
    for number in range(SESSIONS):
        at, kernel = time.time() - number * DAY_S, KernelId(f"{number:012x}")
        name, log = SessionName(f"project/s{number}"), os.path.join(paths.logs, f"{kernel}-1.messages")
        for path in (log, f"{paths.logs}/{kernel}-1.stderr", f"{paths.logs}/{kernel}-2.stderr"):
            _sparse(path, BYTES // SESSIONS if path == log else 1000)
        await records.save_session(SessionRecord(name=name, directory="/project", created_at=at, kernel_id=kernel))
        await records.save_kernel(_ended(name, kernel, log, at))
        entries = [_entry(name, kernel, log, at) for _ in range(ENTRIES)]
        await records.add_executions(entries, [f"{number}:{each}" for each in range(ENTRIES)])
    await records.close()


def _sparse(path: str, length: int) -> None:
    with open(path, "wb") as file:
        file.truncate(length)


def _ended(name: SessionName, kernel: KernelId, log: str, at: float) -> KernelRecord:
    return KernelRecord(
        id=kernel,
        session=name,
        generation=2,
        interpreter=Interpreter(name="default", kind="default", argv=(sys.executable,)),
        connection_file="",
        directory=str(Path.home()),
        channel_identity="",
        message_log=log,
        ended_at=at,
        end_reason="the kernel was shut down",
    )


def _entry(name: SessionName, kernel: KernelId, log: str, at: float) -> Execution:
    return Execution(
        id=ExecutionId(0),
        session=name,
        kind="code",
        source="print('x' * 1000)\n" * 20,
        status="ok",
        kernel_id=kernel,
        generation=1,
        queued_at=at,
        finished_at=at,
        region=Region(log=log, start=0, end=0),
    )


if __name__ == "__main__":
    sys.exit(main())
