"""Vega-Lite's figures, and altair's charts from what they were made with: drawing them would run data transformers."""

from __future__ import annotations

import re
from typing import Any, Callable

from .plain import clipped, loaded, short, type_name
from .tables import pandas_known
from .traces import FEW, course, extent, listed, points, quoted, sampled, title_text

_PARTS = ("layer", "hconcat", "vconcat", "concat")
_GROUPS = ("color", "shape", "strokeDash", "detail", "column", "row", "facet", "xOffset", "yOffset")
_ALTERED = ("aggregate", "bin", "timeUnit")
"""What has a channel show something else than the column itself."""
_SHORTHAND = re.compile(r"(?:(\w+)\()?([^()]*?)\)?(?::(\w+))?\Z")
_DEEP = 12
_AGGREGATES: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "sum": sum,
    "min": min,
    "max": max,
    "mean": lambda values: sum(values) / len(values),
    "average": lambda values: sum(values) / len(values),
    "median": lambda values: sorted(values)[len(values) // 2],
}


class Rows:
    """The rows that a figure draws, wherever they are."""

    def __init__(self, data: Any, sets: Any) -> None:
        if type(data) is dict:
            named = sets.get(data.get("name")) if type(sets) is dict else None
            data = data.get("url") or data.get("values") or named
        self.data = data
        self.is_frame = any(type(data) is loaded(module, "DataFrame") for module in ("pandas", "polars"))
        self.is_list = type(data) is list and all(type(row) is dict for row in data)
        self.places = sampled(len(data)) if self.is_frame or self.is_list else None

    def said(self) -> str:
        """How many there are, or where they come from."""
        if type(self.data) is str:
            return f"data from {clipped(self.data, 80)}"
        many = len(self.data) if self.is_frame or self.is_list else None
        sample = "" if self.places is None else f" (~ from {len(self.places):,} of them)"
        return "" if many is None else f"{many:,} row{'s' * (many != 1)}{sample}"

    def column(self, name: Any) -> list[Any]:
        """The values of one column, or of a sample of many rows; none where there is no such column."""
        if type(name) is not str or not (self.is_frame or self.is_list):
            return []
        if self.is_list:
            rows = self.data if self.places is None else [self.data[place] for place in self.places]
            return [row.get(name) for row in rows] if any(name in row for row in rows) else []
        if name not in self.data.columns:
            return []
        column = self.data[name]
        return points(column) if type(column) is loaded("polars", "Series") or pandas_known(column.dtype) else []


def vega_figure(spec: dict[str, Any]) -> str:
    """`spec` is what stands under Vega-Lite's own MIME type."""
    sets = spec.get("datasets")
    if spec.get("data") is None and type(sets) is dict and len(sets) == 1:
        spec = {**spec, "data": {"values": next(iter(sets.values()))}}
    return _view(f"Vega-Lite figure{_titled(spec)}", spec, Rows(None, None), sets)


def altair_chart(chart: Any, plain: str) -> str | None:
    """altair's charts, of all kinds."""
    spec = _spec(chart, _DEEP)
    return _view(f"altair chart{_titled(spec)}", spec, Rows(None, None), spec.get("datasets"))


def _spec(thing: Any, deep: int) -> Any:
    """One of altair's own objects as Vega-Lite would have it; data frames stay what they are."""
    kind = type(thing)
    if not deep:
        return None
    if kind is list:
        return [_spec(each, deep - 1) for each in thing] if len(thing) <= 50 else thing
    if not type_name(kind).startswith("altair."):
        return thing
    held = vars(thing).get("_kwds")
    if type(held) is not dict:
        return None
    found = {name: _spec(each, deep - 1) for name, each in held.items() if not _is_undefined(each)}
    if type(found.get("shorthand")) is str:
        found.update(_unfolded(found.pop("shorthand")))
    elif "shorthand" in found:
        found["field"] = found.pop("shorthand")
    return found


def _is_undefined(value: Any) -> bool:
    return type_name(type(value)).endswith(".UndefinedType")


def _unfolded(shorthand: str) -> dict[str, str]:
    """altair's `mean(height):Q` in Vega-Lite's words."""
    found = _SHORTHAND.match(shorthand)
    call, name = (found[1], found[2]) if found else (None, shorthand)
    return {**({"aggregate": call} if call else {}), **({"field": name} if name else {})}


def _titled(spec: Any) -> str:
    title = spec.get("title")
    below = title_text(title.get("subtitle")) if type(title) is dict else ""
    return quoted(title_text(title)) + (f", {clipped(below, 80)}" if below else "")


def _view(head: str, spec: dict[str, Any], rows: Rows, sets: Any) -> str:
    """What one view draws, and the views in it, behind `head`; `rows` are those of the view around it."""
    rows = Rows(spec["data"], sets) if spec.get("data") is not None else rows
    for key in _PARTS:
        parts = spec.get(key)
        if type(parts) is list:
            titles = [_titled(part) for part in parts[:FEW]]
            shared = titles[0] if key == "layer" and len(set(titles)) == 1 else ""  # as it stands above all of them
            head += "" if head.endswith(shared) else shared
            inner = [
                _view("" if shared else title.strip(), part, rows, sets)
                for title, part in zip(titles, parts)  # noqa: B905 - Python 3.8
            ]
            more = [f"and {len(parts) - FEW} more"] if len(parts) > FEW else []
            return listed(_joined(head, f"{key} of {len(parts)}"), [*inner, *more])
    if type(spec.get("spec")) is dict:
        return _view(_joined(head, _repeated(spec, rows)), spec["spec"], rows, sets)
    mark = spec.get("mark")
    name = mark.get("type", "") if type(mark) is dict else mark
    channels = {key: how for key, how in (spec.get("encoding") or {}).items() if type(how) is dict}
    drawn = [f"{key} {_channel(how, rows)}" for key, how in list(channels.items())[: 2 * FEW]]
    drawing = short(name).strip("'") + f" of {', '.join(drawn) or 'nothing'}"
    before = "before its transforms" if spec.get("transform") else ""
    key, groups = _where(channels, rows)
    said = "; ".join(filter(None, [drawing, *(groups if not key else []), rows.said(), before]))
    return listed(_joined(head, said) + f"; by {key}", groups) if key else _joined(head, said)


