"""Rendering that calls nobody's code: plain values, small tables, dictionaries and lists; and what is bounded how."""

from __future__ import annotations

import itertools
import pprint
import re
import sys
import types
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

LIMIT = 4000
"""Characters of a summary."""
TIME_S = 0.5
"""After this, the columns that are left are named with their type only."""
_LINE = 160
_CELL = 32
_FEW, _DEEP = 4, 3
"""So many elements of a list in a table are spelt out, and of so many lists in it."""
_LARGE = 20
_LONGEST, _BEGINNING = 25 * LIMIT, 1500
"""Characters that are laid out anew, and those of what is too long that are shown."""
_SCALAR = r"(?:[^\s,()\[\]{}'\"]+|np\.\w+\([^()\s]*\)|'(?:[^'\\]|\\.){0,40}'|\"[^\"\\]{0,40}\")"
_OPENED = re.compile(rf".*[\[({{]{_SCALAR},")
_ELEMENT = re.compile(rf" +({_SCALAR}(?:,|([\])}}]+,?)))")
"""The line before the second of several values, and one with nothing but one value, and what closes them."""
_SAMPLE = 10_000
_DATES = frozenset(("datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "decimal.Decimal"))
_PANDAS = (".Timestamp", ".Timedelta", ".Period", ".Interval", ".NAType", ".NaTType")
_PLAIN = frozenset(map(id, (int, float, complex, bool, str, bytes, type(None))))


def bounded(text: str) -> str:
    """`text` in at most LIMIT characters, cut at the end of a line."""
    if len(text) <= LIMIT:
        return text
    kept = text[: LIMIT - 40]
    return kept[: max(kept.rfind("\n"), LIMIT // 2)].rstrip() + "\n… (cut here)"


def loaded(module: str, name: str) -> Any:
    """What `module` has under `name`, if it is loaded; no module is asked, and none is imported."""
    found = sys.modules.get(module)
    if found is None or not issubclass(type(found), types.ModuleType):
        return None
    descriptor: Any = vars(types.ModuleType)["__dict__"]
    return descriptor.__get__(found).get(name)


def type_name(kind: type) -> str:
    """The class's name with its module; no metaclass is asked."""
    module = type.__dict__["__module__"].__get__(kind)
    name = str(type.__dict__["__qualname__"].__get__(kind))
    return name if type(module) is not str or module in ("builtins", "__main__") else module + "." + name


def public_name(kind: type) -> str:
    """`type_name`, if its module has this very class under that name, else nothing."""
    module, _, name = type_name(kind).rpartition(".")
    return module + "." + name if module and loaded(module, name) is kind else ""


def is_plain(value: Any) -> bool:
    """Whether hashing, comparing and showing it is nobody's code."""
    kind = type(value)
    if id(kind) in _PLAIN:
        return True
    numpy_scalar = loaded("numpy", "generic")
    if numpy_scalar is not None and issubclass(kind, numpy_scalar):
        return kind is not loaded("numpy", "void") and type_name(kind).startswith("numpy.")
    name = public_name(kind)
    return name in _DATES or (name.startswith("pandas.") and name.endswith(_PANDAS))


def short(value: Any, width: int = _CELL) -> str:
    """A plain value in at most `width` characters; the type of any other."""
    kind = type(value)
    if kind is str or kind is bytes:
        return clipped(value[: width + 1].__repr__(), width)
    if kind is int:
        return str(value) if value.bit_length() < 256 else f"int of {value.bit_length()} bits"
    if kind is float:
        return f"{value:.6g}"
    if kind is list or kind is tuple or kind is dict or kind is set:
        return f"{kind.__name__} of {len(value)}"
    return clipped(str(value), width) if is_plain(value) else f"<{clipped(type_name(kind), width)}>"


def clipped(text: str, width: int = _CELL) -> str:
    """`text` on one line of at most `width` characters."""
    text = text.replace("\n", "\\n")
    return text if len(text) <= width else text[: width - 1] + "…"


def cell(value: Any) -> str:
    """A value in a table: a string without its quotes, the beginning of a list or dictionary."""
    return clipped(value[: 2 * _CELL] if type(value) is str else _spelt(value, _DEEP))


def _spelt(value: Any, deep: int) -> str:
    kind = type(value)
    if not deep or (kind is not list and kind is not tuple and kind is not dict):
        return short(value)
    more = ", …" if len(value) > _FEW else ""
    if kind is dict:
        pairs = itertools.islice(value.items(), _FEW)
        return "{" + ", ".join(f"{short(key)}: {_spelt(each, deep - 1)}" for key, each in pairs) + more + "}"
    opening, closing = "[]" if kind is list else "()"
    return opening + ", ".join(_spelt(each, deep - 1) for each in value[:_FEW]) + more + closing


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.4g} TB"


def several(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, their columns under each other."""
    widths = [max(len(row[index]) for row in rows if index < len(row)) for index in range(max(map(len, rows)))]
    padded = ("  ".join(text.ljust(widths[index]) for index, text in enumerate(row)) for row in rows)
    return [clipped("  " + line.rstrip(), _LINE) for line in padded]


def missing(value: Any) -> bool:
    """None, NaN, pandas' NA and NaT; nothing else is compared."""
    if value is None or type(value) is float:
        return value is None or value != value
    return type(value).__name__ in ("NAType", "NaTType") and type_name(type(value)).startswith("pandas.")


def told(values: Sequence[Any]) -> str:
    """Range and commonest of some values, as far as they are plain."""
    there = [value for value in values if not missing(value)]
    if not there:
        return "all missing" if len(values) else "empty"
    kinds = Counter(type_name(type(value)) for value in there)
    if not all(is_plain(value) for value in there):
        return "values of " + ", ".join(name for name, _ in kinds.most_common(3))
    parts = []
    if len(kinds) == 1 and type(there[0]) not in (bool, str, bytes, complex):
        parts.append(f"{short(min(there))} … {short(max(there))}")
    counts = Counter(there)
    distinct = len(counts)
    parts.append(f"{distinct:,} distinct")
    if distinct <= len(there) // 2 or distinct < _LARGE:
        common = (f"{short(value)} {100.0 * count / len(there):.0f}%" for value, count in counts.most_common(4))
        parts.append(", ".join(common))
    return "; ".join(parts)


def large_mapping(value: Any, plain: str) -> str | None:
    """A dictionary with more than a few entries that are too long to read."""
    if len(plain) <= LIMIT or len(value) <= _LARGE:
        return None
    sample = list(itertools.islice(dict.items(value), _SAMPLE))
    first = sample[:8]
    lines = [f"{type_name(type(value))} of {len(value):,} entries, {size(sys.getsizeof(value))} without their contents"]
    lines.append("keys: " + _types((key for key, _ in sample), len(value), "the first"))
    lines.append("values: " + _types((each for _, each in sample), len(value), "the first"))
    if _say_something(each for _, each in first):
        lines += ["first:", *aligned([(short(key, 40), short(each, 80)) for key, each in first])]
    else:
        lines.append("first keys: " + ", ".join(short(key, 40) for key, _ in first))
    return "\n".join([*lines, *_as_shown(plain, [each for _, each in first])])


def large_sequence(value: Any, plain: str) -> str | None:
    """A list, tuple or set with more than a few elements that are too long to read."""
    if len(plain) <= LIMIT or len(value) <= _LARGE:
        return None
    ordered = type(value) is list or type(value) is tuple
    sample = [value[at] for at in spread(len(value), _SAMPLE)] if ordered else list(itertools.islice(value, _SAMPLE))
    first = list(itertools.islice(value, 8))
    weight = size(sys.getsizeof(value))
    lines = [f"{type_name(type(value))} of {len(value):,} elements, {weight} without their contents"]
    where = "" if len(sample) == len(value) else " in that sample" if ordered else " among these"
    lines.append("types: " + _types(sample, len(value), "a sample of" if ordered else "the first"))
    if all(map(is_plain, sample)):
        lines.append(f"values{where}: {told(sample)}")
    if _say_something(first):
        lines.append("first: " + ", ".join(short(each, 80) for each in first))
        if ordered:
            lines.append("last: " + ", ".join(short(each, 80) for each in value[-4:]))
    elif lengths := _lengths(sample):
        lines.append(f"lengths{where}: {lengths}")
    return "\n".join([*lines, *_as_shown(plain, first)])


def _say_something(values: Iterable[Any]) -> bool:
    """Whether what `short` has for values is more than their types."""
    return any(is_plain(each) for each in values)


def _lengths(values: Sequence[Any]) -> str:
    """How long containers are; empty where some of them are none of Python's own."""
    if not all(type(each) in (list, tuple, dict, set) for each in values):
        return ""
    least, most = min(map(len, values)), max(map(len, values))
    return f"{least:,}" if least == most else f"{least:,} … {most:,}"


def in_lines(value: Any, plain: str) -> str | None:
    """All of a container whose values stand one on a line each, several on a line; None where it is none or long."""
    if plain.count("\n") < _FEW or len(plain) > _LONGEST:
        return None
    short_ = len(plain) <= 3 * LIMIT and "..." not in plain and _is_flat(value, _DEEP)
    said = pprint.pformat(value, width=_LINE, compact=True, sort_dicts=False) if short_ else _joined(plain)
    fits = len(said) <= LIMIT or len(value) <= _LARGE
    return said if fits and said.count("\n") < plain.count("\n") else None


def _joined(plain: str) -> str:
    """The lines that have one plain value each joined to lines as long as can be read."""
    lines: list[str] = []
    goes_on = False
    for line in plain.split("\n"):
        found = _ELEMENT.fullmatch(line)
        if found is not None and goes_on and len(lines[-1]) + len(found[1]) < _LINE:
            lines[-1] += " " + found[1]
        else:
            lines.append(line)
        goes_on = not found[2] if found is not None else _OPENED.fullmatch(line) is not None
    return "\n".join(lines)


def _is_flat(value: Any, deep: int) -> bool:
    """Whether it consists of plain values alone, and no text that would be broken."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _LINE // 2
    if kind is dict:
        return deep > 0 and all(_is_flat(key, 0) and _is_flat(each, deep - 1) for key, each in value.items())
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return deep > 0 and all(_is_flat(each, deep - 1) for each in value)
    return is_plain(value)


def spread(count: int, wanted: int) -> list[int]:
    """About `wanted` of `count` places, at no regular distance, so that no pattern in the data fits it."""
    width = max(1, count // wanted)
    return [start + (start * 2654435761 >> 16) % width for start in range(0, count - width + 1, width)]


def _types(values: Iterable[Any], count: int, how: str) -> str:
    kinds = Counter(type_name(type(value)) for value in values)
    seen = sum(kinds.values())
    remark = "" if seen == count else f" (of {how} {seen:,})"
    return ", ".join(f"{name} × {n:,}" for name, n in kinds.most_common(5)) + remark


def _as_shown(plain: str, values: list[Any]) -> list[str]:
    """The beginning of `text/plain` where the elements say more than we can: it is computed already."""
    if all(map(is_plain, values)):
        return []
    begun = _joined(plain[: 4 * _BEGINNING].rpartition("\n")[0] or plain[:_BEGINNING])[:_BEGINNING]
    return ["it begins:", begun.rpartition("\n")[0] or begun]
