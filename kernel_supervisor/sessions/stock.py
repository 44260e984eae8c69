"""What is kept: sessions with their files, what is left over, the cache, logs; and how much it is in all."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from kernel_supervisor.client import opening
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.model import PART, SessionName, SessionRecord
from kernel_supervisor.core.retention import Item
from kernel_supervisor.core.ways import parts
from kernel_supervisor.kernels.process import mentioned
from kernel_supervisor.paths import Paths, children
from kernel_supervisor.sessions.forgetting import Owners, at_work, kernel_of
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart

_NEWEST = "it is the newest of its session"
_NOBODY_BEFORE = 1_735_689_600.0
"""2025: a time before that is of a damaged record, or of a clock that was wrong."""
_SAME_S = 2.0
"""By how much a file system may put the time of a notebook too early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A session as it is kept."""

    name: SessionName
    directory: str
    entries: int
    size_bytes: int
    """Of the files that no other session needs."""
    last_used: float
    """Seconds since the epoch."""
    at_work: str
    """Why it cannot be forgotten now; empty where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """All that can go as a whole, and how many bytes there are besides."""

    items: list[Item]
    besides: int
    living: frozenset[str]
    """The ids of kernels that live, or are not known to have ended."""


async def kept(supervisor: Supervisor) -> list[Kept]:
    """All sessions, the one that was used last first."""
    entries, sizes = await supervisor.records.entries_of_sessions(), await _sizes_of_sessions(supervisor)
    found = []
    for name, session in list(supervisor.sessions.known.items()):
        count, last_used = entries.get(name, (0, session.created_at))
        found.append(
            Kept(
                name=name,
                directory=session.directory,
                entries=count,
                size_bytes=sizes.get(name, 0),
                last_used=last_used,
                at_work=str(parts(at_work(supervisor, session))[0]),
            )
        )
    return sorted(found, key=lambda each: each.last_used, reverse=True)


async def _sizes_of_sessions(supervisor: Supervisor) -> dict[SessionName, int]:
    needed, sizes = await Owners.on_record(supervisor), defaultdict[SessionName, int](int)
    for path, status in await apart("documents", files, supervisor.paths.logs):
        if len(whose := needed.of(path)) == 1:
            sizes[next(iter(whose))] += status.st_size
    return sizes


async def stock(supervisor: Supervisor) -> Stock:
    """All that there is, as it can be decided on."""
    records = await supervisor.records.living_kernels()
    living = {str(kernel_id) for kernel_id in (*(each.id for each in records), *supervisor.kernels.runners)}
    needed, ended = await Owners.on_record(supervisor), await supervisor.records.ends_of_kernels()
    sessions = [
        (replace(each, last_used=max(each.last_used, ended.get(each.name, 0.0))), supervisor.sessions.known[each.name])
        for each in await kept(supervisor)
        if each.name in supervisor.sessions.known
    ]
    overlays = {each.overlay for each in records if each.overlay}
    told = supervisor.sessions.told.copy()
    saved = await supervisor.checkpoints.all()
    sessions = [(_with_named(each, saved), session) for each, session in sessions]
    checkpoints = await _checkpoints(supervisor, saved)
    return await apart("documents", _look, supervisor.paths, sessions, told, needed, living, overlays, checkpoints)


def _with_named(kept: Kept, saved: list[Checkpoint]) -> Kept:
    """A session with a checkpoint that somebody named stays."""
    named = any(each.name and each.session == kept.name for each in saved)
    return replace(kept, at_work="somebody named a checkpoint of it") if named and not kept.at_work else kept


async def _checkpoints(supervisor: Supervisor, there: list[Checkpoint]) -> list[Item]:
    """Those that somebody named stay, as does the newest of each session."""
    sizes = await apart("documents", supervisor.checkpoints.disk.sizes)
    newest = {each.session: each.id for each in there}
    return [
        Item(
            kind="checkpoint",
            name=each.id,
            size=sizes.get(each.id, 0),
            last_used=each.at,
            stays="somebody named it" if each.name else _NEWEST if each.id == newest[each.session] else "",
        )
        for each in there
    ]


