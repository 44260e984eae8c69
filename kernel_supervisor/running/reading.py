"""What an execution has shown, read back from its kernel's message log."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence

from kernel_supervisor.core.model import Execution, Mark, Message
from kernel_supervisor.inside.questions import OVER
from kernel_supervisor.outputs.folding import Folded, fold
from kernel_supervisor.outputs.widgets import COMMS, Widgets
from kernel_supervisor.records import ends, messagelog
from kernel_supervisor.records.ends import Spot
from kernel_supervisor.records.stream import Place, Stream
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.tasks import Swift, apart, happens

_CONTROL = ("execute_input", "execute_reply", "status", "input_request", OVER)
_ASKED_S = 5.0
_SHORT = 1 << 20
"""Bytes of a record that is read for the one line that those see who wait."""
_LITTLE = 1 << 14
_LATEST = 3
"""Texts at the end of what it printed in which the last line is."""
_folding = Swift()
Unrecorded = Sequence[Message | Mark]
"""What a kernel's log could not take, in order, of all its executions."""


def messages_of(
    execution: Execution,
    end: int | None = None,
    unrecorded: Unrecorded = (),
    kinds: Collection[str] = (),
    others: messagelog.Wanted | None = None,
) -> Iterator[Message | Mark]:
    """What is recorded of one execution, in order, then what is not; of a running one as far as there is. Blocks.

    `end` is where to stop in the log of one that runs, so that reading it again finds the same; `kinds` are the types
    of what is wanted, if not all is; `others` says which messages of others meanwhile are wanted, too. Of one that is
    over it is said where its log lacks it.
    """
    region, found, told = execution.region, False, False
    if region is not None:
        end = region.end if execution.settled else end
        ended, msg_id = False, execution.msg_id or ""
        for _, item in messagelog.read(region.log, region.start, end, kinds, parent=msg_id, others=others):
            if not isinstance(item, Mark) and item.parent_id != msg_id:
                yield item
                continue
            found = True
            told = told or _is_own_hole(item)
            if not isinstance(item, Mark) or not item.goes_on:
                yield item
            elif not ended:
                ended = True
                yield from _end(region.log, item, kinds) if execution.settled or end is None else (item,)
    for item in unrecorded:
        if item.parent_id == execution.msg_id and (not kinds or isinstance(item, Mark) or item.msg_type in kinds):
            found = True
            yield item
    if not told:
        yield from _lacking(execution, found, unrecorded)


def _is_own_hole(item: Message | Mark) -> bool:
    """Whether a log says itself of an execution that something is missing."""
    return isinstance(item, Mark) and item.kind == "hole" and item.parent_id != ""


def _unsaid(execution: Execution, found: bool, unrecorded: Unrecorded) -> list[Mark]:
    """What is to be said behind all that was read of one, unless its log has said it. Blocks on the disk."""
    lacking = _lacking(execution, found, unrecorded)
    return [] if lacking and any(map(_is_own_hole, control_of(execution))) else lacking


def _end(log: str, mark: Mark, kinds: Collection[str]) -> Iterator[Message | Mark]:
    """What an execution showed last, in the place of the mark that says where that is; the mark, where it is gone."""
    if not ends.exist(log, mark.parent_id):
        yield mark
    for _, item in ends.read(log, mark.parent_id, Spot(), lambda msg_type, _: not kinds or msg_type in kinds):
        yield item


def _lacking(execution: Execution, found: bool, unrecorded: Unrecorded) -> list[Mark]:
    """What is to be said where the log has not all of one, and nobody else. Blocks on the disk."""
    region, replied = execution.region, execution.status in ("ok", "error", "interrupted")
    missing = execution.unrecorded - sum(each.parent_id == execution.msg_id for each in unrecorded)
    if missing > 0:
        return [Mark(kind="hole", parent_id="", detail=f"{missing} of its messages could not be recorded")]
    if region is None or not execution.settled or (reaches(region.log, region.end) and (found or not replied)):
        return []
    return [Mark(kind="hole", parent_id="", detail="its message log is gone, was cut off or never had it")]


async def folded(execution: Execution, unrecorded: Unrecorded, earlier: Earlier, *, without_outputs: bool) -> Folded:
    """The outputs so far, or of them the errors alone, with what is known of its end."""
    if execution.region is None:
        return Folded()
    if without_outputs:
        kinds = (*_CONTROL, "error", messagelog.MARK)
        return await apart("results", lambda: fold(messages_of(execution, unrecorded=unrecorded, kinds=kinds)))
    if _is_little(execution) and _folding.is_swift:
        return _folding.do(lambda: shown_by(execution, unrecorded, earlier))
    return await apart("results", shown_by, execution, unrecorded, earlier)


