"""Lets an old ipykernel take handlers that are coroutines.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. ipykernel 5 hands what a handler
returns to `tornado.gen.maybe_future`, which passes a coroutine over: it would never be run. Later ones await it.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import types
from typing import Any


def install(kernel: Any) -> None:
    """Replace the name `gen` in the module of ipykernel that serves requests; tornado itself stays as it is."""
    base: Any = importlib.import_module("ipykernel.kernelbase")
    gen: Any = getattr(base, "gen", None)
    if not inspect.ismodule(gen):  # there is none, or it is replaced already
        return

    def maybe_future(result: Any) -> Any:
        return asyncio.ensure_future(result) if inspect.iscoroutine(result) else gen.maybe_future(result)

    base.gen = types.SimpleNamespace(**{**vars(gen), "maybe_future": maybe_future})