def _joined(head: str, said: str) -> str:
    return f"{head}: {said}" if head else said


def _repeated(spec: dict[str, Any], rows: Rows) -> str:
    """How a view stands there several times: for each group, or for each of some columns."""
    facet, repeat = spec.get("facet"), spec.get("repeat")
    channels = facet.values() if type(facet) is dict and "field" not in facet else [facet]
    by = [_channel(how, rows) + _groups(how, rows) for how in channels if type(how) is dict]
    over = repeat.values() if type(repeat) is dict else [repeat]
    by += [", ".join(map(clipped, map(str, names[:FEW]))) for names in over if type(names) is list]
    return ("faceted by " if facet else "repeated for ") + " and ".join(by)


def _channel(how: dict[str, Any], rows: Rows) -> str:
    field, call = how.get("field"), how.get("aggregate")
    said = clipped(field) if type(field) is str else ""
    if type(field) is dict and type(field.get("repeat")) is str:
        said = f"each {field['repeat']}"
    said = f"{call}({said})" if type(call) is str else said or "fixed"
    said += " binned" if how.get("bin") not in (None, False) else ""
    said += f" by {how['timeUnit']}" if type(how.get("timeUnit")) is str else ""
    axis = how.get("axis")
    return said + quoted(title_text(how.get("title") or (axis.get("title") if type(axis) is dict else "")))


def _groups(how: dict[str, Any], rows: Rows) -> str:
    values = extent(rows.column(how.get("field")))
    return f" ({values})" if values else ""


def _where(channels: dict[str, Any], rows: Rows) -> tuple[str, list[str]]:
    """Where what is drawn goes: all of it, or each of its few groups by the name of their column."""
    x, y = channels.get("x") or {}, channels.get("y") or {}
    key, groups = _grouping(channels, rows)
    if not groups:
        return "", [_goes(x, y, rows, None).strip(" ()")]
    said = []
    for group in list(dict.fromkeys(groups))[:FEW]:
        places = [place for place, each in enumerate(groups) if each == group]
        many = f"× {len(places):,}" if rows.places is None else f"~ {100 * len(places) / len(groups):.0f}%"
        said.append(f"{short(group)} {many}{_goes(x, y, rows, places)}")
    more = len(set(groups)) - len(said)
    return key, [*said, f"and {more:,} more"] if more else said


def _grouping(channels: dict[str, Any], rows: Rows) -> tuple[str, list[Any]]:
    """The first channel that shows groups, and the group of each row; nothing where none does."""
    for key in _GROUPS:
        how = channels.get(key) or {}
        values = rows.column(how.get("field")) if not any(name in how for name in _ALTERED) else []
        if values and all(type(each) in (str, bool) for each in values):
            return str(how["field"]), values
    return "", []


def _goes(x: dict[str, Any], y: dict[str, Any], rows: Rows, places: list[int] | None) -> str:
    """The course of what is drawn along one axis, of some of the rows."""
    along, value, names = (y, x, ("y", "x")) if "aggregate" in x and "aggregate" not in y else (x, y, ("x", "y"))
    there, drawn = _taken(along, rows, places), _taken(value, rows, places)
    if "aggregate" in along:  # so is the other one: all rows are one place
        there, drawn = (_all_in_one(each, how, rows) for each, how in ((there, along), (drawn, value)))
    elif "timeUnit" in along:
        there, drawn = [], []
    elif any(name in along for name in _ALTERED):
        drawn = []
    elif "aggregate" in value and (rows.places is None or value["aggregate"] not in ("sum", "count")):
        there, drawn = _aggregated(there, drawn, str(value["aggregate"]))
    elif any(name in value for name in _ALTERED):
        drawn = []
    found = {name: each for name, each in zip(names, (there, drawn)) if each}  # noqa: B905 - Python 3.8
    return course(found, bool(drawn))


def _taken(how: dict[str, Any], rows: Rows, places: list[int] | None) -> list[Any]:
    column = rows.column(how.get("field"))
    return column if places is None or not column else [column[place] for place in places]


def _all_in_one(values: list[Any], how: dict[str, Any], rows: Rows) -> list[Any]:
    """What Vega-Lite computes of all values; nothing where a sample does not tell, or nobody knows how."""
    call = str(how.get("aggregate"))
    apply = _AGGREGATES.get(call)
    there = [value for value in values if value is not None and value == value]
    try:
        return [apply(there)] if apply and there and rows.places is None else []
    except TypeError:
        return []


def _aggregated(there: list[Any], values: list[Any], call: str) -> tuple[list[Any], list[Any]]:
    """For each place along the axis what Vega-Lite computes there."""
    apply = _AGGREGATES.get(call)
    collected: dict[Any, list[Any]] = {}
    for place, value in zip(there, values or there):  # noqa: B905 - Python 3.8
        if value is not None and value == value:
            collected.setdefault(place, []).append(value)
    if not there and apply:
        return [], [apply(values)] if values else []
    try:
        ordered = dict(sorted(collected.items()))
        return list(ordered), [apply(each) for each in ordered.values()] if apply else []
    except TypeError:
        return there, []
