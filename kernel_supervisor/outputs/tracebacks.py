"""Reading an error's traceback as IPython writes it, and telling it the way a person wants to read it.

The exception comes first, then the frames of the user's own code with the line marked; frames of libraries
are one line each. What is not understood is shown as it is: nothing is lost here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from kernel_supervisor.amounts import several
from kernel_supervisor.outputs.terminal import plain

_RULE = re.compile(r"-{20,}\s*\Z")
_TITLE = re.compile(r"(\S+)\s+Traceback \(most recent call last\)\s*\Z")
_CONNECTORS = {
    "The above exception was the direct cause of the following exception:": "Caused by",
    "During handling of the above exception, another exception occurred:": "Raised while handling",
}
_CELL = re.compile(
    r"(?:Cell|Input) In ?\[(?P<count>\d{1,9})\](?:, line (?P<line>\d{1,9}))?(?:, in (?P<where>.+))?\Z"
    r"|(?:File )?\"?<ipython-input-(?P<old_count>\d{1,9})-\w+>\"?"
    r"(?:, line (?P<old_line>\d{1,9})| in (?P<old_where>.+))\Z"
    r"|(?:File )?\S*/ipykernel_\d+/\d+\.py(?::(?P<file_line>\d{1,9}))?,? in (?P<file_where>.+)\Z"
)
_FILE = re.compile(
    r"File (?P<path>.+?):(?P<line>\d{1,9})(?:, in (?P<where>.+))?\Z"
    r"|(?P<old_path>(?=\S*/|<)\S+) in (?P<old_where>.+)\Z"
)
_REPEATED = re.compile(r"\s*(?:\[\.\.\. skipping similar frames|\.\.\. last \d+ frames repeated)")
_SKIPPED = re.compile(r"\[\.\.\. skipping similar frames: [^,]* \((\d{1,9}) times\)\]\Z")
_ARROW = re.compile(r"-+> ?(\d{1,9}) ?(.*)")
_NO_SOURCE = "'Could not get source, probably due dynamically evaluated source code.'"
_LIBRARY = re.compile(r".*/(?:site-packages|dist-packages|lib/python\d[\d.]*|lib-dynload)/|<frozen ")
_COMPILED = re.compile(r"(?![/~])\S+\.(?:pyx|pxi|pxd)\Z")
"""The path of Cython code as its package was built: relative to a place that is not here."""
_SYNTAX_CELL = re.compile(r"\s*(?:Cell|Input) In ?\[\d+\]|\s*File \S")
_IPYTHON_INPUT = re.compile(r'File "<ipython-input-(\d+)-\w+>"')
_PLAIN_TITLE = "Traceback (most recent call last):"
_MACHINERY = re.compile(
    r"  File [^\s]{0,300}IPython/core/\S{0,100}:\d+ in run_code\n {4}.*\n"
    r"|  File \"[^\"\n]{0,300}IPython/core/[^\"\n]{0,100}\", line \d+, in run_code\n {4}.*\n"
)
_EXIT_HINT = "An exception has occurred, use %tb to see the full traceback."
_AFTER_EXIT = "The cell is over; the kernel runs on, with its variables."
_EXIT_ADVICE = re.compile(
    r"interactiveshell\.py:\d+: UserWarning: To exit: use 'exit', 'quit', or Ctrl-D\.\n  warn\([^\n]*\n?"
)
"""Begins with what is searched for, not with the path before it: that would be tried at each character."""
_PATH = 300
_HEAD = 2000
"""The heading of a frame is not longer than this."""
_CODE_SHOWN = 100
_LIBRARY_FRAMES_SHOWN = 12
"""Of a longer run of library frames, the first and the last ones are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of a traceback."""

    text: str
    """All that was written of it, without colours."""
    count: int | None = None
    """The execution count of the cell that the code stands in, None for a file."""
    path: str = ""
    where: str = ""
    line: int | None = None
    code: str = ""
    """The marked line."""
    cell: bool = False

    @property
    def library(self) -> bool:
        """Whether the code is somebody else's: an installed package's or the standard library's."""
        return not self.cell and bool(_LIBRARY.match(self.path) or _COMPILED.match(self.path))


@dataclass(kw_only=True)
class Part:
    """One exception of a chain."""

    name: str = ""
    frames: list[Frame | str] = field(default_factory=list)
    """Frames, and lines between them that stand for more."""
    message: list[str] = field(default_factory=list)
    """The exception's last line, its notes, and whatever else was not understood."""
    relation: str = ""
    """What it is to the next one of the chain."""


