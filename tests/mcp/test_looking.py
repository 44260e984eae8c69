"""Promise: variables can be looked at without running anything, and looking leaves no trace."""

from __future__ import annotations

import pytest

from tests.support import Home, Result, Session

pytestmark = pytest.mark.anyio
_SETUP = """
import math
import numpy
import pandas
count = 41
name = "x" * 5000
matrix = numpy.zeros((3, 4))
frame = pandas.DataFrame({"fruit": ["fig", "plum"], "n": [1, 2]})
items = [1, 2, 3]
def area(radius: float, *, unit: str = "m") -> float:
    '''The area of a circle.'''
    return math.pi * radius ** 2
class Box:
    '''Holds things.'''
    lid = "closed"
box = Box()
"""


async def _row(session: Session, name: str) -> dict[str, object]:
    listed = await session.call("kernel_list_vars")
    (row,) = [row for row in listed.facts["variables"] if row["name"] == name]
    return dict(row)


async def test_variables_are_listed_with_type_shape_or_size_and_a_short_value(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_SETUP)
        count, matrix = await _row(session, "count"), await _row(session, "matrix")
        frame, name = await _row(session, "frame"), await _row(session, "name")
        items = await _row(session, "items")
        listed = await session.call("kernel_list_vars")
    assert (count["type"], count["value"]) == ("int", "41")
    assert "ndarray" in str(matrix["type"])
    assert "3" in str(matrix["shape"])
    assert "4" in str(matrix["shape"])
    assert matrix["bytes"]
    assert "DataFrame" in str(frame["type"])
    assert "2" in str(frame["shape"])
    assert len(str(name["value"])) < 200, "a value is short"
    assert "3" in str(items["shape"])
    assert not listed.is_error
    for shown in ("count", "int", "41", "matrix", "frame", "area"):
        assert shown in listed.text


