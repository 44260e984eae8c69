"""Promise: a notebook that exists can be picked up, and saving it again loses nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Execution, ExecutionId, MessageId, SessionName
from kernel_supervisor.notebooks.document import About, write_notebook
from kernel_supervisor.notebooks.history import Entry
from kernel_supervisor.notebooks.loading import Loaded, load_notebook, messages_of
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.running import comparable, entries, joined, record, through_nbclient, without_chance


def history_of(loaded: Loaded, log: Path) -> list[Entry]:
    """`loaded` as a session keeps it: executions, and their messages in a log."""
    writer = MessageLogWriter(log)
    executions = []
    for number, cell in enumerate(loaded.cells):
        execution = Execution(
            id=ExecutionId(number),
            session=SessionName("s"),
            kind=cell.kind,
            source=cell.source,
            status="ok",
            msg_id=MessageId(f"loaded-{number}"),
        )
        for message in messages_of(cell, msg_id=str(execution.msg_id)):
            writer.append(encode_message("iopub", message))
        executions.append(execution)
    writer.close()
    return entries(log, executions)


def saved(history: Sequence[Entry], loaded: Loaded, path: Path) -> Any:
    written = write_notebook(path, history, about=About(session="s", metadata=loaded.metadata))
    notebook = nbformat.read(written.path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_foreign_notebooks_are_saved_again_without_loss(foreign: list[Path], tmp_path: Path) -> None:
    assert len(foreign) > 20
    for number, path in enumerate(foreign):
        original = nbformat.read(path, as_version=4)
        loaded = load_notebook(path)
        again = saved(history_of(loaded, tmp_path / f"{number}.log"), loaded, tmp_path / f"{number}")
        assert comparable(again) == comparable(original), path


def test_cell_ids_and_attachments_and_raw_cells_stay(foreign: list[Path], tmp_path: Path) -> None:
    (path,) = (path for path in foreign if path.name == "notebook_inject.ipynb")
    loaded = load_notebook(path)
    again = saved(history_of(loaded, tmp_path / "log"), loaded, tmp_path / "n")
    original = nbformat.read(path, as_version=4)
    assert [cell.id for cell in again.cells] == [cell.id for cell in original.cells]
    assert [cell.cell_type for cell in again.cells] == [cell.cell_type for cell in original.cells]
    assert "raw" in {cell.cell_type for cell in again.cells}


def test_foreign_notebook_is_run_and_saved(foreign: list[Path], tmp_path: Path) -> None:
    (path,) = (path for path in foreign if path.name == "Widget_List.ipynb")
    loaded = load_notebook(path)
    before = history_of(loaded, tmp_path / "loaded.log")
    code = [entry for entry in before if entry.execution.kind == "code"]
    run, _ = record([entry.execution.source for entry in code], tmp_path / "run.log")
    of_run = {old.execution.id: new for old, new in zip(code, run, strict=True)}
    after = [_run_again(entry, of_run.get(entry.execution.id, entry)) for entry in before]
    again = saved(after, loaded, tmp_path / "n")
    theirs = through_nbclient(nbformat.read(path, as_version=4))
    assert len(again.cells) == len(theirs.cells)
    names: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for ours, other in zip(again.cells, theirs.cells, strict=True):
        assert (ours.cell_type, ours.source) == (other.cell_type, other.source)
        if ours.cell_type == "code" and ours.source.strip() and "with out:" not in ours.source:
            assert ours.execution_count == other.execution_count
            mine = without_chance(joined(ours.outputs), names[0])
            assert mine == without_chance(joined(other.outputs), names[1])


def _run_again(entry: Entry, new: Entry) -> Entry:
    return Entry(execution=new.execution, messages=lambda: [*entry.messages(), *new.messages()])


def test_old_format_is_upgraded(tmp_path: Path) -> None:
    new = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Heading"),
            v4.new_code_cell(
                "print(1)", execution_count=1, outputs=[v4.new_output("stream", name="stdout", text="1\n")]
            ),
        ]
    )
    path = tmp_path / "old.ipynb"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nbformat.write(nbformat.convert(new, 3), path, version=3)
    loaded = load_notebook(path)
    assert [(cell.kind, cell.source) for cell in loaded.cells] == [("markdown", "# Heading"), ("code", "print(1)")]
    assert loaded.cells[1].outputs == [{"output_type": "stream", "name": "stdout", "text": "1\n"}]


@pytest.mark.parametrize("text", ["", "no json", "{}", "[]", '{"nbformat": 4}', '{"nbformat": 9, "cells": 3}', "\x00"])
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(text)
    with pytest.raises(
        RefusedError, match=r"is not a notebook that Jupyter can read|no notebook|nothing but NUL bytes"
    ):
        load_notebook(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="name a notebook that exists"):
        load_notebook(tmp_path / "n.ipynb")
    with pytest.raises(RefusedError, match="name a notebook that exists"):
        load_notebook(tmp_path)


def test_unreadable_file_is_told() -> None:
    with pytest.raises(UnavailableError, match="could not be read"):
        load_notebook(Path("/proc/self/mem"))
