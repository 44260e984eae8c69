"""Promise: results, history, notebook and terminal show what goes on where it belongs, and the next result says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.ipykernels import built
from tests.process.test_homes import BEGIN, LATE, REUSED
from tests.process.test_recorder import pairs
from tests.support import DEADLINE_S, Home, Session

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]
SECOND = "{go}; lost = None; await asyncio.sleep(0.1); gc.collect(); print('second');"
TOLD = "showed more after it had ended"


async def use(session: Session, environment: str) -> None:
    """Work with the tests' own ipykernel, or with the oldest one."""
    if environment == "oldest":
        chosen = await session.call("kernel_use_env", env_name=str(await asyncio.to_thread(built, *pairs()[0])))
        assert not chosen.is_error, chosen.text


def filled(code: str, flag: Path) -> str:
    """The code of a case, whose `flag` lets what is late go on."""
    for word, meaning in {"{wait}": "wait()", "{waiting}": "waiting()", "{go}": "open(flag, 'w').close()"}.items():
        code = code.replace(word, meaning)
    return BEGIN.format(flag=str(flag)) + code


async def shown_at_last(session: Session, number: int, deadline_s: float = DEADLINE_S) -> str:
    """The results until one has what an execution said; empty where none has."""
    end, results = time.monotonic() + deadline_s, ""
    while True:
        result = (await session.call("kernel_output", execution_id=number)).text
        results += result
        if "said" in result:
            return results
        if time.monotonic() >= end:
            return ""
        await asyncio.sleep(0.05)


def cells(home: Home) -> dict[int, str]:
    """What the cells of the saved notebook show, by their execution."""
    notebook: Any = nbformat.read(home.project / "homes.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return {cell.metadata.kernel_supervisor.execution_id: str(cell.outputs) for cell in code}


@pytest.mark.parametrize("environment", ["newest", "oldest"])
async def test_what_goes_on_is_shown_with_the_cell_that_began_it(home: Home, tmp_path: Path, environment: str) -> None:
    wrong, told, homes = [], "", {}
    async with home.client() as session:
        await use(session, environment)
        for index, (name, code) in enumerate(LATE.items()):
            flag = tmp_path / f"go-{index}"
            first = await session.run(filled(code, flag))
            at_terminal = await asyncio.to_thread(home.cli, "exec", filled(SECOND, flag))
            number = first.facts["execution_id"]
            homes[number] = name
            results = await shown_at_last(session, number)
            if not results or "said" in at_terminal.stdout + at_terminal.stderr:
                wrong.append(f"{name}: {at_terminal.stdout}{at_terminal.stderr}")
            next_one = await session.run("print('third')")
            told += results + next_one.text
            if "said" in next_one.text.replace(TOLD, ""):
                wrong.append(f"{name}: {next_one.text}")
        assert not wrong
        printed = await asyncio.to_thread(home.cli, "output", str(min(homes)))
        assert "said" in printed.stdout
        await session.call("kernel_save_notebook", path="homes.ipynb")
    assert {number for number, shown in cells(home).items() if "said" in shown} == set(homes)
    assert [name for number, name in homes.items() if f"execution {number} {TOLD}" not in told] == []


@pytest.mark.parametrize("environment", ["newest", "oldest"])
async def test_what_is_given_to_others_is_shown_with_the_cell_that_gave_it(
    home: Home, tmp_path: Path, environment: str
) -> None:
    wrong, homes = [], set()
    async with home.client() as session:
        await use(session, environment)
        for index, (name, (made, used)) in enumerate(REUSED.items()):
            flag = tmp_path / f"go-{index}"
            first = await session.run(filled(made, flag))
            second = await session.run(filled(used, flag))
            number = second.facts["execution_id"]
            homes.add(number)
            results = await shown_at_last(session, number)
            if not results or await shown_at_last(session, first.facts["execution_id"], 0):
                wrong.append(f"{name}: {second.text}")
        assert not wrong
        await session.call("kernel_save_notebook", path="homes.ipynb")
    assert {number for number, shown in cells(home).items() if "said" in shown} == homes
