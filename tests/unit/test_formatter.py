"""The text for models is added to a display, and never costs one."""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
import sys
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from IPython.lib.pretty import pretty

from kernel_supervisor.inside import formatter
from kernel_supervisor.inside.summaries import bundle_summary, summary
from kernel_supervisor.inside.summaries.plain import LIMIT, bounded
from kernel_supervisor.inside.summaries.traces import course

Bundle = tuple[dict[str, Any], dict[str, Any]]
LONG = "x" * (LIMIT + 1)


class Own:
    """Says something of itself."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def _repr_llm_(self) -> Any:
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said


class Shell:
    """As much of a shell as there is to wrap; it remembers what was published."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.bundle: dict[str, Any] = {"text/plain": LONG}
        self.display_formatter = SimpleNamespace(format=self._format)
        self.display_pub = SimpleNamespace(publish=self._publish)
        formatter.install(self)

    def _format(self, obj: Any, include: Any = None, exclude: Any = None) -> Bundle:
        return self.bundle, {"text/plain": {"kept": True}}

    def _publish(self, data: dict[str, Any], metadata: Any = None) -> None:
        self.published.append(data)


def test_the_bundle_gets_one_key_and_the_formatters_own_is_not_changed() -> None:
    shell = Shell()
    bundle, metadata = shell.display_formatter.format(list(range(1000)))
    assert bundle.keys() == {"text/plain", formatter.MIME}
    assert metadata == {"text/plain": {"kept": True}}
    assert shell.bundle == {"text/plain": LONG}


@pytest.mark.parametrize("said", [None, 7, ValueError(), BaseException("a panic")])
def test_an_own_text_that_is_none_adds_nothing(said: Any) -> None:
    shell = Shell()
    assert shell.display_formatter.format(Own(said))[0] is shell.bundle


def test_an_interrupt_is_meant_for_the_cell() -> None:
    with pytest.raises(KeyboardInterrupt):
        Shell().display_formatter.format(Own(KeyboardInterrupt()))


def test_an_own_text_is_bounded() -> None:
    said = Shell().display_formatter.format(Own("x" * 1_000_000))[0][formatter.MIME]
    assert len(said) < formatter.OWN_LIMIT + 100
    assert "1000000 characters in all" in said


def test_include_and_exclude_hold_for_it() -> None:
    show = Shell().display_formatter.format
    assert formatter.MIME not in show([0] * 1000, include=["text/plain"])[0]
    assert formatter.MIME not in show([0] * 1000, exclude=[formatter.MIME])[0]


def test_a_published_figure_gets_its_line_in_a_copy() -> None:
    shell = Shell()
    raw = {"application/vnd.plotly.v1+json": {"data": [{"type": "bar", "x": [1, 2]}]}}
    shell.display_pub.publish(data=raw)
    shell.display_pub.publish({"text/plain": "x"})
    assert shell.published[0][formatter.MIME] == "plotly figure: bar of 2 (x 1 … 2)"
    assert formatter.MIME not in raw
    assert shell.published[1] == {"text/plain": "x"}


def test_loading_leaves_no_module_behind() -> None:
    before = set(sys.modules)
    formatter.load_summaries()
    assert not [name for name in set(sys.modules) - before if "summaries" in name]


@pytest.mark.parametrize(
    "spec", [{}, {"data": None}, {"data": [{}], "layout": None}, {"data": [{"x": {"bdata": "AAA="}}]}]
)
def test_odd_figures_are_still_named(spec: dict[str, Any]) -> None:
    assert str(bundle_summary({"application/vnd.plotly.v1+json": spec})).startswith("plotly figure")


@pytest.mark.parametrize(
    "value",
    [
        [LONG] * 1000,
        {LONG + str(i): LONG for i in range(1000)},
        {frozenset((i,)) for i in range(1000)},
        [10**100_000] * 99,
    ],
    ids=["strings", "long keys", "a set", "huge numbers"],
)
def test_a_summary_is_bounded(value: Any) -> None:
    assert 0 < len(summary(value, LONG) or "") <= LIMIT


def test_a_subclass_of_a_known_type_is_not_looked_into() -> None:
    class Mine(dict[int, int]):
        def items(self) -> Any:
            raise AssertionError("somebody's code")

    assert summary(Mine.fromkeys(range(1000)), LONG) is None


def test_a_cut_is_made_at_the_end_of_a_line_and_said() -> None:
    text = bounded("a line\n" * 1000)
    assert len(text) <= LIMIT
    assert text.endswith("a line\n… (cut here)")


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ({"y": [10**400, 1, "3", {"a": 1}]}, "scatter of 4 (y int of 1329 bits, 1, '3')"),
        ({"y": [10**400, 5, 7]}, "scatter of 3 (y 5 … int of 1329 bits, first 5, last 7)"),
        ({"x": [datetime(2020, 1, 1), datetime(2020, 1, 2, tzinfo=timezone.utc)]}, "cannot be compared"),
        (5, "cannot be"),
        (None, "cannot be"),
    ],
)
def test_an_odd_trace_of_plotly_spoils_itself_alone(trace: Any, said: str) -> None:
    figure = {"data": [{"type": "bar", "y": [1, 2]}, trace], "layout": {"title": {"text": "<b>Bold</b> a<b"}}}
    found = str(bundle_summary({"application/vnd.plotly.v1+json": figure}))
    assert found.startswith("plotly figure 'Bold a<b':\n- bar of 2 (y 1 … 2, first 1, last 2)\n- ")
    assert said in found.splitlines()[2]


