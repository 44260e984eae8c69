"""How each output of a notebook comes into a document: as it is, as a picture, shortened, or as a placeholder."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nbconvert.filters import ansi2html

from kernel_supervisor.notebooks.contents import IMAGES, read_json
from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.notebooks.guarded import is_ours
from kernel_supervisor.notebooks.shown import inks, libraries, stills
from kernel_supervisor.notebooks.shown.damage import with_views, without_damaged
from kernel_supervisor.notebooks.shown.figures import (
    BOKEH_FITS,
    Draughtsman,
    Figure,
    as_output,
    figure_of,
    inline,
    joined,
    offline,
)
from kernel_supervisor.notebooks.shown.markup import folded
from kernel_supervisor.notebooks.shown.placeholders import (
    is_loading,
    is_shown,
    kind_of,
    placeholder,
    says_something,
    where_from,
)
from kernel_supervisor.notebooks.shown.printed import is_progress
from kernel_supervisor.notebooks.shown.shortening import ON_PAPER, ON_SCREEN, Room, shorten
from kernel_supervisor.notebooks.shown.tables import is_table, with_words_to_the_left
from kernel_supervisor.notebooks.terminal import INVISIBLE

_PLACEHOLDER = "placeholder"
"""What the metadata of such an output has, under `kernel_supervisor`."""
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_JAVASCRIPT = "application/javascript"
_LIVE = re.compile(r"<(script|canvas|svg|input|details|math)\b", re.IGNORECASE)
_NOT_ON_PAPER = re.compile(r"<(audio|video|iframe|embed|object)\b", re.IGNORECASE)
_FOLDED, _UNFOLDED = 400, 40
"""Texts of more lines are folded, all but so many of them."""
_DRAWN = re.compile(
    r"background|(?<![\w-])color\s*[:=]|<(canvas|svg|iframe|form)\b|<script\b[^>]*\bsrc|createElementNS|canvas|vegaEmbed"
    r"|Bokeh|Plotly",
    re.IGNORECASE,
)
_THEMED = re.compile(r"var\(\s*--jp-(content-font-color|layout-color)")
"""What has its colours from the page."""
_SAME = (*IMAGES, "text/html", "text/markdown", "text/latex")
"""What shows the same as a picture beside it."""
_NO_NETWORK = "it needs {}, and a document asks no network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A notebook as a document shows it, and what it does not show."""

    notebook: Any
    remarks: list[str] = field(default_factory=list)
    """By cell, in words: what is left out or not shown."""
    scripts: list[str] = field(default_factory=list)
    """The libraries' JavaScript that its figures need in the page."""


def on_paper(notebook: Any, draughtsman: Draughtsman, *, inline_html: bool) -> Shown:
    """`notebook` for a PDF: figures as pictures. With `inline_html` what is live HTML is left to who draws the page."""
    shown = Shown(notebook=copy.deepcopy(notebook))
    wanted: list[tuple[str, Any, Figure]] = []
    for where, cell, output in _outputs(shown, ON_PAPER):
        data = output.data
        figure = _figure_on_paper(data, is_ours(cell), inline_html=inline_html)
        if figure is not None:
            wanted.append((where, output, figure))
        elif _is_lost_on_paper(data, inline_html=inline_html):
            host = where_from(data.get("text/html", ""))
            _replace(shown, where, output, kind_of(data), _NO_NETWORK.format(host) if host else "")
    for (where, output, figure), picture in zip(wanted, draughtsman.draw([each[2] for each in wanted]), strict=True):
        _place(shown, where, output, figure, picture, draughtsman.why)
    places = {name_of(cell, number): number for number, cell in enumerate(shown.notebook.cells, 1)}
    shown.remarks.sort(key=lambda remark: places[remark.partition(":")[0]])
    return shown


def on_screen(notebook: Any, environment: str) -> Shown:
    """`notebook` for a page of HTML: figures draw themselves, without a network where their library is at hand."""
    shown = Shown(notebook=copy.deepcopy(notebook))
    needed: dict[str, tuple[str, ...]] = {}
    for number, (where, cell, output) in enumerate(_outputs(shown, ON_SCREEN)):
        data = output.data
        figure = None if any(mime in data for mime in IMAGES) else figure_of(data, is_ours=is_ours(cell))
        scripts = libraries.scripts_of(figure.library, environment) if figure is not None and figure.library else ()
        if figure is not None and scripts:
            needed[figure.library] = scripts
            output["data"] = {"text/html": offline(figure, number)}
        else:
            _check_on_screen(shown, where, output, figure)
    shown.scripts.extend(inline(each) for scripts in needed.values() for each in scripts)
    shown.scripts.extend([BOKEH_FITS] if "bokeh" in needed else [])
    for cell in shown.notebook.cells:
        if "outputs" in cell:
            cell["outputs"] = [each for output in cell.outputs for each in (*_still(shown.notebook, output), output)]
        for output in cell.get("outputs", ()):
            _lay_on_paper(output)
            _fold(output)
    return shown


def _still(notebook: Any, output: Any) -> list[Any]:
    """What is seen of a widget until it is drawn."""
    data = output.get("data", {})
    if not _is_drawn(notebook, data) or not says_something(data.get("text/plain", "")):
        return []
    still = copy.deepcopy(output)
    still.update(data={"text/html": stills.of_widget(data["text/plain"])}, metadata={})
    return [still]


def _is_drawn(notebook: Any, data: Mapping[str, Any]) -> bool:
    """Whether `data` is a widget whose state is in the notebook: nbconvert shows the text of any other."""
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    return _WIDGET_VIEW in data and data[_WIDGET_VIEW].get("model_id") in states