def _look(
    paths: Paths,
    sessions: list[tuple[Kept, SessionRecord]],
    told: Mapping[SessionName, float],
    needed: Owners,
    on_record: Collection[str],
    overlays: Collection[str],
    checkpoints: list[Item],
) -> Stock:
    """Whatever the records say of a kernel: where a process bears its id, it lives."""
    of_logs = {kernel_of(path) for path, _ in files(paths.logs)} - {""}
    living = frozenset(on_record) | mentioned(needed.kernels | of_logs)
    busy = needed.had(living) | {each.name for each, now in sessions if now.kernel_id in living}
    items = [_session(each, now, busy, told.get(each.name)) for each, now in sessions]
    items += [*checkpoints, *_left_over(paths, needed, living), *_cached(paths, overlays), *_old_logs(paths)]
    besides = size_of_all(paths) - sum(each.size for each in items)
    return Stock(items=items, besides=max(0, besides), living=living)


def _why_it_stays(kept: Kept, busy: Collection[str]) -> str:
    if kept.at_work:
        return kept.at_work
    if kept.name in busy:
        return "a kernel of it may live"
    return "" if kept.last_used > _NOBODY_BEFORE else "it is not known when it was used last"


def _session(kept: Kept, session: SessionRecord, busy: Collection[str], told_at: float | None) -> Item:
    return Item(
        kind="session",
        name=kept.name,
        size=kept.size_bytes,
        last_used=kept.last_used,
        stays=_why_it_stays(kept, busy),
        unsaved=kept.entries > 0
        and not any(
            PART not in prints.split() and _is_as_new(path, kept.last_used)
            for path, prints in session.notebooks.items()
        ),
        told_at=told_at,
    )


def _is_as_new(notebook: str, last_used: float) -> bool:
    """Whether a notebook stands where it was written, and was after a session was used last."""
    try:
        return os.stat(notebook).st_mtime > last_used - _SAME_S
    except (OSError, ValueError):
        return False


def _left_over(paths: Paths, needed: Owners, living: Collection[str]) -> Iterator[Item]:
    """Files in the folder of logs that no session needs. Where records were set aside, those may."""
    aside = any(".set-aside-" in name for name in children(os.path.dirname(paths.records)))
    for path, status in files(paths.logs):
        if not needed.of(path):
            stays = "records that were set aside may need it" if aside else ""
            stays = "its kernel lives" if kernel_of(path) in living else stays
            yield Item(kind="left over", name=path, size=status.st_size, last_used=status.st_mtime, stays=stays)


def _cached(paths: Paths, overlays: Collection[str]) -> Iterator[Item]:
    """Folders that can be fetched again: of a version of ours, or an ipykernel for interpreters that have none."""
    answers = os.path.join(paths.cache, "answers")
    for path in (*_folders(answers), *_folders(paths.cache)):
        if path not in (answers, opening.folder(paths)):
            stays = "a kernel that lives runs with it" if path in overlays else ""
            size = sum(status.st_size for _, status in files(path))
            yield Item(kind="cache", name=path, size=size, last_used=os.stat(path).st_mtime, stays=stays)


def _folders(folder: str) -> list[str]:
    """Those in a folder that are there themselves. What a link leads to is not ours."""
    above = os.path.dirname(folder)
    found = [] if os.path.islink(folder) or os.path.islink(above) else children(folder)
    paths = [os.path.join(folder, name) for name in found]
    return [path for path in paths if os.path.isdir(path) and not os.path.islink(path)]


def _old_logs(paths: Paths) -> Iterator[Item]:
    """The daemon's, but for the one that it writes."""
    log = os.path.basename(paths.daemon_log)
    for path, status in files(paths.state, deep=False):
        if os.path.basename(path).startswith(f"{log}.") and path != f"{paths.daemon_log}.err":
            yield Item(kind="log", name=path, size=status.st_size, last_used=status.st_mtime)


def size_of_all(paths: Paths) -> int:
    """Bytes of all files in the supervisor's folders."""
    folders = [paths.state, paths.run] if paths.apart else [paths.state]
    return sum(status.st_size for folder in folders for _, status in files(folder))


def files(folder: str, *, deep: bool = True) -> list[tuple[str, os.stat_result]]:
    """The regular files in a folder, and in those in it, never elsewhere; what goes meanwhile is passed over."""
    found: list[tuple[str, os.stat_result]] = []
    folders = [] if os.path.islink(folder) else [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and deep:
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append((entry.path, entry.stat(follow_symlinks=False)))
    return found
