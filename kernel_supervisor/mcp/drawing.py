"""Drawing results up beside the loop: small ones here, larger ones in a thread, giant ones in a process of their own.

What a cell printed may take hundreds of megabytes while it is folded and read; that process takes them along with it.
`python -m kernel_supervisor.mcp.drawing` is that process: pickled in, pickled out.
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
from kernel_supervisor.mcp.content import draw_up, finish, weight
from kernel_supervisor.mcp.images import prepare_all
from kernel_supervisor.mcp.view import Reading, Rendered, ResultView
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.running.reading import messages_of

_THREAD_FROM = 1_000_000
_DEADLINE_S = 300.0
_one_at_a_time = asyncio.Semaphore(1)


async def drawn(view: ResultView, reading: Reading) -> Rendered:
    """The result of a view that has all outputs. Raises RefusedError for lines that cannot be selected."""
    if weight(view) > _THREAD_FROM:
        draft = await asyncio.to_thread(draw_up, view, reading)
    else:
        draft = draw_up(view, reading)
    images = await asyncio.to_thread(prepare_all, draft.pictures) if draft.pictures else []
    return finish(draft, images)


async def drawn_elsewhere(view: ResultView, reading: Reading, unrecorded: Sequence[Message | Mark]) -> Rendered:
    """The result of a view whose outputs are read from the log there. Raises as `drawn`, and UnavailableError."""
    async with _one_at_a_time:
        process = await asyncio.create_subprocess_exec(
            *isolated("kernel_supervisor.mcp.drawing"),
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
        folded = fold(messages_of(view.execution, unrecorded=unrecorded))
        draft = draw_up(replace(view, folded=folded), reading)
        found = finish(draft, prepare_all(draft.pictures))
    except SupervisorError as error:
        found = error
    with answers:
        pickle.dump(found, answers)


if __name__ == "__main__":
    main()