async def test_nothing_of_ipythons_own_is_listed(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("41")
        await session.run("mine = 1")
        listed = await session.call("kernel_list_vars")
    assert [row["name"] for row in listed.facts["variables"]] == ["mine"]


async def test_the_list_is_narrowed_by_name_and_type(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_SETUP)
        named = await session.call("kernel_list_vars", filter="mat")
        typed = await session.call("kernel_list_vars", type="int")
        none = await session.call("kernel_list_vars", filter="nothing like it")
    assert {row["name"] for row in named.facts["variables"]} == {"math", "matrix"}
    assert [row["name"] for row in typed.facts["variables"]] == ["count"]
    assert none.facts["variables"] == []
    assert none.text == "no variable matches; kernel_list_vars() lists all"
    assert not none.is_error


async def test_inspecting_shows_value_type_signature_and_docstring(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_SETUP)
        count, area = await _inspected(session, "count"), await _inspected(session, "area")
        box, lid = await _inspected(session, "Box"), await _inspected(session, "box.lid")
        item, frame = await _inspected(session, "items[1]"), await _inspected(session, "frame")
        source = await session.call("kernel_inspect", var_name="area", detail="source")
    assert "int" in count.text
    assert "41" in count.text
    assert "(radius: float, *, unit: str = 'm') -> float" in area.text
    assert "The area of a circle." in area.text
    assert "Holds things." in box.text
    assert "'closed'" in lid.text
    assert "2" in item.text
    assert "plum" in frame.text
    assert "math.pi * radius ** 2" in source.text


async def _inspected(session: Session, name: str) -> Result:
    result = await session.call("kernel_inspect", var_name=name)
    assert not result.is_error, result.text
    return result


async def test_a_name_that_does_not_exist_gets_near_names(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("prices = [1]; zebra = 2")
        result = await session.call("kernel_inspect", var_name="price")
        attribute = await session.call("kernel_inspect", var_name="prices.lenght")
    assert result.is_error
    assert "'price'" in result.text
    assert "prices" in result.text
    assert "zebra" not in result.text
    assert attribute.is_error
    assert "lenght" in attribute.text


@pytest.mark.parametrize(
    ("code", "near"),
    [
        ("pricse", "prices"),
        ("print(total_prices, pricse)", "prices"),
        ("zz", ""),  # nothing is near
        ("alpha_c", ""),  # two are
        ("raise NameError('pricse')", ""),
    ],
)
async def test_a_name_error_names_the_one_variable_that_may_be_meant(
    desk: Home, era: str, code: str, near: str
) -> None:
    async with desk.client(era) as session:
        await session.run("prices = [1]; total_prices = 2; zebra = 3; alpha_a = alpha_b = 4")
        result = await session.call("kernel_exec", code=code)
    said = [line for line in result.text.splitlines() if "Did you mean" in line]
    assert said == ([f"Did you mean {near}? There is such a variable."] if near else [])


HAVE = """
import pandas, polars
df = pandas.DataFrame({"price": [1], "quantity": [2], "alpha_a": [3], "alpha_b": [4], "Total ": [5]})
pf = polars.DataFrame({"price": [1], "quantity": [2]})
config = {"learning_rate": 0.1, "seed": 1}
def of(table): return table["pric"]
"""
NEAR_KEYS = {
    "df['pric']": "Did you mean 'price'? df has that.",
    "df.pric": "Did you mean 'price'? df has that.",
    "df[['price', 'quantty']]": "Did you mean 'quantity'? df has that.",
    "df.loc[:, 'quantty']": "Did you mean 'quantity'? df has that.",
    "x = (\n    df.groupby('quantty')\n    .sum()\n)": "Did you mean 'quantity'? df has that.",
    "df['total']": "Did you mean 'Total '? df has that.",
    "config['learning_rte']": "Did you mean 'learning_rate'? config has that.",
    "pf['quantty']": "Did you mean 'quantity'? pf has that.",
    "of(df)": "Did you mean 'price'? table has that.",
    "df['zzz']": "",
    "df['alpha_c']": "",
    "config['lr']": "",
    "raise KeyError('pric')": "",
    "df.price.pric": "",
    "{'price': 1}['pric']": "",
}


@pytest.mark.parametrize("code", NEAR_KEYS)
async def test_a_missing_key_is_told_the_one_that_the_table_has(desk: Home, code: str) -> None:
    async with desk.client("legacy", "--session", "near keys") as session:
        await session.run(HAVE)
        result = await session.call("kernel_exec", code=code)
    assert result.facts["status"] == "error"
    said = [line for line in result.text.splitlines() if line.startswith("Did you mean")]
    assert said == ([NEAR_KEYS[code]] if NEAR_KEYS[code] else [])


async def test_type_and_shape_of_a_table_are_said_once(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("import pandas, numpy; df = pandas.DataFrame({'a': range(1234)}); few = df.head(2)")
        await session.run("zeros = numpy.zeros((300, 7)); column = df['a']; numbers = list(range(500))")
        looks = {each: await _inspected(session, each) for each in ("df", "few", "zeros", "column", "numbers")}
    first = {name: looked.text.splitlines()[0] for name, looked in looks.items()}
    assert first["df"].startswith("df: pandas DataFrame: 1,234 rows × 1 column, ")
    assert first["few"].startswith("few: pandas.DataFrame, 2 × 1, ")
    assert first["zeros"].startswith("zeros: numpy array: 300 × 7, float64, ")
    assert first["column"].startswith("column: pandas Series a: 1,234 values, int64, ")
    assert first["numbers"].startswith("numbers: list, 500, ")
    assert looks["df"].text.count("DataFrame") == 1
    assert looks["numbers"].text.splitlines()[1].startswith("first: 0, 1, 2")


async def test_looking_leaves_no_trace_in_history_out_or_execution_count(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("41 + 1")
        before = await session.call("kernel_history")
        await session.call("kernel_list_vars")
        await session.call("kernel_inspect", var_name="Out")
        await session.call("kernel_inspect", var_name="no_such_name")
        await session.call("kernel_status")
        after = await session.call("kernel_history")
        last = await session.run("print(_, sorted(Out), [line for line in In if line][:-1])")
    assert after.facts["entries"] == before.facts["entries"]
    assert last.facts["execution_count"] == 2
    assert last.text.splitlines()[-1] == "42 [1] ['41 + 1']"


async def test_looking_works_while_a_cell_runs(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    async with desk.client(era) as session:
        await session.run("x = 41")
        cell = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nx = 42"
        running = await session.run(cell, wait=False)
        inspected = await session.call("kernel_inspect", var_name="x")
        listed = await session.call("kernel_list_vars", filter="x")
        status = await session.call("kernel_status")
        gate.touch()
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
    assert "41" in inspected.text
    assert [row["value"] for row in listed.facts["variables"] if row["name"] == "x"] == ["41"]
    assert status.facts["state"] == "busy"
    assert ended.facts["status"] == "ok"


async def test_a_list_says_where_a_frame_has_more_columns_than_it_names(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(
            "import pandas\nwide, seven = (pandas.DataFrame({c: [1] for c in t}) for t in ('abcdefgh', 'abcdefg'))"
        )
        wide, seven = await _row(session, "wide"), await _row(session, "seven")
    assert wide["value"] == "columns a, b, c, d, e, f, g, …"
    assert seven["value"] == "columns a, b, c, d, e, f, g"


async def test_what_would_have_to_be_run_is_refused_with_the_expression_once(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = [1]")
        refused = await session.call("kernel_inspect", var_name="x.index(1)")
    assert refused.is_error
    assert refused.text == (
        "'x.index(1)' is not a name, an attribute or an item, such as df, df.columns or model.layers[0]; "
        "kernel_exec runs any other expression"
    )
