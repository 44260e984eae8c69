"""How values of pandas are taken apart so that another version of pandas, too, can make them again.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. What pandas 2 and 3 read of each other anyway is left to them.
"""

from __future__ import annotations

import sys
from typing import Any, Dict

_FEW = 1000
"""Texts that are saved one by one, as the names of columns are, so that they come back without pyarrow, too."""


def _backed(value: Any, pickler: Any) -> Any:
    """Categories, dates and the like: pandas 2 does not know how pandas 3 leaves out what is empty."""
    reduced = value.__reduce_ex__(5)
    state = reduced[2] if len(reduced) > 2 else ()
    if type(state) is not tuple or len(state) not in (2, 3):
        return NotImplemented
    dtype, array, attributes = (*state, {})[:3]
    kept = {name: each for name, each in attributes.items() if name != "_cache"} if type(attributes) is dict else {}
    return pickler.make.backed, (type(value), dtype, array, kept)


def _texts(value: Any, pickler: Any) -> Any:
    if len(value) > _FEW:
        return NotImplemented
    missing = value.dtype.na_value
    texts = [None if text is missing or type(text) is float else text for text in value.to_numpy(object)]
    return pickler.make.texts, (texts, type(missing) is float)


def _constant(value: Any, pickler: Any) -> Any:
    """NaT and NA: each version calls the function that makes them otherwise."""
    return pickler.make.constant, ("pandas", "NaT" if "NaT" in type(value).__name__ else "NA")


def _time_zone(value: Any, pickler: Any) -> Any:
    """A time zone of pytz, which pandas 2 needs and pandas 3 does not bring."""
    pytz = sys.modules.get("pytz")
    if pytz is None or not getattr(value, "zone", None) or pytz.timezone(value.zone) is not value:
        return NotImplemented
    return pickler.make.time_zone, (value.zone,)


_TEXTS = ("pandas.core.arrays.string_arrow.ArrowStringArray", "pandas.arrays.ArrowStringArray")
DERIVED: Dict[str, Any] = {
    **dict.fromkeys(_TEXTS, _texts),
    "pandas._libs.arrays.NDArrayBacked": _backed,
    "pandas._libs.tslibs.nattype.NaTType": _constant,
    "pandas.api.typing.NaTType": _constant,
    "pandas._libs.missing.NAType": _constant,
    "pandas.api.typing.NAType": _constant,
    "pytz.tzinfo.BaseTzInfo": _time_zone,
}
