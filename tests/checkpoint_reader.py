"""A script: restores a checkpoint into a `__main__` of its own and says which checks of it fail.

python checkpoint_reader.py REQUEST.json CHECKS.json REPLY.json
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from checkpoint_writer import empty_main, loaded, run_cells, write  # type: ignore[import-not-found]  # a script beside a script


def same(mine: Any, other: Any) -> None:
    """Raise AssertionError unless the one is as the other: type, value, order, layout, whether it can be written to."""
    assert type(mine).__qualname__ == type(other).__qualname__, (type(mine), type(other))
    top = type(mine).__module__.partition(".")[0]
    compare = globals().get(f"_{top}", _plain)
    compare(mine, other)


def _plain(mine: Any, other: Any) -> None:
    if isinstance(mine, list | tuple):
        assert len(mine) == len(other)
        for each, its in zip(mine, other, strict=True):
            same(each, its)
    elif isinstance(mine, dict):
        assert list(mine) == list(other)
        for key in mine:
            same(mine[key], other[key])
    elif isinstance(mine, float) and math.isnan(mine):
        assert math.isnan(other)
    else:
        assert mine == other, (mine, other)


def _numpy(mine: Any, other: Any) -> None:
    import numpy as np

    if not isinstance(mine, np.ndarray):
        assert mine == other or (mine != mine and other != other)
        return
    for name in ("dtype", "shape", "strides"):
        assert getattr(mine, name) == getattr(other, name), name
    assert mine.flags.writeable == other.flags.writeable
    if mine.dtype.hasobject or isinstance(mine, np.ma.MaskedArray):
        assert mine.tolist() == other.tolist()
    else:
        numbers = mine.dtype.kind in "fc"  # those of `long double` have bytes that are nothing
        assert np.array_equal(mine, other, equal_nan=numbers) if numbers else mine.tobytes() == other.tobytes()


def _pandas(mine: Any, other: Any) -> None:
    import pandas as pd

    for kind in ("DataFrame", "Series", "Index"):
        if isinstance(mine, getattr(pd, kind)):
            getattr(pd.testing, f"assert_{kind.lower() if kind != 'DataFrame' else 'frame'}_equal")(mine, other)
            return
    _plain(mine, other)


def _polars(mine: Any, other: Any) -> None:
    assert mine.equals(other)


def _pyarrow(mine: Any, other: Any) -> None:
    assert mine.equals(other)


def _xarray(mine: Any, other: Any) -> None:
    assert mine.identical(other)


def _scipy(mine: Any, other: Any) -> None:
    assert mine.shape == other.shape
    assert mine.dtype == other.dtype
    same(mine.toarray(), other.toarray())


def _torch(mine: Any, other: Any) -> None:
    torch = sys.modules["torch"]

    assert torch.equal(mine, other)
    for name in ("dtype", "requires_grad", "shape"):
        assert getattr(mine, name) == getattr(other, name), name
    assert mine.stride() == other.stride()


def check(namespace: dict[str, Any], checks: dict[str, Any]) -> dict[str, str]:
    """What failed, by kind; "" where nothing did."""
    said = {}
    for kind, (cell, code) in checks.items():
        was: dict[str, Any] = {"__name__": "was"}
        try:
            if "was" in code or not code:
                exec(cell, was)
            names = {"was": was.get(kind), "v": namespace.get(kind), "same": same}
            namespace.update({**names, "again": namespace.get})
            exec(code or "same(v, was)", namespace)
            said[kind] = ""
        except BaseException:  # noqa: BLE001 - whatever it is, it is what the test reads
            said[kind] = traceback.format_exc()
    return said


def main(request: str, checks: str, reply: str) -> None:
    """Restore as `request` says, look, and write what was told and what failed."""
    warnings.simplefilter("ignore")
    namespace = empty_main()
    content = json.loads(Path(request).read_text())
    run_cells(content.pop("cells", []), namespace)
    sys.path[:0] = content.get("path") or []
    again = content.pop("write_again", None)
    told = loaded(content["code"], "restoring").restore(namespace, content)
    ours = [name for name in sys.modules if name.startswith("_kernel_supervisor")]
    if again:
        write(content["code"], content["cloudpickle"], namespace, Path(again))
    failed = check(namespace, json.loads(Path(checks).read_text()))
    Path(reply).write_text(json.dumps({"told": told, "failed": failed, "ours": ours}))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
