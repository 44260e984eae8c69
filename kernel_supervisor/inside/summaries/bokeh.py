"""bokeh's figures: their title and axes, and of each glyph how many points it has and where they go.

A model is read as its properties were set, without asking it: defaults are computed. One that was shown is read from
the script that draws it, where the same properties stand as JSON.
"""

from __future__ import annotations

import base64
import datetime
import json
import sys
import zlib
from typing import Any

from .plain import short, type_name
from .traces import FEW, count, course, extent, listed, points, quoted

EXEC, LOAD = "application/vnd.bokehjs_exec.v0+json", "application/vnd.bokehjs_load.v0+json"
_SCRIPT = "application/javascript"
_DOCUMENTS = "docs_json = "
_ALONG = (("x", "y"), ("x", "top"), ("y", "right"), ("xs", "ys"), ("left", "top"), ("x0", "y0"), ("x", "x"))
"""What the points of a glyph stand along, by its kind."""
_CODES: dict[str, Any] = {"float64": "d", "float32": "f", "int8": "b", "int16": "h", "int32": "i", "int64": "q"}
_CODES.update({"uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q"})
_EPOCH = datetime.datetime(1970, 1, 1)
_DEEP, _MANY = 6, 24
_MOST = 200_000_000
"""Bytes of an array that is unpacked."""
Reader = Any
"""Reads a property of a model: `reader(model, name)`."""


def bokeh_model(model: Any, plain: str) -> str | None:
    """A figure, or a layout with figures in it; None for other models."""
    return _told(model, _property)


def bokeh_script(bundle: dict[str, Any]) -> str | None:
    """What the script of a bundle draws, or loads."""
    if LOAD in bundle:
        return "bokeh is ready to show figures here"
    script = str(bundle.get(_SCRIPT))
    start = script.find(_DOCUMENTS)
    if start < 0:
        return None
    return documents_summary(json.JSONDecoder().raw_decode(script, start + len(_DOCUMENTS))[0])


def documents_summary(documents: dict[str, Any]) -> str | None:
    """What bokeh's documents show, as they stand in a script or a page."""
    known: dict[str, Any] = {}
    _collect(documents, known)
    roots = [root for document in documents.values() for root in document.get("roots", ())]
    said = [_told(root, lambda node, name: _attribute(node, name, known)) for root in roots[:FEW]]
    return "; ".join(filter(None, said)) or None


def _property(model: Any, name: str) -> Any:
    """What a model's property was set to; its kind for no name."""
    kind = type_name(type(model))
    if not kind.startswith("bokeh."):
        return None
    return _bare(vars(model).get("_property_values", {}).get(name)) if name else kind.rpartition(".")[2].lower()


def _bare(value: Any) -> Any:
    """bokeh's own lists and dictionaries, and its marks of a field or value, as ordinary ones."""
    name = type_name(type(value))
    if name.startswith("bokeh.") and issubclass(type(value), list):
        return list.copy(value)
    if name.startswith("bokeh.") and issubclass(type(value), dict):
        return {key: _bare(each) for key, each in dict.items(value)}
    if name.startswith("bokeh.") and name.endswith((".Field", ".Value")):
        key = name.rpartition(".")[2].lower()
        return {key: vars(value).get(key)}
    return value


def _collect(node: Any, known: dict[str, Any]) -> None:
    """All objects in a document, by their id."""
    if type(node) is dict:
        if "attributes" in node or node.get("type") == "object":
            known[str(node.get("id"))] = node
        for each in node.values():
            _collect(each, known)
    elif type(node) is list and node and type(node[0]) in (dict, list):
        for each in node:
            _collect(each, known)


def _attribute(node: Any, name: str, known: dict[str, Any]) -> Any:
    """As `_property`, of an object in a document."""
    node = known.get(str(node.get("id"))) if type(node) is dict else None
    if node is None:
        return None
    return _plain(node.get("attributes", {}).get(name)) if name else str(node.get("name")).lower()


def _plain(value: Any) -> Any:
    form = value.get("type") if type(value) is dict else None
    if form == "map":
        return {str(key): _plain(each) for key, each in value.get("entries", ())}
    return _unpacked(value) if form == "ndarray" else value


def _unpacked(array: dict[str, Any]) -> Any:
    """The numbers of an array, which newer versions compress."""
    held, code = array["array"], _CODES.get(array.get("dtype", ""))
    if type(held) is list:
        return held
    if not code or len(array["shape"]) != 1 or array.get("order", sys.byteorder) != sys.byteorder:
        return []
    data = base64.b64decode(held["data"])
    if data[:2] == b"\x1f\x8b":
        data = zlib.decompressobj(31).decompress(data, _MOST)
    return memoryview(data).cast(code)


