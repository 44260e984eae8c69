"""Promise: no answer of any tool is longer than its client takes, and what is left out is said."""

from __future__ import annotations

import json
from typing import Any

import nbformat
import pytest
from mcp_types import Implementation

from kernel_supervisor.mcp.clients import MAX_BYTES
from tests.support import Home, Result

pytestmark = pytest.mark.anyio
CODEX = Implementation(name="codex-mcp-client", version="0.169.0")
CLAUDE = Implementation(name="claude-code", version="2.1.332")
LONG: dict[str, dict[str, Any]] = {
    "kernel_list_vars": {},
    "kernel_inspect": {"var_name": "frame"},
    "kernel_history": {"last": 500},
    "kernel_load_notebook": {"path": "theirs", "run": True},
}
CODE = """
import pandas
for n in range(3000): globals()[f'变量名称很长{n}' * 3] = '数据集的内容' * 20
frame = pandas.DataFrame({'📈' * 40 + str(n): ['📉' * 60] * 30 for n in range(30)})
"""


def size_of(answer: Result) -> int:
    """How many bytes of text there are in it."""
    return sum(len(block.text.encode()) for block in answer.raw.content if block.type == "text")


async def test_every_answer_is_as_long_as_its_client_takes(desk: Home, era: str) -> None:
    cells = [nbformat.v4.new_code_cell(f"print('{'Ж' * 20_000}'); 1 / 0  # {'щ' * 3000}")]  # type: ignore[no-untyped-call]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), desk.project / "theirs.ipynb")  # type: ignore[no-untyped-call]
    async with desk.client(era, client_info=CODEX) as session:
        await session.run(CODE)
        for _ in range(60):
            await session.run(f"None  # {'история' * 12}", wait=False)
        answers = {name: await session.call(name, **arguments) for name, arguments in LONG.items()}
        answers["an error"] = await session.call("kernel_inspect", var_name="x" + "Ы" * 16_000)
        answers["another"] = await session.call("kernel_use_env", env_name="Ы" * 16_000)
    assert {name: size for name in answers if (size := size_of(answers[name])) > MAX_BYTES} == {}
    shown = answers["kernel_list_vars"]
    assert "more than this client takes, ask for less of it" in shown.text
    assert shown.text.rstrip().endswith("narrow it with filter= or type="), "its end stays"
    async with desk.client(era, client_info=CLAUDE) as session:
        assert size_of(await session.call("kernel_list_vars")) > MAX_BYTES, "it takes more"


async def test_the_machine_readable_part_is_bounded_and_a_long_history_ends_with_the_latest(
    desk: Home, era: str
) -> None:
    async with desk.client(era, client_info=CLAUDE) as session:
        await session.run("for n in range(3000): globals()[f'a_variable_{n}'] = 'its value ' * 10")
        for number in range(450):
            await session.run(f"{number}  # {'и' * 300}", wait=False)
        last = (await session.run("print('y' * 4995 + 'across pieces')\nlater = '" + "l" * 90 + "'")).facts
        variables = await session.call("kernel_list_vars")
        history = await session.call("kernel_history", last=500)
        found = await session.call("kernel_output", execution_id=last["execution_id"], grep="^y+across")
    for answer in (variables, history):
        assert len(json.dumps(answer.raw.meta)) < 25_000
        assert answer.facts["left_out"], "which says so"
    assert variables.facts["variables"][0]["name"] == "a_variable_0"
    assert len(history.text) <= 40_000
    assert "before these are left out" in history.text
    latest = history.text.splitlines()[-1]
    assert f"{last['execution_id']} " in latest
    assert "print('y' * 4995" in latest
    assert "… (2 lines)" in latest
    assert "6 of 6 matching lines" in found.text, "the line is in as many pieces"
    assert history.facts["entries"][-1]["execution_id"] == last["execution_id"]
