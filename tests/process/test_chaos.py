"""Promise 2, under fire: clients count in their sessions while shims and the daemon are killed and stopped at random.

Longer, or again: KERNEL_SUPERVISOR_CHAOS_S=600 KERNEL_SUPERVISOR_CHAOS_SEED=7 pytest tests/process/test_chaos.py -s
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from tests.support import RESULT, Home

DURATION_S = float(os.environ.get("KERNEL_SUPERVISOR_CHAOS_S", "20"))
SEED = int(os.environ.get("KERNEL_SUPERVISOR_CHAOS_SEED", str(random.randrange(10**6))))
CLIENTS, SESSIONS = 8, 4
ANSWER_S = 60.0

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(DURATION_S * 2 + 240)]


class ShimDiedError(Exception):
    """The shim was killed while a call waited for its answer."""


class NotServedError(Exception):
    """A client was told that no daemon comes up: each was killed before it served."""


class Shim:
    """A client that speaks JSON-RPC by hand, and whose process may be killed at any time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, home: Home, session: str) -> Shim:
        process = await asyncio.create_subprocess_exec(
            *home.shim_command("--session", session),
            env=home.env,
            cwd=home.project,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
        )
        shim = cls(process)
        info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "chaos", "version": "1"}}
        try:
            await shim.request("initialize", info)
        except NotServedError:
            await shim.close()
            raise
        shim.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return shim

    def write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self.write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return await asyncio.wait_for(self._answers[number], ANSWER_S)

    async def tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await self.request("tools/call", {"name": name, "arguments": arguments})

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            message = json.loads(line)
            if "method" in message:
                continue  # news of resources
            answer = self._answers.pop(message.get("id"), None)
            assert answer is not None, f"answered twice, or never asked: {message}"
            if "error" in message:
                answer.set_exception(NotServedError(message["error"]["message"]))
            else:
                answer.set_result(message["result"])
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ShimDiedError())

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await asyncio.gather(self._reader, return_exceptions=True)


@dataclass
class Figures:
    """What happened."""

    calls: int = 0
    shims_killed: int = 0
    daemons_killed: int = 0
    stopped: int = 0
    recovered: int = 0
    longest_s: float = 0.0
    shims: dict[int, Shim] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"seed {SEED}: {self.calls} calls, {self.daemons_killed} daemons and {self.shims_killed} shims killed, "
            f"{self.stopped} stopped, {self.recovered} calls recovered, longest wait {self.longest_s:.1f} s"
        )


async def count(home: Home, client: int, figures: Figures, end: float) -> int:
    """Count until `end`; the number reached. Each increment is checked, whoever died meanwhile."""
    session = f"session-{client % SESSIONS}"
    shim = figures.shims[client] = await restarted(home, session)
    value = 0
    while time.monotonic() < end or value == 0:
        token = f"# increment {client}.{value + 1}"
        code = f"c{client} = globals().get('c{client}', 0) + 1; print('value', c{client})  {token}"
        begun = time.monotonic()
        result = None
        while result is None:
            try:
                result = await shim.tool("kernel_exec", code=code, timeout=ANSWER_S)
            except (ShimDiedError, ConnectionError, NotServedError):
                await shim.close()
                shim = figures.shims[client] = await restarted(home, session)
                result, shim = await recovered(home, session, shim, token)
                figures.shims[client] = shim
                figures.recovered += result is not None
        figures.longest_s = max(figures.longest_s, time.monotonic() - begun)
        figures.calls += 1
        value += 1
        text = result["content"][0]["text"]
        assert result["_meta"][RESULT]["status"] == "ok", text
        assert text.splitlines()[-1] == f"value {value}", f"client {client} at {value}: {text}"
    await shim.close()
    return value


async def restarted(home: Home, session: str) -> Shim:
    while True:
        try:
            return await Shim.start(home, session)
        except (ShimDiedError, ConnectionError, NotServedError):
            continue  # killed again before it was up, or no daemon came up


async def recovered(home: Home, session: str, shim: Shim, token: str) -> tuple[dict[str, Any] | None, Shim]:
    """What became of the call that the killed shim was waiting for: its result, or None where it never arrived."""
    while True:
        try:
            history = await shim.tool("kernel_history", filter=token, last=5)
            entries = [each for each in history["_meta"][RESULT]["entries"] if each["code"].endswith(token)]
            entries = [each for each in entries if each["status"] != "aborted"]  # said to have never been run
            assert len(entries) <= 1, entries
            if not entries:
                return None, shim
            result = await shim.tool("kernel_output", execution_id=entries[0]["execution_id"], wait=ANSWER_S)
            if result["_meta"][RESULT]["status"] == "aborted":
                return None, shim
            if result["_meta"][RESULT]["status"] not in ("running", "queued"):
                return result, shim
            await asyncio.sleep(0.1)  # before asking again
        except (ShimDiedError, ConnectionError, NotServedError):
            await shim.close()
            shim = await restarted(home, session)


async def havoc(home: Home, figures: Figures, end: float, dice: random.Random) -> None:
    """Kill and stop, at random, until `end`."""
    while time.monotonic() < end:
        await asyncio.sleep(dice.uniform(0.05, 0.8))  # the rhythm of the havoc
        deed = dice.choice(("kill daemon", "kill daemon", "kill shim", "stop daemon", "stop shim"))
        if "daemon" in deed:
            process = home.daemon()
        else:
            shim = figures.shims.get(dice.randrange(CLIENTS))
            process = psutil.Process(shim.process.pid) if shim and psutil.pid_exists(shim.process.pid) else None
        if process is None:
            continue
        with suppress(psutil.Error):
            if deed.startswith("kill"):
                process.send_signal(signal.SIGKILL)
                figures.daemons_killed += "daemon" in deed
                figures.shims_killed += "shim" in deed
            else:
                process.suspend()
                figures.stopped += 1
                await asyncio.sleep(dice.uniform(0.05, 0.6))  # for as long as it is stopped
                process.resume()


async def test_no_increment_is_lost_and_none_happens_twice(home: Home) -> None:
    figures, dice, end = Figures(), random.Random(SEED), time.monotonic() + DURATION_S
    try:
        *values, _ = await asyncio.gather(
            *(count(home, client, figures, end) for client in range(CLIENTS)), havoc(home, figures, end, dice)
        )
    except BaseException:
        print(f"\nfailed with seed {SEED}")
        raise
    finally:
        print(f"\n{figures}")
        for shim in figures.shims.values():
            await shim.close()
    assert figures.daemons_killed > 0
    last = await Shim.start(home, "session-0")
    for client, value in enumerate(values):
        result = await last.tool(
            "kernel_exec", code=f"print('value', c{client})", session=f"session-{client % SESSIONS}"
        )
        assert result["content"][0]["text"].splitlines()[-1] == f"value {value}"
    await last.close()
    await home.stop_with_all()
