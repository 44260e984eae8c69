"""Tables: pandas, polars, pyarrow. What is large is sampled, and said so."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from .arrays import EXACT, lacking, numbers
from .plain import LIMIT, TIME_S, aligned, cell, clipped, loaded, missing, several, short, size, spread, told, type_name

_VERBATIM_ROWS, _VERBATIM_COLUMNS = 30, 12
_DESCRIBED, _SHOWN = 30, 8
_OTHERS = slice(_DESCRIBED, 10_000 + _DESCRIBED)
_HEAD, _TAIL = 5, 3
_SAMPLE = 20_000
_WIDE = 160
_PANDAS_USUAL = (("max_colwidth", 50), ("precision", 6), ("float_format", None), ("min_rows", 10))
"""Of pandas' display options, those that say how values and rows are shown."""
_POLARS_VARIABLES = ("POLARS_FMT_", "POLARS_TABLE_WIDTH")
_POLARS_USUAL = {
    "set_fmt_float": "mixed",
    "set_thousands_separator": "",
    "set_decimal_separator": ".",
    "set_trim_decimal_zeros": False,
}


def pandas_frame(frame: Any, plain: str) -> str | None:
    """pandas.DataFrame; None where it is short, or where display.max_rows was raised to show it whole."""
    rows, columns = frame.shape
    if columns <= _max_columns() and rows <= _verbatim_rows():
        return _unwrapped(frame, plain)
    head = f"pandas DataFrame: {_shape(frame.shape)}"
    if columns <= 1000:
        held = "" if all(map(_is_plain, [*frame.dtypes, frame.index.dtype])) else " without what objects hold"
        head += f", {size(int(frame.memory_usage(deep=False).sum()))}{held}"
    names = frame.columns[:_DESCRIBED].tolist()
    series = [frame.iloc[:, at] for at in range(len(names))]
    lines = _table([head, *_index(frame.index)], frame.shape, names, series, _pandas_column, frame.dtypes.iloc[_OTHERS])
    if _pandas_is_set():
        return _as_set(plain, lines)
    return "\n".join([*lines, *_ends(names, series, frame.shape, _pandas_cell, lambda at: _name(frame.index[at]))])


def _is_plain(dtype: Any) -> bool:
    """Whether the values of a column are in it, as numpy's numbers and times are, and not objects beside it."""
    return hasattr(dtype, "kind") and dtype.kind in "biufcmM" and type_name(type(dtype)).startswith("numpy.")


def _unwrapped(frame: Any, plain: str) -> str | None:
    """A small frame that pandas has wrapped for a screen of 80 columns, wider; None where it need not be."""
    option = sys.modules["pandas"].get_option
    if "\\\n" not in plain or option("display.width") != 80:
        return None
    said: str = frame.to_string(line_width=_WIDE, max_colwidth=option("display.max_colwidth"))
    return said if len(said) <= LIMIT else None


def _pandas_is_set() -> bool:
    """Whether the user has said how values are to be shown."""
    option = sys.modules["pandas"].get_option
    return any(option("display." + name) != usual for name, usual in _PANDAS_USUAL)


def _as_set(plain: str, lines: list[str]) -> str | None:
    """A table as its library shows it by the user's own settings, and what we say of it; None where that is long."""
    said = "\n".join([plain, "", *lines])
    return said if plain and len(said) <= LIMIT else None


def _max_columns() -> int:
    wanted = sys.modules["pandas"].get_option("display.max_columns")
    return sys.maxsize if wanted is None else max(_VERBATIM_COLUMNS, wanted if wanted != 20 else 0)


def _verbatim_rows() -> int:
    wanted = sys.modules["pandas"].get_option("display.max_rows")
    return sys.maxsize if wanted is None else int(wanted) if wanted > 60 else _VERBATIM_ROWS


def pandas_series(series: Any, plain: str) -> str | None:
    """pandas.Series."""
    rows = len(series)
    if rows <= _verbatim_rows():
        return None
    dtype, gone, values = _pandas_column(series, time.monotonic() + TIME_S)
    lines = [f"pandas Series {_name(series.name)}: {several(rows, 'value')}, {dtype}", *_index(series.index)]
    lines += [f"missing: {gone}", f"values: {values}", *_legend([values], rows)]
    if _pandas_is_set():
        return _as_set(plain, lines)
    lines += _ends([series.name], [series], (rows, 1), _pandas_cell, lambda at: _name(series.index[at]))
    return "\n".join(lines)


