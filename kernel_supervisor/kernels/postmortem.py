"""Why a kernel died: exit code or signal, evidence of memory exhaustion, peak memory, last words. Linux knows most."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.kernels.hindrances import in_the_way
from kernel_supervisor.kernels.process import Exit, restarted_since
from kernel_supervisor.paths import open_regular

UNKNOWN = Exit()
UNWATCHED = "the kernel ended while no daemon watched it"
_CGROUPS = Path("/sys/fs/cgroup")
_SEARCHED, _WORDS = 32_768, 2_000
_DUMP = re.compile(
    r"^(?:Fatal Python error: .*\n\n?|Timeout \(.*\)!\n)?"
    r"(?:(?:(?:Current thread|Thread) 0x.*|Stack|Current thread's C stack trace) \(most recent call first\):\n"
    r"(?:  .*(?:\n|\Z))*\n?)+(?:\nExtension modules: .*(?:\n|\Z))?",
    re.MULTILINE,
)
"""Tracebacks as `faulthandler` writes them: of a crash, after a time, or whenever it is asked to."""
_MACHINERY = re.compile(
    r"^  File \"[^\"\n]*/IPython/core/interactiveshell\.py\", line \d+ in run_code\n(?:  File .*\n|  \.\.\.\n)*",
    re.MULTILINE,
)
"""The frames of what runs cells, from the one that runs this cell's code downwards."""
_CRASHES = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGFPE, -signal.SIGILL, -signal.SIGABRT)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryWatch:
    """The counters of out-of-memory kills at some moment, to be compared after a death."""

    cgroup: Path | None
    """The folder of the process's memory cgroup, None where there is none that counts."""
    killed: int
    """How many processes that cgroup has lost to its limit."""
    system_killed: int | None
    """How many the whole system has; None where it does not tell."""


def watch_memory(pid: int, before: MemoryWatch | None) -> MemoryWatch:
    """The counters now, while the process lives; the system-wide one, which is slow, is read once. Blocks on /proc."""
    folder = _memory_cgroup(pid)
    return MemoryWatch(
        cgroup=folder,
        killed=_killed_in(folder) if folder else 0,
        system_killed=before.system_killed if before is not None else _killed_by_system(),
    )


def explain(record: KernelRecord, ended: Exit, before: MemoryWatch | None) -> str:
    """The whole of what is known, first the short of it. Blocks on files."""
    sentences = [f"the kernel died ({ended})"]
    evidence = _memory_evidence(before) if before is not None else ""
    if evidence:
        sentences.append(f"it ran out of memory: {evidence}")
    elif ended.code == -signal.SIGKILL:
        sentences.append(f"who sent it is not known; {_no_sign(before)}")
    elif ended.code in _CRASHES:
        sentences.append("a crash in compiled code, not a Python exception")
    elif ended.code == 0:
        sentences.append("it ended by itself, as exit() and quit() in a cell make it; sys.exit() does not")
    elif ended.code is None:
        sentences.append("how cannot be known for a kernel that an earlier daemon started, on this system")
    if ended.peak_bytes:
        sentences.append(f"peak memory {ended.peak_bytes / 1e6:.0f} MB, its own or that of a process it waited for")
    return "; ".join(sentences) + (last_words(record, ended) if ended.code != 0 else "")


def explain_unwatched(record: KernelRecord) -> str:
    """What is known of the end of a kernel that no daemon watched. Blocks on files."""
    restarted = restarted_since(record.process) if record.process is not None else None
    if restarted is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(restarted))
        return f"the kernel ended with the machine, which was restarted at {when}"
    return f"{UNWATCHED}; how is not known{last_words(record)}"


def stage(record: KernelRecord) -> str:
    """What a process of `record` does until it is ready: whatever comes before was found to work."""
    return "import" if record.recorded else "start"


