"""Hearing of a shutdown of the machine from logind, which waits for whoever holds a lock of it: some seconds, for which
the lock of systemd-inhibit(1) is called `delay`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from jeepney import DBusAddress, DBusErrorResponse, MatchRule, message_bus, new_method_call
from jeepney.io.blocking import DBusConnection, Proxy, open_dbus_connection

log = logging.getLogger(__name__)
_NAME, _PATH, _MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
_SIGNAL = "PrepareForShutdown"
_ASKED_S = 5.0


@dataclass(slots=True)
class _Lock:
    """One that logind waits for, and the connection on which it says that it does."""

    connection: DBusConnection
    descriptor: int

    def is_told(self) -> bool:
        """Whether it says so now; to be asked whenever something has come. Raises OSError where it is gone."""
        with contextlib.suppress(TimeoutError):
            while True:
                message = self.connection.receive(timeout=0)
                if message.header.fields.get(3) == _SIGNAL and message.body and message.body[0]:  # its member
                    return True
        return False

    def release(self) -> None:
        """Have it go on."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        self.connection.close()


async def before_shutdown(save: Callable[[], Awaitable[None]]) -> None:
    """Call `save` when the machine is about to be shut down, which waits for it. Returns at once where no logind is."""
    try:
        lock = await asyncio.to_thread(_take)
    except (OSError, ValueError, KeyError, EOFError, DBusErrorResponse) as error:
        log.info("logind does not wait for us: %s", error)
        return
    loop, something = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(lock.connection.sock, something.set)
    try:
        while not lock.is_told():
            something.clear()
            await something.wait()
        log.info("the machine is about to be shut down")
        await save()
    except (OSError, EOFError) as error:
        log.info("logind is gone: %s", error)
    finally:
        loop.remove_reader(lock.connection.sock)
        lock.release()


def _take() -> _Lock:
    connection = open_dbus_connection("SYSTEM", enable_fds=True)
    try:
        rule = MatchRule(type="signal", sender=_NAME, interface=_MANAGER, member=_SIGNAL, path=_PATH)
        Proxy(message_bus, connection, timeout=_ASKED_S).AddMatch(rule)
        manager = DBusAddress(_PATH, bus_name=_NAME, interface=_MANAGER)
        wanted = ("shutdown", "kernel-supervisor", "variables are being saved", "delay")
        reply: Any = connection.send_and_get_reply(
            new_method_call(manager, "Inhibit", "ssss", wanted), timeout=_ASKED_S
        )
        if not hasattr(reply.body[0], "to_raw_fd"):
            raise PermissionError(str(reply.body[0]))
        return _Lock(connection, reply.body[0].to_raw_fd())
    except BaseException:
        connection.close()
        raise