def pandas_known(dtype: Any) -> bool:
    """Whether it is a type of numpy's or pandas' own; arrays of other kinds run code of others."""
    numpy, name = loaded("numpy", "dtype"), type_name(type(dtype))
    return (numpy is not None and issubclass(type(dtype), numpy)) or name.startswith("pandas.")


def _pandas_column(series: Any, until: float) -> Any:
    dtype, rows = series.dtype, len(series)
    kind = clipped(str(dtype)) if pandas_known(dtype) else type_name(type(dtype))
    if time.monotonic() > until or not pandas_known(dtype):
        return kind, "?", "not looked into"
    if _is_plain(dtype):
        mark, values = "", series.to_numpy()
        if rows > EXACT:  # not by iloc: an old pandas writes a RangeIndex out for it
            mark, values = "~ ", values[spread(rows, _SAMPLE)]
        return kind, mark + _share(lacking(values), len(values)), mark + numbers(values)
    exact = rows <= _SAMPLE
    mark, listed = ("", series.tolist()) if exact else ("~ ", list(series.array.take(spread(rows, _SAMPLE))))
    return kind, mark + _share(sum(map(missing, listed)), len(listed)), mark + told(listed)


def _pandas_cell(series: Any, at: int) -> str:
    if not pandas_known(series.dtype):
        return "?"
    value = series.iloc[at]
    number = loaded("numpy", "number")
    if number is not None and issubclass(type(value), number):
        value = value.item()
    return cell(value) if not missing(value) else "NaN" if type(value) is float else str(value)


def _index(index: Any) -> list[str]:
    if not len(index) or not type_name(type(index)).startswith("pandas."):
        return []
    names = ", ".join(_name(name) for name in list(index.names)[:4] if name is not None)
    kind = type_name(type(index)).rpartition(".")[2]
    return ["index{}: {} {} … {}".format(" " + names if names else "", kind, _name(index[0]), _name(index[-1]))]


def _name(value: Any) -> str:
    if type(value) is tuple:
        return clipped(" / ".join(cell(part) for part in value[:4]), 40)
    return cell(value)


def pandas_styler(styler: Any, plain: str) -> str | None:
    """What a pandas.io.formats.style.Styler shows in colours, where the frame itself would be summarised."""
    said = pandas_frame(styler.data, plain)
    return said and said.replace("pandas DataFrame", "pandas Styler of a DataFrame", 1)


def polars_frame(frame: Any, plain: str) -> str | None:
    """polars.DataFrame, never a LazyFrame."""
    rows, columns = frame.shape
    if rows <= 10 and columns <= 8:
        return None
    head = f"polars DataFrame: {_shape(frame.shape)}, {size(frame.estimated_size())}"
    series = [frame.to_series(at) for at in range(min(columns, _DESCRIBED))]
    lines = _table([head], frame.shape, frame.columns, series, _polars_column, frame.dtypes[_OTHERS])
    if _polars_is_set():
        return _as_set(plain, lines)
    return "\n".join([*lines, *_ends(frame.columns, series, frame.shape, _polars_cell)])


def polars_series(series: Any, plain: str) -> str | None:
    """polars.Series."""
    rows = len(series)
    if rows <= 10:
        return None
    dtype, gone, values = _polars_column(series, time.monotonic() + TIME_S)
    lines = [f"polars Series {_name(series.name)}: {several(rows, 'value')}, {dtype}", f"missing: {gone}"]
    lines += [f"values: {values}", *_legend([values], rows)] if values else []
    if _polars_is_set():
        return _as_set(plain, lines)
    return "\n".join([*lines, *_ends([series.name], [series], (rows, 1), _polars_cell)])


def _polars_is_set() -> bool:
    """Its `Config` keeps in the environment what is set, and some of it in itself."""
    if any(name.startswith(_POLARS_VARIABLES) for name in os.environ):
        return True
    kept = sys.modules["polars"].Config.state(if_set=True).items()
    return any(name.startswith("set_") and value != _POLARS_USUAL.get(name) for name, value in kept)


def _polars_known(dtype: Any) -> bool:
    return str(dtype).partition("(")[0] not in ("Object", "Unknown", "Extension")


