"""Does something to a module once user code has imported it: importing it here would slow each start of a kernel.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Callable

Step = Callable[[Any], Any]


def after(name: str, step: Step) -> None:
    """Call `step` with the module of that name, now if it has been imported, else as soon as it is."""
    module = sys.modules.get(name)
    if module is not None:
        step(module)
        return
    _finder.steps.setdefault(name, []).append(step)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


class _Finder:
    """Finds nothing by itself: what others find calls the steps when it is executed."""

    def __init__(self) -> None:
        self.steps: dict[str, list[Step]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        steps = self.steps.pop(name, [])
        if not self.steps and self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = next(filter(None, (each.find_spec(name, path, target) for each in _others())), None) if steps else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                execute(module)
                for step in steps:
                    with contextlib.suppress(Exception):  # the module is as it is
                        step(module)

            spec.loader.exec_module = exec_module
        return spec


def _others() -> list[Any]:
    return [each for each in sys.meta_path if each is not _finder]


_finder: Any = _Finder()
