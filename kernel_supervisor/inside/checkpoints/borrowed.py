"""Loads cloudpickle from its own file, as it was installed with us: user code may have another one, or none.

Runs *inside* kernels: stdlib only, Python 3.8 and later. The streams of checkpoints name its functions as those of a
module of ours, whichever version of 3.1 made them.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Dict, List

_NAME = "_kernel_supervisor_cloudpickle"
_UP = os.path.abspath(os.path.join(__file__, *[os.pardir] * 4))
_places: List[str] = [os.path.join(_UP, "cloudpickle", "cloudpickle.py")]
"""Where it is looked for: daemons of versions before name no file, and it is in the folder then that we are in."""


def hindrance(content: Dict[str, Any]) -> str:
    """Why it cannot be loaded, in words, empty where it can: from now on from where a request says that it is."""
    named = content.get("cloudpickle")
    if named and named not in _places:
        _places.insert(0, named)
    if any(map(os.path.isfile, _places)):
        return ""
    return "cloudpickle is not at %s, where it belongs: install kernel-supervisor again" % _places[0]


def cloudpickle() -> Any:
    """A new one, since it remembers classes; not in `sys.modules`."""
    place = next(filter(os.path.isfile, _places), _places[0])
    spec: Any = importlib.util.spec_from_file_location(_NAME, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
