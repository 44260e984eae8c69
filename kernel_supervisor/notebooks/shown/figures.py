"""Interactive figures (plotly, vega and altair, bokeh, any HTML with scripts): as pictures, and as pages offline.

What draws is the library's own JavaScript from the environment that made the figure; nothing comes from the network.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_supervisor import engines
from kernel_supervisor.notebooks.guarded import guard, new_permit, permitted
from kernel_supervisor.notebooks.shown import libraries
from kernel_supervisor.notebooks.shown.chromium import SCALE, BrowserError, pictures_of
from kernel_supervisor.outputs.figures import BOKEH, PLOTLY, vega_in

WIDEST, _TALLEST = 630, 880
"""The size of a page between its margins, in pixels as a browser has them."""
_JAVASCRIPT = "application/javascript"
_ALTAIR = "})({"
"""Where altair's HTML ends what draws, and gives it the figure."""
_STYLE = """<style>
body { margin: 0; background: white; font-family: sans-serif }
#ks-figure { display: inline-block; padding: 4px }
#ks-figure * { scrollbar-width: none }
</style>"""
BOKEH_FITS = """new MutationObserver(() => {
  for (const root of (window.Bokeh ? Bokeh.documents : []).flatMap(each => each.roots())) {
    if (root.width && !root.sizing_mode && !root.max_width) {
      const paper = document.querySelector(`[data-root-id="${root.id}"]`)?.closest(".ks-paper");
      if (paper) paper.style.maxWidth = `min(100%, ${root.width + 16}px)`;
      root.setv({max_width: root.width, aspect_ratio: root.width / root.height, sizing_mode: "scale_width"});
    }
  }
}).observe(document, {childList: true, subtree: true});"""
"""Has figures of a fixed width be no wider than the page, and their paper no wider than they are."""
_ALONGSIDE = {
    "plotly": "window.require = window.require || ((names, done) => done && done(window.Plotly));"
    "window.require.config = () => {};",
    "bokeh": "window.ksDrawn = new Promise(done => { const look = () => Bokeh.documents.length &&"
    " Bokeh.documents.every(each => each.is_idle) ? done() : setTimeout(look, 30); look(); });",
}
"""What their own markup needs: plotly may be asked for as notebooks once did; bokeh is asked when it has drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something that a library draws."""

    library: str
    """`plotly`, `vega`, `bokeh`, or empty for HTML that needs none."""
    spec: Any = None
    """What plotly and vega draw, as JSON."""
    markup: str = ""
    """What else is drawn, as HTML with its scripts."""
    is_ours: bool = False
    """Whether its own scripts may run."""

    @property
    def kind(self) -> str:
        """In words."""
        return {"plotly": "a plotly figure", "vega": "a vega figure", "bokeh": "a bokeh figure"}.get(
            self.library, "an output in HTML"
        )


def figure_of(data: Any, *, is_ours: bool) -> Figure | None:
    """The figure that a bundle is, None where no library that we know draws it."""
    if PLOTLY in data:
        return Figure(library="plotly", spec=data[PLOTLY])
    if vega := vega_in(data):
        return Figure(library="vega", spec=data[vega])
    markup = data.get("text/html", "")
    if BOKEH in data:
        return Figure(library="bokeh", markup=f"{markup}<script>{data.get(_JAVASCRIPT, '')}</script>", is_ours=is_ours)
    if (altair := markup.find(_ALTAIR, max(markup.find("vegaEmbed"), 0))) >= 0 and "vegaEmbed" in markup:
        with suppress(ValueError, RecursionError):
            spec = json.JSONDecoder().raw_decode(markup, altair + len(_ALTAIR) - 1)[0]
            return Figure(library="vega", spec=spec)
    if "Plotly.newPlot" in markup:
        return Figure(library="plotly", markup=libraries.without_addresses(markup)[0], is_ours=is_ours)
    bare, wanted = libraries.without_addresses(markup)
    return Figure(library=wanted[0], markup=bare, is_ours=is_ours) if wanted else None


def joined(outputs: Sequence[Any]) -> list[Any]:
    """`outputs` in which a bokeh figure is one: its place and its script come one after the other."""
    kept: list[Any] = []
    for output in outputs:
        data = output.get("data", {})
        before = kept[-1].get("data", {}) if kept else {}
        if BOKEH in data and _JAVASCRIPT in data and "data-root-id" in before.get("text/html", ""):
            place = kept.pop()
            data["text/html"] = place.data["text/html"]
        kept.append(output)
    return kept


