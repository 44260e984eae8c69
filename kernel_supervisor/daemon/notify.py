"""Telling systemd what we do: the notification protocol of sd_notify(3), which is one datagram each.

Ours, because the package for it (sdnotify) has had no release since 2017 and these are its twenty lines.
"""

from __future__ import annotations

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send `state` (`READY=1`, `STOPPING=1`, `STATUS=…`) to the service manager, if one listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect(address)
            sender.send(state.encode())
        except OSError:
            return  # the service manager is restarting: it will not miss this


async def keep_watchdog_fed() -> None:
    """Say that we are alive twice per watchdog interval, from the loop that would be stuck if we were not."""
    interval_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    if not interval_us or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval_us / 2e6)
