"""What is said of objects of exactly known types: pure, bounded in characters and time, stdlib only, Python 3.8.

A type is known if it is the very class that a loaded module has under its public name. Nothing is imported, no code
of any other class is called, and what would be computed or fetched only when asked (polars' LazyFrame, dask,
duckdb's relations) is not in the table. Small objects have no summary: their `text/plain` says everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import dataarray, dataset, jax_array, numpy_array, torch_tensor
from .bokeh import EXEC, LOAD, bokeh_model, bokeh_script
from .folium import folium_map
from .pages import page_summary
from .pictures import estimator, matplotlib_animation, matplotlib_figure
from .plain import bounded, in_lines, large_mapping, large_sequence, loaded, public_name
from .plotly import plotly_figure
from .tables import arrow_table, pandas_frame, pandas_series, pandas_styler, polars_frame, polars_series
from .vega import altair_chart, vega_figure

__all__ = ["bundle_summary", "summary"]

_BUILTIN: dict[int, Callable[[Any, str], str | None]] = {id(dict): large_mapping}
_BUILTIN.update({id(kind): large_sequence for kind in (list, tuple, set, frozenset)})
_PLOTLY, _VEGA = "application/vnd.plotly.v1+json", "application/vnd.vegalite.v"
_FAMILIES: dict[str, Callable[[Any, str], str | None]] = {"sklearn": estimator, "bokeh": bokeh_model}
_ALTAIR = ("Chart", "LayerChart", "HConcatChart", "VConcatChart", "ConcatChart", "FacetChart", "RepeatChart")
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
    *(("matplotlib.animation", name, matplotlib_animation) for name in ("FuncAnimation", "ArtistAnimation")),
    ("folium.folium", "Map", folium_map),
    ("branca.element", "Figure", folium_map),
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
    if say is None:
        say = _FAMILIES.get(public_name(kind).partition(".")[0])
    whole = in_lines(value, plain) if say is large_mapping or say is large_sequence else None
    if whole is not None:
        return whole
    said = say(value, plain) if say is not None else None
    return bounded(said) if said else None


def bundle_summary(bundle: Any) -> str | None:
    """What there is to say of the plotly, Vega-Lite or bokeh figure in a MIME bundle or its page; None without one."""
    said = None
    for mime, spec in bundle.items():
        if mime in (EXEC, LOAD):
            said = bokeh_script(bundle)
        elif mime == _PLOTLY and type(spec) is dict:
            said = plotly_figure(spec)
        elif type(mime) is str and mime.startswith(_VEGA) and type(spec) is dict:
            said = vega_figure(spec)
    page = bundle.get("text/html")
    if said is None and type(page) is str:
        said = page_summary(page)
    return bounded(said) if said else None
