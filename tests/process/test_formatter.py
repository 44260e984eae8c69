"""What a cell displays gets a text for models beside it, in every kernel, and nothing else about it changes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.outputs.tracebacks import explain
from tests.process.test_recorder import Recorded, interpreters, recorded, short
from tests.support import Home

__all__ = ["short"]
pytestmark = [pytest.mark.timeout(300)]
MIME = "text/llm+plain"
LIMIT = 4000

CASES = {
    "numpy": ("import numpy; numpy.arange(10_000.)", ["10,000", "float64", "0 … 9999"]),
    "numpy of 5 GB": (
        "import numpy; numpy.broadcast_to(numpy.float64(1.5), (25_000, 25_000))",
        ["25,000 × 25,000", "5 GB", "~ from 64,000 of 625,000,000"],
    ),
    "memory-mapped": (
        "import numpy, tempfile; numpy.memmap(tempfile.TemporaryFile(), 'f8', 'w+', shape=(625_000_000,))",
        ["memory-mapped", "5 GB", "~ values: 0 … 0"],
    ),
    "frame of 50 million rows": (
        "import numpy, pandas\nn = 50_000_000\npandas.DataFrame({'a': numpy.broadcast_to(numpy.int8(3), n),"
        " 'b': numpy.broadcast_to(numpy.float32('nan'), n)}, copy=False)",
        ["50,000,000 rows × 2 columns", "~ 20,000 (100%)", "sample", "49999999"],
    ),
    "frame": (
        "import pandas; pandas.DataFrame({'s': ['fig', None] * 500, 'n': range(1000)})",
        ["1,000 rows × 2 columns", "500 (50%)", "'fig' 100%", "0 … 999"],
    ),
    "what is missing in a frame is called by its name": (
        "import pandas; pandas.DataFrame({'a': [None, 1, pandas.NA, pandas.NaT, float('nan')] * 20})",
        ["  0   None\n", "  2   <NA>\n", "  3   NaT\n", "  4   NaN\n"],
    ),
    "wide frame": ("import numpy, pandas; pandas.DataFrame(numpy.eye(40, 3000))", ["3,000 columns", "2,970 more"]),
    "series": ("import pandas; pandas.Series(range(100), name='height')", ["Series height: 100 values", "0 … 99"]),
    "polars": ("import polars; polars.DataFrame({'a': [1, None] * 50})", ["100 rows × 1", "Int64", "50 (50%)"]),
    "polars series": ("import polars; polars.Series('w', range(100))", ["Series w: 100 values", "0 … 99"]),
    "arrow": ("import pyarrow; pyarrow.table({'a': [1, None] * 50})", ["100 rows × 1 column", "int64", "50 (50%)"]),
    "xarray": (
        "import numpy, xarray; xarray.Dataset({'t': (('x', 'y'), numpy.ones((50, 60)))}, {'x': range(50)})",
        ["x 50", "float64", "1 … 1", "0 … 49"],
    ),
    "dictionary": ("{f'k{i}': i for i in range(1_000_000)}", ["1,000,000 entries", "'k0'", "str × 10,000"]),
    "list": ("list(range(100_000))", ["100,000 elements", "first: 0, 1", "99999"]),
    "figure": (
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2], label='one')\nplt.title('Growth');",
        ["'Growth'", "1 line", "one"],
    ),
    "altair": (
        "import altair, pandas\n"
        "frame = pandas.DataFrame({'year': [2001, 2002] * 3, 'kg': [1, 2, 3, 5, 8, 4], 'fruit': list('aabbcc')})\n"
        "altair.Chart(frame, title='Crop').mark_line().encode(x='year', y='mean(kg)', color='fruit')",
        [
            "altair chart 'Crop': line of color fruit, x year, y mean(kg); 6 rows; by fruit:",
            "- 'c' × 2 (x 2001 … 2002; y 4 … 8, first 8, last 4)",
        ],
    ),
    "altair in layers": (
        "c = altair.Chart(frame).mark_bar().encode(x='sum(kg)', y='fruit')\n"
        "c + altair.Chart('http://localhost/d.csv').mark_rule().encode(x='kg:Q')",
        [
            "layer of 2:",
            "- bar of x sum(kg), y fruit; y 'a', 'b', 'c'; x 3 … 12, first 3, last 12; 6 rows",
            "- rule of x kg; data from http://localhost/d.csv",
        ],
    ),
    "altair in facets": ("c.facet('fruit')", ["faceted by fruit ('a', 'b', 'c'): bar of x sum(kg), y fruit"]),
    "Vega-Lite": (
        "display({'application/vnd.vegalite.v5+json': c.to_dict(), 'text/plain': ''}, raw=True)",
        ["Vega-Lite figure: bar of x sum(kg), y fruit; y 'a', 'b', 'c'; x 3 … 12, first 3, last 12; 6 rows"],
    ),
    "plotly": ("import plotly.express as px; px.scatter(x=[1, 2], y=[3, 4], title='T')", ["'T'", "scatter of 2"]),
    "plotly shown": ("import plotly.express as px; px.bar(x=[1, 2], y=[3, 4]).show()", ["bar of 2 (x 1 … 2; y 3 … 4"]),
    "plotly in groups": (
        "import pandas; days = pandas.date_range('2024-01-01', periods=4)\n"
        "px.line(pandas.DataFrame({'day': days, 'kg': [1, 5, 2, 3],"
        " 'fruit': ['fig', 'fig', 'plum', 'plum']}), x='day', y='kg', color='fruit', facet_col='fruit')",
        [
            "plotly figure: x 'day', y 'kg', 2 panels 'fruit=fig', 'fruit=plum', by 'fruit'",
            "- line of 2 'plum' (x 2024-01-03 … 2024-01-04; y 2 … 3, first 2, last 3)",
        ],
    ),
    "plotly in two dimensions": ("px.imshow([[1, 2, 3], [4, 5, 6]])", ["heatmap of 2 × 3 '0' (z 1 … 6)"]),
    "plotly in shares": ("px.pie(names=['fig', 'plum', 'fig'], values=[1, 2, 3])", ["pie of 3 ('fig' 4, 'plum' 2)"]),
    "folium": (
        "import folium; m = folium.Map([48, 11], zoom_start=6); g = folium.FeatureGroup('towns').add_to(m)\n"
        "folium.Marker([48.1, 11.5], popup='Munich').add_to(g); folium.Marker([50, 8.7], tooltip='F').add_to(g); m",
        [
            "folium map around 48, 11, zoom 6: tiles openstreetmap; FeatureGroup 'towns' of Marker × 2",
            "lat 48.1 … 50, lon 8.7 … 11.5; popups 'Munich'; tooltips 'F'",
        ],
    ),
    "animation": (
        "import matplotlib.pyplot as plt, matplotlib.animation as ma; plt.close('all'); f, ax = plt.subplots()\n"
        "ax.set_title('Wave'); l, = ax.plot([1, 2]); plt.close(f)\n"
        "ma.FuncAnimation(f, lambda n: l.set_ydata([n, 2]), frames=12, interval=80)",
        ["matplotlib animation: 12 frames, 80 ms apart; its matplotlib figure: axes 'Wave' with 1 line"],
    ),
    "estimator": (
        "from sklearn.linear_model import LinearRegression; LinearRegression().fit([[1], [2]], [1, 2])",
        ["LinearRegression()", "fitted", "coef_"],
    ),
    "pipeline": (
        "from sklearn.pipeline import make_pipeline; from sklearn.preprocessing import StandardScaler\n"
        "make_pipeline(StandardScaler(), make_pipeline(LinearRegression())).fit([[1], [2]], [1, 2])",
        ["fitted: standardscaler, pipeline"],
    ),
    "styled frame": ("pandas.DataFrame({'a': range(100)}).style.highlight_max()", ["Styler", "100 rows × 1"]),
    "polars lists": ("polars.DataFrame({'a': [[1, 2]] * 50, 'b': [{'k': 1}] * 50})", ["[1, 2]", "{'k': 1}"]),
    "records": ("numpy.array([(1, 'fig')] * 500, dtype=[('id', 'i4'), ('name', 'U4')])", ["id  name", "1   fig"]),
}

SMALL = (
    "import numpy; numpy.zeros((3, 4))",
    "import pandas; pandas.DataFrame({'a': [1, 2]})",
    "import pandas; pandas.set_option('display.max_rows', 200); pandas.DataFrame({'a': range(150)})",
    "import polars; polars.DataFrame({'a': [1]})",
    "[1, 2, 3]",
    "{'a': 1}",
    "'text'",
    "import polars; polars.DataFrame({'a': range(100)}).lazy()",
    "from sklearn.preprocessing import FunctionTransformer; FunctionTransformer()",
    "import dask.array; dask.array.ones((10_000, 10_000))",
)

TRAPS = """
import sys, time
calls = []
class Trap:
    def __getattr__(self, name): calls.append(name); raise RuntimeError(name)
    def _trapped(self, *args): calls.append("called"); raise RuntimeError
    __len__ = __iter__ = __eq__ = __hash__ = __str__ = __format__ = __bool__ = __lt__ = _trapped
    __class__ = property(_trapped)
    def __repr__(self): reprs.append(1); return "a trap"
