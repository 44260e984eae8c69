"""Promise: the history tells what was run; the whole of its code stands in the text where that is asked for."""

from __future__ import annotations

import pytest

from tests.support import Home

pytestmark = pytest.mark.anyio
LONG = "total = " + " + ".join(map(str, range(100)))
LINES = "def double(x):\n\n    return 2 * x\n\ndouble(21)"


async def test_all_code_of_one_execution_is_read_as_it_was_run(home: Home, era: str) -> None:
    async with home.client(era) as session:
        first = await session.run(LINES)
        await session.run(LONG)
        listed = await session.call("kernel_history")
        assert "def double(x): … (3 lines)" in listed.text
        (line,) = (line for line in listed.text.splitlines() if "total" in line)
        assert line.endswith("…"), line
        whole = await session.call("kernel_history", execution_id=first.facts["execution_id"])
        assert LINES in whole.text
        assert "total" not in whole.text
        assert [each["code"] for each in whole.facts["entries"]] == [LINES]
        nobody = await session.call("kernel_history", execution_id=10**6)
        assert nobody.is_error
        assert "there is no execution" in nobody.text


async def test_all_code_of_each_is_read_as_far_as_a_result_goes_the_latest_at_any_rate(home: Home, era: str) -> None:
    async with home.client(era) as session:
        for code in (LINES, LONG, f"'{'x' * 9000}';", "'last'"):
            await session.run(code)
        two = await session.call("kernel_history", full=True, filter="l")
        assert all(code in two.text for code in (LINES, LONG, "'last'")), two.text
        whole = await session.call("kernel_history", full=True)
        assert "x" * 9000 in whole.text
        assert "'last'" in whole.text
        assert len(whole.text) <= 12_000
        giant = await session.run(f"'{'y' * 50_000}';")
        cut = await session.call("kernel_history", execution_id=giant.facts["execution_id"])
        assert 5_000 < len(cut.text) <= 12_000
        assert "left out" in cut.text


async def test_a_history_says_that_there_are_earlier_entries_and_how_they_are_had(home: Home, era: str) -> None:
    async with home.client(era) as session:
        for number in range(3):
            await session.run(f"n = {number}")
        short = await session.call("kernel_history", last=2)
        found = await session.call("kernel_history", last=2, filter="N =")
        whole = [await session.call("kernel_history", last=3, filter=text) for text in ("", "n =")]
    for each in (short, found):
        assert "… earlier ones are left out: a larger last= or filter= finds them" in each.text
        assert [entry["code"] for entry in each.facts["entries"]] == ["n = 1", "n = 2"]
    assert not any("earlier" in each.text for each in whole)