@pytest.mark.parametrize(
    ("y", "said"),
    [
        ([3, 1, None, 9], "; y 1 … 9, first 3, last 9"),
        ({"dtype": "f8", "bdata": "AAAAAAAA8D8AAAAAAAAAQA=="}, "; y 1 … 2, first 1, last 2"),
        ({"dtype": "i1", "bdata": "AwEC"}, "; y 1 … 3, first 3, last 2"),
        ({"dtype": "i4", "bdata": "AwECAwE="}, ""),
        ({"dtype": "i1", "bdata": "AwECBA==", "shape": "2, 2"}, ""),
        ({"dtype": "c16", "bdata": "AwECBA=="}, ""),
        (["fig", "plum"], "; y 'fig', 'plum'"),
        ([float("nan"), 1], "; y 1"),
    ],
)
def test_a_trace_of_plotly_says_where_its_numbers_go(y: Any, said: str) -> None:
    figure = {"data": [{"type": "bar", "x": ["a", "b"], "y": y, "name": "n"}]}
    found = str(bundle_summary({"application/vnd.plotly.v1+json": figure}))
    assert re.sub("of [234]", "of N", found) == f"plotly figure: bar of N 'n' (x 'a', 'b'{said})"


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        ([1, 2, 3, 9], [1, 3, 5, 4], "x 1 … 9; y 1 … 5, first 1, last 4"),
        ([2, 1, 9, 4], [4, 2, 18, 8], "x 1 … 9; y 2 … 18, correlation 1.00"),
        (["2024-01-01T00:00:00", "2024-01-03"], [1, 2], "x 2024-01-01 … 2024-01-03; y 1 … 2, first 1, last 2"),
        (list("aabb"), [1, 2, 3, 4], "x 'a', 'b'; y 1 … 4"),
        (list("abcdefgh"), [1] * 8, "x 'a', 'b' and 6 more; y 1, first 1, last 1"),
        ([None, 1, float("inf")], [1, True, "x"], "x 1; y 1, 'x'"),
        ([[1, 2], [3]], [{}, b"x"], "y b'x'"),
    ],
)
def test_a_course_says_what_is_so(x: list[Any], y: list[Any], said: str) -> None:
    assert course({"x": x, "y": y}) == f" ({said})"


def test_of_many_points_a_sample_is_looked_at_and_said_so() -> None:
    many = list(range(100_000))
    assert course({"x": many, "y": many}) == " (~ x 0 … 99999; y 0 … 99999, first 0, last 99999)"
    packed = {"dtype": "i4", "bdata": base64.b64encode(struct.pack("<100000i", *many)).decode()}
    assert course({"y": packed}) == " (~ y 0 … 99999, first 0, last 99999)"
    rows = [{"a": number, "b": "even" if number % 2 == 0 else "odd"} for number in many]
    spec = {"mark": "bar", "data": {"values": rows}, "encoding": {"x": {"field": "a"}, "color": {"field": "b"}}}
    said = str(bundle_summary({"application/vnd.vegalite.v5+json": spec}))
    assert re.search(r"; 100,000 rows \(~ from 1\d,\d{3} of them\); by b:\n- '(even|odd)' ~ [45]\d%", said), said
    spec["encoding"] = {"x": {"field": "b"}, "y": {"aggregate": "count"}}
    assert "x 'even', 'odd'; 100,000 rows" in str(bundle_summary({"application/vnd.vegalite.v5+json": spec}))


SHOWN = json.loads(Path(__file__).with_name("bokeh_3_9_shown.json").read_text())
"""What bokeh 3.9.2 published for `show(row(…))` of four figures in a notebook: it is too large to be installed here."""
SAID = """bokeh row of 4 figures:
- figure 'Crop': x 'year', y shown from 0 to 9
  - line of 3 'fig' (x 1 … 3; y 2 … 5, first 2, last 4)
  - scatter of 5 (x 0 … 4; y 0 … 16, first 0, last 16)
- figure: vbar of 2 by 'fruit': 'fig', 'plum' (x 'fig', 'plum'; top 3 … 4, first 3, last 4), y 'kg' (log)
- figure: line of 2 (x 2024-01-01 … 2024-01-03; y 1 … 2, first 1, last 2)
- figure 'Groups': scatter of 3 'a', 'b' (x 1 … 9; y 2 … 18, correlation 1.00)"""


