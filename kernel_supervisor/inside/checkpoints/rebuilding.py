"""What the streams of checkpoints call while they are loaded: functions, arrays and other things are made again here.

Runs *inside* kernels, loaded by `restoring.py` (and by `pickling.py`, which names these functions in streams): stdlib
only, Python 3.8 and later; libraries are imported only where a stream needs them. The names here are a format: they are
added to, never changed.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import linecache
import sys
import types
from typing import Any, Callable

MAGIC = importlib.util.MAGIC_NUMBER
"""What says which Python a code object is for."""
namespace: dict[str, Any] = {}
"""Where functions live, and what names are looked up in."""
_classes: dict[str, Any] = {}
"""Those made since `begin`, by what they were known by when they were saved."""
_resolve: Callable[[str], Any] = namespace.__getitem__


class UnfitError(Exception):
    """Something cannot be made again in this process; the message says why, for people."""

    unknown = ""
    """The name that its code looked up in vain."""


def begin(into: dict[str, Any], resolve: Callable[[str], Any]) -> None:
    """Make functions live in `into`, and have definitions from `resolve`, which may raise UnfitError."""
    global namespace, _resolve
    namespace, _resolve = into, resolve
    _classes.clear()


def named(path: str) -> Any:
    """A definition by its name, or what is reached from one: "Outer.Inner"."""
    root, *rest = path.split(".")
    value = _resolve(root)
    for part in rest:
        value = getattr(value, part)
    return value


def whole(*parts: Any) -> Any:
    """The values of a stream, behind what stands for what is the process's own."""
    return parts[-1]


def own(name: str) -> Any:
    """What is this process's own: its "namespace", its "modules"."""
    return namespace if name == "namespace" else sys.modules


def defined(values: dict[str, Any], places: list[Any]) -> dict[str, Any]:
    """Definitions, whose sources are known from now on."""
    for place in places:
        remember(*place)
    return values


def code(magic: bytes, *args: Any) -> types.CodeType:
    """A code object of this Python's; one of another's would end the process without a word."""
    if magic != MAGIC:
        raise UnfitError("needs code that another version of Python compiled")
    return types.CodeType(*args)


def function(of: types.CodeType, where: Any, name: str, closure: Any, place: Any) -> types.FunctionType:
    """A function whose globals are the namespace (`where` is ""), those of the module so named, or a dict."""
    if type(where) is str:
        where = vars(module(where)) if where else namespace
    if place is not None:
        remember(*place)
    return types.FunctionType(of, where, name, None, closure)


def set_function(made: types.FunctionType, state: Any) -> None:
    """Give a function what it may refer to itself by: attributes, defaults, what its cells hold, globals of its own."""
    attributes, slots, cells, own_globals, _ = state  # the last: modules, which are imported by now
    vars(made).update(attributes)
    for name, value in slots.items():
        setattr(made, name, value)
    for cell, contents in cells:
        cell.cell_contents = contents
    if own_globals is not None:
        for name, value in own_globals.items():
            made.__globals__.setdefault(name, value)


def skeleton(meta: Any, name: str, bases: Any, own: Any, key: str) -> Any:
    """A class with nothing in it yet. Classes of the namespace that it is derived from do not hear of it again: what
    they did when it was defined is in what they keep."""
    if key in _classes:
        return _classes[key]
    above = [base for each in bases for base in getattr(getattr(each, "__origin__", each), "__mro__", ())]
    hooks = [(base, vars(base).get("__init_subclass__")) for base in above]
    mine = [(base, hook) for base, hook in hooks if hook is not None and base.__module__ == namespace.get("__name__")]
    try:
        for base, _ in mine:
            type.__setattr__(base, "__init_subclass__", classmethod(_nothing))
        return _classes.setdefault(key, types.new_class(name, bases, {"metaclass": meta}, lambda all: all.update(own)))
    finally:
        for base, hook in reversed(mine):
            type.__setattr__(base, "__init_subclass__", hook)


def _nothing(cls: Any, /, **more: Any) -> None:
    pass


def empty_cell() -> Any:
    """A cell of a closure; a function's state fills it."""
    return types.CellType()


def remember(file: str, line: int, text: str) -> None:
    """Let tracebacks and `inspect` find the source of what was written in a cell, from that line on."""
    entry: Any = linecache.cache.get(file)
    lines = list(entry[2]) if entry is not None and len(entry) == 4 else []
    wanted = text.splitlines(True)
    lines += ["\n"] * (line - 1 + len(wanted) - len(lines))
    lines[line - 1 : line - 1 + len(wanted)] = wanted
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)


def module(name: str) -> Any:
    """The module of that name, imported; "" is `__main__`."""
    return importlib.import_module(name or "__main__")


def cached(of: Any, maxsize: Any, typed: bool, attributes: dict[str, Any]) -> Any:
    """A function with `functools.lru_cache`, whose cache is empty."""
    made = functools.lru_cache(maxsize=maxsize, typed=typed)(of)
    vars(made).update(attributes)
    return made


def cached_property(of: Any, name: Any) -> Any:
    """A `functools.cached_property` that knows its name."""
    made: Any = functools.cached_property(of)
    made.attrname = name
    return made


