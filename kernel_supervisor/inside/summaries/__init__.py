"""What is said of objects of exactly known types: pure, bounded in characters and time, stdlib only, Python 3.8.

A type is known if it is the very class that a loaded module has under its public name. Nothing is imported, no code
of any other class is called, and what would be computed or fetched only when asked (polars' LazyFrame, dask,
duckdb's relations) is not in the table. Small objects have no summary: their `text/plain` says everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import dataarray, dataset, jax_array, numpy_array, torch_tensor
from .pictures import altair_chart, bundle_summary, estimator, matplotlib_figure
from .plain import bounded, in_lines, large_mapping, large_sequence, loaded, public_name
from .tables import arrow_table, pandas_frame, pandas_series, pandas_styler, polars_frame, polars_series

__all__ = ["bundle_summary", "summary"]

_BUILTIN: dict[int, Callable[[Any, str], str | None]] = {id(dict): large_mapping}
_BUILTIN.update({id(kind): large_sequence for kind in (list, tuple, set, frozenset)})
_ALTAIR = ("Chart", "LayerChart", "HConcatChart", "VConcatChart", "ConcatChart")
_KNOWN: list[tuple[str, str, Callable[[Any, str], str | None]]] = [
    ("pandas", "DataFrame", pandas_frame),
    ("pandas", "Series", pandas_series),
    ("pandas.io.formats.style", "Styler", pandas_styler),
    ("polars", "DataFrame", polars_frame),
    ("polars", "Series", polars_series),
    ("pyarrow", "Table", arrow_table),
    ("pyarrow", "RecordBatch", arrow_table),
    ("numpy", "ndarray", numpy_array),
    ("numpy", "memmap", numpy_array),
    ("torch", "Tensor", torch_tensor),
    ("torch.nn", "Parameter", torch_tensor),
    ("jaxlib._jax", "ArrayImpl", jax_array),
    ("jaxlib.xla_extension", "ArrayImpl", jax_array),
    ("xarray", "DataArray", dataarray),
    ("xarray", "Dataset", dataset),
    ("collections", "OrderedDict", large_mapping),
    ("collections", "defaultdict", large_mapping),
    ("collections", "Counter", large_mapping),
    ("matplotlib.figure", "Figure", matplotlib_figure),
    *(("altair", name, altair_chart) for name in _ALTAIR),
]


def summary(value: Any, plain: str) -> str | None:
    """What there is to say of `value` beyond `plain`, its `text/plain`; None where `plain` is enough.

    At most 4,000 characters, unless it is all of it on fewer lines. Raises whatever the libraries raise: the caller
    fails open.
    """
    kind = type(value)
    say = _BUILTIN.get(id(kind))
    if say is None:
        say = next((say for module, name, say in _KNOWN if loaded(module, name) is kind), None)
    if say is None and public_name(kind).partition(".")[0] == "sklearn":
        say = estimator
    whole = in_lines(value, plain) if say is large_mapping or say is large_sequence else None
    if whole is not None:
        return whole
    said = say(value, plain) if say is not None else None
    return bounded(said) if said else None
