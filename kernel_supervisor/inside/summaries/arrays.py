"""Arrays: numpy, torch, jax, xarray. Only what lies in this process's memory is read, and of much only blocks."""

from __future__ import annotations

import sys
import time
from typing import Any

from .plain import TIME_S, aligned, cell, clipped, loaded, short, size

EXACT = 1_000_000
"""Up to so many elements each is read."""
_BLOCKS, _BLOCK = 64, 1000
_VERBATIM = 200


def numbers(array: Any) -> str:
    """Range and mean of a numpy array of numbers, dates or truth values; nothing of other kinds."""
    numpy = sys.modules["numpy"]
    kind = array.dtype.kind
    if kind not in "biufcmM" or not array.size:
        return ""
    if kind == "b":
        return "%.3g%% true" % (100.0 * int(array.sum()) / array.size)
    if kind == "c":
        return f"magnitude {short(float(abs(array).min()))} … {short(float(abs(array).max()))}"
    if kind in "mM":
        there = array[~numpy.isnat(array)]
        return f"{there.min()} … {there.max()}" if there.size else ""
    there = array[numpy.isfinite(array)] if kind == "f" else array
    if not there.size:
        return "nothing finite"
    mean = float(there.mean(dtype=float))
    middle = f"mean {short(mean)}, std {short(float(there.std(dtype=float)))}"
    zeros = int(there.size) - int(numpy.count_nonzero(there))
    part = ", %.3g%% zero" % (100.0 * zeros / there.size) if zeros else ""
    return f"{short(there.min().item())} … {short(there.max().item())}, {middle}{part}"


def lacking(array: Any) -> int:
    """How many elements are NaN or NaT."""
    numpy = sys.modules["numpy"]
    kind = array.dtype.kind
    if kind in "fc":
        return int(numpy.isnan(array).sum())
    return int(numpy.isnat(array).sum()) if kind in "mM" else 0


def sampled(array: Any) -> Any:
    """The elements of `array` one after another; of much, blocks that are spread over it. Never copies it whole."""
    numpy = sys.modules["numpy"]
    if array.size <= EXACT:
        return array.ravel()
    step = (array.size - _BLOCK) // (_BLOCKS - 1)
    return numpy.concatenate([array.flat[index * step : index * step + _BLOCK] for index in range(_BLOCKS)])


def _facts(array: Any) -> list[str]:
    """Lines on the values of a numpy array."""
    if array.dtype.kind not in "biufcmM":
        return []
    few = sampled(array)
    mark = "" if few.size == array.size else "~ "
    lines = [f"{mark}values: {numbers(few)}"]
    gone = lacking(few)
    if gone:
        lines.append(f"{mark}missing: {100.0 * gone / few.size:.3g}%")
    if array.dtype.kind == "f" and not sys.modules["numpy"].isfinite(few).all():
        lines.append(f"{mark}infinite: {int(sys.modules['numpy'].isinf(few).sum())}")
    if mark:
        lines.append(f"~ from {few.size:,} of {array.size:,} elements, in {_BLOCKS} blocks")
    return lines


def _ends(array: Any) -> list[str]:
    if array.dtype.names and array.ndim == 1:
        rows = [[cell(value) for value in row[:8]] for row in [*array[:4].tolist(), *array[-2:].tolist()]]
        return ["first 4 and last 2 rows:", *aligned([[clipped(name) for name in array.dtype.names[:8]], *rows])]
    if array.dtype.kind not in "biufcmMSU" or array.ndim == 0:
        return []
    if array.ndim != 2:
        first, last = (", ".join(map(short, part.tolist())) for part in (array.flat[:8], array.flat[-4:]))
        return ["first: " + first, "last: " + last]
    rows = [[short(value) for value in row] for row in [*array[:4, :8].tolist(), *array[-2:, :8].tolist()]]
    which = ", first 8 columns:" if array.shape[1] > 8 else ":"
    return ["first 4 and last 2 rows" + which, *aligned(rows)]


def shape_of(array: Any) -> str:
    """The shape as people write it."""
    return " × ".join(f"{int(length):,}" for length in tuple(array.shape)) or "scalar"