reprs = []
class Twice:
    def _repr_llm_(self): return "said by itself"
    def _repr_markdown_(self): return "**markdown**"
class Failing:
    def _repr_llm_(self): raise ValueError("no")
    def __repr__(self): return "plain"
class Markdown:
    def _repr_markdown_(self): return "**markdown**"
class Exiting(Failing):
    def _repr_llm_(self): raise BaseException("a panic")
"""


@pytest.fixture(scope="module")
def kernel(short: Callable[[str], Path]) -> Iterator[Recorded]:
    with recorded(short("formatter")) as running:
        yield running


def shown(kernel: Recorded, code: str) -> list[dict[str, Any]]:
    folded = fold(kernel.items(kernel.run(code)))
    assert folded.reply is not None
    assert folded.reply["status"] == "ok", folded.reply
    return [output["data"] for output in folded.outputs if "data" in output]


@pytest.mark.parametrize("name", CASES)
def test_what_is_large_is_summed_up_within_bounds(kernel: Recorded, name: str) -> None:
    code, words = CASES[name]
    said = shown(kernel, code)[-1][MIME]
    assert all(word in said for word in words), said
    assert len(said) <= LIMIT


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("[list(range(30)) for _ in range(3000)]", "lengths: 30"),
        ("[[0] * n for n in range(300)]", "lengths: 0 … 299"),
        ("{n: list(range(30)) for n in range(3000)}", "first keys: 0, 1, 2"),
        ("import numpy; [numpy.arange(3) for _ in range(3000)]", "types: numpy.ndarray × 3,000"),
    ],
)
def test_a_container_of_containers_does_not_say_the_same_again_and_again(
    kernel: Recorded, code: str, says: str
) -> None:
    said = shown(kernel, code)[-1][MIME]
    assert says in said
    assert "it begins:" in said
    assert "list of 30," not in said
    assert "<numpy" not in said


@pytest.mark.parametrize("code", SMALL)
def test_what_is_small_or_lazy_or_wanted_whole_is_left_alone(kernel: Recorded, code: str) -> None:
    assert MIME not in shown(kernel, code)[-1]


WIDE = {
    "a frame": "import pandas; f = pandas.DataFrame([[1.5] * 12] * 6, columns=[f'column {n}' for n in range(12)]); f",
    "what describes one": "f.describe()",
    "correlations": "f.corr()",
}


@pytest.mark.parametrize("code", WIDE.values(), ids=WIDE)
def test_a_table_that_fits_into_160_columns_is_not_wrapped(kernel: Recorded, code: str) -> None:
    data = shown(kernel, f"{WIDE['a frame']}\n{code}")[-1]
    assert "\\\n" in data["text/plain"], "which stays as pandas has it"
    lines = data[MIME].splitlines()
    assert "column 0" in lines[0]
    assert "column 11" in lines[0]
    assert max(map(len, lines)) <= 160


PRINTED = {
    "a frame": "print(f)",
    "what describes one": "print(f.describe())",
    "in a text": "print(f'{f}')",
    "in a container": "print({'f': f})",
    "from a thread": "import threading; t = threading.Thread(target=print, args=(f,)); t.start(); t.join()",
}


@pytest.mark.parametrize("code", PRINTED.values(), ids=PRINTED)
def test_a_printed_table_is_not_wrapped_either_unless_the_user_set_a_width(kernel: Recorded, code: str) -> None:
    def printed() -> str:
        outputs = fold(kernel.items(kernel.run(f"{WIDE['a frame']};\n{code}"))).outputs
        return "".join(each["text"] for each in outputs if each["output_type"] == "stream")

    assert "\\\n" not in printed()
    assert "column 11" in next(line for line in printed().splitlines() if "column 0" in line)
    kernel.run("pandas.options.display.width = 60")
    try:
        assert max(map(len, printed().splitlines())) <= 60 + len("{'f': ")
    finally:
        kernel.run("pandas.reset_option('display.width')")


SET = {
    "pandas": (
        "import pandas; pandas.set_option('display.max_colwidth', 300, 'display.precision', 2, 'display.max_rows', 60)",
        "pandas.DataFrame({'text': ['long ' * 40] * 100, 'n': [3.14159] * 100})",
        "pandas.reset_option('^display.max_colwidth|^display.precision')",
    ),
    "polars": (
        "import polars; polars.Config.set_fmt_str_lengths(300).set_tbl_width_chars(400)",
        "polars.DataFrame({'text': ['long ' * 40] * 100})",
        "polars.Config.restore_defaults()",
    ),
}


@pytest.mark.parametrize(("set_", "code", "unset"), SET.values(), ids=SET)
def test_what_the_user_set_for_tables_holds_in_their_summaries(
    kernel: Recorded, set_: str, code: str, unset: str
) -> None:
    try:
        said = shown(kernel, f"{set_}\n{code}")[-1][MIME]
    finally:
        kernel.run(unset)
    assert "long " * 39 in said
    assert "100 rows" in said
    assert "3.14159" not in said.partition("\n\n")[0]


POLARS_SET = {
    "how floats are spelt": ("set_fmt_float('full')", "0.000012345"),
    "how precise they are": ("set_float_precision(2)", "0.00 "),
    "what is between thousands": ("set_thousands_separator(True)", "1,234,567"),
    "what is before decimals": ("set_decimal_separator(',')", ",5"),
    "how many rows": ("set_tbl_rows(14)", "1234573"),
    "how wide": ("set_tbl_width_chars(50)", "┆"),
    "how a table is drawn": ("set_tbl_formatting('ASCII_MARKDOWN')", "|"),
}


@pytest.mark.parametrize(("setting", "shows"), POLARS_SET.values(), ids=POLARS_SET)
def test_what_is_set_for_polars_shows_beside_its_summary(kernel: Recorded, setting: str, shows: str) -> None:
    frame = "polars.DataFrame({'n': range(1234567, 1234667), 'x': [0.000012345, 2.5] * 50})"
    usual = shown(kernel, f"import polars; polars.Config.restore_defaults(); {frame}")[-1]
    assert usual["text/plain"] not in usual[MIME]
    try:
        data = shown(kernel, f"polars.Config.{setting}; {frame}")[-1]
    finally:
        kernel.run("polars.Config.restore_defaults()")
    assert shows in data["text/plain"]
    assert data[MIME].startswith(data["text/plain"])
    assert "100 rows" in data[MIME]


IN_LINES = {"a list": "list(range(300))", "a dictionary of lists": "{f'k{n}': list(range(40)) for n in range(8)}"}


@pytest.mark.parametrize("code", IN_LINES.values(), ids=IN_LINES)
def test_numbers_stand_many_on_a_line(kernel: Recorded, code: str) -> None:
    data = shown(kernel, code)[-1]
    assert data["text/plain"].count("\n") > 100, "as IPython has it"
    assert data[MIME].count("\n") < 20
    assert eval(data[MIME]) == eval(code)


def test_every_other_type_stays_as_it_is(kernel: Recorded) -> None:
    code = "import numpy, pandas, altair; frame = pandas.DataFrame(numpy.eye(100)); frame"
    (data,) = shown(kernel, code)
    kernel.run("ours = get_ipython().display_formatter.format; theirs = ours.__wrapped__")
    (compared,) = shown(
        kernel, "a, b = ours(frame), theirs(frame); said = a[0].pop('text/llm+plain'); (a == b, said != '')"
    )
    assert compared["text/plain"] == "(True, True)"
    assert set(data) == {"text/plain", "text/html", MIME}
    (only,) = shown(kernel, "display(frame, include=['text/plain'])")
    assert set(only) == {"text/plain"}
    (without,) = shown(kernel, f"display(frame, exclude=['{MIME}'])")
    assert set(without) == {"text/plain", "text/html"}


def test_an_objects_own_text_goes_first(kernel: Recorded) -> None:
    shown(kernel, TRAPS)
    assert shown(kernel, "Twice()")[0][MIME] == "said by itself"
    assert set(shown(kernel, "Markdown()")[0]) == {"text/plain", "text/markdown"}
    for failing in ("Failing()", "Exiting()"):
        assert shown(kernel, failing) == [{"text/plain": "plain"}]


def test_no_code_of_an_unknown_object_is_called(kernel: Recorded) -> None:
    shown(kernel, TRAPS + "from types import SimpleNamespace; S = get_ipython().display_formatter.format")
    shown(
        kernel, "import pandas, numpy\ntraps = numpy.empty(300, dtype=object)\nfor i in range(300): traps[i] = Trap()"
    )
    for large in (
        "[*traps]",
        "dict(enumerate(traps))",
        "traps",
        "pandas.Series(traps, dtype=object)",
        "pandas.DataFrame({'t': traps}, dtype=object)",
    ):
        before = f"x = {large}; plain = 'x' * 5000; calls.clear(); reprs.clear()"
        summary = "[cell for cell in S.__closure__ if hasattr(cell.cell_contents, 'summary')][0].cell_contents.summary"
        (data,) = shown(kernel, f"{before}; said = {summary}(x, plain); (bool(said) , calls, reprs)")
        assert data["text/plain"].endswith(", [], [])"), (large, data)


def test_a_traceback_marks_the_line_that_raised_each_exception_of_a_chain(kernel: Recorded) -> None:
    code = "def f():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise ValueError from e\nf()"
    (error,) = fold(kernel.items(kernel.run(code))).outputs
    marked = [line for line in explain(error).split("\n") if line.startswith("----> ")]
    assert [line.split(maxsplit=2)[1:] for line in marked] == [
        ["6", "f()"],
        ["5", "raise ValueError from e"],
        ["3", "1 / 0"],
    ]


def test_a_recursion_without_end_is_told_once(kernel: Recorded) -> None:
    (error,) = fold(kernel.items(kernel.run("def f(): f()\nf()"))).outputs
    assert len(error["traceback"]) < 20
    assert "more times …" in explain(error)


def test_user_code_does_not_see_it(kernel: Recorded) -> None:
    code = (
        "import sys, json; [name for name in (*globals(), *sys.modules) if 'supervisor' in name or 'summar' in name],"
        " 'text/llm+plain' in get_ipython().display_formatter.formatters"
    )
    assert shown(kernel, code)[0]["text/plain"] == "([], False)"


def test_it_works_with_the_oldest_python_and_ipython(short: Callable[[str], Path]) -> None:
    folder = short("oldest")
    uv, oldest = [sys.executable, "-m", "uv"], next(iter(interpreters().values()))
    subprocess.run([*uv, "venv", "-q", "--python", oldest, str(folder / "env")], check=True)
    python = str(folder / "env/bin/python")
    old = ["ipykernel==6.29.5", "ipython==7.34.0", "pandas==1.5.3", "numpy<1.25"]
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, *old], check=True)
    with recorded(folder, python) as kernel:
        for name in ("numpy", "frame", "frame of 50 million rows", "dictionary"):
            code, words = CASES[name]
            said = shown(kernel, code)[-1][MIME]
            assert all(word in said for word in words), said
        assert shown(kernel, "1")[0] == {"text/plain": "1"}
    assert "recorder:" not in (folder / "stderr").read_text()


@pytest.mark.anyio
async def test_an_agent_reads_it_and_the_notebook_does_not_have_it(home: Home) -> None:
    target = home.project / "n.ipynb"
    async with home.client() as session:
        result = await session.run(CASES["frame"][0])
        assert "1,000 rows × 2 columns" in result.text
        assert "<table" not in result.text
        inspected = await session.call("kernel_inspect", var_name="_")
        assert "1,000 rows × 2 columns" in inspected.text
        saved = await session.call("kernel_save_notebook", path=str(target))
        assert not saved.is_error, saved.text
    outputs = [output for cell in json.loads(target.read_text())["cells"] for output in cell.get("outputs", ())]
    assert [set(output["data"]) for output in outputs] == [{"text/plain", "text/html"}]
