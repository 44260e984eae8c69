"""Giant results, and those searched with patterns that can take long, are read and rendered in a process of their own:
it takes the memory for that along with it, and while it works everybody else has their turn.

`python -m kernel_supervisor.mcp.elsewhere` is that process: pickled in, pickled out.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace

from kernel_supervisor.core.errors import SupervisorError, UnavailableError
from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.isolation import isolated
from kernel_supervisor.mcp.content import render
from kernel_supervisor.mcp.view import Reading, Rendered, ResultView
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.reading import shown_by

_DEADLINE_S = 60.0
_giants, _searches = asyncio.Semaphore(1), asyncio.Semaphore(1)
"""One of each at a time: what is giant takes memory, and is soon over; a search may not be."""


async def rendered_elsewhere(view: ResultView, reading: Reading, unrecorded: Sequence[Message | Mark]) -> Rendered:
    """The result of a view whose outputs are read from the log there. Raises as `render`, and UnavailableError."""
    async with _giants if reading.grep is None else _searches:
        process = await asyncio.create_subprocess_exec(
            *isolated("kernel_supervisor.mcp.elsewhere"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            asked = pickle.dumps((view, reading, unrecorded))
            said, _ = await asyncio.wait_for(process.communicate(asked), _DEADLINE_S)
        except asyncio.TimeoutError:
            raise UnavailableError(f"what it showed is too much to be read within {_DEADLINE_S:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.shield(process.wait())
    if process.returncode != 0:
        raise UnavailableError(
            f"what it showed could not be read: the process for that ended with {process.returncode}"
        )
    found = pickle.loads(said)
    if isinstance(found, SupervisorError):
        raise found
    assert isinstance(found, Rendered)
    return found


def main() -> None:
    """Read a view from standard input, write its result to standard output."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    view, reading, unrecorded = pickle.load(sys.stdin.buffer)
    found: Rendered | SupervisorError
    try:
        folded = shown_by(view.execution, unrecorded, Earlier())
        found = render(replace(view, folded=folded), reading)
    except SupervisorError as error:
        found = error
    with answers:
        pickle.dump(found, answers)


if __name__ == "__main__":
    main()