def weak(kind: Any, pairs: list[Any]) -> Any:
    """A weak dictionary; weakref.WeakKeyDictionary and WeakValueDictionary."""
    return kind(dict(pairs))


def view(buffer: Any, form: str, shape: Any) -> Any:
    """A memoryview over bytes of its own."""
    flat: Any = memoryview(buffer)
    return flat if form == "B" and len(shape) == 1 else flat.cast("B").cast(form, shape)


def raised(kind: Any, args: Any) -> BaseException:
    """An exception as it was, without calling the `__init__` of its class."""
    made: BaseException = kind.__new__(kind, *args)
    made.args = args
    return made


def shell() -> Any:
    """IPython's shell of this kernel."""
    return module("IPython").get_ipython()


def stream(name: str) -> Any:
    """`sys.stdout` or `sys.stderr` of this kernel."""
    return getattr(sys, name)


def array(dtype: Any, shape: Any, strides: Any, offset: int, buffer: Any) -> Any:
    """A numpy array over these bytes; as writable as they are."""
    np = module("numpy")

    return np.ndarray(shape, dtype, buffer, offset, strides)


def spread_array(dtype: Any, shape: Any, strides: Any, offset: int, span: int, shown: Any, buffer: Any) -> Any:
    """A numpy array with gaps between its elements: `buffer` has those of `shown`, a part of `shape`, without gaps."""
    np = module("numpy")

    bytes_of_it = np.zeros(span, "u1")
    filled = np.ndarray(shown, dtype, bytes_of_it, offset, strides)
    filled[...] = np.ndarray(shown, dtype, buffer)
    bytes_of_it.flags.writeable = not memoryview(buffer).readonly
    return np.ndarray(shape, dtype, bytes_of_it, offset, strides)


def object_array(shape: Any, strides: Any, offset: int, count: int) -> Any:
    """An array of objects, laid out over `count` of them; `fill_array` fills it."""
    np = module("numpy")

    return np.lib.stride_tricks.as_strided(np.empty(count, "O")[offset:], shape, strides)


def fill_array(made: Any, state: Any) -> None:
    """Put the objects into an array, in C order, and make it read-only if it was."""
    elements, writeable = state
    for place, element in zip(module("numpy").ndindex(*made.shape), elements):  # noqa: B905 - Python 3.8
        made[place] = element
    if not writeable:
        made.flags.writeable = False


def set_all(made: Any, attributes: dict[str, Any]) -> None:
    """Give a value its attributes without asking it for anything."""
    object.__getattribute__(made, "__dict__").update(attributes)


def set_logger(made: Any, level: int) -> None:
    """Give a logger its level, unless it has one here."""
    if not made.level:
        made.setLevel(level)


def set_array(made: Any, state: Any) -> None:
    """Fill an array of a class that is derived from numpy's, and give it its attributes."""
    of_array, attributes = state
    made.__setstate__(of_array)
    vars(made).update(attributes)


def arrow(table: bytes, kind: str) -> Any:
    """What pyarrow wrote as a stream of batches: a table, a batch, or the one column of it."""
    pa = module("pyarrow")

    read = pa.ipc.open_stream(table).read_all()
    if kind == "Table":
        return read
    if kind == "RecordBatch":
        return read.combine_chunks().to_batches()[0] if read.num_rows else pa.RecordBatch.from_pylist([], read.schema)
    column = read.column(0)
    return column if kind == "ChunkedArray" else column.combine_chunks()


def backed(kind: Any, dtype: Any, values: Any, attributes: Any) -> Any:
    """An array of pandas that is one of numpy with a type of its own."""
    made = kind.__new__(kind)
    made.__setstate__((dtype, values, attributes))
    return made


def texts(values: list[Any], is_nan: bool) -> Any:
    """An array of texts as they were, or as pandas has them here: without pyarrow, and as objects before 2.3."""
    pandas, missing = module("pandas"), float("nan") if is_nan else module("pandas").NA
    for storage in ("pyarrow", "python"):
        try:
            return pandas.array(values, pandas.StringDtype(storage, na_value=missing))
        except (ImportError, TypeError):
            continue
    return module("numpy").array([missing if value is None else value for value in values], "O")


def constant(where: str, name: str) -> Any:
    """The one value that a module has under a name."""
    return getattr(module(where), name)


def time_zone(name: str) -> Any:
    """A time zone: of pytz, or of the standard library where pytz is not installed."""
    try:
        return module("pytz").timezone(name)
    except ImportError:
        return module("zoneinfo").ZoneInfo(name)


def tensor(dtype: str, shape: Any, strides: Any, buffer: Any, wants_gradient: bool) -> Any:
    """A torch tensor on the CPU, over bytes of its own."""
    torch = module("torch")

    kind = getattr(torch, dtype)
    flat = torch.frombuffer(buffer, dtype=kind) if memoryview(buffer).nbytes else torch.empty(0, dtype=kind)
    made = torch.as_strided(flat, shape, strides)
    return made.requires_grad_(wants_gradient)


def parameter(of: Any, wants_gradient: bool) -> Any:
    """A torch parameter."""
    torch = module("torch")

    return torch.nn.Parameter(of, wants_gradient)


def set_tensor(made: Any, state: Any) -> None:
    """Give a tensor its gradient and attributes."""
    made.grad, attributes = state
    vars(made).update(attributes)