def _is_little(execution: Execution) -> bool:
    """Whether so little is recorded of an execution that a thread would take longer to begin."""
    region = execution.region
    end = region.end if region is not None and execution.settled else 0
    return region is not None and 0 < end - region.start <= _LITTLE


def shown_by(execution: Execution, unrecorded: Unrecorded, earlier: Earlier) -> Folded:
    """All that an execution has shown, its widgets as they were at its end, whoever changed them. Blocks."""

    def fold_with(widgets: Widgets) -> Folded:
        def others(msg_type: str, parent: str) -> bool:
            return msg_type in COMMS or widgets.captures(msg_type, parent)

        return fold(messages_of(execution, unrecorded=unrecorded, others=others), widgets)

    found = fold_with(Widgets(execution.msg_id))
    lacking = found.widgets.lacks(found.outputs)
    if not lacking or execution.region is None:
        return found
    return fold_with(earlier.before(execution.region, lacking, execution.msg_id))


def control_of(execution: Execution) -> list[Message | Mark]:
    """What the log has of an execution's beginning, its questions, its holes and its end. Blocks on the disk."""
    if execution.region is None:
        return []
    region, parent, kinds = execution.region, execution.msg_id or "", (*_CONTROL, messagelog.MARK)
    return [item for _, item in messagelog.read(region.log, region.start, parent=parent, kinds=kinds)]


async def read_on(
    execution: Execution, ticket: Ticket | None, stream_of: Callable[[Execution], Stream | None], place: Place | None
) -> tuple[list[Message | Mark], Place | None]:
    """What an execution prints, shows and asks next, once it does, and where to go on; None where that is all.

    From its beginning where there is no `place` yet. Of its questions those that are open; marks for what is missing.
    """
    while ticket is not None and ticket.execution.region is None and not ticket.settled.is_set():
        await ticket.changed.next.wait()
    execution = ticket.execution if ticket is not None else execution
    region = execution.region
    if region is None:
        return [], None
    stream = stream_of(execution) or Stream(region.log)
    begun = place is not None
    place = place or Place(region.start)
    while True:
        rung, execution = stream.rings.next, ticket.execution if ticket is not None else execution
        end = execution.region.end if execution.settled and execution.region is not None else None
        found, place = await stream.more(execution.msg_id or "", place, end)
        messages = [each for each in found if await _is_shown(each, ticket)]
        if messages and end is not None and place.position >= end:
            rest, _ = await stream.more(execution.msg_id or "", place, end)
            lacking = [] if rest else await apart("results", _unsaid, execution, True, stream.unrecorded()[0])
            return [*messages, *lacking], place if rest else None  # who follows need not ask once more
        if messages:
            return messages, place
        if not found and end is not None:
            return list(await apart("results", _unsaid, execution, begun, stream.unrecorded()[0])), None
        begun = begun or bool(found)
        if not found:
            await stream.wait(rung)


async def _is_shown(item: Message | Mark, ticket: Ticket | None) -> bool:
    return isinstance(item, Mark) or item.msg_type != "input_request" or await _is_open(item, ticket)


async def _is_open(question: Message, ticket: Ticket | None) -> bool:
    """Whether a question that was just read is asked now; who reads ahead of its ticket waits until that knows it."""
    if ticket is None:
        return False
    end = time.monotonic() + _ASKED_S
    while question.msg_id not in ticket.answered and not ticket.settled.is_set():
        if ticket.question is not None and ticket.question.id == question.msg_id:
            return True
        await happens(ticket.attention.next, max(0.0, end - time.monotonic()))
        if time.monotonic() > end:
            break
    return False


async def last_line(ticket: Ticket) -> str:
    """The end of what an execution printed last, in one line; empty where that is nothing, or long."""
    printed, region = ticket.printed, ticket.execution.region
    if printed is None or region is None or printed.end - printed.start > _SHORT:
        return ""

    def read() -> str:
        msg_id = ticket.execution.msg_id or ""
        if isinstance(printed.item, Mark):
            printed_last = ends.read(region.log, msg_id, Spot(), lambda msg_type, _: msg_type == "stream")
            latest = deque((item for _, item in printed_last), maxlen=_LATEST)
        else:
            latest = deque(item for _, item in messagelog.read(region.log, printed.start, printed.end, parent=msg_id))
        texts = [str(item.content.get("text", "")) for item in latest if isinstance(item, Message)]
        return ([line.strip() for text in texts for line in text.splitlines() if line.strip()] or [""])[-1][-200:]

    return await apart("results", read)


def log_size(path: str) -> int:
    """Bytes in a message log, 0 where there is none yet."""
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0


def reaches(path: str, position: int) -> bool:
    """Whether a message log is there, and at least that long. Blocks on the disk."""
    return os.path.isfile(path) and log_size(path) >= position
