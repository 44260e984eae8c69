"""Promise: a notebook of a session is what Jupyter's own tools make of the same code."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.corpus import CORPUS, Case
from tests.notebooks_corpus.nbf import nbformat
from tests.notebooks_corpus.running import joined, notebook_of, through_nbclient, without_chance
from tests.support import Home, fresh_home

pytestmark = pytest.mark.timeout(300)


@dataclass
class Run:
    path: Path
    ok: Path
    """The same without the cells that failed."""
    ours: Any
    theirs: Any


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("corpus")
    sources = [case.code for case in CORPUS]
    path, ok = folder / "corpus.ipynb", folder / "ok.ipynb"
    with fresh_home() as home:
        asyncio.run(_through_the_supervisor(home, sources, path, ok))
    return Run(path, ok, nbformat.read(path, as_version=4), through_nbclient(notebook_of(sources)))


async def _through_the_supervisor(home: Home, sources: Sequence[str], path: Path, ok: Path) -> None:
    async with home.client() as session:
        for source in sources:
            ran = await session.run(source, timeout=60)
            assert ran.facts["status"] in ("ok", "error", "interrupted"), (source, ran.text)
        for target, only in ((path, "all"), (ok, "ok")):
            saved = await session.call("kernel_save_notebook", path=str(target), only=only)
            assert not saved.is_error, saved.text


def test_corpus_has_forty_cells() -> None:
    assert len(CORPUS) >= 40


def test_notebook_validates(run: Run) -> None:
    nbformat.validate(run.ours)


def _code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("number", range(len(CORPUS)), ids=[case.name for case in CORPUS])
def test_outputs_are_nbclients(run: Run, number: int) -> None:
    case: Case = CORPUS[number]
    ours, theirs = _code_cells(run.ours)[number], _code_cells(run.theirs)[number]
    assert ours.source == case.code
    mine, other = without_chance(joined(ours.outputs)), without_chance(joined(theirs.outputs))
    if case.differs:
        assert case.holds is not None
        assert case.holds(mine), mine
        assert mine != other, "there is no difference any more: say so in the corpus"
    else:
        assert mine == other
        assert ours.execution_count == theirs.execution_count


def test_file_is_what_nbformat_would_write(run: Run) -> None:
    assert nbformat.writes(run.ours) + "\n" == run.path.read_text()


def test_times_are_kept_under_the_names_that_nbclient_uses(run: Run) -> None:
    for mine, other in zip(_code_cells(run.ours), _code_cells(run.theirs), strict=True):
        assert set(other.metadata.get("execution", {})) <= set(mine.metadata.execution)
        assert all(time.endswith("Z") and "T" in time for time in mine.metadata.execution.values())


def test_widget_state_is_nbclients(run: Run) -> None:
    mine, other = (_widget_states(notebook) for notebook in (run.ours, run.theirs))
    closed = list((Counter(other) - Counter(mine)).elements())
    assert len(mine) > 50
    assert not Counter(mine) - Counter(other)
    assert [json.loads(model)["model_name"] for model in closed] == ["HBoxModel"], "the bar that is not left"


def _widget_states(notebook: Any) -> list[str]:
    """The states of all widgets, without their random ids."""
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    for model in states:
        if model["model_name"] == "OutputModel":
            model["state"]["outputs"] = joined(model["state"]["outputs"])
    return [re.sub(r"[0-9a-f]{32}", "ID", json.dumps(model, sort_keys=True)) for model in states]


def test_cells_that_ended_well_run_again_to_the_same(run: Run) -> None:
    saved = nbformat.read(run.ok, as_version=4)
    nbformat.validate(saved)
    assert "1 / 0" not in [cell.source for cell in saved.cells]
    assert {cell.metadata.kernel_supervisor.status for cell in _code_cells(saved)} == {"ok"}
    again = through_nbclient(nbformat.read(run.ok, as_version=4))
    differing = {case.code for case in CORPUS if case.differs}
    for before, after in zip(_code_cells(saved), _code_cells(again), strict=True):
        if before.source not in differing:
            mine, other = _without_counts(before), _without_counts(after)
            assert mine == other, before.source


def _without_counts(cell: Any) -> Any:
    """The outputs of `cell`; cells that were left out do not count, so the rest count otherwise."""
    outputs = without_chance(joined(cell.outputs))
    for output in outputs:
        output.pop("execution_count", None)
    return outputs