def explain(
    error: Mapping[str, Any], *, current: int | None = None, cells: Mapping[int, int] | None = None, full: bool = False
) -> str:
    """The text that tells an `error` output, and of `sys.exit()` what came of it.

    `current` is the execution count of the execution that raised; a frame of another cell names its execution
    by `cells` (execution count to execution id) where that knows it. With `full` nothing is folded.
    """
    text = _explained(error, current, cells or {}, full)
    return f"{text}\n{_AFTER_EXIT}" if error.get("ename") == "SystemExit" else text


def _explained(error: Mapping[str, Any], current: int | None, cells: Mapping[int, int], full: bool) -> str:
    elements, summary = _elements(error), _summary(error)
    parts = _parse(elements)
    if not any(part.frames for part in parts):
        return _without_frames(elements, summary)
    parts[-1].message = parts[-1].message or [summary]
    told = [_tell(part, current, cells, full) for part in parts]
    lines = [told.pop()]
    for part, text in zip(reversed(parts[:-1]), reversed(told), strict=True):
        lines.append(f"{part.relation or 'Before that'}:\n{text}")
    return "\n\n".join(lines)


def without_exit_advice(text: str) -> str:
    """What was written to standard error, without IPython's advice to whoever called `sys.exit` at a prompt."""
    kept, end = [], 0
    for advice in _EXIT_ADVICE.finditer(text):
        reach = max(end, advice.start() - _PATH)
        kept.append(text[end : max(reach, text.rfind("\n", reach, advice.start()) + 1)])
        end = advice.end()
    return "".join((*kept, text[end:]))


def cell_counts(error: Mapping[str, Any]) -> frozenset[int]:
    """The execution counts of all cells that have a frame in an `error` output."""
    return frozenset(frame.count for frame in _frames(error) if frame.count is not None)


def line_reached(error: Mapping[str, Any], count: int | None) -> int | None:
    """The line that the cell with this execution count had come to when an `error` output was made, if that says."""
    return next((each.line for each in _frames(error) if each.cell and each.count in (count, None) and each.line), None)


def folds(error: Mapping[str, Any]) -> bool:
    """Whether `explain` leaves something out that `full` would show."""
    return any(frame.library for frame in _frames(error))


def _frames(error: Mapping[str, Any]) -> Iterator[Frame]:
    return (frame for part in _parse(_elements(error)) for frame in part.frames if isinstance(frame, Frame))


def _elements(error: Mapping[str, Any]) -> list[str]:
    return [plain(str(element)).strip("\n") for element in error.get("traceback") or ()]


def _summary(error: Mapping[str, Any]) -> str:
    name, value = plain(str(error.get("ename") or "error")), plain(str(error.get("evalue") or ""))
    return f"{name}: {value}" if value else name


def _parse(elements: Sequence[str]) -> list[Part]:
    """The chain of exceptions as they are written: the last one is the one that was raised."""
    parts = [Part()]
    for element in elements:
        part, head = parts[-1], element[:_HEAD].split("\n", 1)[0]
        relation = _CONNECTORS.get(element.strip())
        title = _TITLE.match(head)
        if relation:
            part.relation = relation
            parts.append(Part())
        elif _RULE.match(element) or element.strip() == _EXIT_HINT:
            continue
        elif title and not part.frames and not part.message:
            part.name = title[1]
        elif part.message or (part.name and element.startswith((part.name + ":", part.name + "\n"))):
            part.message.append(element)
        elif _REPEATED.match(element):
            part.frames.append(element.strip())
        else:
            frame = _frame(element, head)
            part.frames.append(frame) if frame else part.message.append(element)
    return parts


def _frame(element: str, head: str) -> Frame | None:
    cell, file = _CELL.match(head), _FILE.match(head)
    if not cell and not file:
        return None
    arrow = next(filter(None, map(_ARROW.match, element.split("\n")[1:])), None)
    line, code = (int(arrow[1]), arrow[2].strip()) if arrow else (None, "")
    if cell:
        count = cell["count"] or cell["old_count"]
        stated = cell["line"] or cell["old_line"] or cell["file_line"]
        where = cell["where"] or cell["old_where"] or cell["file_where"] or ""
        return Frame(
            text=element,
            cell=True,
            count=int(count) if count else None,
            where=where,
            line=int(stated) if stated else line,
            code=code,
        )
    assert file is not None
    return Frame(
        text=element,
        path=file["path"] or file["old_path"],
        where=file["where"] or file["old_where"] or "",
        line=int(file["line"]) if file["line"] else line,
        code="" if code == _NO_SOURCE else code,
    )


