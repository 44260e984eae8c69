"""Completion in shells: commands, options, and the names of sessions and kernels that a running daemon knows.

It starts no daemon, and waits for none: one that is silent has nothing to say.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

from kernel_supervisor.cli.codes import DONE
from kernel_supervisor.cli.session import Command

_ANSWERED_S = 1.0
_Completer = Callable[..., list[str]]


def completion(command: Command) -> int:
    """The script that has a shell ask us."""
    from argcomplete.shell_integration import shellcode  # 15 ms, and only here

    print(shellcode(["kernel-supervisor"], shell=command.options.shell))
    return DONE


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell, and end."""
    import argcomplete

    for action in _arguments(parser):
        if (completer := _completer(action)) is not None:
            action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it
    argcomplete.autocomplete(parser)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield from _arguments(each)
        else:
            yield action


def _completer(action: argparse.Action) -> _Completer | None:
    """What completes an argument; None where that is files, or known to its parser."""
    if action.choices is not None or action.nargs == 0:
        return None
    if action.dest in ("session", "sessions") or action.metavar == "SESSION":
        return lambda **more: _known()["sessions"]
    if action.metavar in ("KERNEL", "WHICH"):
        return lambda **more: [name for names in _known().values() for name in names]
    if action.metavar in ("NOTEBOOK", "ARGUMENT") or action.dest in ("file", "path", "python", "directory"):
        return None
    if action.metavar == "CLIENT":
        from kernel_supervisor.cli.commands import CLIENTS

        return lambda **more: list(CLIENTS)
    return lambda **more: []


def _known() -> dict[str, list[str]]:
    """The sessions and kernels that a daemon knows."""
    from kernel_supervisor.client.connection import CallError, Connection, NoDaemonError
    from kernel_supervisor.paths import find

    known: dict[str, Any] = {}
    with closing(Connection(find())) as connection, suppress(CallError, NoDaemonError, TimeoutError, OSError):
        connection.open(start=False, deadline_s=_ANSWERED_S)
        known = connection.request("supervisor/status", {}, deadline_s=_ANSWERED_S)
    return {name: list(map(str, known.get(name, ()))) for name in ("sessions", "kernel_ids")}
