"""Runs one command to its end, with a deadline that holds for everything it starts."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

Progress = Callable[[str], None]
"""Called with one line of text for a person, from the thread that does the work."""
_TAIL_BYTES = 4096
_CHUNK = 1 << 16


def silent(line: str) -> None:
    """Progress that nobody hears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended."""

    code: int | None
    """Its exit code, negative for a signal; None where its time was up."""
    output: bytes
    tail: str
    """The end of what it said on standard error (for `follow`: on both)."""


def capture(argv: Sequence[str], environ: Mapping[str, str], *, deadline: float) -> Finished:
    """Run `argv` in `/` and keep its standard output. Blocks, at most `deadline` seconds and a moment.

    What it leaves running in the background goes on, as it would in a shell, unless the deadline ends all.
    Raises OSError where it cannot be started.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = _start(argv, environ, output, errors)
        code = _ended(process, deadline)
        output.seek(0)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return Finished(code=code, output=output.read(), tail=errors.read().decode("utf-8", "replace").strip())


def follow(argv: Sequence[str], environ: Mapping[str, str], *, deadline: float, progress: Progress) -> Finished:
    """Run `argv` in `/` and give every line that it prints to `progress`. Blocks, at most `deadline` seconds.

    Raises OSError where it cannot be started, and what `progress` raises, after ending the command.
    """
    until = time.monotonic() + deadline
    said = b""
    with _start(argv, environ, subprocess.PIPE, subprocess.STDOUT) as process:
        try:
            for line in _lines(process, until):
                said = (said + line + b"\n")[-_TAIL_BYTES:]
                if line.strip():
                    progress(line.decode("utf-8", "replace").rstrip())
            code = _ended(process, until - time.monotonic())
        finally:
            _end(process)
    return Finished(code=code, output=b"", tail=said.decode("utf-8", "replace").strip())


def _lines(process: subprocess.Popen[bytes], until: float) -> Iterator[bytes]:
    """What `process` prints, until it closes its output or the monotonic clock reaches `until`."""
    assert process.stdout is not None  # a pipe was asked for
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, until - time.monotonic())):
            chunk = os.read(process.stdout.fileno(), _CHUNK)
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            yield from lines
            if not chunk:
                break
    if rest:
        yield rest


def _start(
    argv: Sequence[str], environ: Mapping[str, str], output: IO[bytes] | int, errors: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    """Without input, in a session of its own, so that its group can be ended whole."""
    return subprocess.Popen(
        argv,
        env=dict(environ),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    try:
        return process.wait(max(0.0, deadline))
    except subprocess.TimeoutExpired:
        _end(process)
        process.wait()
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group, unless the process has been waited for: its id may be another's by then."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS forbids it for a zombie's group
            os.killpg(process.pid, signal.SIGKILL)