def _lay_on_paper(output: Any) -> None:
    """Have what draws by itself on paper in a dark page, too; words are made such that they can be read there."""
    data = output.get("data", {})
    markup = data.get("text/html", "")
    if not markup or is_placeholder(output) or stills.is_map(markup):
        return
    if inks.is_understood(markup):
        data["text/html"] = with_words_to_the_left(inks.readable(markup))
    elif not _THEMED.search(markup) and _DRAWN.search(markup):
        data["text/html"] = f'<div class="ks-paper">{markup}</div>'


def _fold(output: Any) -> None:
    """Have a long text open when a reader asks for it."""
    lines = output.get("text", "").rstrip("\n").split("\n")
    if len(lines) > _FOLDED:
        first, rest = (ansi2html("\n".join(part)) for part in (lines[:_UNFOLDED], lines[_UNFOLDED:]))  # type: ignore[no-untyped-call]  # nbconvert has no types
        data = {"text/html": folded(first, rest, len(lines) - _UNFOLDED)}
        output.clear()
        output.update(output_type="display_data", data=data, metadata={})


def _check_on_screen(shown: Shown, where: str, output: Any, figure: Figure | None) -> None:
    data = output.data
    host = where_from(data.get("text/html", ""))
    if host:
        data["text/html"] = stills.with_map_said(data["text/html"], host)
        shown.remarks.append(
            f"{where}: {figure.kind if figure else kind_of(data)} is drawn where {host} can be reached"
        )
    elif _is_drawn(shown.notebook, data):
        shown.remarks.append(f"{where}: a widget is drawn where cdn.jsdelivr.net can be reached")
    elif "text/html" not in data and _JAVASCRIPT not in data and not is_shown(data):
        _replace(shown, where, output, figure.kind if figure else kind_of(data))


def _outputs(shown: Shown, room: Room) -> Iterator[tuple[str, Any, Any]]:
    """Each output that has data, with where it stands; those that only bring libraries are taken out."""
    for number, cell in enumerate(shown.notebook.cells, 1):
        if "outputs" not in cell:
            continue
        where = name_of(cell, number)
        cell["outputs"] = joined([each for each in cell.outputs if not _is_blank(each)])
        for output in cell.outputs:
            left_out = shorten(output, room)
            shown.remarks.extend(f"{where}: {words} left out" for words in left_out)
            if output.get("name") == "stderr" and is_progress(output.text):
                output["name"] = "stdout"
            data = output.get("data", {})
            read_json(data)
            if "<script" not in data.get("text/html", ""):
                with_views(data)
            if without_damaged(data) and not any(mime in data for mime in _SAME):
                _replace(shown, where, output, "a damaged picture")
            elif data:
                yield where, cell, output


def _is_blank(output: Any) -> bool:
    """Whether nothing is seen of it: it brings a library, or printed no more than the ends of lines."""
    printed = output.get("text")
    return is_loading(output.get("data", {})) or (printed is not None and not INVISIBLE.sub("", printed).strip())


def name_of(cell: Any, number: int) -> str:
    """How answers call a cell."""
    execution = cell.get("metadata", {}).get("kernel_supervisor", {}).get("execution_id")
    return f"execution {execution}" if execution is not None else f"cell {number}"


def _figure_on_paper(data: Mapping[str, Any], ours: bool, *, inline_html: bool) -> Figure | None:
    if any(mime in data for mime in IMAGES):
        return None
    figure = figure_of(data, is_ours=ours)
    if figure is not None or inline_html:
        return figure
    markup = data.get("text/html", "")
    if _JAVASCRIPT in data and ours:
        markup = f"<div id=ks-element>{markup}</div><script>(element => {{{data[_JAVASCRIPT]}}})"
        markup += "(document.getElementById('ks-element'))</script>"
    if not _LIVE.search(markup) or _NOT_ON_PAPER.search(markup) or where_from(markup):
        return None
    return Figure(library="", markup=markup, is_ours=ours)


def _is_lost_on_paper(data: Mapping[str, Any], *, inline_html: bool) -> bool:
    if any(mime in data for mime in (*IMAGES, "text/markdown", "text/latex", "application/json")):
        return False
    markup = data.get("text/html", "")
    if _NOT_ON_PAPER.search(markup) or where_from(markup):
        return True
    if markup or says_something(data.get("text/plain", "")):
        return False
    return not (inline_html and _JAVASCRIPT in data)


def _place(shown: Shown, where: str, output: Any, figure: Figure, picture: bytes | None, why: str) -> None:
    data = output.data
    if picture is not None:
        output.update(as_output(picture))
    elif not figure.library and says_something(data.get("text/plain", "")):
        output["data"] = {"text/plain": data["text/plain"]}
    elif figure.library or not is_table(data.get("text/html", "")):
        _replace(shown, where, output, figure.kind if figure.library else kind_of(data), why or _lacks(figure))


def _lacks(figure: Figure) -> str:
    if figure.library == "vega" and libraries.vega_converter() is None:
        return "install 'kernel-supervisor[pdf]' to have it drawn"
    return "it drew nothing" if figure.is_ours or figure.spec is not None else "scripts of others are not run"


def _replace(shown: Shown, where: str, output: Any, kind: str, why: str = "") -> None:
    shown.remarks.append(f"{where}: {kind} is not shown{f'; {why}' if why else ''}")
    output["data"] = placeholder(output.data, kind, why)
    output["metadata"] = {"kernel_supervisor": {_PLACEHOLDER: True}}


def is_placeholder(output: Any) -> bool:
    """Whether it stands for an output that is not shown."""
    return bool(output.get("metadata", {}).get("kernel_supervisor", {}).get(_PLACEHOLDER))
