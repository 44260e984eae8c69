"""What traces are made of, whoever draws them: their points as plain values, their range and their course, in words."""

from __future__ import annotations

import base64
import itertools
import math
import re
import struct
from typing import Any

from .plain import clipped, is_plain, loaded, missing, short, spread, type_name

FEW = 6
"""So many traces, groups or values are named one by one."""
SAMPLE = 10_000
"""About so many points are looked at where there are more than twice as many."""
_CODES = {"f8": "d", "f4": "f", "i1": "b", "i2": "h", "i4": "i", "u1": "B", "u2": "H", "u4": "I"}
"""plotly's names of types, as `struct` has them."""
_LARGEST = 1000
"""Bits of an integer that can be reckoned with as all other numbers."""
_FORMAT = re.compile(r"</?(?:b|i|em|strong|sub|sup|span|a)\b[^<>]*>")
_DAY = re.compile(r"\d{4}-\d\d(-\d\d)?([T ][\d:.]+(Z|[+-][\d:]+)?)?\Z")
_MIDNIGHT = re.compile(r"([T ]00:00(:00(\.0+)?)?|\.0+)\Z")


def quoted(title: Any) -> str:
    """A title, to follow what it is the title of."""
    return f" '{clipped(_FORMAT.sub('', title.replace('<br>', ' ')), 60)}'" if type(title) is str and title else ""


def title_text(title: Any) -> str:
    """The text of a title, which plotly and Vega-Lite let be an object."""
    text = title.get("text", "") if type(title) is dict else title
    if type(text) in (list, tuple):
        text = " ".join(line for line in text if type(line) is str)
    return text if type(text) is str else ""


def count(along: Any) -> int:
    """How many elements there are, also of plotly's binary form `{"dtype": "f8", "bdata": base64}`."""
    if type(along) is dict and type(along.get("bdata")) is str:
        width = "".join(filter(str.isdigit, str(along.get("dtype", "")))) or "1"
        return len(along["bdata"].rstrip("=")) * 3 // 4 // int(width)
    if type(along) in (list, tuple, memoryview) or _is(along, "numpy", "ndarray") or _is_column(along):
        return len(along)
    return 0


def points(along: Any) -> list[Any]:
    """The elements of a list, an array, a column or plotly's binary form, a sample of many; none of a plane."""
    places = sampled(count(along))
    if type(along) is dict:
        return _unpacked(along, places)
    if _is(along, "numpy", "ndarray"):
        if along.ndim != 1 or along.dtype.kind not in "iufbUMO":
            return []
        along = along if places is None else along[places]
        return list((along.astype("datetime64[s]") if along.dtype.kind == "M" else along).tolist())
    if _is(along, "pandas", "Series"):
        return list((along if places is None else along.iloc[places]).tolist())
    if _is(along, "polars", "Series"):
        return list((along if places is None else along.gather(places)).to_list())
    if not count(along):
        return []
    return list(along) if places is None else [along[place] for place in places]


def sampled(many: int) -> list[int] | None:
    """The places that are looked at of so many, the last one among them; None where all are."""
    return None if many <= 2 * SAMPLE else [*spread(many, SAMPLE)[:-1], many - 1]


def _is(value: Any, module: str, name: str) -> bool:
    return type(value) is loaded(module, name)


def _is_column(along: Any) -> bool:
    return _is(along, "pandas", "Series") or _is(along, "polars", "Series")


def _unpacked(along: dict[str, Any], places: list[int] | None) -> list[Any]:
    dtype = along.get("dtype")
    code = _CODES.get(dtype) if type(dtype) is str and "shape" not in along else None
    try:
        data = base64.b64decode(along["bdata"])
        if places is None:
            return [number for (number,) in struct.iter_unpack("<" + code, data)] if code else []
        size = struct.calcsize("<" + code) if code else 0
        return [struct.unpack_from("<" + code, data, size * place)[0] for place in places] if code else []
    except (ValueError, struct.error):
        return []


