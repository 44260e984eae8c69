"""Promise: a map says in words what it shows."""

from __future__ import annotations

import html

from kernel_supervisor.notebooks.shown.stills import map_said, with_map_said

_DRAWS = 'var m = L.map("m", {center: [48.0, -11.5], ...{"zoom": 5}}); L.marker([1, 2]).addTo(m); L.marker([3, 4]);'
_MAP = (
    "<div><span style='color:#565656'>Make this Notebook Trusted to load map: File -> Trust Notebook</span>"
    f'<iframe srcdoc="{html.escape(_DRAWS)} L.polygon([])"></iframe></div>'
)


def test_a_map_says_where_it_is_and_what_is_on_it() -> None:
    assert map_said(_MAP) == "A map around 48, -11.5 at zoom 5, with 2 markers and 1 shape"
    assert map_said("<p>no map, but a center: [1, 2]</p>") == ""


def test_nobody_is_told_to_trust_a_document() -> None:
    said = with_map_said(_MAP, "cdn.example.org")
    assert "Trust" not in said
    assert "with 2 markers and 1 shape; it is drawn where cdn.example.org can be reached." in said