def _polars_column(series: Any, until: float) -> Any:
    rows, dtype = len(series), clipped(str(series.dtype), 40)
    if time.monotonic() > until or not _polars_known(series.dtype):
        return dtype, "?", "not looked into"
    gone = _share(series.null_count(), rows)
    if series.dtype.is_numeric() and not dtype.startswith("Decimal"):
        mark, some = ("", series) if rows <= EXACT else ("~ ", series.gather(spread(rows, _SAMPLE)))
        low, high, mean = some.min(), some.max(), some.mean()
        values = "" if low is None else f"{mark}{short(low)} … {short(high)}, mean {short(mean)}"
        return dtype, gone, values
    if series.dtype.is_nested():
        return dtype, gone, ""
    mark, some = ("", series) if rows <= _SAMPLE else ("~ ", series.gather(spread(rows, _SAMPLE)))
    return dtype, gone, mark + told(some.to_list())


def _polars_cell(series: Any, at: int) -> str:
    if not _polars_known(series.dtype):
        return "?"
    value = series[at]
    if type(value) is type(series):  # of a list or an array
        value = value.head(_SHOWN).to_list()
    return "null" if value is None else cell(value)


def arrow_table(table: Any, plain: str) -> str | None:
    """pyarrow's Table and RecordBatch: a schema, missing values, the first and last rows."""
    rows, columns, kind = table.num_rows, table.num_columns, type_name(type(table)).rpartition(".")[2]
    head = f"pyarrow {kind}: {_shape((rows, columns))}, {size(table.nbytes)}"
    names, arrays = table.schema.names, [table.column(at) for at in range(min(columns, _DESCRIBED))]
    lines = _table([head], (rows, columns), names, arrays, _arrow_column, ())
    return "\n".join([*lines, *_ends(names, arrays, (rows, columns), _arrow_cell)])


def _arrow_known(kind: Any) -> bool:
    return type_name(type(kind)).startswith("pyarrow.lib.") and "Extension" not in type_name(type(kind))


def _arrow_column(column: Any, until: float) -> Any:
    kind, rows = column.type, len(column)
    if time.monotonic() > until or not _arrow_known(kind):
        return clipped(str(kind) if _arrow_known(kind) else "extension", 40), "?", "not looked into"
    mark, blocks = "", [column]
    if rows > _SAMPLE:
        mark, blocks = "~ ", [column.slice(block * (rows // 20), 500) for block in range(20)]
    listed = [value for block in blocks for value in block.to_pylist()] if kind.num_fields == 0 else []
    values = mark + told(listed) if listed else ""
    return clipped(str(kind), 40), _share(column.null_count, rows), values


def _arrow_cell(column: Any, at: int) -> str:
    return cell(column[at].as_py()) if _arrow_known(column.type) else "?"


def _shape(shape: tuple[int, int]) -> str:
    return f"{several(shape[0], 'row')} × {several(shape[1], 'column')}"


def _share(count: int, whole: int) -> str:
    return "0" if not count else f"{count:,} ({100.0 * count / whole:.3g}%)"


def _table(
    head: list[str], shape: tuple[int, int], names: Any, series: list[Any], describe: Callable[..., Any], others: Any
) -> list[str]:
    """What is said of a table beside its rows: its first columns, as `describe` says, and the types of `others`."""
    (rows, columns), lines, until = shape, list(head), time.monotonic() + TIME_S
    described = [(_name(names[at]), *describe(each, until)) for at, each in enumerate(series)]
    if described:
        lines += aligned([("column", "type", "missing", "values"), *described])
        lines += _legend([values for _, _, _, values in described], rows)
    if columns > _DESCRIBED:
        kinds = Counter(map(str, others)).most_common(6)
        told = ": " + ", ".join(f"{clipped(kind)} × {count}" for kind, count in kinds) if kinds else ""
        lines.append(f"  … {several(columns - _DESCRIBED, 'more column')}{told}")
    return lines


def _legend(values: list[str], rows: int) -> list[str]:
    if not any(value.startswith("~") for value in values):
        return []
    return [f"~ from a sample of about {_SAMPLE:,} of the {rows:,} rows"]


def _ends(
    names: Any, series: list[Any], shape: tuple[int, int], spell: Callable[..., str], label: Callable[[int], str] = str
) -> list[str]:
    """The first and the last rows, each behind its `label`."""
    (rows, columns), shown = shape, series[:_SHOWN]
    head = min(rows, _HEAD)
    tail = min(rows - head, _TAIL)
    gap = [["…"]] if rows > head + tail else []
    body = [[label(at), *[spell(each, at) for each in shown]] for at in (*range(head), *range(rows - tail, rows))]
    what = "first and last rows" + (f", first {_SHOWN} columns:" if columns > _SHOWN else ":")
    titles = [_name(name) for name in names[:_SHOWN]]
    return [what, *aligned([["", *titles], *body[:head], *gap, *body[head:]])] if body else []
