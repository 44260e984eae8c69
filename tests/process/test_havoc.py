"""Promise: whatever one client, one kernel, the machine or we do wrong, nobody's work is lost, doubled or told wrongly.

Longer, or again: KERNEL_SUPERVISOR_HAVOC_S=1800 KERNEL_SUPERVISOR_HAVOC_SEED=7 pytest tests/process/test_havoc.py -s
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from tests.process.test_chaos import NotServedError, Shim, ShimDiedError
from tests.support import RESULT, Home

DURATION_S = float(os.environ.get("KERNEL_SUPERVISOR_HAVOC_S", "20"))
SEED = int(os.environ.get("KERNEL_SUPERVISOR_HAVOC_SEED", str(random.randrange(10**6))))
CLIENTS, SESSIONS = 8, 4
CALL_S = 60
_GONE = (ShimDiedError, ConnectionError, NotServedError)
_HOLE = "could not be recorded"
_DISK = f"size={300 + DURATION_S:.0f}m,mode=700"

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(DURATION_S * 2 + 300)]


@dataclass
class Fate:
    """What a client was told of one attempt to count."""

    status: str
    """As the result has it; `refused` where it was not taken, `unknown` where the client was killed meanwhile."""
    said: str = ""
    """What its cell printed: the kernel's process, and the number there; where it was refused, all that was said."""


@dataclass
class Place:
    """One supervisor under fire, and what happened."""

    home: Home
    dice: random.Random
    end: float
    shims: dict[int, Shim] = field(default_factory=dict)
    spared: set[int] = field(default_factory=set)
    """Processes of the bystander."""
    fates: dict[str, Fate] = field(default_factory=dict)
    deeds: Counter[str] = field(default_factory=Counter)
    restarts_s: list[float] = field(default_factory=list)
    """How long after the kill of a daemon another one answered, where nothing else happened."""
    bystander_s: list[tuple[float, str]] = field(default_factory=list)
    """How long its answers took, and what was done meanwhile."""
    odd: list[str] = field(default_factory=list)
    """Its answers that are not what it asked for, and do not say that the disk was full."""
    done: list[str] = field(default_factory=list)
    """All deeds, in order, from when they began."""

    @property
    def ledger(self) -> Path:
        """Where each cell that runs writes a line: which attempt it is, the kernel's process, and the number there."""
        return self.home.project / "ledger"


# The clients


async def opened(place: Place, session: str) -> Shim:
    while True:
        with suppress(*_GONE):
            return await Shim.start(place.home, session)


async def count(place: Place, client: int) -> None:
    """Count in a kernel that two clients share, whatever happens to it."""
    session, attempt = f"session-{client % SESSIONS}", 0
    shim = place.shims[client] = await opened(place, session)
    while time.monotonic() < place.end:
        attempt += 1
        token = f"{client}.{attempt}"
        code = (
            f"import os; n{client} = globals().get('n{client}', 0) + 1\n"
            f"with open({str(place.ledger)!r}, 'a') as ledger:\n"
            f"    print({token!r}, os.getpid(), n{client}, file=ledger)\n"
            f"print('counted', os.getpid(), n{client})"
        )
        try:
            fate = place.fates[token] = told(await shim.tool("kernel_exec", code=code, timeout=CALL_S))
            if fate.status in ("dead", "refused"):
                await shim.tool("kernel_restart")
        except _GONE:
            place.fates.setdefault(token, Fate("unknown"))
            await shim.close()
            shim = place.shims[client] = await opened(place, session)
    await shim.close()


def told(result: dict[str, Any]) -> Fate:
    text = result["content"][0]["text"]
    assert "failed inside the supervisor" not in text, text
    status = result.get("_meta", {}).get(RESULT, {}).get("status")
    if status is None:
        return Fate("refused", text)
    lines = [line.removeprefix("counted ") for line in text.splitlines() if line.startswith("counted ")]
    return Fate(status, lines[-1] if lines else "")


async def settle_in(place: Place) -> Shim:
    """A client in a session that nobody does anything to."""
    shim = await Shim.start(place.home, "bystander")
    await shim.tool("kernel_exec", code="1")
    status = await shim.tool("kernel_status")
    place.spared |= {shim.process.pid, status["_meta"][RESULT]["pid"]}
    return shim


