"""Tokens in the user's keyring, which may be locked, or wait for somebody at a screen that nobody looks at."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import threading

SERVICE = "kernel-supervisor"
"""The keyring's service under which a server's token is looked for, by the server's name."""
_PATIENCE_S = 3.0


class Keyring:
    """The keyring as it is reached: one question about a name at a time, however often it is asked."""

    def __init__(self) -> None:
        self._asking: dict[str, asyncio.Future[tuple[str, str]]] = {}

    async def token(self, name: str) -> tuple[str, str]:
        """What is kept there for a server of that name, empty for nothing; and what went wrong, in words."""
        asking = self._asking.get(name)
        if asking is None or asking.done():
            asking = self._asking[name] = _begin(name)
        try:
            return await asyncio.wait_for(asyncio.shield(asking), _PATIENCE_S)
        except asyncio.TimeoutError:
            return "", f"the keyring did not answer within {_PATIENCE_S:g} s"


def _begin(name: str) -> asyncio.Future[tuple[str, str]]:
    """The answer, one day. Its thread is its own: a stuck one holds up neither others nor the daemon's end."""
    answer: concurrent.futures.Future[tuple[str, str]] = concurrent.futures.Future()
    threading.Thread(target=lambda: answer.set_result(_look_up(name)), name="keyring", daemon=True).start()
    return asyncio.wrap_future(answer)


def _look_up(name: str) -> tuple[str, str]:
    try:
        keyring = importlib.import_module("keyring")  # 60 ms, and few have it
    except ImportError:
        return "", ""
    try:
        return str(keyring.get_password(SERVICE, name) or ""), ""
    except Exception as error:  # noqa: BLE001 - backends raise what they like
        return "", f"the keyring could not be read ({type(error).__name__}: {error})"
