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
from typing import Any, Callable, Dict, List, Set

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
_HOLDERS: Any = (tuple, frozenset, types.MethodType, types.MappingProxyType, slice)
_NAMED: Any = (types.FunctionType, types.BuiltinFunctionType, functools._lru_cache_wrapper)
_INDEX = {"pandas.Index", "pandas.core.indexes.base.Index"}
_sorts: Dict[Any, str] = {}
_vars: Dict[Any, Set[int]] = {}
_doubtful: Dict[Any, bool] = {}


def _references() -> int:
    """What refers to an object while it is looked at: the memo and its copy, a variable, an argument."""
    memo: Dict[int, Any] = {0: (0, [])}
    return 1 + max(sys.getrefcount(value) for _, value in memo.values())


_TWICE = _references() + 2
"""References of what something refers to from two places: what no two names can have has fewer."""


def look_through(pickler: Any, refuse_text: Callable[[Any], None]) -> None:
    """Note in what `pickler` has made what there is to know. Raises what `refuse_text` raises for a text or bytes."""
    made = gc.get_objects()  # since the pickler began: what its values' reductions made
    result, memo = pickler.made, pickler.memo.copy()
    holders: List[Any] = []
    shares: Set[int] = set()
    kinds: Set[Any] = set()
    apart: Set[int] = set()
    sorts, count = _sorts, sys.getrefcount
    for key, (_, value) in memo.items():
        kind = type(value)
        sort = sorts.get(kind) or _sort(kind)
        if sort == "object":
            if kind is dict and key in pickler.spaces:
                pickler.refuse_space(value)
            if count(value) >= _TWICE:
                shares.add(key)
        elif sort == "text":
            refuse_text(value)
            if len(value) >= _SMALL:
                shares.add(key)
        elif sort == "holder":
            if count(value) >= _TWICE:
                holders.append(value)
        elif sort == "index":
            apart.update(map(id, _parts(value)))
        elif sort != "apart":
            if key in pickler.by_value or (sort == "maybe named" and not _is_reachable(value)):
                shares.add(key)
                result.doubtful = result.doubtful or issubclass(kind, type)
            else:
                _note(value, result, kinds)
    made_by = {type(value) for _, value in memo.values()}  # what they are made of need not name them
    result.doubtful = result.doubtful or any(map(_is_doubtful, made_by))
    shares |= _held(holders, memo)
    for kind in kinds:
        apart |= _of_class(kind)
    _leave_out(shares, apart, made, memo)
    result.shares |= shares


def _held(holders: List[Any], memo: Dict[int, Any]) -> Set[int]:
    """What tuples and the like have in them that names may share: themselves, nobody can tell from copies."""
    held: Set[int] = set()
    seen: Set[int] = set()
    while holders:
        for value in gc.get_referents(holders.pop()):
            sort = _sort(type(value))
            if sort == "object" and id(value) in memo:
                held.add(id(value))
            elif sort == "holder" and id(value) not in seen:
                seen.add(id(value))
                holders.append(value)
    return held


def _leave_out(shares: Set[int], apart: Set[int], made: List[Any], memo: Dict[int, Any]) -> None:
    """Take out of `shares` what is to be found `apart`, and what only was `made` by pickling."""
    shares -= apart
    shares -= set(map(id, made))
    untracked = [key for key in shares if not gc.is_tracked(memo[key][1])]
    if untracked:  # the collector does not tell of these, but of what refers to them
        inner = collections.Counter(map(id, gc.get_referents(*made)))
        lone = [key for key in untracked if sys.getrefcount(memo[key][1]) - 3 - inner[key] < 1]
        shares.difference_update(lone)


def _note(value: Any, result: Any, kinds: Set[Any]) -> None:
    """Something that the stream has by module and name."""
    module = getattr(value, "__module__", None)
    top = module.partition(".")[0] if type(module) is str else ""
    if top and top not in ("builtins", "__main__") and not top.startswith("_kernel_supervisor"):
        result.modules.add(top)
    if issubclass(type(value), type):
        kinds.add(value)
        result.doubtful = result.doubtful or _is_doubtful(value)


def _is_doubtful(kind: Any) -> bool:
    """Whether a class is nobody's whom we know, and has ways of its own, which may fail when its values are loaded."""
    if kind not in _doubtful:
        module = getattr(kind, "__module__", None)
        top = module.partition(".")[0] if type(module) is str else ""
        _doubtful[kind] = top not in _SURE and not _is_standard(top) and _has_own_ways(kind)
    return _doubtful[kind]


def _is_standard(top: str) -> bool:
    return top == "builtins" or top in getattr(sys, "stdlib_module_names", sys.builtin_module_names)


def _has_own_ways(kind: Any) -> bool:
    spaces = [_space(base) for base in _bases(kind) if base.__module__ not in ("builtins", "enum")]
    return any(way in space for space in spaces for way in _OWN_WAYS) or BaseException in _bases(kind)


def _sort(kind: Any) -> str:
    """What is done with values of a type: they are "named" by module and name, unless the pickler says otherwise, or
    "maybe named"; they are "apart", or an "index" with what it is made of; each "object", "text", "holder" is looked
    at."""
    if kind not in _sorts:
        bases = _bases(kind)
        names = {"%s.%s" % (getattr(base, "__module__", ""), getattr(base, "__qualname__", "")) for base in bases}
        if kind in _TEXTS:
            _sorts[kind] = "text"
        elif issubclass(kind, type) or kind in _NAMED:
            _sorts[kind] = "named"
        elif kind in _HOLDERS:
            _sorts[kind] = "holder"
        elif any("__qualname__" in _space(base) and base is not type for base in bases if base is not object):
            _sorts[kind] = "maybe named"
        elif _INDEX & names:
            _sorts[kind] = "index"
        else:
            _sorts[kind] = "apart" if names & _APART_BY_NAME or any(base in _APART for base in bases) else "object"
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