def _told(root: Any, read: Reader) -> str | None:
    figures = _figures(root, read, _DEEP)
    if not figures:
        return None
    if read(root, "") in ("figure", "plot"):
        return _figure("bokeh figure", root, read)
    said = [_figure("figure", figure, read) for figure in figures[:FEW]]
    more = [f"and {len(figures) - FEW} more"] if len(figures) > FEW else []
    many = "1 figure" if len(figures) == 1 else f"{len(figures)} figures"
    return listed(f"bokeh {read(root, '')} of {many}", [*said, *more])


def _figures(model: Any, read: Reader, deep: int) -> list[Any]:
    """The figures in a layout, a grid or tabs."""
    kind = read(model, "")
    if kind in ("figure", "plot"):
        return [model]
    found: list[Any] = []
    for name in ("children", "tabs", "child") if deep and kind else ():
        held = read(model, name)
        for each in (held if type(held) is list else [held])[:_MANY]:
            found += _figures(each[0] if type(each) in (list, tuple) and each else each, read, deep - 1)
    return found


def _figure(head: str, figure: Any, read: Reader) -> str:
    renderers = read(figure, "renderers") or []
    names = _legend(figure, read)
    dated = [name for name, axis in _axes(figure, read) if read(axis, "") == "datetimeaxis"]
    drawn = [text for text in (_glyph(each, names, dated, read) for each in renderers[:_MANY]) if text]
    more = [f"and {len(renderers) - FEW} more"] if len(renderers) > FEW else []
    title = quoted(read(read(figure, "title"), "text"))
    return listed(head + title, [*drawn[:FEW], *more] or ["nothing drawn"], ", ".join(_scales(figure, read)))


def _legend(figure: Any, read: Reader) -> dict[Any, list[Any]]:
    """What the legend calls each renderer: texts, or the column that holds its groups."""
    names: dict[Any, list[Any]] = {}
    for place in ("center", "right", "left", "above", "below"):
        for part in read(figure, place) or ():
            for item in (read(part, "items") or ()) if read(part, "") == "legend" else ():
                for renderer in read(item, "renderers") or ():
                    names.setdefault(_identity(renderer), []).append(read(item, "label"))
    return names


def _identity(model: Any) -> Any:
    return model.get("id") if type(model) is dict else id(model)


def _glyph(renderer: Any, names: dict[Any, list[Any]], dated: list[str], read: Reader) -> str:
    glyph, data = read(renderer, "glyph"), read(read(renderer, "data_source"), "data")
    if type(data) is not dict or glyph is None:
        return ""
    where = {key: _column(read(glyph, key), data) for keys in _ALONG for key in keys}
    keys = next((keys for keys in _ALONG if all(len(where[key]) for key in keys)), ("x",))
    many = max(map(len, data.values()), default=0)
    along = {key: _dates(where[key]) if key[0] in dated else where[key] for key in keys}
    return f"{read(glyph, '')} of {many:,}{_called(names.get(_identity(renderer)) or [], data)}{course(along)}"


def _called(labels: list[Any], data: dict[str, Any]) -> str:
    """What the legend calls it, or the groups that it tells apart."""
    if len(labels) == 1 and type(labels[0]) is dict and "field" in labels[0]:
        groups = extent(points(_column(labels[0], data)))
        return quoted(labels[0]["field"]).replace(" ", " by ", 1) + (f": {groups}" if groups else "")
    texts = [label.get("value") if type(label) is dict else label for label in labels]
    return ",".join(quoted(text) for text in texts[:FEW]) + (", …" if len(texts) > FEW else "")


def _dates(column: Any) -> list[Any]:
    """Milliseconds since 1970, as a document has them, as dates."""
    return [
        _EPOCH + datetime.timedelta(milliseconds=each) if type(each) in (int, float) and abs(each) < 1e14 else each
        for each in points(column)
    ]


def _column(spec: Any, data: dict[str, Any]) -> Any:
    """The column that a property of a glyph stands for."""
    name = spec.get("field") if type(spec) is dict else spec
    found = data.get(name) if type(name) is str else None
    return found if count(found) else []


def _axes(figure: Any, read: Reader) -> list[tuple[str, Any]]:
    """Its axes, each with its direction."""
    sides = (("x", "below"), ("x", "above"), ("y", "left"), ("y", "right"))
    return [(name, axis) for name, side in sides for axis in (read(figure, side) or ())[:FEW]]


def _scales(figure: Any, read: Reader) -> list[str]:
    """What its axes are called, and which part of them is shown where that is fixed."""
    said = []
    for name, axis in _axes(figure, read):
        title, log = quoted(read(axis, "axis_label")), " (log)" if read(axis, "") == "logaxis" else ""
        said += [name + title + log] if title or log else []
    for name in ("x", "y"):
        bounds = read(figure, f"{name}_range")
        if read(bounds, "") == "range1d":
            first, last = read(bounds, "start"), read(bounds, "end")
            said.append(f"{name} shown from {short(first or 0)} to {short(1 if last is None else last)}")
    return said
