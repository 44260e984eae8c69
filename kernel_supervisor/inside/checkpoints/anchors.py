"""What is the process's own, and the same in the next one: the namespace, and the modules that are imported.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. Both are plain dicts, about which a pickler asks nobody: each is put into its memo, in the place of an object
that stands for it at the beginning of the stream. Else whatever holds `globals()` would hold all variables.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List

ALL = ("namespace", "modules")


class Whole:
    """A stream's dict of values, and before it what stands for what is the process's own."""

    def __init__(self, values: Dict[str, Any], places: List[Any]) -> None:
        self.anchors = [Anchor(name) for name in ALL]
        self.rest = Rest(self.anchors, values, places)


class Anchor:
    """It stands for one of them."""

    def __init__(self, name: str) -> None:
        self.name = name


class Rest:
    """The values, and where the definitions among them stand."""

    def __init__(self, anchors: List[Anchor], values: Dict[str, Any], places: List[Any]) -> None:
        self.anchors, self.values, self.places = anchors, values, places


def of(namespace: Dict[str, Any]) -> Dict[str, Any]:
    """Each of them by its name."""
    return {"namespace": namespace, "modules": sys.modules}


def ways() -> Dict[Any, Any]:
    """How these are taken apart: `way(value, pickler)`, as those of `reducers.py`."""
    return {Whole: _whole, Anchor: _anchor, Rest: _rest}


def _whole(value: Any, pickler: Any) -> Any:
    return pickler.make.whole, (*value.anchors, value.rest)


def _anchor(value: Any, pickler: Any) -> Any:
    return pickler.make.own, (value.name,)


def _rest(value: Any, pickler: Any) -> Any:
    memo, own = pickler.memo.copy(), of(pickler.pickling.namespace)
    for each in value.anchors:
        memo[id(own[each.name])] = (memo.pop(id(each))[0], own[each.name])
    pickler.memo = memo
    return pickler.make.defined, (value.values, value.places)
