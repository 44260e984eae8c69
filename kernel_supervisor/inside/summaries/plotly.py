"""plotly's figures: their title, axes and panels, and of each trace how many points it has and where they go."""

from __future__ import annotations

from typing import Any

from .plain import clipped, short
from .traces import FEW, SAMPLE, are_numbers, count, course, listed, points, quoted, title_text

_AXES = (("x", "y"), ("lon", "lat"), ("theta", "r"), ("labels", "values"), ("locations", "z"))
"""What the points of a trace stand along, by the kind of its coordinates."""
_BESIDE = ("z", "open", "close")
"""What there is beside these."""
_PLANE = {*_BESIDE, "x", "y", "theta", "r"} - {"z"}
_HEAPS = ("histogram", "box", "violin")
"""What shows how many there are of each value: their order says nothing."""


def plotly_figure(spec: dict[str, Any]) -> str:
    """`spec` is what stands under plotly's own MIME type."""
    traces, layout = spec.get("data") or [], spec.get("layout") or {}
    said = [_tried(trace) for trace in traces[:FEW]]
    if len(traces) > FEW:
        names = ", ".join(_name(trace) for trace in traces[FEW : 3 * FEW])
        said.append(f"and {len(traces) - FEW} more: {names}{', …' if len(traces) > 3 * FEW else ''}")
    groups = title_text((layout.get("legend") or {}).get("title"))
    by = [f"by{quoted(groups)}"] if groups else []
    around = ", ".join([*_axes(layout), *_panels(layout), *by])
    return listed(f"plotly figure{quoted(title_text(layout.get('title')))}", said or ["nothing drawn"], around)


def _tried(trace: dict[str, Any]) -> str:
    """One that is of no known form spoils itself alone."""
    try:
        return _trace(trace)
    except Exception:  # noqa: BLE001 - its values are of any kind
        kind = str(trace.get("type", "scatter")) if type(trace) is dict else "something"
        return f"{clipped(kind)} with values that cannot be compared"


def _name(trace: Any) -> str:
    return (quoted(trace.get("name")).strip() if type(trace) is dict else "") or "unnamed"


def _trace(trace: dict[str, Any]) -> str:
    kind = str(trace.get("type", "scatter"))
    if kind.startswith("scatter") and "lines" in str(trace.get("mode", "")):
        kind = kind.replace("scatter", "line", 1)
    along, plane = _along(trace), _plane(trace.get("z"))
    many = max(map(count, along.values()), default=0)
    is_in_order = _PLANE.issuperset(along) and set(along) != {"x"} and kind not in _HEAPS
    size = f" of {plane}" if plane else f" of {many:,}" if many else ""
    return f"{kind}{size}{quoted(trace.get('name'))}{_shares(trace) or course(along, is_in_order)}"


def _along(trace: dict[str, Any]) -> dict[str, Any]:
    """The coordinates of its points, the one last that shows where they go."""
    keys = next((keys for keys in _AXES if any(trace.get(key) is not None for key in keys)), ())
    if trace.get("orientation") == "h" and count(trace.get("x")):
        keys = ("y", "x")
    found = {key: trace[key] for key in (*keys, *_BESIDE) if trace.get(key) is not None}
    return {key: _flat(each) if key == "z" else each for key, each in found.items()}


def _plane(z: Any) -> str:
    """The size of what has two dimensions, such as a heat map."""
    if type(z) is dict and type(z.get("shape")) is str:
        return str(z["shape"]).replace(", ", " × ")
    if type(z) in (list, tuple) and z and count(z[0]):
        return f"{len(z)} × {count(z[0])}"
    shape = getattr(z, "shape", ()) if type(z) is not dict and count(z) else ()
    return " × ".join(map(str, shape)) if len(shape) > 1 else ""


def _flat(z: Any) -> Any:
    """What has two dimensions in one."""
    if type(z) is dict:
        return {key: each for key, each in z.items() if key != "shape"}
    if type(z) in (list, tuple) and z and count(z[0]):
        rows = z if len(z) * count(z[0]) <= 10 * SAMPLE else []
        return [each for row in rows for each in points(row)]
    return z.ravel() if type(z) not in (list, tuple) else z


def _shares(trace: dict[str, Any]) -> str:
    """The few parts of a pie, each with what it amounts to."""
    labels, values = points(trace.get("labels")), points(trace.get("values"))
    if not labels or len(labels) != len(values) or not are_numbers(values) or trace.get("parents") is not None:
        return ""
    amounts: dict[str, float] = {}
    for label, value in zip(labels, values):  # noqa: B905 - Python 3.8
        amounts[str(label)] = amounts.get(str(label), 0) + value
    said = ", ".join(f"{short(label)} {short(value)}" for label, value in list(amounts.items())[:FEW])
    return f" ({said}{', …' if len(amounts) > FEW else ''})"


def _axes(layout: dict[str, Any]) -> list[str]:
    said: dict[str, None] = {}
    for key, axis in layout.items():
        if key[:5] in ("xaxis", "yaxis") and type(axis) is dict:
            title, log = quoted(title_text(axis.get("title"))), " (log)" if axis.get("type") == "log" else ""
            bounds = axis.get("range")
            shown = (
                f" shown from {short(bounds[0])} to {short(bounds[1])}"
                if bounds and count(bounds) == 2 and not log
                else ""
            )
            said.update({key[0] + title + log + shown: None} if title or log or shown else {})
    return list(said)[: 2 * FEW]


def _panels(layout: dict[str, Any]) -> list[str]:
    """How many pairs of axes there are, and what is written above them or into them."""
    notes = layout.get("annotations") or []
    texts = [quoted(note.get("text")) for note in notes[:FEW] if type(note) is dict and note.get("text")]
    panels = sum(key.startswith("xaxis") for key in layout)
    many = f"{panels} panels" if panels > 1 else ""
    noted = ", ".join(text.strip() for text in texts) + (", …" if len(notes) > FEW else "")
    if not texts:
        return [many] if many else []
    return [f"{many} {noted}" if many else f"noted {clipped(noted, 200)}"]
