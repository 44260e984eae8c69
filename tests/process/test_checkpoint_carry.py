"""Promise: variables go to another Python, and another version of pandas, whole, or are named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import ipykernels
from tests.checkpoint_kinds import KINDS
from tests.pickled import read, written
from tests.process.test_recorder import interpreters

pytestmark = pytest.mark.timeout(400)
"""An environment may have to be built first."""

PLAIN = [
    "numbers", "texts", "nested", "cyclic", "shared_inside", "shared_by_names", "dates", "standard_values",
    "regexes", "collections_of_all_sorts", "exceptions", "function", "function_source", "functions_that_call",
    "reads_a_variable", "recursion", "lambdas", "decorated", "cached_function", "defaults", "generator_function",
    "coroutine_function", "single_dispatch", "instances", "inherited", "nested_classes", "dataclasses_", "enums",
    "slots", "named_tuples", "abstract_classes", "generics_and_types", "metaclasses", "cached_properties",
    "a_class_with_a_lock", "bound_methods", "a_name_for_a_function", "a_function_that_was_replaced",
    "weak_dictionaries", "random_states", "deep_list", "deep_objects",
]  # fmt: skip
COMPILED = ("closures", "lambdas_in_a_dict", "a_class_of_a_function")
"""What stands in no statement of its own, and cannot be had without what a Python compiled."""
ARRAYS = [
    "dtypes",
    "numpy_dates",
    "numpy_scalars",
    "large_array",
    "strided",
    "broadcast",
    "read_only",
    "structured",
    "object_arrays",
]
FRAMES = ["frame", "frame_multiindex", "frame_extension", "frame_large", "frame_with_attributes"]
ALIKE = """
def plain(column):
    return [None if value is pd.NA or value is None or value != value else value for value in column.astype(object)]
assert v.index.tolist() == was.index.tolist() and list(v.columns) == list(was.columns) and v.attrs == was.attrs
for column in v:
    assert plain(v[column]) == plain(was[column]), column
    assert str(v[column].dtype)[:4] == str(was[column].dtype)[:4] or object in (v[column].dtype, was[column].dtype)
"""


def _other() -> str:
    """The newest Python at hand that is not the tests' own."""
    others = [path for minor, path in interpreters().items() if minor not in (8, 9, 10, sys.version_info[1])]
    if not others:
        pytest.skip("no other Python is at hand")
    return others[-1]


def _cells(kinds: tuple[str, ...] | list[str]) -> list[str]:
    return [KINDS[kind][0] for kind in kinds]


@pytest.mark.parametrize("back", [False, True])
def test_another_python_gets_what_people_wrote_by_its_source(tmp_path: Path, back: bool) -> None:
    pythons = (_other(), sys.executable) if back else (sys.executable, _other())
    checkpoint = written(pythons[0], tmp_path, _cells([*PLAIN, *COMPILED]))
    found = read(pythons[1], checkpoint, {kind: KINDS[kind] for kind in PLAIN})
    assert {kind: said for kind, said in found["failed"].items() if said} == {}
    missing = found["told"]["missing"]
    assert set(COMPILED) <= set(missing)
    assert set(missing) <= {*COMPILED, "read_count", "a_local"}
    assert all("another version of Python compiled" in reason for reason in missing.values()), missing
    assert {"function", "Point", "Colour", "Row", "decorated", "lambdas"} <= set(found["told"]["by_source"])


@pytest.mark.parametrize("back", [False, True])
def test_another_python_and_pandas_get_arrays_and_frames(tmp_path: Path, back: bool) -> None:
    import numpy as np

    other = str(ipykernels.built(_other(), f"numpy=={np.__version__}", "pandas==2.3.*") / "bin/python")
    pythons = (other, sys.executable) if back else (sys.executable, other)
    made = ["import polars as pl\npolars_frame = pl.DataFrame({'a': [1]})"] if not back else []
    made.append("import pandas as pd\ngroups = pd.DataFrame({'a': [1]}).groupby('a')\nnot_there = [pd.NaT, pd.NA]")
    checkpoint = written(pythons[0], tmp_path, [*made, *_cells([*ARRAYS, *FRAMES])])
    checks = {kind: KINDS[kind] for kind in ARRAYS} | {kind: (KINDS[kind][0], ALIKE) for kind in FRAMES}
    checks["not_there"] = ("", "assert v[0] is pd.NaT and v[1] is pd.NA")
    found = read(pythons[1], checkpoint, checks)
    assert {kind: said for kind, said in found["failed"].items() if said} == {}
    missing = found["told"]["missing"]
    assert "of another version of pandas" in missing.pop("groups")
    polars = "needs polars, which is not installed here"
    assert missing == ({} if back else {"pl": polars, "polars_frame": polars})


def test_annotations_that_are_never_looked_up_stay_so(tmp_path: Path) -> None:
    cells = [
        "from __future__ import annotations\nclass Later:\n    x: Unknown = 5\n    def f(self) -> No: return self.x"
    ]
    cells.append("from __future__ import annotations\ndef later(a: Unknown = 3): return a\nalias = later\ndel later")
    found = read(_other(), written(sys.executable, tmp_path, cells), {"alias": ("", "assert v() == Later().f() - 2")})
    assert found["told"]["missing"] == {}
    assert found["failed"] == {"alias": ""}