def extent(values: list[Any]) -> str:
    """Between which bounds numbers or dates lie, or which other values there are; empty where that says nothing."""
    there = [each for each in values if is_plain(each) and not missing(each) and not _is_endless(each)]
    if not there:
        return ""
    if are_numbers(there) or _are_dates(there):
        lowest, highest = _spelt(min(there)), _spelt(max(there))
        return lowest if lowest == highest else f"{lowest} … {highest}"
    distinct = list(dict.fromkeys(there))
    if len(distinct) > FEW:
        return f"{short(distinct[0])}, {short(distinct[1])} and {len(distinct) - 2:,} more"
    return ", ".join(map(short, distinct))


def listed(head: str, parts: list[str], tail: str = "") -> str:
    """What is said of some parts: of one beside the head, of several below it, each on a line of its own."""
    if len(parts) < 2:
        return head + ": " + ", ".join(filter(None, [*parts, tail]))
    lines = "".join("\n- " + part.replace("\n", "\n  ") for part in parts)
    return f"{head}: {tail}{lines}" if tail else head + ":" + lines


def course(along: dict[str, Any], is_in_order: bool = True) -> str:
    """What follows a trace's name: the extent of each of its axes, and where the last one goes along the first."""
    values = {name: points(each) for name, each in along.items()}
    said = {name: extent(each) for name, each in values.items()}
    parts = [f"{name} {text}" for name, text in said.items() if text]
    if parts and is_in_order and list(said.values())[-1]:
        parts[-1] += _trend(next(iter(values.values())) if len(values) > 1 else [], list(values.values())[-1])
    mark = "~ " if any(sampled(count(each)) for each in along.values()) else ""
    return f" ({mark}{'; '.join(parts)})" if parts else ""


def _trend(along: list[Any], values: list[Any]) -> str:
    """Where values end that are in order; how they go with what they are drawn along where that is in no order."""
    pairs = [pair for pair in itertools.zip_longest(along or range(len(values)), values) if _is_number(pair[1])]
    if len(pairs) < 2 or not are_numbers([value for value in values if not missing(value)]):
        return ""
    if _are_in_order([place for place, _value in pairs]):
        return f", first {_spelt(pairs[0][1])}, last {_spelt(pairs[-1][1])}"
    numbered = [pair for pair in pairs if _is_number(pair[0])]
    return _correlation(numbered) if len(numbered) > 2 else ""


def _are_in_order(places: list[Any]) -> bool:
    """Whether they rise, or are names of which each stands there once."""
    if are_numbers(places) or _are_dates(places):
        return all(not places[at] < places[at - 1] for at in range(1, len(places)))
    return all(map(is_plain, places)) and len(set(places)) == len(places)


def _correlation(pairs: list[Any]) -> str:
    xs, ys = [float(x) for x, _y in pairs], [float(y) for _x, y in pairs]
    x0, y0 = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    wide = math.sqrt(math.fsum((x - x0) ** 2 for x in xs) * math.fsum((y - y0) ** 2 for y in ys))
    both = math.fsum((x - x0) * (y - y0) for x, y in zip(xs, ys))  # noqa: B905 - Python 3.8
    return f", correlation {both / wide:.2f}" if wide > 0 else ""


def _is_number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and value.bit_length() < _LARGEST)


def _is_endless(value: Any) -> bool:
    return type(value) is float and not math.isfinite(value)


def are_numbers(values: list[Any]) -> bool:
    return all(type(each) in (int, float) for each in values)


def _are_dates(values: list[Any]) -> bool:
    kinds = {type(each) for each in values}
    if kinds == {str}:
        return all(len(each) < 40 and _DAY.match(each) for each in values)
    return len(kinds) == 1 and type_name(kinds.pop()).endswith((".datetime", ".date", ".Timestamp"))


def _spelt(value: Any) -> str:
    if type(value) in (int, float):
        return short(value)
    return clipped(_MIDNIGHT.sub("", value if type(value) is str else str(value)))