class Draughtsman:
    """Makes pictures of figures, each but once; those of a notebook at the same time."""

    def __init__(self, folder: Path, environment: str, *, scale: int = SCALE) -> None:
        """`environment` is that of the kernel that made the figures; `scale` is how many pixels stand for one."""
        self._folder, self._environment, self._scale = folder, environment, scale
        self._known: dict[str, bytes] = {}
        self.why: str = ""
        """Why there are no pictures, where that is the same for all."""

    def draw(self, figures: Sequence[Figure]) -> list[bytes | None]:
        """A PNG of each, None for one that cannot be drawn."""
        keys = [_key(figure) for figure in figures]
        left = {key: figure for key, figure in zip(keys, figures, strict=True) if key not in self._known}
        pages = []
        for key, figure in left.items():
            if figure.library == "vega" and figure.spec is not None:
                self._keep(key, _by_converter(figure.spec, self._scale))
            else:
                pages.append((key, figure))
        self._by_browser(pages)
        return [self._known.get(key) for key in keys]

    def _by_browser(self, wanted: list[tuple[str, Figure]]) -> None:
        if not wanted:
            return
        if engines.browser() is None:
            self.why = "no Chromium or Chrome was found to draw it"
            return
        made = [(key, self._page(key, figure)) for key, figure in wanted if self._has_scripts(figure)]
        if not made:
            return
        try:
            drawn = pictures_of([page for _, page in made], self._folder, scale=self._scale)
        except BrowserError as error:
            self.why = f"the browser failed: {str(error).strip()[-200:]}"
            return
        for (key, _), picture in zip(made, drawn, strict=True):
            self._keep(key, picture)

    def _has_scripts(self, figure: Figure) -> bool:
        if not figure.library or libraries.scripts_of(figure.library, self._environment):
            return True
        self.why = f"the JavaScript of {figure.library} is not in the kernel's environment"
        return False

    def _page(self, key: str, figure: Figure) -> Path:
        page, permit = self._folder / f"figure-{key[:16]}.html", new_permit()
        scripts = libraries.scripts_of(figure.library, self._environment) if figure.library else ()
        if figure.spec is None and figure.library in _ALONGSIDE:
            scripts = (*scripts, _ALONGSIDE[figure.library])
        head = "".join(f"<script nonce={permit}>{inline(script)}</script>" for script in scripts)
        markup = permitted(figure.markup, permit) if figure.is_ours else figure.markup
        if figure.spec is not None:
            drawing = f"window.ksDrawn = {_call(figure, 'ks-plot', '{displayModeBar: false}')}"
            markup = f"<div id=ks-plot></div><script nonce={permit}>{drawing}</script>"
        body = f"<body>{head}<div id=ks-figure>{markup}</div></body>"
        text = f'<!DOCTYPE html><html><head><meta charset="utf-8">{_STYLE}</head>{body}</html>'
        page.write_text(text, encoding="utf-8", errors="replace")
        guard(page, permit)
        return page

    def _keep(self, key: str, picture: bytes | None) -> None:
        if picture is not None:
            self._known[key] = picture


def offline(figure: Figure, number: int) -> str:
    """HTML that draws the figure where its library's scripts are in the page already."""
    if figure.spec is None:
        return f'<div class="ks-wide">{figure.markup}</div>' if figure.library == "bokeh" else figure.markup
    place = f"ks-figure-{number}"
    drawing = _call(figure, place, "{responsive: true}")
    wide = " ks-wide" if figure.library == "plotly" or figure.spec.get("width") == "container" else ""
    return f'<div id="{place}" class="ks-figure{wide}"></div><script>{drawing}</script>'


def inline(script: str) -> str:
    """`script` as it can stand in a page."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)


def _call(figure: Figure, place: str, config: str) -> str:
    spec = _literal(figure.spec)
    if figure.library == "plotly":
        draws = f"Plotly.newPlot({_literal(place)}, figure.data, figure.layout, {{...figure.config, ...{config}}})"
        return f"(figure => {draws})({spec})"
    return f"vegaEmbed({_literal('#' + place)}, {spec}, {{actions: false}})"


def _literal(value: Any) -> str:
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _by_converter(spec: Any, scale: int) -> bytes | None:
    converter = libraries.vega_converter()
    if converter is None:
        return None
    draw = (
        converter.vegalite_to_png
        if "vega-lite" in str(spec.get("$schema", "lite vega-lite"))
        else converter.vega_to_png
    )
    try:
        return bytes(draw(dict(spec), scale=scale, allowed_base_urls=[]))
    except ValueError:  # as it says whatever is wrong with a figure
        return None


def _key(figure: Figure) -> str:
    said = json.dumps([figure.library, figure.spec, figure.markup, figure.is_ours], sort_keys=True)
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()


def as_output(picture: bytes) -> dict[str, Any]:
    """A picture as an output has it: its data, and the metadata by which it has the size that it was drawn for."""
    return {
        "data": {"image/png": base64.b64encode(picture).decode()},
        "metadata": {"image/png": _fitting(picture, SCALE)},
    }


def size_of(data: str) -> dict[str, int] | None:
    """The size that a PNG has on a page, of which a browser's pixels are 96 to the inch; None for what is no PNG."""
    with suppress(ValueError, struct.error):
        picture = base64.b64decode(data[:64])
        return _fitting(picture, 1) if picture.startswith(b"\x89PNG") else None
    return None


def _fitting(picture: bytes, scale: int) -> dict[str, int]:
    width, height = struct.unpack_from(">II", picture, 16)
    shrunk = scale * max(1.0, width / scale / WIDEST, height / scale / _TALLEST)
    return {"width": max(1, int(width / shrunk)), "height": max(1, int(height / shrunk))}
