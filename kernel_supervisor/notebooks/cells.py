"""The second of two readings: entries as notebook cells, their outputs drawn one at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count, groupby, islice
from typing import Any

from kernel_supervisor.core.model import Execution, Mark, Message
from kernel_supervisor.notebooks.history import NEVER_WRITTEN, Entry
from kernel_supervisor.notebooks.jsonstream import Lines
from kernel_supervisor.notebooks.survey import CellSurvey, Survey
from kernel_supervisor.notebooks.terminal import Terminal
from kernel_supervisor.outputs.area import Output, display_id_of, lines_joined, outputs_of, stream_of

Cell = dict[str, Any]

_JSON_MIME = re.compile(r"application/(.*\+)?json\Z")
_LINE_MIMES = ("application/javascript", "image/svg+xml")
_PRIVATE_PATH = re.compile(r"(?<![\w:/.])(?:/[^\s/:'\"]+)+/(?=[^\s/:'\"])")
_TAGS = {"interrupted": "skip-execution", "dead": "skip-execution", "error": "raises-exception"}
"""Tags by which nbclient (and so nbconvert and papermill) run a notebook again from top to bottom."""
_REMARKS = {
    "queued": "Had not run yet when this notebook was saved.",
    "running": "Was still running when this notebook was saved.",
    "interrupted": "Was interrupted.",
    "aborted": "Was not run.",
    "dead": "The kernel died while this ran.",
    "lost": "It is not known whether this ran to its end.",
}


def cells_of(entries: Iterable[Entry], survey: Survey) -> Iterator[Cell]:
    """The cells of `entries`, in order, as `write_json` takes them; each is to be written before the next."""
    used: set[str] = set()
    for index, entry in enumerate(entries):
        seen = survey.cells[index]
        cell = _cell(entry.execution, seen)
        cell["id"] = _unique(str(cell["id"]), used)
        if cell["cell_type"] == "code":
            cell["outputs"] = _outputs(entry, index, survey)
        yield cell
        remark = _remark(entry.execution, seen)
        if remark:
            yield _markdown(_unique(f"{cell['id'][:56]}-remark", used), remark, "remark")


def scrubbed(text: str) -> str:
    """`text` without the folders of absolute paths: of our own words, only a file's name is published."""
    return _PRIVATE_PATH.sub("…/", text)


def _cell(execution: Execution, seen: CellSurvey) -> Cell:
    loaded = seen.loaded or {}
    if execution.kind == "note" and execution.region is None:
        return _markdown(f"note-{execution.id}", _quoted(scrubbed(execution.source)), "note")
    shown_by_none = execution.kind == "note"
    cell: Cell = {
        "cell_type": loaded.get("cell_type", "code" if shown_by_none else execution.kind),
        "id": loaded.get("id") or f"execution-{execution.id}",
        "metadata": _metadata(execution, seen),
        "source": Lines((f"# {execution.source}" if shown_by_none else execution.source,)),
    }
    if cell["cell_type"] == "code":
        cell["execution_count"] = _count(execution, seen)
    elif loaded.get("attachments"):
        cell["attachments"] = {name: _mime_bundle(data) for name, data in loaded["attachments"].items()}
    return cell


def _markdown(cell_id: str, source: str, what: str) -> Cell:
    metadata = {"kernel_supervisor": {what: True}}
    return {"cell_type": "markdown", "id": cell_id, "metadata": metadata, "source": Lines((source,))}


def _metadata(execution: Execution, seen: CellSurvey) -> dict[str, Any]:
    metadata: dict[str, Any] = dict((seen.loaded or {}).get("metadata") or {})
    if execution.kind == "code" and "iopub.execute_input" in seen.timing:
        metadata["execution"] = seen.timing
    about: dict[str, Any] = {"execution_id": execution.id, "client": execution.client}
    if execution.kind == "code":
        about["status"] = _status(execution, seen)
        about["loaded"] = "" if seen.ran else "its outputs too"
        tag = _TAGS.get(about["status"]) if seen.ran else None
        if tag and tag not in metadata.get("tags", ()):
            metadata["tags"] = [*metadata.get("tags", ()), tag]
    metadata["kernel_supervisor"] = {key: value for key, value in about.items() if value != ""}
    return metadata


def _status(execution: Execution, seen: CellSurvey) -> str:
    interrupted = execution.status == "error" and seen.error == "KeyboardInterrupt"  # as earlier versions have it
    return "interrupted" if interrupted else execution.status


def _count(execution: Execution, seen: CellSurvey) -> int | None:
    count = seen.execution_count if seen.execution_count is not None else execution.execution_count
    return count if count is not None and count >= 0 else None


def _remark(execution: Execution, seen: CellSurvey) -> str:
    """What a reader has to know about the cell above, empty where it is an ordinary one."""
    remarks = [
        f"**{mark.kind.capitalize()}** in the record of this cell: {scrubbed(mark.detail)}" for mark in seen.marks
    ]
    remark = _REMARKS.get(_status(execution, seen), "") if execution.kind == "code" else ""
    if remark:
        remarks.append(f"**{remark}** {scrubbed(execution.reason)}".rstrip())
    return _quoted("\n\n".join(remarks))


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _unique(wanted: str, used: set[str]) -> str:
    """`wanted` as a cell id that no other cell has: https://jupyter.org/enhancement-proposals/62-cell-id"""
    base = re.sub(r"[^a-zA-Z0-9_-]", "-", wanted)[:64] or "cell"
    candidates = chain((base,), (f"{base[:56]}-{number}" for number in count(2)))
    free = next(candidate for candidate in candidates if candidate not in used)
    used.add(free)
    return free


def _outputs(entry: Entry, index: int, survey: Survey) -> Iterator[Output]:
    for name, messages in groupby(_shown(entry, index, survey), key=_stream_name):
        if name is not None:
            yield {"output_type": "stream", "name": name, "text": Lines(_terminal_pieces(messages))}
            continue
        for message in messages:
            latest = survey.latest(index, message) if display_id_of(message) else None
            for output in outputs_of(message):
                if latest is not None:
                    output["data"], output["metadata"] = latest
                yield _written(output)


def _shown(entry: Entry, index: int, survey: Survey) -> Iterator[Message]:
    seen = survey.cells[index]
    for item in islice(entry.messages(), seen.first_output, seen.length):
        if isinstance(item, Message) and item.msg_id in seen.first_updates:
            yield replace(item, msg_type="display_data")
        elif not isinstance(item, Mark) and survey.is_shown(item):
            yield item


def _stream_name(message: Message) -> str | None:
    return stream_of(message)[0] if message.msg_type == "stream" else None


def _terminal_pieces(messages: Iterable[Message]) -> Iterator[str]:
    terminal = Terminal()
    for message in messages:
        terminal.feed(stream_of(message)[1])
        yield terminal.scrolled()
    yield terminal.text()


def _written(output: Output) -> Output:
    output.pop("transient", None)
    if "data" in output:
        output["data"] = _mime_bundle(output["data"])
    return output


def _mime_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    return {mime: _mime_value(mime, value) for mime, value in data.items() if mime != NEVER_WRITTEN}


def _mime_value(mime: str, value: Any) -> Any:
    """`value` as nbformat allows it for `mime`: JSON as it is, anything else a text."""
    if _JSON_MIME.match(mime):
        return value
    value = lines_joined(value)
    value = value if isinstance(value, str) else json.dumps(value)
    return Lines((value,)) if mime.startswith("text/") or mime in _LINE_MIMES else value
