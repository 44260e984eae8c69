"""Where a kernel is to run, where it works by now, and what of its project is not found from there."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Interpreter, KernelRecord
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.commands import Progress
from kernel_supervisor.environments.discovery import describe, discover
from kernel_supervisor.environments.inheriting import different, inherited, set_by_activation
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.overlay import ensure_overlay
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.process import identify
from kernel_supervisor.sessions.asker import Asker

log = logging.getLogger(__name__)
_LONGEST_NAME, _LONGEST = 80, 300
_QUOTED = re.compile(r"'([^'\n]{1,500})'|\"([^\"\n]{1,500})\"")
_NO_FILE = re.compile(r"No such file or directory")
_NOT_FOUND = re.compile(r"No files found|does not exist|not found", re.IGNORECASE)
"""What other errors say of a file, and of much else."""
_LAST = re.compile(r"(?:^|: )([^\s'\":][^'\":\n]{0,500})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Furnished:
    """An interpreter with everything that its kernel is to have around it."""

    interpreter: Interpreter
    surroundings: Surroundings
    overlay: str = ""


def furnished(
    interpreter: Interpreter, asker: Asker, cache: str, tell: Progress, had: Surroundings | None = None
) -> Furnished:
    """The client's surroundings with the interpreter's environment activated in them, and an overlay from `cache` where
    it has no ipykernel. A kernel that is started again keeps of what it `had` what the client lacks.

    Blocks: files, activation scripts, and once per kind of Python a download, which `tell` hears. Raises
    UnavailableError.
    """
    environment, given = environment_of(interpreter, asker), asker.surroundings
    if had is not None:
        given = replace(had, env=inherited(had.env, given.env))
    if environment is None:
        return Furnished(interpreter=interpreter, surroundings=given)
    argv = tuple(part.replace("{resource_dir}", environment.resource_dir) for part in interpreter.argv)
    overlay = _overlay(environment, asker, cache, tell)
    surroundings = replace(given, env=activate(environment, given.env))
    return Furnished(interpreter=replace(interpreter, argv=argv), surroundings=surroundings, overlay=overlay)


def _overlay(environment: Environment, asker: Asker, cache: str, tell: Progress) -> str:
    """The overlay that a kernel of this environment needs, empty for none."""
    if environment.argv or environment.language != "python" or environment.ipykernel:
        return ""

    def hear(line: str) -> None:
        log.info("overlay: %s", line)
        tell(line)

    return str(ensure_overlay(environment, Path(cache), hear, asker.surroundings.env))


def environment_of(interpreter: Interpreter, asker: Asker) -> Environment | None:
    """What the interpreter belongs to, as it is now; None for one that stands alone. Blocks on files."""
    if "{connection_file}" in " ".join(interpreter.argv):
        specs = [each for each in discover(asker.where) if each.argv and each.name == interpreter.name]
        return specs[0] if specs else None
    if not interpreter.prefix:
        return None
    return describe(interpreter.prefix, asker.where, python=interpreter.argv[0])  # one prefix may hold several


def no_place(directory: str) -> str:
    """Why nothing can work in a directory, in words; empty where it can. Blocks on the disk."""
    try:
        is_folder = stat.S_ISDIR(os.stat(directory).st_mode)
    except PermissionError:
        return "cannot be entered"
    except (OSError, ValueError):
        return "is gone"
    if not is_folder:
        return "is no folder any more"
    return "" if os.access(directory, os.X_OK) else "cannot be entered"


def displaced(record: KernelRecord) -> Words:
    """What those who work in a kernel have to know of its directory; empty where it is as it should be. Blocks."""
    if not kind_of(record).here:
        return ""
    if record.missing:
        now = f"the directory {record.missing} {no_place(record.missing)}"
        back = f"the directory {record.missing} could not be used when the kernel was started, and can be now"
        how: Words = (now,) if no_place(record.missing) else (back, WayOn("restart there"))
        return (*how, f"; the kernel works in {record.directory}")
    now = no_place(record.directory)
    if now:
        return f"the directory {record.directory} {now}; the kernel was started in it"
    if not _works_in_a_removed_one(record):
        return ""
    return (
        f"the directory {record.directory} was removed and made anew; the kernel works in the removed one "
        f"(os.chdir({record.directory!r}) in a cell takes it to the new one",
        WayOn("restart too"),
        ")",
    )


def _works_in_a_removed_one(record: KernelRecord) -> bool:
    """Whether the directory that a kernel works in now is in no other any more. Blocks on /proc; False without one."""
    try:
        return os.stat(f"/proc/{_living(record)}/cwd").st_nlink == 0
    except OSError:
        return False


def _living(record: KernelRecord) -> int:
    """The number of a kernel's process, 0 where that is gone. Blocks on the system."""
    process = record.process
    return process.pid if process is not None and identify(process.pid) == process else 0