async def stand_by(place: Place, shim: Shim) -> None:
    """Work there, and see how long answers take, and whether they say what is so."""
    number = 0
    while time.monotonic() < place.end:
        number += 1
        begun, before = time.monotonic(), len(place.done)
        result = None
        while result is None:
            with suppress(NotServedError):  # each daemon was killed before it served; it asks again, as a person would
                result = await shim.tool("kernel_exec", code=f"x = {number}; print(x)", timeout=CALL_S)
        place.bystander_s.append((time.monotonic() - begun, ", ".join(place.done[max(before - 1, 0) :])))
        text = result["content"][0]["text"]
        if str(number) not in text.splitlines() and _HOLE not in text:
            place.odd.append(text)
        await asyncio.sleep(0.1)  # it works at a person's pace
    await shim.close()


# The deeds


async def kill_daemon(place: Place) -> None:
    daemon = place.home.daemon()
    if daemon is not None:
        daemon.kill()


async def kill_shim(place: Place) -> None:
    shim = place.shims.get(place.dice.randrange(CLIENTS))
    if shim is not None and shim.process.returncode is None:
        shim.process.kill()


async def kill_kernel(place: Place) -> None:
    kernels = [each for each in place.home.kernels() if each.pid not in place.spared]
    if kernels:
        place.dice.choice(kernels).kill()


async def stop_something(place: Place) -> None:
    shims = [each.process.pid for each in place.shims.values() if each.process.returncode is None]
    pids = [each.pid for each in (*place.home.daemons(), *place.home.kernels())] + shims
    pids = [pid for pid in pids if pid not in place.spared]
    if pids:
        process = psutil.Process(place.dice.choice(pids))
        process.suspend()
        await asyncio.sleep(place.dice.uniform(0.05, 0.6))  # for as long as it is stopped
        process.resume()


async def remove_socket(place: Place) -> None:
    place.dice.choice([place.home.path / "run/daemon.sock", place.home.path / "run/daemon.lock"]).unlink()


async def lock_records(place: Place) -> None:
    with closing(sqlite3.connect(place.home.path / "run/records.sqlite", timeout=0, isolation_level=None)) as records:
        records.execute("BEGIN EXCLUSIVE")
        await asyncio.sleep(place.dice.uniform(0.5, 4))  # for as long as they are locked


async def fill_disk(place: Place) -> None:
    filler = place.home.path / "filler"
    try:
        with filler.open("wb") as file:
            free = os.statvfs(place.home.path).f_bavail * os.statvfs(place.home.path).f_frsize
            os.posix_fallocate(file.fileno(), 0, free)
        await asyncio.sleep(place.dice.uniform(0.3, 3))  # for as long as it is full
    finally:
        filler.unlink(missing_ok=True)


async def flood_with_news(place: Place) -> None:
    shim = await Shim.start(place.home, "flood")
    shim.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "nobody's"}})
    assert shim.process.stdin is not None
    line = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"x","progress":1}}\n'
    shim.process.stdin.write(line * 20_000)
    with suppress(*_GONE):
        await shim.request("ping", {})
    await shim.close()


async def flood_with_output(place: Place) -> None:
    shim = await Shim.start(place.home, "flood")
    with suppress(*_GONE):
        await shim.tool("kernel_exec", code="for _ in range(20): print('x' * 1_000_000)", timeout=5)
    await shim.close()


async def send_rubbish(place: Place) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(f"ipc://{place.home.path}/run/daemon.sock")
        for frame in ([b"hello", b"[" * 200_000, b""], [b"rpc", b"{}", b"[]"], [b"", b"", b""], [b"hello"]):
            socket.send_multipart(frame)
        await asyncio.sleep(0.1)  # it is sent


DEEDS: dict[Callable[[Place], Awaitable[None]], int] = {
    kill_daemon: 6,
    kill_shim: 6,
    kill_kernel: 3,
    stop_something: 6,
    remove_socket: 2,
    lock_records: 2,
    fill_disk: 2,
    flood_with_news: 1,
    flood_with_output: 1,
    send_rubbish: 2,
}
"""What happens, and how often beside the others."""


async def do_harm(place: Place) -> None:
    deeds = list(DEEDS)
    while time.monotonic() < place.end:
        await asyncio.sleep(place.dice.uniform(0.1, 1.0))  # the rhythm of the havoc
        deed = place.dice.choices(deeds, weights=list(DEEDS.values()))[0]
        name = deed.__name__.replace("_", " ")
        place.done.append(name)
        with suppress(psutil.Error, OSError, sqlite3.OperationalError, *_GONE):
            await deed(place)
            place.deeds[name] += 1


