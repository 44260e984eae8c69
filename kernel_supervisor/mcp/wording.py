"""The first lines of a result and the last ones: how it stands, and what the reader can do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernel_supervisor.amounts import span
from kernel_supervisor.core.life import exits
from kernel_supervisor.core.model import ExecutionId, Mark, Question
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.mcp.view import Reading, ResultView
from kernel_supervisor.mcp.ways import said
from kernel_supervisor.outputs.markup import shorten_data
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.outputs.tracebacks import folds
from kernel_supervisor.outputs.transcript import Picture

BORROWED = (
    "That environment has no ipykernel: the kernel borrows one, and the environment itself is untouched "
    "(its subprocesses do not see it)"
)
"""Said once of a kernel that runs with an overlay."""
OR_BROKEN = (
    ", or a cell replaced or removed what the kernel answers with, such as a builtin, and it is restarted "
    "only (it uses no processor time, so either may be)"
)
"""What is said beside that C code holds a kernel that does nothing to be seen."""
_LINE = 600
"""Characters of a notice, a reason, a question."""
_REASON = 3000
"""Characters of a reason: that of a kernel's death has its last words in it."""
_PROMPT = 200
_NOTICES = 8
_CONSOLE = ("In :", ">>>", "...:", "...")
"""What `code.interact()` asks with: `sys.ps1` and `sys.ps2`, as IPython and Python set them."""
_MARKS_SHOWN = 3
_MARKS = {
    "hole": "some output could not be recorded",
    "limit": "recording stopped at its limit, later output was not kept",
    "cut": "the middle of its output was too much to be kept",
    "odd": "one output could not be read",
    "gap": "nobody was listening for a while, output of that time may be missing",
}


def header(view: ResultView, reading: Reading, *, output: bool) -> str:
    """The status line, and under it the reason and the notices."""
    execution, count = view.execution, execution_count(view)
    parts = [status(view)]
    if count is not None:
        parts.append(f"In [{count}]")
    parts.append(f"execution {execution.id}")
    if execution.status == "queued":
        parts.append(_behind(view.behind, view.ahead))
    elif view.duration_s is not None:
        parts.append(span(view.duration_s) + ("" if execution.settled else " so far"))
    if view.kernel:
        parts.append(f"kernel {clipped(view.kernel)}")
    if execution.status == "ok" and view.folded.errors:
        parts.append("an error was shown")
    if not output and execution.status in ("ok", "running"):
        parts.append("no output" if execution.settled else "no output yet")
    lines = [" · ".join(parts)]
    if execution.reason:
        lines.append(clipped(execution.reason, _REASON))
    lines += [f"note: {clipped(said(notice, reading.ways))}" for notice in view.notices[:_NOTICES]]
    return "\n".join(lines)


def footer(view: ResultView, reading: Reading, left: Sequence[Picture], *, brief: bool = False) -> Iterator[Words]:
    """What is missing, as are the pictures that are `left` out and what a page in `brief` has, and what can be done
    next."""
    yield from _missing(view, reading, [picture.number for picture in left])
    if brief:
        yield "A page is shown in brief", WayOn("write whole")
    yield from _next_steps(view)
    yield from (clipped(said(each, reading.ways)) for each in view.advice[:_NOTICES])


def status(view: ResultView) -> str:
    """The words for how the execution stands."""
    return "waiting for input" if view.question is not None else view.execution.status


def execution_count(view: ResultView) -> int | None:
    """The number in the `In [n]` of the execution, where it has one yet."""
    count = view.execution.execution_count
    return count if count is not None else view.folded.execution_count


def clipped(text: str, longest: int = _LINE) -> str:
    """`text` as plain text that is short enough for a line of its own."""
    text = plain(shorten_data(text[: longest * 4])).strip()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def how_to_answer(number: ExecutionId, question: Question) -> tuple[str | WayOn, ...]:
    """What is asked, and how it is answered: the end of a sentence whose subject is the execution."""
    asked = clipped(question.prompt, _PROMPT)
    what = "a password" if question.password else "a line of input"
    told = f" for {what}: {asked}" if asked else f" for {what}."
    return told, WayOn("answer unseen" if question.password else "answer", (number,))


def is_console(question: Question) -> bool:
    """Whether `code.interact()` may ask, which goes on after an interrupt; its prompts are not its own alone."""
    return question.prompt.strip() in _CONSOLE


def _behind(first: Sequence[ExecutionId], count: int) -> str:
    if not first:
        return "next to run"
    named = ", ".join(map(str, first)) + (f" and {count - len(first)} more" if count > len(first) else "")
    return f"behind execution{'s' if count > 1 else ''} {named}"


def remark(mark: Mark) -> str:
    """What is said of something that is missing."""
    return f"note: {_MARKS.get(mark.kind, mark.kind)}" + (f" ({clipped(mark.detail)})" if mark.detail else "")


def _missing(view: ResultView, reading: Reading, left: Sequence[int]) -> Iterator[Words]:
    number = view.execution.id
    for mark in view.folded.marks[:_MARKS_SHOWN]:
        yield remark(mark)
    if len(view.folded.marks) > _MARKS_SHOWN:
        yield f"note: {len(view.folded.marks) - _MARKS_SHOWN} more such marks"
    if left:
        which = f"Image {left[0]} is" if len(left) == 1 else f"Images {left[0]} to {left[-1]} are"
        yield f"{which} not shown here", WayOn("see images", (number, left[0]))
    if not reading.full_traceback and not reading.of_lines and any(map(folds, view.folded.errors)):
        yield "Library code in the traceback is folded", WayOn("unfold", (number,))


def _next_steps(view: ResultView) -> Iterator[Words]:
    number = view.execution.id
    if exits(view.folded.reply or {}):
        yield "The cell told its kernel to exit: it ends now, with its variables. sys.exit() would end the cell only."
    if view.question is not None:
        console = is_console(view.question) and "interact" in view.execution.source
        end = WayOn("leave console", (number,)) if console else WayOn("stop", (number,))
        yield "The cell asks", *how_to_answer(number, view.question), end
    elif view.execution.status == "running":
        yield (WayOn("wait on", (number,)),)
    elif view.execution.status == "queued":
        yield (WayOn("wait for it", (number,)),)