def elsewhere(record: KernelRecord, directory: str) -> str:
    """The directory that a kernel works in now, where it is not `directory`; empty where it is, or cannot be known.

    Blocks on the system.
    """
    pid = _living(record) if kind_of(record).here else 0
    if not pid:
        return ""
    try:
        now = psutil.Process(pid).cwd()
        return "" if os.path.samefile(now, directory) else now[:_LONGEST]
    except (psutil.Error, OSError, ValueError):
        return ""


def works_in(now: str, directory: str) -> str:
    """What a client has to know of a kernel that works elsewhere."""
    return f"the kernel works in {now}, not in {directory}: relative paths begin there"


def astray(record: KernelRecord, directory: str, ename: str, evalue: str) -> str:
    """What to say of an error about a file or a module that is not found from where a kernel works; empty where that
    is its project, or has nothing to do with it. Blocks on files."""
    module = re.match(r"No module named '(\w+)", evalue) if ename == "ModuleNotFoundError" else None
    surely = module is None and (ename == "FileNotFoundError" or _NO_FILE.search(evalue) is not None)
    if module is None and not surely and not _NOT_FOUND.search(evalue):
        return ""
    paths = [module[1], module[1] + ".py"] if module is not None else list(_relative_paths(evalue))
    now = elsewhere(record, directory) if paths else ""
    if not now:
        return ""
    there = [each for each in paths if os.path.exists(f"{directory}/{each}") and not os.path.exists(f"{now}/{each}")]
    if there and (surely or module is not None or "." in there[-1]):
        return f"{there[-1]} is in {directory}, but the kernel works in {now} now (os.chdir({directory!r}) goes back)"
    return works_in(now, directory) if surely else ""


def _relative_paths(evalue: str) -> Iterator[str]:
    """What may be a path in an error's text, quoted or at its end."""
    found = [one or other for one, other in _QUOTED.findall(evalue[:2000])]
    for each in found or _LAST.findall(evalue[:2000].strip()):
        if not os.path.isabs(each) and "://" not in each and not each.startswith("~") and "\0" not in each:
            yield each


def differences(record: KernelRecord, had: Surroundings, asker: Asker) -> list[str]:
    """The names of the variables that a kernel and a client have both, with different values, in order. Blocks.

    A name may be of anything but "=": each is one short line here.
    """
    names = different(had.env, asker.surroundings.env)
    if not names:
        return []
    try:
        told = sorted(names - set_by_activation(environment_of(record.interpreter, asker)))
    except UnavailableError:  # its scripts do not work (any more): nobody can tell which are its
        return []
    return ["".join(each if each.isprintable() else "?" for each in name)[:_LONGEST_NAME] for name in told]


def place_of(record: KernelRecord) -> tuple[str, str]:
    """Where a kernel is: the same for two records of one kernel."""
    return ("", record.connection_file) if record.connection_file else (record.server, record.server_kernel)
