"""How values are taken apart that pickle or cloudpickle would save wrongly, in part, or far too large.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. Each function returns what `__reduce_ex__` would, with makers of `rebuilding.py`, or NotImplemented where the
value's own way is right. `pickler` has the makers (`make`), and what there is to know of what it has `made`.
"""

from __future__ import annotations

import copyreg
import ctypes
import pickle
import sys
from typing import Any, Callable, Dict, Optional, Tuple

_KINDS = "biufcmMSUV"
_EXACT_SPAN = 1 << 30
"""Bytes of memory that a restored array may have for its gaps, so that its strides are as they were."""
_LOOSE = 1 << 16
"""Bytes of what pyarrow or torch hold beyond what is shown that are not worth a way of ours."""
_NATIVE = frozenset("cbB?hHiIlLqQnNfd")
_WITH_FIELDS = (AttributeError, ImportError, NameError, OSError, StopIteration, SyntaxError, SystemExit, UnicodeError)
"""Exceptions that keep more than `args`, in places that only their `__init__` fills."""
_SAYS = {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"}
_SAYS |= {"__new__", "__slots__", "__getattribute__"}
"""What a class has that is to be pickled in a way of its own."""
Reducer = Callable[[Any, Any], Any]


def find(kind: Any) -> Optional[Reducer]:
    """The way of ours for exactly this type, or for those derived from one: `reducer(value, pickler)`."""
    bases = type.__dict__["__mro__"].__get__(kind)
    reducer = _EXACT.get(full_name(kind)) or next(filter(None, (DERIVED.get(full_name(base)) for base in bases)), None)
    return reducer or (_raised if BaseException in bases else None)


def find_last(kind: Any) -> Optional[Reducer]:
    """The way of values that ask `__getattr__` for what they lack, where their class has no other.

    Pickle asks them for ways of its own: where they have nothing yet, or pass it on to what they hold.
    """
    bases = [base for base in type.__dict__["__mro__"].__get__(kind) if base is not object]
    spaces = [type.__dict__["__dict__"].__get__(base) for base in bases]
    has = all(any(name in space for space in spaces) for name in ("__getattr__", "__dict__"))
    return _passing_on if has and not any(_SAYS & set(space) for space in spaces) else None


def _passing_on(value: Any, pickler: Any) -> Any:
    attributes = object.__getattribute__(value, "__dict__")
    return vars(copyreg)["__newobj__"], (type(value),), attributes, None, None, pickler.make.set_all


def full_name(kind: Any) -> str:
    """The module and the name of a type."""
    space = type.__dict__["__dict__"].__get__(kind)
    module = space.get("__module__") if type(space.get("__module__")) is str else getattr(kind, "__module__", "")
    return "%s.%s" % (module, getattr(kind, "__qualname__", ""))


def bounds(array: Any) -> Tuple[int, int]:
    """The first address of a numpy array's elements, and the one after the last."""
    low = high = array.__array_interface__["data"][0]
    if not array.size:
        return low, low
    for length, stride in zip(array.shape, array.strides):  # noqa: B905 - Python 3.8
        low, high = (low + (length - 1) * stride, high) if stride < 0 else (low, high + (length - 1) * stride)
    return low, high + array.itemsize


def _array(array: Any, pickler: Any) -> Any:
    if array.dtype.kind == "O":
        return _object_array(array, pickler)
    if array.dtype.hasobject or array.dtype.kind not in _KINDS or not array.itemsize:
        return NotImplemented
    low, high = bounds(array)
    pickler.made.memory.append((low, high))
    shown = array[tuple(slice(0, 1) if not stride else slice(None) for stride in array.strides)]
    offset, span = array.__array_interface__["data"][0] - low, high - low
    readonly, shape, strides, make = not array.flags.writeable, array.shape, array.strides, pickler.make
    if not array.size:
        return make.array, (array.dtype, shape, strides, 0, _bytes_at(0, 0, readonly))
    if span <= shown.nbytes:
        pickler.made.kept.append(array)
        return make.array, (array.dtype, shape, strides, offset, _bytes_at(low, span, readonly))
    if span > max(_EXACT_SPAN, 8 * shown.nbytes):  # a few elements that are far apart: without gaps, in their order
        shown = shown.copy(order="K")
        strides = tuple(near if far else 0 for near, far in zip(shown.strides, array.strides))  # noqa: B905 - Python 3.8
        dense = _bytes_of(shown, pickler, readonly)
        return make.array, (array.dtype, shape, strides, 0, dense)
    dense = _bytes_of(shown.copy(order="C"), pickler, readonly)
    return make.spread_array, (array.dtype, shape, strides, offset, span, shown.shape, dense)


def _bytes_of(array: Any, pickler: Any, readonly: bool) -> Any:
    pickler.made.kept.append(array)
    return _bytes_at(array.__array_interface__["data"][0], array.nbytes, readonly)


def _bytes_at(address: int, length: int, readonly: bool) -> pickle.PickleBuffer:
    raw: Any = (ctypes.c_ubyte * length).from_address(address) if length else bytearray()
    return pickle.PickleBuffer(memoryview(raw).toreadonly() if readonly else raw)


def _object_array(array: Any, pickler: Any) -> Any:
    if array.flags.writeable and (array.flags.c_contiguous or array.flags.f_contiguous):
        return NotImplemented
    low, high = bounds(array)
    offset, count = array.__array_interface__["data"][0] - low, (high - low) // array.itemsize
    shown = array[tuple(slice(0, 1) if not stride else slice(None) for stride in array.strides)]
    if any(stride % array.itemsize for stride in array.strides) or count > max(_LOOSE, 8 * shown.size):
        return NotImplemented
    made = (array.shape, array.strides, offset // array.itemsize, count)
    state = (array.ravel().tolist(), bool(array.flags.writeable))
    return pickler.make.object_array, made, state, None, None, pickler.make.fill_array


def _derived_array(array: Any, pickler: Any) -> Any:
    """Of an array of a class that is derived from its own, numpy saves no attributes, such as a unit."""
    plain, kind = sys.modules["numpy"].ndarray, type(array)
    if array.size and not array.dtype.hasobject:
        pickler.made.memory.append(bounds(array))
    ways = ("__reduce__", "__reduce_ex__", "__setstate__")
    own_way = any(getattr(kind, way) is not getattr(plain, way) for way in ways)
    if own_way or isinstance(array, sys.modules["numpy"].memmap) or not getattr(array, "__dict__", None):
        return NotImplemented
    made, args, state = array.__reduce__()
    return made, args, (state, dict(vars(array))), None, None, pickler.make.set_array


def _memmap(array: Any, pickler: Any) -> Any:
    """What is mapped from a file comes back as an array in memory, with what the file has now."""
    pickler.made.copied = True
    return _array(array, pickler)


def _memoryview(view: memoryview, pickler: Any) -> Any:
    form, shape = view.format, view.shape
    if form not in _NATIVE and form != "B":
        raise pickler.refused("a view of memory in a format of its own")
    content = view.tobytes()
    buffer = pickle.PickleBuffer(content if view.readonly else bytearray(content))
    return pickler.make.view, (buffer, form, shape)


def _arrow(value: Any, pickler: Any) -> Any:
    """A slice is saved without what it does not show: pyarrow would save its buffers whole."""
    if value.get_total_buffer_size() <= 2 * value.nbytes + _LOOSE:
        return NotImplemented
    pa = sys.modules["pyarrow"]
    kind = next(
        name for name in ("Table", "RecordBatch", "ChunkedArray", "Array") if isinstance(value, getattr(pa, name))
    )
    table = value
    if kind == "RecordBatch":
        table = pa.Table.from_batches([value])
    elif kind != "Table":
        table = pa.table([value], names=["0"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return pickler.make.arrow, (pickle.PickleBuffer(sink.getvalue()), kind)


def _tensor(tensor: Any, pickler: Any) -> Any:
    if tensor.device.type != "cpu":
        raise pickler.refused("a tensor on a GPU (%s): move it with .cpu()" % tensor.device.type)
    plain = str(tensor.layout) == "torch.strided" and not (tensor.is_quantized or tensor.is_nested)
    if not plain or tensor.is_conj() or tensor.is_neg():
        return NotImplemented
    torch = sys.modules["torch"]
    make, wants = pickler.make, bool(tensor.requires_grad)
    state = (tensor.grad if tensor.is_leaf else None, dict(vars(tensor)))
    if type(tensor) is torch.nn.Parameter:
        return make.parameter, (tensor.data, wants), state, None, None, make.set_tensor
    tensor = tensor.detach()
    size, dense = tensor.element_size(), tensor.numel() * tensor.element_size()
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride()))  # noqa: B905 - Python 3.8
    span = (last + 1) * size if dense else 0
    if span > 8 * dense + _LOOSE:
        tensor, span = tensor.contiguous(), dense
    pickler.made.kept.append(tensor)
    pickler.made.memory.append((tensor.data_ptr(), tensor.data_ptr() + span))
    raw = _bytes_at(tensor.data_ptr(), span, False)
    made = (str(tensor.dtype).split(".")[-1], tuple(tensor.shape), tuple(tensor.stride()), raw, wants)
    return make.tensor, made, state, None, None, make.set_tensor


def _figure(figure: Any, pickler: Any) -> Any:
    """A figure that pyplot has open comes back as one that it has not: a restored kernel shows nothing by itself."""
    parts = list(figure.__reduce_ex__(5))
    if len(parts) > 2 and type(parts[2]) is dict:
        parts[2] = {name: value for name, value in parts[2].items() if name != "_restore_to_pylab"}
    return tuple(parts)


def _picture(image: Any, pickler: Any) -> Any:
    if getattr(image, "tile", None):
        raise pickler.refused("a picture that was not read from its file yet: call its load()")
    return NotImplemented


def _raised(error: Any, pickler: Any) -> Any:
    """Pickle calls an exception's `__init__` with `args`, which need not be what it wants."""
    kind: Any = type(error)
    own_way = kind.__reduce__ is not BaseException.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__
    if own_way or isinstance(error, _WITH_FIELDS) or kind.__init__ is kind.__base__.__init__:
        return NotImplemented
    return pickler.make.raised, (kind, error.args), vars(error) or None


def _weak_dictionary(value: Any, pickler: Any) -> Any:
    return pickler.make.weak, (type(value), list(value.items()))


def _cached_property(value: Any, pickler: Any) -> Any:
    return pickler.make.cached_property, (value.func, value.attrname)


def _new_type(value: Any, pickler: Any) -> Any:
    """One of the user's is looked up nowhere else: `typing.NewType` and `ParamSpec` would be saved by their names."""
    if value.__module__ != "__main__":
        return NotImplemented
    return type(value), (value.__name__, value.__supertype__) if hasattr(value, "__supertype__") else (value.__name__,)


def _logger(value: Any, pickler: Any) -> Any:
    """By its name, and with the level that was set; its handlers write to what goes with this kernel."""
    return (*value.__reduce__()[:2], value.level, None, None, pickler.make.set_logger)


def _shell(value: Any, pickler: Any) -> Any:
    return pickler.make.shell, ()


def _stream(value: Any, pickler: Any) -> Any:
    if value.name not in ("stdout", "stderr"):
        raise pickler.refused("an open file")
    return pickler.make.stream, (value.name,)


_EXACT: Dict[str, Reducer] = {
    "numpy.ndarray": _array,
    "numpy.memmap": _memmap,
    "builtins.memoryview": _memoryview,
    "torch.Tensor": _tensor,
    "torch.nn.parameter.Parameter": _tensor,
    "functools.cached_property": _cached_property,
    "typing.NewType": _new_type,
    "typing.ParamSpec": _new_type,
}
DERIVED: Dict[str, Reducer] = {
    "numpy.ndarray": _derived_array,
    "weakref.WeakKeyDictionary": _weak_dictionary,
    "weakref.WeakValueDictionary": _weak_dictionary,
    "pyarrow.lib.Array": _arrow,
    "pyarrow.lib.ChunkedArray": _arrow,
    "pyarrow.lib.Table": _arrow,
    "pyarrow.lib.RecordBatch": _arrow,
    "matplotlib.figure.FigureBase": _figure,
    "logging.Logger": _logger,
    "PIL.ImageFile.ImageFile": _picture,
    "IPython.core.interactiveshell.InteractiveShell": _shell,
    "ipykernel.iostream.OutStream": _stream,
}