def test_figures_of_bokeh_that_are_shown_say_what_is_drawn() -> None:
    shell = Shell()
    shell.display_pub.publish(SHOWN)
    assert shell.published[0][formatter.MIME] == SAID
    page = f"<html>Bokeh<script type=\"application/json\" id='p1'>{json.dumps(documents())}</script></html>"
    assert bundle_summary({"text/html": page}) == SAID


def documents() -> dict[str, Any]:
    script = SHOWN["application/javascript"]
    found: dict[str, Any] = json.JSONDecoder().raw_decode(script, script.index("docs_json = ") + 12)[0]
    return found


def test_a_layout_of_bokeh_as_a_value_says_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("bokeh.stand_in")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (document,) = documents().values()
    assert summary(Models(module).built(document["roots"][0]), "") == SAID


class Models:
    """Makes the models of a document again, as bokeh holds them: what was set, by name, in `_property_values`."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.known: dict[str, Any] = {}

    def built(self, held: Any) -> Any:
        if isinstance(held, list):
            return [self.built(each) for each in held]
        if not isinstance(held, dict):
            return held
        if held.get("type") == "map":
            return {key: self.built(each) for key, each in held["entries"]}
        if held.get("type") == "ndarray":
            packed = gzip.decompress(base64.b64decode(held["array"]["data"]))
            return [number for (number,) in struct.iter_unpack("<d" if held["dtype"] == "float64" else "<i", packed)]
        if "id" in held:
            return self.known[held["id"]] if "name" not in held else self._model(held)
        return held

    def _model(self, held: dict[str, Any]) -> Any:
        kind = type(held["name"], (), {"__module__": self.module.__name__})
        setattr(self.module, held["name"], kind)
        self.known[held["id"]] = model = kind()
        model.__dict__["_property_values"] = {
            name: self.built(each) for name, each in held.get("attributes", {}).items()
        }
        return model


PAGES = {
    "plotly": (
        'Plotly.newPlot( "a1", [{"type": "bar", "x": [1, 2], "y": [3, 4]}], {"title": {"text": "T"}}, {})',
        "plotly figure 'T': bar of 2 (x 1 … 2; y 3 … 4, first 3, last 4)",
    ),
    "altair": (
        'var spec = {"mark": "bar", "encoding": {"x": {"field": "a"}}, "data": {"values": [{"a": 1}, {"a": 5}]}};'
        "\nvegaEmbed('#vis', spec)",
        "Vega-Lite figure: bar of x a; x 1 … 5; 2 rows",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_figure_in_a_page_of_its_library_says_what_is_drawn(name: str) -> None:
    script, said = PAGES[name]
    assert bundle_summary({"text/html": f"<div id='a1'></div><script>{script}</script>"}) == said


@pytest.mark.parametrize(
    "script", ["Plotly.newPlot(", "Plotly.newPlot('a', [", "var spec = vegaEmbed", "vegaEmbed var spec = 7", "Bokeh"]
)
def test_a_page_that_is_no_figures_costs_no_display(script: str) -> None:
    shell = Shell()
    shell.bundle = {"text/html": f'<script type="application/json">{script}</script>'}
    assert shell.display_formatter.format(Own(None))[0] is shell.bundle


def test_what_a_document_of_bokeh_holds_in_an_odd_form_costs_no_display() -> None:
    script = "application/javascript"
    for text in ("", "docs_json = {", 'docs_json = {"a": []}', 'docs_json = {"a": {"roots": [{"id": "p1"}]}}', 7):
        shell = Shell()
        shell.display_pub.publish({script: text, "application/vnd.bokehjs_exec.v0+json": ""})
        assert script in shell.published[0]


def _shown(value: Any) -> str:
    return str(pretty(value))  # type: ignore[no-untyped-call]  # IPython's own


def _without_space(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "value",
    [
        {"curve": [round(1 / each, 4) for each in range(1, 900)], "name": "a"},
        {"a": {"b": list(range(40)), "c": [0.5] * 40}, "long": "t" * 3000},
        {f"k{each}": list(range(900)) for each in range(15)},
        [["it's", "x\ny", "q, r"] * 10, object()],
    ],
)
def test_values_stand_several_on_a_line_whatever_they_are_in_and_nothing_is_left_out(value: Any) -> None:
    plain = _shown(value)
    said = summary(value, plain)
    assert said is not None
    assert _without_space(said) == _without_space(plain)
    assert said.count("\n") < plain.count("\n") / 5


def test_the_beginning_of_a_large_container_of_lists_shows_several_of_them() -> None:
    value = {f"k{each}": [each] * 30 for each in range(60)}
    said = summary(value, _shown(value)) or ""
    assert "it begins:\n{'k0': [0, 0, 0, 0," in said
    assert "\n 'k9': [9, 9, 9, 9," in said


def test_arrays_in_a_list_keep_their_own_lines() -> None:
    value = [SimpleNamespace()] * 6
    assert summary(value, "[" + ",\n ".join(["array([ 0,  1,  2,\n        3,  4])"] * 6) + "]") is None