def last_words(record: KernelRecord, ended: Exit = UNKNOWN) -> str:
    """The end of what the kernel wrote to its standard output and error, from the last fatal error on if it ended by
    one; without the tracebacks that code asked for, or a child of it wrote, while it lived.

    Empty, or a line break, a heading and at most 2,000 characters of whole lines. Blocks on the file.
    """
    tail = _end_of_standard_error(record)
    _, fatal, dump = tail.rpartition("Fatal Python error")
    if fatal and (ended.code is None or ended.code in _CRASHES):
        words = _first_lines(_without_machinery(fatal + dump))
    else:
        words = _last_lines(_without_dumps(tail, ended))
    return f"\nThe end of its standard error:\n{words}" if words else ""


def _without_machinery(dump: str) -> str:
    """A dump in which what runs a cell, below it, is counted only."""

    def counted(found: re.Match[str]) -> str:
        return f"  … {found[0].count(chr(10))} frames of the kernel itself …\n"

    return _MACHINERY.sub(counted, dump + "\n").rstrip("\n")


def _first_lines(text: str) -> str:
    if len(text) <= _WORDS:
        return text
    return text[: text.rfind("\n", 0, _WORDS) if "\n" in text[:_WORDS] else _WORDS] + "\n…"


def _last_lines(text: str) -> str:
    if len(text) <= _WORDS:
        return text
    end = text[-_WORDS:]
    return "…\n" + (end.partition("\n")[2] or end)


def _without_dumps(text: str, ended: Exit) -> str:
    """A text without tracebacks that do not say how a kernel ended. `dump_traceback_later(exit=True)` writes them at
    its end, that of the main thread last, and exits with 1."""

    def left(found: re.Match[str]) -> str:
        why, _, main = found[0].partition("\n")[0], *found[0].rpartition("\n\n")[1:]
        ends_it = ended.code == 1 and found.end() == len(text) and why.startswith("Timeout")
        return f"{why}\n{main}"[:_WORDS] if ends_it else ""

    return _DUMP.sub(left, text).strip()


def why_it_failed(record: KernelRecord, folders: Sequence[str]) -> str:
    """`last_words` of a kernel that did not start, and what in `folders` is in its way. Blocks on the disk."""
    return last_words(record) + in_the_way(folders, _end_of_standard_error(record))


def _end_of_standard_error(record: KernelRecord) -> str:
    try:
        with os.fdopen(open_regular(record.standard_error), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _SEARCHED))
            return file.read().decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""


def _memory_evidence(before: MemoryWatch) -> str:
    folder = before.cgroup
    if folder is not None and _killed_in(folder) > before.killed:
        return f"its control group ({folder.name}{_limit(folder)}) counted an out-of-memory kill"
    now = _killed_by_system()
    if before.system_killed is not None and now is not None and now > before.system_killed:
        return "the system killed a process for lack of memory at that time"
    return ""


def _no_sign(before: MemoryWatch | None) -> str:
    """What the counters that were looked at say of a kill that none of them has."""
    looked = before is not None and (before.cgroup is not None or before.system_killed is not None)
    return "there is no sign that memory ran out" if looked else "nothing here tells whether memory ran out"


def _memory_cgroup(pid: int) -> Path | None:
    """https://docs.kernel.org/admin-guide/cgroup-v2.html, and memory.txt of cgroup-v1."""
    try:
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            by_itself = "memory" in controllers.split(",")
            if by_itself or not controllers:
                folder = (_CGROUPS / "memory" if by_itself else _CGROUPS) / path.lstrip("/")
                if (folder / "memory.events").exists() or (folder / "memory.oom_control").exists():
                    return folder
    except (OSError, ValueError):  # it is gone, or may not be looked into
        return None
    return None


def _killed_in(folder: Path) -> int:
    return int(field(folder / "memory.events", "oom_kill") or field(folder / "memory.oom_control", "oom_kill") or 0)


def _killed_by_system() -> int | None:
    found = field(Path("/proc/vmstat"), "oom_kill")
    return int(found) if found else None


def field(path: Path, name: str) -> str:
    """What stands behind `name` in a file of the system's; empty where it is not there. Blocks on the file."""
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in path.read_text().splitlines())
        return next((words[1] for words in lines if len(words) > 1 and words[0] == name), "")
    return ""


def _limit(folder: Path) -> str:
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return f", limit {int((folder / name).read_text()) / 1e6:.0f} MB"
    return ""
