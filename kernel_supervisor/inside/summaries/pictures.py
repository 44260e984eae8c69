"""Figures in one line: what is drawn. Models of scikit-learn: what they were set to, and whether they are fitted."""

from __future__ import annotations

import base64
import itertools
import math
import struct
from typing import Any

from .plain import clipped, loaded, short, type_name

_PLOTLY = "application/vnd.plotly.v1+json"
_VEGA = "application/vnd.vegalite.v"
_MANY = 6
_LONG = 100_000
_CODES = {"f8": "d", "f4": "f", "i1": "b", "i2": "h", "i4": "i", "u1": "B", "u2": "H", "u4": "I"}
"""plotly's names of types, as `struct` has them."""
_ALONG = ("x", "y", "z", "values", "lat", "r")


def matplotlib_figure(figure: Any, plain: str) -> str | None:
    """What stands on each of its axes."""
    axes = list(figure.axes)
    said = [_axes(each) for each in axes[:_MANY]]
    more = "; and %s more axes" % (len(axes) - _MANY) if len(axes) > _MANY else ""
    head = "matplotlib figure" if axes else "matplotlib figure, empty"
    title = figure._suptitle.get_text() if figure._suptitle is not None else ""
    return clipped("{}{}: {}{}".format(head, _quoted(title), "; ".join(said), more) if axes else head, 1000)


def _axes(axes: Any) -> str:
    if type(axes) is not loaded("matplotlib.axes", "Axes") and not type_name(type(axes)).startswith("matplotlib."):
        return type_name(type(axes))
    drawn = []
    for kind, artists in (("line", axes.lines), ("image", axes.images)):
        drawn += ["{} {}{}".format(len(artists), kind, "s" * (len(artists) != 1))] if len(artists) else []
    groups = {type_name(type(each)).rpartition(".")[2] for each in itertools.islice(axes.collections, 50)}
    drawn += sorted(groups)
    drawn += [f"{len(axes.patches)} patches"] if len(axes.patches) else []
    names = [str(line.get_label()) for line in list(axes.lines)[:_MANY]]
    labels = ", ".join(clipped(name) for name in names if not name.startswith("_"))
    parts = [" ".join(drawn) if len(drawn) < 2 else ", ".join(drawn) or "nothing drawn"]
    for axis, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())):
        parts.append(axis + _quoted(label) if label else "")
    parts.append("labelled " + labels if labels else "")
    return "axes{} with {}".format(_quoted(axes.get_title()), ", ".join(filter(None, parts)) or "nothing drawn")


def _quoted(title: Any) -> str:
    return f" '{clipped(title, 60)}'" if type(title) is str and title else ""


def bundle_summary(bundle: Any) -> str | None:
    """One line on the plotly or Vega-Lite figure in a MIME bundle; None where there is none."""
    for mime, spec in bundle.items():
        if type(mime) is str and type(spec) is dict:
            if mime == _PLOTLY:
                return clipped(_plotly(spec), 1000)
            if mime.startswith(_VEGA):
                return clipped("Vega-Lite figure{}: {}".format(_quoted(_title(spec.get("title"))), _vega(spec)), 1000)
    return None


def altair_chart(chart: Any, plain: str) -> str | None:
    """altair's charts from what they were made with: drawing them would run data transformers."""
    return clipped("altair chart" + _quoted(_held(chart).get("title")) + ": " + _vega(_spec(chart)), 1000)


def _held(thing: Any) -> dict[str, Any]:
    """The keywords of one of altair's own objects."""
    if not type_name(type(thing)).startswith("altair."):
        return {}
    held = vars(thing).get("_kwds")
    return held if type(held) is dict else {}


def _spec(chart: Any) -> dict[str, Any]:
    held = _held(chart)
    for key in ("layer", "hconcat", "vconcat", "concat"):
        if type(held.get(key)) is list:
            return {key: [_spec(part) for part in held[key][:_MANY]]}
    mark, channels = held.get("mark"), _held(held.get("encoding"))
    encoding = {channel: {"field": _held(how).get("shorthand")} for channel, how in channels.items() if _held(how)}
    return {"mark": mark if type(mark) is str else _held(mark).get("type", ""), "encoding": encoding}


def _plotly(spec: dict[str, Any]) -> str:
    traces, layout = spec.get("data") or [], spec.get("layout") or {}
    said = []
    for trace in traces[:_MANY]:
        along = next((trace[key] for key in _ALONG if trace.get(key) is not None), None)
        points = f" of {_count(along):,}" if _count(along) else ""
        kind, name = trace.get("type", "scatter"), _quoted(trace.get("name"))
        said.append(f"{kind}{points}{name}{_course(trace.get('y'))}")
    more = ["and %s more" % (len(traces) - _MANY)] if len(traces) > _MANY else []
    for axis in ("xaxis", "yaxis"):
        title = _title((layout.get(axis) or {}).get("title"))
        more += [axis[0] + _quoted(title)] if title else []
    drawn = ", ".join([*said, *more]) or "nothing drawn"
    return f"plotly figure{_quoted(_title(layout.get('title')))}: {drawn}"


