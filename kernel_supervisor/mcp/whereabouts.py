"""Where a command line works, where its own directory has no session: the nearest project above."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from kernel_supervisor.mcp.caller import Caller


def above(caller: Caller) -> None:
    """Have a command line work in the nearest directory above that has a session, if its own has none.

    Not in the home directory and not in `/`, which are above everything.
    """
    asker, place = caller.asker, caller.whereabouts
    if asker.kind != "cli" or asker.told or place.settled:
        return
    place.settled = True
    used = {session.directory for session in caller.supervisor.sessions.known.values()}
    passed_over = {"/", os.path.realpath(asker.where.home)}
    for directory in _upwards(asker.directory):
        if directory in used and (directory == asker.directory or directory not in passed_over):
            place.above = directory != asker.directory
            caller.asker = replace(asker, directory=directory)
            return


def _upwards(directory: str) -> Iterator[str]:
    yield directory
    while (parent := os.path.dirname(directory)) != directory:
        directory = parent
        yield directory
