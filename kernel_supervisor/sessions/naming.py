"""Which session somebody means who gives a name, or is where a project was moved to; kernels, by unique prefixes."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psutil

from kernel_supervisor.core import names
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn

_LISTED, _QUOTED = 8, 100
_ALLOWED = "use letters, digits, spaces and . _ - @ +, 80 at most"


@dataclass(slots=True)
class Projects:
    """What projects are called: those on record, and those that somebody works in now."""

    _folders: dict[str, str] = field(default_factory=dict)
    _reserved: set[str] = field(default_factory=set)

    def learn(self, session: SessionRecord) -> None:
        """Take in what a session on record says of its project."""
        self._folders[session.directory] = session.folder
        if session.old_name:
            self._reserved.add(session.old_name)  # an old URI means that one session, wherever it is read

    def folder(self, directory: str) -> str:
        """What the project in a directory is called."""
        if directory not in self._folders:
            taken = {*self._folders.values(), *self._reserved}
            self._folders[directory] = names.apart(names.base(directory), directory, taken)
        return self._folders[directory]

    def release(self, used: Collection[str], sessions: Iterable[SessionRecord]) -> None:
        """Forget what directories are called that are not `used`, and the old words of sessions that are no more."""
        self._folders = {directory: folder for directory, folder in self._folders.items() if directory in used}
        self._reserved = {session.old_name for session in sessions if session.old_name}

    def directory(self, folder: str) -> str | None:
        """Where the project of that name is."""
        return next((directory for directory, name in self._folders.items() if name == folder), None)


def resolve(
    wanted: str, directory: str, projects: Projects, sessions: Mapping[SessionName, SessionRecord]
) -> tuple[SessionName, str]:
    """The session that is meant by a name in a project, and its own project's directory.

    A plain word is a session of that project, nothing its own one; `folder/name` is the same one from everywhere.
    Raises RefusedError for what is neither.
    """
    wanted = wanted.strip()
    if "/" in wanted:
        return _spelled(wanted, directory, projects)
    folder = projects.folder(directory)
    if not wanted:
        return names.spelled(folder), directory
    word = names.word(wanted)
    if word is None:
        raise RefusedError(f"{wanted!r} is no session name: {_ALLOWED}")
    name = names.spelled(folder, word)
    if name not in sessions:
        own = [each.name for each in sessions.values() if each.directory == directory and each.old_name == word]
        name = own[0] if own else names.spelled(folder) if word == folder else name
    return name, directory


def _spelled(wanted: str, directory: str, projects: Projects) -> tuple[SessionName, str]:
    folder, _, rest = wanted.partition("/")
    word = names.word(rest) if rest else ""
    there = projects.directory(folder)
    if there is not None and word is not None:
        return names.spelled(folder, word), there
    own = projects.folder(directory)
    if there is not None:
        raise RefusedError(f"{wanted!r} is no session name: behind the / {_ALLOWED}")
    raise RefusedError(
        f"{wanted!r} names no session: there is no project {folder!r}. A plain word is a session of this project, "
        f'"{own}/"',
        WayOn("see sessions"),
    )


def meant(wanted: str, directory: str, sessions: Mapping[SessionName, SessionRecord]) -> SessionRecord | None:
    """The session on record that is meant by one who ends, restarts or forgets it; None where none is called so.

    A plain word means this project's, else the only one of that name. Raises RefusedError where there are several.
    """
    if SessionName(wanted) in sessions or not wanted:
        return sessions.get(SessionName(wanted))
    found = [each for each in sessions.values() if _is_called(each, wanted)]
    own = [each for each in found if each.directory == directory]
    own = [each for each in own if each.word == wanted] or own
    if len(own or found) > 1:
        raise RefusedError(f"{wanted!r} could be several sessions: {listed(own or found)}; spell the one that is meant")
    return next(iter(own or found), None)


def missing(wanted: str, sessions: Mapping[SessionName, SessionRecord]) -> str:
    """What to tell somebody who means a session that there is not."""
    wanted = wanted[:_QUOTED]
    spelled = {each.word: name for name, each in sessions.items() if each.word} | {name: name for name in sessions}
    found = difflib.get_close_matches(wanted, spelled, 3)
    near = dict.fromkeys(spelled[each] if each == wanted else each for each in found)  # another project's, by its word
    meant_by_it = " or ".join(f"`{each}`" for each in near)
    return f"there is no session {wanted!r}" + (f"; did you mean {meant_by_it}?" if near else "")


def _is_called(session: SessionRecord, wanted: str) -> bool:
    if session.word:
        return names.word(wanted) == session.word or wanted == session.old_name
    return wanted in (session.folder, session.old_name, names.base(session.directory))


def old_ones(wanted: str, directory: str, sessions: Mapping[SessionName, SessionRecord]) -> list[SessionRecord]:
    """Sessions of other projects that this name meant in versions before this one."""
    return [each for each in sessions.values() if wanted and each.old_name == wanted and each.directory != directory]


def listed(sessions: Iterable[SessionRecord]) -> str:
    """Sessions as a sentence names them."""
    spelled = sorted(f'"{each.name}"' for each in sessions)
    more = f" and {len(spelled) - _LISTED} more" if len(spelled) > _LISTED else ""
    return ", ".join(spelled[:_LISTED]) + more


def kernel_id(wanted: str, known: Iterable[KernelId]) -> KernelId:
    """The one kernel whose id is or begins with `wanted`. Raises RefusedError."""
    ids = list(known)
    if wanted in ids:
        return KernelId(wanted)
    matches = [each for each in ids if wanted and each.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RefusedError(f"several kernels begin with {wanted!r}: {', '.join(sorted(matches))}")
    raise RefusedError(f"there is no kernel {wanted!r}", WayOn("see kernels"))


def moved_to(
    directory: str, sessions: Sequence[SessionRecord], pids: Mapping[SessionName, int | None]
) -> list[SessionRecord]:
    """The sessions of a project that seems to be in this directory now, the latest first: it is offered, never taken
    over. Blocks on files.

    Their own directory is gone, and one of their kernels works here, or a notebook that they wrote is here, or the
    directory is called as theirs was. `pids` are the kernels' processes.
    """
    gone = {each.directory for each in sessions if not os.path.isdir(each.directory)}
    for sign in (_works_here, _has_notebook_here, _is_called_so):
        found = [each for each in sessions if each.directory in gone and sign(directory, each, pids.get(each.name))]
        if found:
            home = max(found, key=lambda each: each.created_at).directory
            there = [each for each in sessions if each.directory == home]
            return sorted(there, key=lambda each: each.created_at, reverse=True)
    return []


def _works_here(directory: str, session: SessionRecord, pid: int | None) -> bool:
    """A process's working directory stays the same one when that is renamed."""
    try:
        return pid is not None and psutil.Process(pid).cwd() == directory
    except (psutil.Error, OSError):
        return False


def _has_notebook_here(directory: str, session: SessionRecord, pid: int | None) -> bool:
    below = f"{session.directory}/"
    paths = [path.removeprefix(below) for path in session.notebooks if path.startswith(below)]
    return any(os.path.isfile(os.path.join(directory, path)) for path in paths)


def _is_called_so(directory: str, session: SessionRecord, pid: int | None) -> bool:
    return os.path.basename(directory) == os.path.basename(session.directory) != ""