def _tell(part: Part, current: int | None, cells: Mapping[int, int], full: bool) -> str:
    frames: list[str] = []
    for library, group in groupby(part.frames, lambda frame: isinstance(frame, Frame) and frame.library and not full):
        run = list(group)
        if library:
            frames.append(_folded_run([_library_line(frame) for frame in run if isinstance(frame, Frame)]))
        else:
            frames += [frame if isinstance(frame, str) else _own_frame(frame, current, cells) for frame in run]
    message = "\n".join(part.message).strip().removesuffix(":") if part.message else part.name
    return "\n\n".join([message, *_without_repetition(frames, full)])


def _without_repetition(frames: Sequence[str], full: bool) -> Iterator[str]:
    """A function that calls itself leaves the same frame many times: it is told once, and how often it came."""
    if full:
        yield from frames
        return
    runs: list[list[Any]] = []
    for frame in frames:
        skipped = _SKIPPED.match(frame)
        if runs and (skipped or runs[-1][0] == frame):
            runs[-1][1] += int(skipped[1]) if skipped else 1
        else:
            runs.append([frame, 1])
    for frame, times in runs:
        yield frame
        if times > 1:
            yield f"  … the same frame {several(times - 1, 'more time')} …"


def _folded_run(run: Sequence[str]) -> str:
    """Neighbouring library frames as one block, the middle of a long one counted only."""
    if len(run) > _LIBRARY_FRAMES_SHOWN:
        half = _LIBRARY_FRAMES_SHOWN // 2
        run = [*run[:half], f"  … {several(len(run) - 2 * half, 'more library frame')} …", *run[-half:]]
    return "\n".join(run)


def _own_frame(frame: Frame, current: int | None, cells: Mapping[int, int]) -> str:
    head, _, source = frame.text.partition("\n")
    if not frame.cell:
        return f"{head} (source not available)" if _NO_SOURCE in source else frame.text.rstrip()
    name = f"Cell In[{frame.count}]" if frame.count is not None else "Cell"
    if frame.line is not None:
        name += f", line {frame.line}"
    if frame.count is not None and frame.count != current and current is not None:
        known = cells.get(frame.count)
        name += f" (execution {known})" if known is not None else " (an earlier cell)"
    if frame.where and not frame.where.startswith(("<module>", "<cell line")):
        name += f", in {frame.where}"
    return f"{name}\n{source.rstrip()}" if source.strip() else name


def _library_line(frame: Frame) -> str:
    name = re.split(r"[(\[]", frame.where, maxsplit=1)[0] or "module level"
    folder = _LIBRARY.match(frame.path)
    place = frame.path[folder.end() if folder else 0 :].removesuffix(">")
    place += f":{frame.line}" if frame.line is not None else ""
    code = frame.code if len(frame.code) <= _CODE_SHOWN else frame.code[:_CODE_SHOWN] + "…"
    return f"  {place} in {name}" + (f": {code}" if code else "")


def _without_frames(elements: Sequence[str], summary: str) -> str:
    """An error without frames that we know: a SyntaxError with its caret, or another kernel's own form."""
    text = "\n".join(element for element in elements if element != _EXIT_HINT).strip("\n")
    if not text.strip():
        return summary
    text = _MACHINERY.sub("", _IPYTHON_INPUT.sub(r"Cell In[\1]", text))
    lines = text.split("\n")
    plain_form = lines[0].strip() == _PLAIN_TITLE and text.count(_PLAIN_TITLE) == 1
    if plain_form or (_SYNTAX_CELL.match(text) and re.match(r"[A-Za-z_][\w.]*: ", lines[-1])):
        body = max((index for index, line in enumerate(lines) if line.startswith(" ")), default=0) + 1
        if body < len(lines):
            first = lines[0].strip()
            return "\n".join([*lines[body:], "", *([] if plain_form else [first]), *lines[1:body]])
    return text if summary.split("\n", 1)[0] in text else f"{summary}\n\n{text}"
