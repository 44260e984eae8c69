"""A session's notebook as what fits into a conversation: texts cut, pictures named, and where the whole of it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from kernel_supervisor.mcp.clients import MOST_CHARS
from kernel_supervisor.notebooks.cells import Cell
from kernel_supervisor.notebooks.jsonstream import Lines, write_json
from kernel_supervisor.outputs.limits import cut
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.outputs.tracebacks import explain
from kernel_supervisor.outputs.transcript import pictured, shown

FIRST, LAST = 10, 90
"""Entries of a session that are looked at, from its beginning and its end."""
WHOLE = "abridged, without images and long texts: kernel_save_notebook writes the whole notebook"
_SOURCE, _OUTPUT, _OUTPUTS = 3000, 2000, 8
"""Characters of a cell's source and of one of its outputs; how many of these are shown."""
_READ = 200_000
"""Characters of one output that are read for that."""
_BEGINNING = MOST_CHARS // 5
_ROOM = MOST_CHARS - 4000
"""What is left beside the notebook's own metadata."""


def abridged(cells: Iterable[Cell], omitted: int) -> list[Cell]:
    """The first cells and the last ones, with their outputs in brief; `omitted` entries are not among `cells`."""
    beginning, end, left_out = list[Cell](), deque[tuple[Cell, int]](), 0
    room, size, filling = _BEGINNING, 0, True
    for index, cell in enumerate(map(_brief, cells)):
        chars = _chars(cell)
        filling = filling and index < FIRST and chars <= room
        if filling:
            beginning.append(cell)
            room -= chars
            continue
        end.append((cell, chars))
        size += chars
        while size > _ROOM - (_BEGINNING - room) and len(end) > 1:
            size -= end.popleft()[1]
            left_out += 1
    return [*beginning, *_gap(left_out + omitted), *(cell for cell, _ in end)]


def _gap(count: int) -> Iterator[Cell]:
    if count:
        text = f"> {count} cells are left out here: kernel_history lists them, kernel_save_notebook writes all"
        yield {"cell_type": "markdown", "id": "left-out", "metadata": {}, "source": text}


def _brief(cell: Cell) -> Cell:
    about = cell["metadata"].get("kernel_supervisor") or {}
    number = about.get("execution_id")
    code = f"kernel_history(execution_id={number}) shows it" if number is not None else ""
    source = cut("".join(cell["source"]), _SOURCE, read_on=lambda _: code).text
    brief = {
        **{key: value for key, value in cell.items() if key != "attachments"},
        "metadata": {"kernel_supervisor": {key: about[key] for key in ("execution_id", "status") if key in about}},
        "source": source,
    }
    if cell["cell_type"] == "code":
        brief["outputs"] = list(_outputs(cell["outputs"], f"kernel_output(execution_id={number})"))
    return brief


def _outputs(outputs: Iterable[dict[str, Any]], call: str) -> Iterator[dict[str, Any]]:
    more = 0
    for count, output in enumerate(outputs):
        if count < _OUTPUTS:
            yield _in_brief(output, call)
        else:  # to its end: what comes next is read behind it
            deque(output.get("text", ()), maxlen=0)
            more += 1
    if more:
        yield {"output_type": "stream", "name": "stdout", "text": f"[… {more} more outputs: {call} …]\n"}


def _in_brief(output: dict[str, Any], call: str) -> dict[str, Any]:
    match output["output_type"]:
        case "stream":
            return {**output, "text": _cut(_read(output["text"]), call)}
        case "error":
            told = [_cut(explain(output), call)]
            return {**output, "evalue": plain(str(output.get("evalue", ""))[:_OUTPUT]), "traceback": told}
    data = {mime: "".join(text) if isinstance(text, Lines) else text for mime, text in output["data"].items()}
    text, mime = shown(data)
    mime, _data = pictured(data, mime)
    named = f"[{mime}: {call} shows it]" if mime else ""
    text = "\n".join(filter(None, (_cut(text, call), named)))
    return {**output, "data": {"text/plain": text}, "metadata": {}}


def _read(lines: Iterable[str]) -> str:
    """The beginning and the end of a text that is told line by line."""
    beginning, end, size, later = list[str](), deque[str](), 0, 0
    for line in lines:
        line = line if len(line) <= _READ else f"{line[: _READ // 2]}…{line[-_READ // 2 :]}"
        if size <= _READ:
            beginning.append(line)
            size += len(line)
            continue
        end.append(line)
        later += len(line)
        while later > _READ and len(end) > 1:
            later -= len(end.popleft())
    return "".join(chain(beginning, end))


def _cut(text: str, call: str) -> str:
    return cut(plain(text), _OUTPUT, read_on=lambda _: call).text


def _chars(cell: Cell) -> int:
    written = bytearray()
    write_json(cell, written.extend, depth=2)
    return len(written.decode())
