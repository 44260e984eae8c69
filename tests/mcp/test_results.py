"""Promise: the agent sees what a person would see; a cell that raises is a result, not a failure of the tool."""

from __future__ import annotations

import base64
import io

import anyio
import pytest
from PIL import Image

from tests.support import DEADLINE_S, Home, Result

pytestmark = pytest.mark.anyio
_PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 3, 2])"


def _opened(block: object) -> Image.Image:
    assert getattr(block, "mime_type", None) == "image/png"
    return Image.open(io.BytesIO(base64.b64decode(getattr(block, "data", ""))))


async def test_a_plot_comes_as_a_png_that_shows_something(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        result = await session.run(_PLOT)
    assert result.facts["status"] == "ok"
    assert len(result.images) == result.facts["images"] == 1
    with _opened(result.images[0]) as picture:
        assert min(picture.size) > 100
        colours = picture.convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert len(colours) > 10, "an empty picture has one colour"


async def test_a_cell_that_raises_is_an_ordinary_result_and_the_session_goes_on(desk: Home, era: str) -> None:
    code = "def divide(a, b):\n    return a / b\n\nkept = 7\ndivide(1, 0)"
    async with desk.client(era) as session:
        result = await session.run(code)
        after = await session.run("kept")
    assert not result.is_error
    assert result.facts["status"] == "error"
    assert "ZeroDivisionError: division by zero" in result.text
    assert "return a / b" in result.text, "the traceback points at the line"
    assert "\x1b" not in result.text
    assert after.text.splitlines()[-1] == "7"


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nasync def late():\n    while not os.path.exists('gate'): await asyncio.sleep(0.01)\n"
        "    print('it came late')\ntask = asyncio.create_task(late())",
        "def late():\n    while not os.path.exists('gate'): time.sleep(0.01)\n    print('it came late')\n"
        "threading.Thread(target=late).start()",
    ],
    ids=["task", "thread"],
)
async def test_output_after_the_end_of_its_cell_is_said_to_be_there_once(desk: Home, era: str, code: str) -> None:
    async with desk.client(era) as session:
        number = (await session.run(f"import os, threading, time\n{code}")).facts["execution_id"]
        (desk.project / "gate").touch()
        results: list[Result] = []
        with anyio.fail_after(DEADLINE_S):
            while not results or "it came late" not in results[-1].text:
                results.append(await session.call("kernel_output", execution_id=number))
        results += [await session.run("'the next one'"), await session.run("'and another'")]
    note = f"note: execution {number} showed more after it had ended: kernel_output(execution_id={number})"
    told = [each for each in results if note in each.text.split("\n")]
    assert len(told) == 1
    assert told[0] is not results[-1]


async def test_figures_and_output_from_before_the_error_are_shown(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        result = await session.run(f"{_PLOT}\nplt.show()\nprint('so far')\nplt.plot([3, 1])\n1 / 0")
    assert result.facts["status"] == "error"
    assert len(result.images) == 2, "one was shown, one was open when it raised"
    assert "so far" in result.text
    assert "ZeroDivisionError" in result.text


async def test_code_that_is_not_python_is_an_ordinary_result_too(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        result = await session.run("for x in")
        after = await session.run("1 + 1")
    assert result.facts["status"] == "error"
    assert "SyntaxError" in result.text
    assert "\x1b" not in result.text
    assert after.text.splitlines()[-1] == "2"


async def test_streams_values_and_tables_are_shown_in_order(desk: Home, era: str) -> None:
    code = (
        "import sys, pandas\nprint('first')\nprint('second', file=sys.stderr)\n"
        "display(pandas.DataFrame({'fruit': ['fig', 'plum']}))\n'last'"
    )
    async with desk.client(era) as session:
        result = await session.run(code)
    positions = [result.text.index(word) for word in ("first", "second", "fruit", "plum", "'last'")]
    assert positions == sorted(positions)
    assert "<table" not in result.text


async def test_the_machine_readable_part_says_what_ran_where(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        first = (await session.run("1")).facts
        second = (await session.run("raise ValueError('no')")).facts
    assert {"execution_id", "status", "execution_count", "session", "kernel_id", "duration_s", "truncated"} <= set(
        first
    )
    assert (first["status"], first["execution_count"], first["truncated"]) == ("ok", 1, False)
    assert (second["status"], second["execution_count"]) == ("error", 2)
    assert second["execution_id"] > first["execution_id"]
    assert second["kernel_id"] == first["kernel_id"]
    assert first["duration_s"] >= 0


async def test_a_call_that_waited_long_enough_leaves_the_cell_running_and_says_how_to_read_on(
    desk: Home, era: str
) -> None:
    gate = desk.project / "gate"
    code = f"import os, time\nprint('begun')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')"
    async with desk.client(era) as session:
        running = await session.run(code, timeout=0.5)
        number = running.facts["execution_id"]
        assert running.facts["status"] == "running"
        assert f"kernel_output(execution_id={number}" in running.text
        gate.touch()
        ended = await session.call("kernel_output", execution_id=number, wait=60)
    assert ended.facts["status"] == "ok"
    assert "begun" in ended.text
    assert "ended" in ended.text


async def test_an_execution_can_be_read_from_another_directory_by_its_id(desk: Home, era: str) -> None:
    elsewhere = desk.project / "elsewhere"
    elsewhere.mkdir()
    async with desk.client(era) as session, desk.client(era, cwd=elsewhere) as other:
        queued = await session.run("print('said once')", wait=False)
        read = await other.call("kernel_output", execution_id=queued.facts["execution_id"], wait=60)
    assert queued.facts["status"] in ("queued", "running", "ok")
    assert read.facts["status"] == "ok"
    assert "said once" in read.text


async def test_long_output_keeps_its_ends_and_the_rest_is_read_by_lines(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        result = await session.run("for n in range(20_000): print('line', n)")
        number = result.facts["execution_id"]
        middle = await session.call("kernel_output", execution_id=number, grep="^line 10000$")
    assert result.facts["truncated"]
    assert len(result.text) <= 12_000
    assert "line 0\n" in result.text
    assert "line 19999" in result.text
    assert "line 10000" not in result.text
    assert "line 10000" in middle.text