def _count(along: Any) -> int:
    """The length of a list, also of plotly's binary form `{"dtype": "f8", "bdata": base64}`."""
    if type(along) is dict and type(along.get("bdata")) is str:
        width = "".join(filter(str.isdigit, str(along.get("dtype", "")))) or "1"
        return len(along["bdata"].rstrip("=")) * 3 // 4 // int(width)
    return len(along) if type(along) in (list, tuple) or type(along) is loaded("numpy", "ndarray") else 0


def _course(along: Any) -> str:
    """From where to where numbers go, and between which bounds, in words that follow a trace's name."""
    there = [each for each in _numbers(along) if type(each) in (int, float) and math.isfinite(each)]
    if len(there) < 2:
        return ""
    return f" (y {short(min(there))} … {short(max(there))}, first {short(there[0])}, last {short(there[-1])})"


def _numbers(along: Any) -> list[Any]:
    """The elements of a list, an array or plotly's binary form of one; none of what is large or has two dimensions."""
    if not 2 <= _count(along) <= _LONG:
        return []
    if type(along) is dict:
        dtype = along.get("dtype")
        code = _CODES.get(dtype) if type(dtype) is str and "shape" not in along else None
        try:
            data = base64.b64decode(along["bdata"])
            return [number for (number,) in struct.iter_unpack("<" + code, data)] if code else []
        except (ValueError, struct.error):
            return []
    if type(along) in (list, tuple):
        return list(along)
    return list(along.tolist()) if along.ndim == 1 and along.dtype.kind in "iuf" else []


def _title(title: Any) -> str:
    text = title.get("text", "") if type(title) is dict else title
    return text if type(text) is str else ""


def _vega(spec: dict[str, Any]) -> str:
    for key in ("layer", "hconcat", "vconcat", "concat"):
        parts = spec.get(key)
        if type(parts) is list:
            return "{} of {}: {}".format(key, len(parts), "; ".join(_vega(part) for part in parts[:_MANY]))
    if type(spec.get("spec")) is dict:
        return "repeated or faceted " + _vega(spec["spec"])
    mark = spec.get("mark")
    name = mark.get("type", "") if type(mark) is dict else mark
    said = [f"{channel} {_channel(how)}" for channel, how in list((spec.get("encoding") or {}).items())[:_MANY]]
    rows = next((len(rows) for rows in (spec.get("datasets") or {}).values() if type(rows) is list), None)
    drawn = ", ".join(said) or "nothing"
    return short(name).strip("'") + f" of {drawn}" + ("" if rows is None else f", {rows} rows")


def _channel(how: Any) -> str:
    if type(how) is not dict:
        return ""
    field = how.get("field")
    call = how.get("aggregate")
    said = clipped(field) if type(field) is str else ""
    return f"{call}({said})" if type(call) is str else said or "fixed"


def estimator(model: Any, plain: str) -> str | None:
    """The parameters that `text/plain` names, and the attributes that fitting gives; no attribute is computed."""
    if not _is_estimator(model):
        return None
    held = _fitted(model)
    if held:
        learnt = (f"{name} = {_learnt(value)}" for name, value in itertools.islice(held.items(), 20))
        state = "fitted: " + ", ".join(learnt)
    elif _steps(model):
        done = [name for name, step in _steps(model) if _is_fitted(step)]
        state = "fitted: " + ", ".join(map(clipped, done[:20])) if done else "not fitted"
    else:
        state = "" if _tells_itself(model) else "not fitted"
    return f"{plain[:1500]}\n{state}" if state else None


def _is_estimator(model: Any) -> bool:
    base = loaded("sklearn.base", "BaseEstimator")
    return base is not None and issubclass(type(model), base) and type(getattr(model, "__dict__", None)) is dict


def _fitted(model: Any) -> dict[str, Any]:
    """By scikit-learn's convention: what fitting gives has a name that ends in `_`."""
    held = vars(model).items()
    return {name: value for name, value in held if type(name) is str and name.endswith("_") and name[0] != "_"}


def _steps(model: Any) -> list[tuple[str, Any]]:
    """What a Pipeline or FeatureUnion consists of: it is as fitted as they are, and has no such attribute itself."""
    parts = vars(model).get("steps") or vars(model).get("transformer_list")
    pairs = parts if type(parts) is list else []
    return [(pair[0], pair[1]) for pair in pairs if type(pair) is tuple and len(pair) == 2 and type(pair[0]) is str]


def _is_fitted(model: Any) -> bool:
    if not _is_estimator(model):
        return False
    return bool(_fitted(model)) or any(_is_fitted(step) for _name, step in _steps(model))


def _tells_itself(model: Any) -> bool:
    """Whether its class has an answer of its own, as of one that has nothing to learn."""
    mro = type.__dict__["__mro__"].__get__(type(model))
    return any("__sklearn_is_fitted__" in type.__dict__["__dict__"].__get__(kind) for kind in mro)


def _learnt(value: Any) -> str:
    if type(value) is not loaded("numpy", "ndarray"):
        return short(value, 60)
    few = value.size <= 8 and value.dtype.kind in "biufUS"
    return clipped(str(value.tolist()), 80) if few else f"array {value.shape} {value.dtype}"
