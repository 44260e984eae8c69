"""uninstall: everything of ours that stands on this machine, listed, and removed once that is agreed to.

In an order in which nothing comes back: who would start a daemon goes first, then kernels and daemon, then their place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kernel_supervisor.amounts import several, size
from kernel_supervisor.cli import admin, installed, service
from kernel_supervisor.cli.codes import DONE, FAILED, failed
from kernel_supervisor.cli.doctor import living_kernels, shared_places
from kernel_supervisor.cli.session import Command, agreed
from kernel_supervisor.client import aftermath, autostart
from kernel_supervisor.client.connection import CallError, ask
from kernel_supervisor.paths import CONTENT, Paths, is_supervisors

_NOTEBOOKS_SHOWN = 5
_ANSWERED_S = 10.0
_LETS_GO_S, _LOOK_S = 5.0, 0.02
"""A daemon that has ended holds its folder until its last thread has, on a busy machine a moment longer."""

Thing = tuple[str, Callable[[], int | None]]
"""Something of ours, in words, and what removes it: that raises OSError, and what it returns is an exit code."""


def uninstall(command: Command) -> int:
    """List what there is, ask, and remove it; what cannot be removed is said, and what rests on it stays."""
    things = list(_things(command))
    if not things:
        print("nothing of kernel-supervisor is here but the program itself")
    for words, _ in things:
        print(f"- {words}")
    _print_what_stays(command.paths)
    if not things:
        return DONE
    if refused := agreed(command.options, f"That removes {several(len(things), 'thing')}."):
        return refused
    for words, remove in things:
        try:
            code = remove()
        except (OSError, ValueError, LookupError, CallError) as error:
            code = failed(f"kernel-supervisor: {error}")
        if code not in (None, DONE):
            below = "what is below it in the list stays, too; `kernel-supervisor doctor` may tell why"
            return failed(f"not removed: {words}; {below}")
        print(f"removed: {words}")
    return DONE


def _things(command: Command) -> Iterator[Thing]:
    paths = command.paths
    for entry in installed.registrations():
        yield f"the registration in {entry.where}", partial(entry.rewrite, None)
    for spec in installed.kernelspecs():
        yield f"the kernelspec {spec.folder}", partial(_remove_folder, spec.folder)
    kernels = living_kernels(paths)
    if kernels or autostart.listening(paths) or aftermath.held(paths.lock):
        words = f"the daemon and its kernels ({several(len(kernels), 'process')}), with their variables"
        yield words, partial(_stop, command)
    if autostart.has_service():
        yield f"the service, {autostart.service_file()}", partial(_end_service, paths)
    if os.path.exists(paths.lingering) and autostart.is_usual():
        words = "lingering, which `service install` enabled"
        yield words, lambda: DONE if service.disable_lingering(paths) else FAILED
    for folder in shared_places():
        if str(folder) == paths.run or ".gone-" in folder.name:
            yield f"the folder {folder}: sockets", partial(_remove_folder, folder)
    if os.path.lexists(paths.state) and is_supervisors(paths.state):
        yield _about_state(paths), partial(_remove_state, paths)


def _about_state(paths: Paths) -> str:
    amount, servers = sum(map(_size, _ours(paths.state))), ", servers.json" if os.path.exists(paths.servers) else ""
    unsaved = sum(not any(map(os.path.exists, notebooks)) for notebooks in _notebooks(paths))
    alone = f"; {several(unsaved, 'session')} without a notebook" if unsaved else ""
    return f"the folder {paths.state}: records, outputs, caches, logs{servers}, {size(amount)}{alone}"


def _size(path: Path) -> int:
    files = [path] if not path.is_dir() or path.is_symlink() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.lstat().st_size for each in files)


def _ours(folder: str) -> list[Path]:
    """What a supervisor keeps in its folder; what others put beside it is theirs."""
    try:
        return [each for each in Path(folder).iterdir() if each.name in CONTENT or each.name.startswith(_SERIES)]
    except OSError:
        return []


_SERIES = ("daemon.log.", "records.sqlite")


def _notebooks(paths: Paths) -> list[list[str]]:
    """The notebooks that each session wrote; nothing where the records cannot be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(paths.records).as_uri()}?mode=ro", uri=True)) as records:
            return [list(json.loads(row[0])) for row in records.execute("SELECT notebooks FROM sessions")]
    except (sqlite3.Error, ValueError, TypeError):
        return []


def _print_what_stays(paths: Paths) -> None:
    if os.path.isdir(paths.state) and not is_supervisors(paths.state):
        print(f"the folder {paths.state} stays as it is: no supervisor has worked in it, and it has other files")
    saved = sorted({path for notebooks in _notebooks(paths) for path in notebooks if os.path.exists(path)})
    if saved:
        more = f" and {len(saved) - _NOTEBOOKS_SHOWN} more" if len(saved) > _NOTEBOOKS_SHOWN else ""
        print(f"saved notebooks stay where they are: {', '.join(saved[:_NOTEBOOKS_SHOWN])}{more}")
    print("what you wrote into the files of other MCP clients stays, too")
    print(f"the program itself stays: {_removal()} removes it")


def _removal() -> str:
    """How the program was most likely installed, and goes."""
    parts = Path(sys.prefix).parts
    if "uv" in parts and "tools" in parts:
        return "`uv tool uninstall kernel-supervisor`"
    program = "pipx" if "pipx" in parts else f"{sys.executable} -m pip"
    return f"`{program} uninstall kernel-supervisor`"


def _stop(command: Command) -> int:
    if autostart.listening(command.paths):  # one that hangs is not waited for
        ask(command.paths, "supervisor/status", {}, deadline_s=_ANSWERED_S, start=False)
    stopping = Command(Namespace(**{**vars(command.options), "kernels": True}))
    try:
        code = admin.stop(stopping)
    finally:
        stopping.close()
    if code == DONE and (left := living_kernels(command.paths)):
        return failed(f"kernels that no daemon knows live on: end them first (kill {' '.join(map(str, left))})")
    return code


def _remove_folder(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a daemon that ends with its kernels leaves no folder of sockets
        shutil.rmtree(folder)


def _end_service(paths: Paths) -> int:
    return DONE if service.removed(paths, Path(autostart.service_file())) else failed("the service does not stop")


def _remove_state(paths: Paths) -> int:
    """Remove what is ours, while no daemon can begin to use it; the folder too, if nothing else is in it."""
    try:
        descriptor = os.open(paths.state, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # somebody else has removed it meanwhile
        return DONE
    try:
        _lock(descriptor)
        if not os.path.lexists(paths.state):
            return DONE
        for path in _ours(paths.state):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for folder in (paths.state, os.path.dirname(paths.state))[: 2 if autostart.is_usual() else 1]:
            if not os.listdir(folder):
                os.rmdir(folder)
    except BlockingIOError:
        return failed("a client has started the daemon again: close MCP clients first, then try again")
    finally:
        os.close(descriptor)
    return DONE


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where somebody goes on holding it."""
    end = time.monotonic() + _LETS_GO_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(_LOOK_S)