def numpy_array(array: Any, plain: str) -> str | None:
    """`numpy.ndarray` and memory-mapped ones."""
    numpy: Any = sys.modules["numpy"]
    threshold = numpy.get_printoptions()["threshold"]
    if array.size <= _VERBATIM or (threshold > 1000 and array.size <= threshold):
        return None
    mapped = ", memory-mapped" if type(array) is not numpy.ndarray else ""
    base = array.view(numpy.ndarray)
    lines = [f"numpy array: {shape_of(base)}, {clipped(str(base.dtype), 200)}, {size(base.nbytes)}{mapped}"]
    return "\n".join([*lines, *_facts(base), *_ends(base)])


def torch_tensor(tensor: Any, plain: str) -> str | None:
    """A tensor; the values only of those in ordinary memory."""
    if tensor.numel() <= _VERBATIM:
        return None
    lines = [f"torch tensor: {shape_of(tensor)}, {tensor.dtype}, {size(tensor.numel() * tensor.element_size())}"]
    lines[0] += f", on {tensor.device}" + (", requires grad" if tensor.requires_grad else "")
    if tensor.device.type == "cpu" and str(tensor.layout) == "torch.strided":
        try:
            array = tensor.detach().numpy()
        except (TypeError, RuntimeError):  # bfloat16, conjugated and the like have no view in numpy
            return "\n".join(lines)
        lines += [*_facts(array), *_ends(array)]
    return "\n".join(lines)


def jax_array(array: Any, plain: str) -> str | None:
    """An array that is computed; the values only of those in ordinary memory on one device."""
    if array.size <= _VERBATIM or array.is_deleted():
        return None
    devices = list(array.devices())
    where = ", ".join(map(str, devices[:4]))
    lines = [f"jax array: {shape_of(array)}, {array.dtype}, {size(array.nbytes)}, on {where}"]
    numpy = sys.modules.get("numpy")
    if numpy is not None and len(devices) == 1 and devices[0].platform == "cpu" and array.is_ready():
        values = numpy.asarray(array)
        lines += [*_facts(values), *_ends(values)]
    return "\n".join(lines)


def dataarray(array: Any, plain: str) -> str | None:
    """xarray's DataArray."""
    if array.size <= _VERBATIM:
        return None
    name = short(array.name) if array.name is not None else "without a name"
    lines = [f"xarray DataArray {name}: {_dims(array)}, {array.dtype}"]
    lines += _variable_lines(array.variable)
    return "\n".join([*lines, *_coordinates(array), *_attributes(array)])


def dataset(value: Any, plain: str) -> str | None:
    """xarray's Dataset."""
    until = time.monotonic() + TIME_S
    sizes = ", ".join(f"{short(k)} {n}" for k, n in list(value.sizes.items())[:12])
    lines = [f"xarray Dataset: {len(value.data_vars)} variables; {sizes}"]
    rows = []
    for name in list(value.data_vars)[:25]:
        variable = value.variables[name]
        told = "" if time.monotonic() > until else "; ".join(_variable_lines(variable))
        rows.append((short(name), str(variable.dtype), f"({_dims(variable)})", told))
    lines += aligned(rows) if rows else []
    if len(value.data_vars) > 25:
        lines.append(f"  … and {len(value.data_vars) - 25} more variables")
    return "\n".join([*lines, *_coordinates(value), *_attributes(value)])


def _dims(array: Any) -> str:
    shape = tuple(array.shape)
    return ", ".join(f"{clipped(str(name))} {shape[index]:,}" for index, name in enumerate(array.dims))


def _variable_lines(variable: Any) -> list[str]:
    """Of values that are loaded; what is lazy (dask, files) stays where it is."""
    held = variable._data
    if type(held) is not loaded("numpy", "ndarray"):
        return ["not loaded, not looked into"]
    return _facts(held)


def _coordinates(value: Any) -> list[str]:
    rows = []
    for name in list(value.coords)[:15]:
        variable = value.variables[name] if hasattr(value, "variables") else value.coords[name].variable
        index = value.indexes.get(name)
        ends = f"{short(index[0])} … {short(index[-1])}" if index is not None and len(index) else ""
        rows.append((short(name), str(variable.dtype), f"({_dims(variable)})", ends))
    return ["coordinates:", *aligned(rows)] if rows else []


def _attributes(value: Any) -> list[str]:
    rows = [(short(key), short(each, 80)) for key, each in list(value.attrs.items())[:10]]
    return ["attributes:", *aligned(rows)] if rows else []
