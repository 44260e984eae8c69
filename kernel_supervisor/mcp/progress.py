"""What a client that asked for progress hears while something takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kernel_supervisor.mcp.call import PROGRESS_S, Call
from kernel_supervisor.tasks import happens

_Made = TypeVar("_Made")
_APART_S = 0.2
"""Progress goes out no faster than this: its numbers have to rise."""


async def with_progress(call: Call, words: str, work: Callable[[Callable[[str], None]], Awaitable[_Made]]) -> _Made:
    """What `work` makes, while the client is told `words`, then the newest that `work` says, and that again while it
    says nothing. `work` may say it from any thread."""
    loop = asyncio.get_running_loop()
    said, news = [words], asyncio.Event()

    def hear(line: str) -> None:
        said.append(line)
        loop.call_soon_threadsafe(news.set)

    async def tell() -> None:
        while True:
            news.clear()
            await call.progress(said[-1])
            await asyncio.sleep(_APART_S)
            await happens(news, PROGRESS_S)

    telling = asyncio.create_task(tell(), name="progress")
    try:
        return await work(hear)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
