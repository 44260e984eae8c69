"""Which objects of a pickle other names may have, too, what modules it needs, and whether loading it may fail.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. All of it is read from the pickler's memo, in which each object stands once.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import functools
import gc
import pathlib
import re
import sys
import types
import uuid
from typing import Any, Callable, Dict, Set

_SMALL = 1 << 16
_TEXTS = (str, bytes)
_APART: Any = (
    type(None), bool, int, float, complex, tuple, frozenset, range, slice, enum.Enum, re.Pattern, uuid.UUID,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo, decimal.Decimal, fractions.Fraction,
    pathlib.PurePath, types.BuiltinFunctionType, types.ModuleType, types.MethodType, types.CodeType, property,
    staticmethod, classmethod, types.MappingProxyType, type(Ellipsis), type(NotImplemented),
)  # fmt: skip
"""What nobody can tell from a copy, or what belongs to what is looked at itself."""
_APART_BY_NAME = {
    "numpy.dtype", "numpy.generic", "numpy.ufunc", "pandas._libs.tslibs.offsets.BaseOffset",
    "pandas._libs.tslibs.nattype.NaTType", "pandas._libs.missing.NAType", "pandas.api.typing.NAType",
    "pandas.core.dtypes.base.ExtensionDtype", "pandas.api.extensions.ExtensionDtype", "pyarrow.lib.DataType",
    "pyarrow.lib.Schema", "pyarrow.lib.Field", "pyarrow.lib.Array", "pyarrow.lib.ChunkedArray", "pyarrow.lib.Table",
    "pyarrow.lib.RecordBatch", "pyarrow.lib.Buffer", "pyarrow.lib.Scalar", "polars.datatypes.classes.DataType",
    "torch.dtype", "torch.Size", "torch.device", "typing.TypeVar",
}  # fmt: skip
_SURE = {"numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "matplotlib", "PIL", "xarray", "torch"}
_OWN_WAYS = (
    "__reduce__",
    "__reduce_ex__",
    "__setstate__",
    "__getstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__new__",
)
_NAMED: Any = (types.FunctionType, types.BuiltinFunctionType, functools._lru_cache_wrapper)
_INDEX = {"pandas.Index", "pandas.core.indexes.base.Index"}
_sorts: Dict[Any, str] = {}
_vars: Dict[Any, Set[int]] = {}
_REFERENCES = 4
"""What refers to each object while it is looked at: the memo, its copy, a variable, an argument."""


class Found:
    """What was found in one pickle."""

    def __init__(self) -> None:
        self.shares: Set[int] = set()
        self.modules: Set[str] = set()
        self.doubtful = False


def found(pickler: Any, refuse_text: Callable[[Any], None]) -> Found:
    """Look through what `pickler` has pickled. Raises what `refuse_text` raises for a text or bytes."""
    result = Found()
    made = gc.get_objects()  # since the pickler began: what its values' reductions made
    made_ids, inner = set(map(id, made)), collections.Counter(map(id, gc.get_referents(*made)))
    del made
    kinds: Set[Any] = set()
    apart: Set[int] = set()
    shares = result.shares
    for key, (_, value) in pickler.memo.copy().items():
        kind = type(value)
        sort = _sort(kind)
        if kind in _TEXTS:
            refuse_text(value)
            if len(value) < _SMALL:
                continue
        elif sort == "named" or (sort == "maybe named" and _is_reachable(value)):
            if key not in pickler.by_value:
                _note(value, result, kinds)
                continue
        elif sort in ("apart", "index"):
            if sort == "index":
                apart.update(map(id, _parts(value)))
            continue
        elif key in made_ids or (not gc.is_tracked(value) and sys.getrefcount(value) - _REFERENCES - inner[key] < 1):
            continue
        shares.add(key)
    for kind in kinds:
        apart |= _of_class(kind)
    shares -= apart
    return result


def _note(value: Any, result: Found, kinds: Set[Any]) -> None:
    """Something that the stream has by module and name."""
    module = getattr(value, "__module__", None)
    top = module.partition(".")[0] if type(module) is str else ""
    if top and top not in ("builtins", "__main__") and not top.startswith("_kernel_supervisor"):
        result.modules.add(top)
    if issubclass(type(value), type):
        kinds.add(value)
        if top not in _SURE and not _is_standard(top) and _has_own_ways(value):
            result.doubtful = True


def _is_standard(top: str) -> bool:
    return top == "builtins" or top in getattr(sys, "stdlib_module_names", sys.builtin_module_names)


def _has_own_ways(kind: Any) -> bool:
    spaces = [_space(base) for base in _bases(kind) if base.__module__ not in ("builtins", "enum")]
    return any(way in space for space in spaces for way in _OWN_WAYS) or BaseException in _bases(kind)


def _sort(kind: Any) -> str:
    """What is done with values of a type: they are "named" by module and name, unless the pickler says otherwise, or
    "maybe named"; they are "apart", or an "index" with what it is made of; or each is looked at."""
    if kind not in _sorts:
        bases = _bases(kind)
        names = {"%s.%s" % (getattr(base, "__module__", ""), getattr(base, "__qualname__", "")) for base in bases}
        if issubclass(kind, type) or kind in _NAMED:
            _sorts[kind] = "named"
        elif any("__qualname__" in _space(base) and base is not type for base in bases if base is not object):
            _sorts[kind] = "maybe named"
        elif _INDEX & names:
            _sorts[kind] = "index"
        else:
            _sorts[kind] = "apart" if names & _APART_BY_NAME or any(base in _APART for base in bases) else ""
    return _sorts[kind]


def _is_reachable(value: Any) -> bool:
    """Whether a module has this under its name, as with the functions of Cython's modules."""
    module = sys.modules.get(str(getattr(value, "__module__", None)))
    return module is not None and getattr(module, str(getattr(value, "__qualname__", None)), None) is value


def _parts(index: Any) -> Any:
    """The arrays that a pandas Index is made of: as little to be changed as itself."""
    return [getattr(index, "_data", None), *(getattr(index, "codes", None) or ())]


def _of_class(kind: Any) -> Set[int]:
    """The ids of what stands in the body of an imported class: every value of it has these."""
    if kind not in _vars:
        _vars[kind] = {id(value) for base in _bases(kind) for value in _space(base).values()}
    return _vars[kind]


def _bases(kind: Any) -> Any:
    return type.__dict__["__mro__"].__get__(kind)


def _space(kind: Any) -> Any:
    return type.__dict__["__dict__"].__get__(kind)
