"""Kernels of ours that no record tells of, found by what their processes were started with.

Their records were removed, or could not be written when they were started or restarted, and the daemon that had them
was killed. What a record has to say stands in their command lines, but for the key, which anybody could read there.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import psutil

from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, ProcessIdentity, SessionName
from kernel_supervisor.kernels.process import identify

ABOUT = "--about"
_LOG = re.compile(r".*/[0-9a-f]{12}-(\d{1,9})\.messages")
_FILE = re.compile(r"(?:^|=)((/[^\0]*)/([0-9a-f]{12})\.json)$")
_CLIENTS = "--existing"
"""What the command lines of Jupyter's clients have before a connection file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A process that was started as a kernel of ours."""

    id: KernelId
    connection_file: str
    command: tuple[str, ...]
    process: ProcessIdentity
    began: float
    """In seconds since the epoch."""
    directory: str
    """Where it works now."""

    def option(self, name: str) -> str:
        """What it was given for one of our recorder's options; empty where it was not."""
        given = self.command
        return next((given[at + 1] for at, word in enumerate(given[:-1]) if word == name), "")

    @property
    def generation(self) -> int:
        """How many times it had been started; 1 where its command does not tell."""
        found = _LOG.fullmatch(self.option("--log"))
        return int(found[1]) if found is not None else 1


def about(record: KernelRecord) -> str:
    """What the command line of a kernel is to say of it."""
    known = {"session": record.session, "directory": record.missing or record.directory}
    return json.dumps({**known, "interpreter": asdict(record.interpreter)})


def find(connections: str) -> list[Stray]:
    """The processes that were started with a connection file in our folder, one of each kernel, whatever links led
    there for the daemon that started it. Blocks on /proc."""
    folder = os.path.realpath(connections)
    found: dict[KernelId, Stray] = {}
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        names = [match for word in command if (match := _FILE.search(word)) and os.path.realpath(match[2]) == folder]
        if names and _CLIENTS not in " ".join(command) and (stray := _stray(process, command, names[0])) is not None:
            other = found.get(stray.id)
            if other is None or (other.generation, other.began) < (stray.generation, stray.began):
                found[stray.id] = stray
    return list(found.values())


def _stray(process: psutil.Process, command: Sequence[str], file: re.Match[str]) -> Stray | None:
    """None for what is gone, somebody else's, or a fork or another child of a kernel: those lead no session."""
    try:
        identity = identify(process.pid)
        if identity is None or os.getsid(process.pid) != process.pid or process.uids().real != os.getuid():
            return None
        directory, began = process.cwd(), process.create_time()
    except (psutil.Error, OSError):
        return None
    return Stray(
        id=KernelId(file[3]),
        connection_file=file[1],
        command=tuple(command),
        process=identity,
        began=began,
        directory=directory,
    )


def record_of(stray: Stray, known: KernelRecord | None, logs: str) -> KernelRecord:
    """The record of a process, with what is `known` of an earlier one, or of this one before it was said to be gone.

    Its session is empty where nothing tells.
    """
    log = stray.option("--log") or os.path.join(logs, f"{stray.id}-{stray.generation}.messages")
    own: dict[str, Any] = {
        "generation": stray.generation,
        "channel_identity": stray.option("--owner") or secrets.token_hex(16),
        "overlay": stray.option("--overlay"),
        "recorded": bool(stray.option("--log")),
        "message_log": log,
        "standard_error": f"{log.removesuffix('.messages')}.stderr",
        "process": stray.process,
        "started_at": stray.began,
    }
    if known is not None and not known.damaged:
        if known.generation == stray.generation:
            own = {**own, "channel_identity": known.channel_identity, "recorded": known.recorded}
            own |= {"message_log": known.message_log, "standard_error": known.standard_error}
        return replace(known, **own, ended_at=None, end_reason="")
    session, directory, interpreter = _about(stray)
    return KernelRecord(
        id=stray.id,
        session=session,
        interpreter=interpreter,
        connection_file=stray.connection_file,
        directory=directory,
        **own,
    )


def _about(stray: Stray) -> tuple[SessionName, str, Interpreter]:
    """What its command says of its session, that one's directory, and what it runs; without that, what can be seen."""
    before = next((at for at, word in enumerate(stray.command) if word.endswith("recorder.py")), len(stray.command))
    seen = Interpreter(name=os.path.basename(stray.command[0]), kind="found", argv=stray.command[:before])
    try:
        said = json.loads(stray.option(ABOUT))
        given = said["interpreter"]
        texts = {each.name: str(given[each.name]) for each in fields(Interpreter) if each.name != "argv"}
        interpreter = Interpreter(argv=tuple(map(str, given["argv"])), **texts)
        return SessionName(str(said["session"])), str(said["directory"]), interpreter if interpreter.argv else seen
    except (ValueError, TypeError, LookupError, RecursionError):
        return SessionName(""), stray.directory, seen
