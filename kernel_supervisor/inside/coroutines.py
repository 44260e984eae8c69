"""Lets an old ipykernel take handlers that are coroutines.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. ipykernel 5 hands what a handler
returns to `tornado.gen.maybe_future`, which passes a coroutine over: it would never be run. Later ones await it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from typing import Any


def install(kernel: Any) -> None:
    """Replace the name `gen` in the module of ipykernel that serves requests; tornado itself stays as it is."""
    base: Any = importlib.import_module("ipykernel.kernelbase")
    gen = getattr(base, "gen", None)
    if gen is not None and not isinstance(gen, _Gen):
        base.gen = _Gen(gen)


class _Gen:
    """tornado's `gen`, whose `maybe_future` runs coroutines, too."""

    def __init__(self, gen: Any) -> None:
        self._gen = gen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gen, name)

    def maybe_future(self, result: Any) -> Any:
        """A future for what a handler returned."""
        return asyncio.ensure_future(result) if inspect.iscoroutine(result) else self._gen.maybe_future(result)