async def measure_restarts(place: Place) -> None:
    """How long one takes, before anything else happens."""
    shim = await Shim.start(place.home, "bystander")
    for _ in range(3):
        await shim.tool("kernel_exec", code="1")
        place.home.kill_daemon()
        begun = time.monotonic()
        await shim.tool("kernel_exec", code="1", timeout=CALL_S)
        place.restarts_s.append(time.monotonic() - begun)
    await shim.close()


# What became of it


def faults(place: Place) -> dict[str, list[str]]:
    """Each attempt that is lost, doubled or told wrongly, and each kernel that forgot a variable."""
    ran: defaultdict[str, list[str]] = defaultdict(list)
    numbers: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for line in place.ledger.read_text().splitlines():
        token, pid, number = line.split()
        ran[token].append(f"{pid} {number}")
        numbers[token.partition(".")[0], pid].append(int(number))
    told_of = place.fates.items()
    return {
        "doubled": [token for token, lines in ran.items() if len(lines) > 1],
        "lost": [token for token, fate in told_of if fate.status == "ok" and not ran[token]],
        "wrong words": [
            f"{token}: {fate}, ran {ran[token]}"
            for token, fate in told_of
            if (fate.status == "ok" and fate.said not in ran[token])
            or (fate.status in ("refused", "aborted") and ran[token])
        ],
        "variables lost": [
            f"{which}: {found}" for which, found in numbers.items() if found != list(range(1, len(found) + 1))
        ],
    }


@pytest.fixture
def disk(home: Home) -> Iterator[None]:
    """A disk that can be filled: the supervisor's home."""
    if os.geteuid() != 0:
        yield  # only root can mount one: what fills the disk comes to nothing
        return
    home.path.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", _DISK, "tmpfs", str(home.path)], check=True)
    try:
        yield
    finally:
        home.sweep()
        subprocess.run(["umount", "-l", str(home.path)], check=True)


@pytest.mark.usefixtures("disk")
async def test_nobodys_work_is_lost_doubled_or_told_wrongly(home: Home) -> None:
    place = Place(home, random.Random(SEED), 0.0)
    await measure_restarts(place)
    bystander = await settle_in(place)
    place.end = time.monotonic() + DURATION_S
    clients = [count(place, client) for client in range(CLIENTS)]
    tasks = [asyncio.create_task(each) for each in (*clients, stand_by(place, bystander), do_harm(place))]
    try:
        await asyncio.gather(*tasks)
    except BaseException as error:
        print(f"\nfailed with seed {SEED}: {error!r}")
        raise
    finally:
        print(f"\n{figures(place)}")
        for task in tasks:
            task.cancel()
        for shim in place.shims.values():
            await shim.close()
    await home.stop_with_all()
    found = faults(place)
    print(", ".join(f"{what} {len(found[what])}" for what in found), "· left behind 0")
    assert not any(found.values()), "\n".join(line for lines in found.values() for line in lines)
    assert not place.odd
    assert Counter(fate.status for fate in place.fates.values())["ok"] > 0


def figures(place: Place) -> str:
    statuses, restart = Counter(fate.status for fate in place.fates.values()), statistics.median(place.restarts_s)
    slowest, median = sorted(place.bystander_s)[-3:], statistics.median(s for s, _ in place.bystander_s)
    beyond = max(took_s - restart * deeds.count("kill daemon") for took_s, deeds in place.bystander_s)
    calls = len(place.fates) + len(place.bystander_s)
    lines = (
        f"seed {SEED}, {DURATION_S:.0f} s: {calls} calls of {CLIENTS + 1} clients",
        "faults: " + ", ".join(f"{name} {number}" for name, number in place.deeds.most_common()),
        "told: " + ", ".join(f"{status} {number}" for status, number in statuses.most_common()),
        f"a bystander's answers: median {median:.2f} s; a restart of the daemon alone {restart:.1f} s; "
        f"the slowest {slowest[-1][0]:.1f} s, {beyond:.1f} s beyond the restarts meanwhile:",
        *(f"  {took_s:.1f} s, meanwhile: {deeds}" for took_s, deeds in reversed(slowest)),
    )
    return "\n".join(lines)
