"""How functions, classes, code and modules are taken apart: by name, by module and name, or with all that they are.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. Each function returns what `__reduce_ex__` would, as those of `reducers.py` do; most of it is cloudpickle's work.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import sys
import types
from typing import Any, Dict, Tuple

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
namespace_of, full_name = beside("listing").namespace_of, beside("reducers").full_name
_ARRAYS: Any = type(ctypes.c_int * 1)
"""The class of ctypes' array types, of which there is one for each length."""


def find(kind: Any) -> Any:
    """The way of values of exactly this type, or None."""
    if issubclass(kind, type):
        return _class
    return _module if issubclass(kind, types.ModuleType) else _WAYS.get(kind)


def _class(value: Any, pickler: Any) -> Any:
    reference = pickler.reference(value)
    if reference is not None:
        return reference
    array: Any = value if type(value) is _ARRAYS else None
    if array is not None and array._type_ * array._length_ is array:
        return operator.mul, (array._type_, array._length_)
    reduced = pickler.cloudpickle._class_reduce(value)
    if reduced is NotImplemented or reduced[0] not in (
        pickler.cloudpickle._make_skeleton_class,
        pickler.cloudpickle._make_skeleton_enum,
    ):
        return reduced
    if "_ctypes.CFuncPtr" in map(full_name, value.__mro__):
        raise pickler.refused("a type of C functions")
    pickler.by_value.add(id(value))
    if reduced[0] is pickler.cloudpickle._make_skeleton_enum:
        return reduced
    (meta, name, bases, own, key, _), (state, _) = reduced[1], reduced[2]
    if any(type(base) is types.FunctionType for base in bases):  # typing.NamedTuple, which is none
        bases = value.__bases__
    slots = vars(value).get("__slots__")
    if slots is not None:  # they are what an instance looks like, which nothing changes later
        own["__slots__"] = slots
        state = {each: part for each, part in state.items() if type(part) is not types.MemberDescriptorType}
    return (pickler.make.skeleton, (meta, name, bases, own, key), (state, {}), *reduced[3:])


def _function(value: Any, pickler: Any) -> Any:
    reference = pickler.reference(value)
    if reference is not None:
        return reference
    if pickler.cloudpickle._should_pickle_by_reference(value):
        return NotImplemented
    pickler.by_value.add(id(value))
    where, own_globals = _globals(value, pickler)
    closure = value.__closure__ or ()
    cells = [(cell, cell.cell_contents) for cell in closure if not _is_empty(cell)]
    used = [
        value.__globals__[name]
        for name in pickler.cloudpickle._extract_code_globals(value.__code__)
        if name in value.__globals__
    ]
    loaded = pickler.cloudpickle._find_imported_submodules(value.__code__, used + [contents for _, contents in cells])
    slots = {name: _slot(value, name) for name in _SLOTS if hasattr(value, name)}
    args = (value.__code__, where, value.__name__, value.__closure__, pickler.place_of(value.__code__))
    state = (dict(vars(value)), slots, cells, own_globals, loaded)
    return pickler.make.function, args, state, None, None, pickler.make.set_function


_SLOTS = (
    "__qualname__",
    "__annotations__",
    "__kwdefaults__",
    "__defaults__",
    "__module__",
    "__doc__",
    "__type_params__",
)


def _slot(function: Any, name: str) -> Any:
    try:
        return getattr(function, name)
    except Exception:  # noqa: BLE001 - annotations that are worked out when looked at (3.14) may fail
        return {}


def _globals(function: Any, pickler: Any) -> Tuple[Any, Any]:
    """What a function's globals are: "" for the namespace, a module's name, or a dict with those that it uses."""
    space = function.__globals__
    if space is pickler.pickling.namespace:
        return "", None
    name = space.get("__name__")
    module = sys.modules.get(name) if type(name) is str else None
    if module is not None and vars(module) is space and getattr(module, "__spec__", None) is not None:
        return name, None
    pickler.made.shares.add(id(space))
    of_it = pickler.globals.setdefault(id(space), {"__name__": name})
    used = pickler.cloudpickle._extract_code_globals(function.__code__)
    return of_it, {each: space[each] for each in used if each in space}


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - looking raises where there is nothing
    except ValueError:
        return True
    return False


def _code(value: Any, pickler: Any) -> Any:
    args = pickler.cloudpickle._code_reduce(value)[1]
    file = value.co_filename  # which cloudpickle 3.1.3 and later leave out
    args = ["".join(file) if arg is file or arg == "<dynamic-code>" else arg for arg in args]
    return pickler.make.code, (pickler.make.MAGIC, *args)


def _cell(value: Any, pickler: Any) -> Any:
    return pickler.make.empty_cell, ()


def _module(value: Any, pickler: Any) -> Any:
    if vars(value) is pickler.pickling.namespace or value is sys.modules.get("__main__"):
        return pickler.make.module, ("",)
    name = value.__name__
    top = sys.modules.get(name.partition(".")[0])
    if sys.modules.get(name) is not value or getattr(top, "__spec__", None) is None:
        state = {each: part for each, part in namespace_of(value).items() if each != "__builtins__"}
        return pickler.cloudpickle.dynamic_subimport, (name, state)  # one that was made by hand
    pickler.made.modules.add(name.partition(".")[0])
    return pickler.make.module, (name,)


def _cached(value: Any, pickler: Any) -> Any:
    """A function with `lru_cache`: pickle would save its name, whoever has it."""
    reference = pickler.reference(value)
    if reference is not None:
        return reference
    if pickler.cloudpickle._lookup_module_and_qualname(value) is not None:
        return NotImplemented
    pickler.by_value.add(id(value))
    wrapped = value.__wrapped__
    told = value.cache_parameters() if hasattr(value, "cache_parameters") else {}  # 3.9 and later
    maxsize = told.get("maxsize", value.cache_info().maxsize)
    apart = {*vars(wrapped), *_SLOTS, "__name__", "__wrapped__", "cache_parameters"}
    attributes = {name: attribute for name, attribute in vars(value).items() if name not in apart}
    return pickler.make.cached, (wrapped, maxsize, told.get("typed", False), attributes)


_WAYS: Dict[Any, Any] = {
    types.FunctionType: _function,
    types.CodeType: _code,
    types.CellType: _cell,
    type(functools.lru_cache(maxsize=None)(len)): _cached,
}
