"""The figures that are promised, each beside its floor in the same run: what `python -m benchmarks` prints.

A section measures some of them. Times of ours and of the floor are taken in turns, in an order that is shuffled anew
each time; of a warm call the floor is the mean of a kernel that was started before ours and one that was after: of two
equal processes the older one is slower.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import executions
import psutil
import shim
from caller import Call, line_client
from figures import COMMAND, seconds, supervisor

from kernel_supervisor.client.connection import Connection
from kernel_supervisor.core.spares import SETTING as PREWARM
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.paths import Paths

_PATIENCE_S = 600.0
_SETTLED_S, _IDLE_S = 40.0, 60.0
"""When what starts kernels is over: each is looked at less and less often; how long idle ones are watched then."""
_FLOODS = {
    "100 MB printed": "for _ in range(100): print('x' * 1_000_000)",
    "200,000 lines": "for number in range(200_000): print(number)",
    "1,000 displays": "for number in range(1_000): display(number)",
    "an image of 20 MB": "display(Image(data=os.urandom(20_000_000), format='png'))",
}
_LOOKS = (
    "import numpy, pandas\nfor n in range(10_000): globals()[f'v{n}'] = n\nlarge = numpy.empty(10_000_000_000, 'i1')"
)
_FRAME = "frame = pandas.DataFrame({'a': numpy.arange(50_000_000, dtype='i4'), 'b': numpy.zeros(50_000_000, 'f4')})"
_IMPORTED = "import mcp.server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure: a ratio to its floor, or where there is no floor a quantity with its unit."""

    what: str
    value: float
    goal: float
    unit: str = "×"
    floor: str = ""
    at_least: bool = False
    beside: str = ""
    """What was measured beside it, in words."""
    section: str = ""
    """What measures it, for `--only`."""

    @property
    def held(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


def ratio(ours: Sequence[float], floor: Sequence[float]) -> float:
    """Of medians."""
    return statistics.median(ours) / statistics.median(floor)


def shuffled(parts: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """The seconds that each part takes, in an order of its own each round; some rounds go before."""
    times: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(-max(1, rounds // 20), rounds):
        for name in random.sample([*parts], len(parts)):
            took = seconds(parts[name])
            if number >= 0:
                times[name].append(took)
    return times


def _p95(row: Sequence[float]) -> float:
    return sorted(row)[round(0.95 * (len(row) - 1))]


def _ms(row: Sequence[float]) -> str:
    return f"{statistics.median(row) * 1e3:.1f} ms"


def warm_calls(*, quick: bool) -> Iterator[Figure]:
    """A warm `1+1`, through the shim and the daemon."""
    with ExitStack() as stack:
        bare = partial(executions.kernel, "-m", "ipykernel_launcher")
        before = stack.enter_context(bare())
        stack.enter_context(supervisor())
        call = stack.enter_context(line_client())
        call("kernel_exec", code="1+1")
        after = stack.enter_context(bare())
        floors = {"before": before, "after": after}
        parts: dict[str, Callable[[], Any]] = {
            name: partial(each.execute_interactive, "1+1", output_hook=lambda _: None) for name, each in floors.items()
        }
        parts["lean"] = partial(executions.execute, after, "1+1")
        parts["ours"] = partial(call, "kernel_exec", code="1+1")
        times = shuffled(parts, 10 if quick else 300)
    for title, of, goal in (("p50", statistics.median, 1.10), ("p95", _p95, 1.2)):
        floor = (of(times["before"]) + of(times["after"])) / 2
        beside = f"{of(times['ours']) * 1e3:.1f} ms; {of(times['ours']) / of(times['lean']):.2f} × a lean client's"
        name = f"warm `1+1`, {title}"
        yield Figure(what=name, floor="jupyter_client", value=of(times["ours"]) / floor, goal=goal, beside=beside)


def eight_clients(*, quick: bool) -> Iterator[Figure]:
    """Calls a second of eight clients on eight kernels."""
    lasts, clients = "1" if quick else "10", 2 if quick else 8
    with ExitStack() as stack:
        files = [
            stack.enter_context(executions.kernel("-m", "ipykernel_launcher")).connection_file for _ in range(clients)
        ]
        stack.enter_context(supervisor())
        sessions = [f"eight{number}" for number in range(clients)]
        rates: dict[str, list[float]] = {"bare": [], "shim": []}
        with line_client() as call:
            for each in sessions:
                call("kernel_exec", code="1+1", session=each)
            for number in range(1 if quick else 4):
                for kind in ("bare", "shim") if number % 2 else ("shim", "bare"):
                    rates[kind].append(_together(kind, files if kind == "bare" else sessions, lasts))
    ours, floor = (statistics.median(rates[kind]) / float(lasts) for kind in ("shim", "bare"))
    name, beside = "clients on a kernel each, calls a second", f"{clients} clients: {ours:.0f}"
    yield Figure(what=name, floor="as many bare processes", value=ours / floor, goal=0.9, at_least=True, beside=beside)


def _together(kind: str, wheres: Sequence[str], lasts: str) -> int:
    """How many calls clients make that begin at the same time."""
    command = [sys.executable, str(executions.HERE / "caller.py"), kind]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    callers = [subprocess.Popen([*command, where, lasts], **pipes) for where in wheres]
    for each in callers:
        assert each.stdout is not None
        assert each.stdout.readline().strip() == "ready"
    for each in callers:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return sum(int(each.communicate(timeout=_PATIENCE_S)[0]) for each in callers)


def opening(*, quick: bool) -> Iterator[Figure]:
    """From the spawn of a shim to `initialize`, warm and cold, and to what a cold daemon does first."""
    rounds = 3 if quick else 20
    with supervisor():
        registered = shim.registered()
        subprocess.run([*COMMAND, "exec", "1"], check=True, stdout=subprocess.DEVNULL)  # a list is of kernels
        warm = shuffled(
            {
                "zmq": lambda: shim.run("-c", "import zmq"),
                "shim": lambda: shim.talk(registered),
                "list": lambda: shim.run(*COMMAND[1:], "list"),
                "help": lambda: shim.run(*COMMAND[1:], "--help"),
            },
            rounds,
        )
        memory = [shim.memory(each) for each in (registered, shim.IDLE)]
        subprocess.run([*COMMAND, "stop", "--kernels"], check=True, stdout=subprocess.DEVNULL)
        cold: dict[str, list[float]] = {name: [] for name in ("zmq", "opened", "server", "first")}
        for _ in range(rounds):
            cold["zmq"].append(seconds(lambda: shim.run("-c", "import zmq")))
            cold["server"].append(seconds(lambda: shim.run("-c", _IMPORTED)))
            subprocess.run([*COMMAND, "stop"], check=True, stdout=subprocess.DEVNULL)
            for name, took in zip(("opened", "first"), shim.cold(registered), strict=True):
                cold[name].append(took)
    named = partial(Figure, floor="import zmq")
    yield named(
        what="shim: spawn to `initialize`", value=ratio(warm["shim"], warm["zmq"]), goal=1.2, beside=_ms(warm["shim"])
    )
    yield named(what="shim: memory, idle", value=memory[0] / memory[1], goal=1.1, beside=f"{memory[0] * 1e-6:.1f} MB")
    name = "cold daemon: spawn to `initialize` and `tools/list`"
    yield named(what=name, value=ratio(cold["opened"], cold["zmq"]), goal=1.5, beside=_ms(cold["opened"]))
    name = "cold daemon: spawn to the first tool call's answer"
    value, beside = ratio(cold["first"], cold["server"]), _ms(cold["first"])
    yield Figure(what=name, floor="import mcp.server", value=value, goal=1.2, beside=beside)
    for command in ("list", "help"):
        name = "kernel-supervisor " + {"help": "--help"}.get(command, command)
        yield named(what=name, value=ratio(warm[command], warm["zmq"]), goal=1.5, beside=_ms(warm[command]))


def starts(*, quick: bool) -> Iterator[Figure]:
    """The first cell of a new session, and of a session that is restarted: with a process that stands by, and cold."""
    numbers, rounds = count(), 2 if quick else 15
    times: dict[str, list[float]] = {}
    with supervisor() as paths, line_client() as warm, _cold_client() as cold:

        def bare() -> None:
            with executions.kernel("-m", "ipykernel_launcher") as client:
                executions.execute(client, "1+1")

        def first(call: Call) -> None:
            call("kernel_exec", code="1+1", session=f"first{next(numbers)}")

        def restart(call: Call, session: str) -> None:
            call("kernel_restart", session=session)
            call("kernel_exec", code="1+1", session=session)

        parts = {"bare": bare}
        for name, call in (("prewarmed", warm), ("none prewarmed", cold)):
            call("kernel_exec", code="1+1", session=name)
            parts |= {f"first, {name}": partial(first, call), f"restart, {name}": partial(restart, call, name)}
        for number in range(-1, rounds):  # one round goes before
            for name in random.sample([*parts], len(parts)):
                _stands_by(paths)  # also beside what needs none, so that each is measured beside the same
                took = seconds(parts[name])
                if number >= 0:
                    times.setdefault(name, []).append(took)
    floor = "a bare kernel's start to its first reply"
    for part, what in (("first", "first `kernel_exec` of a new session"), ("restart", "`kernel_restart` to ready")):
        for kind, goal in (("prewarmed", 0.15), ("none prewarmed", 1.1)):
            row = times[f"{part}, {kind}"]
            value = ratio(row, times["bare"])
            yield Figure(what=f"{what}, {kind}", floor=floor, value=value, goal=goal, beside=_ms(row))


@contextmanager
def _cold_client() -> Iterator[Call]:
    """A client for whom no process stands by."""
    os.environ[PREWARM] = "0"
    try:
        with line_client() as call:
            del os.environ[PREWARM]
            yield call
    finally:
        os.environ.pop(PREWARM, None)


def _stands_by(paths: Paths) -> None:
    """Return once a process stands by that can be told what to become."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        connection = Connection(paths)
        connection.open(start=True)
        spares = connection.request("supervisor/status", {})["standing_by"]
        connection.close()
        if spares:
            return
        time.sleep(0.1)
    raise TimeoutError("no kernel stands by")


def floods(*, quick: bool) -> Iterator[Figure]:
    """What cells show much."""
    with ExitStack() as stack:
        bare = stack.enter_context(executions.kernel("-m", "ipykernel_launcher"))
        stack.enter_context(supervisor())
        call = stack.enter_context(line_client())
        setup = "import os\nfrom IPython.display import Image, display"
        executions.execute(bare, setup)
        call("kernel_exec", code=setup)
        for name, code in _FLOODS.items():
            parts: dict[str, Callable[[], Any]] = {
                "bare": partial(executions.execute, bare, code),
                "ours": partial(call, "kernel_exec", code=code, timeout=_PATIENCE_S),
            }
            times = shuffled(parts, 1 if quick else 7)
            value = ratio(times["ours"], times["bare"])
            yield Figure(what=name, floor="bare client", value=value, goal=1.2, beside=_ms(times["ours"]))


def looks(*, quick: bool) -> Iterator[Figure]:
    """Looking at what is large."""
    with supervisor(), line_client() as call:
        call("kernel_exec", code=_LOOKS)
        call("kernel_exec", code=_FRAME.replace("50_000_000", "50_000" if quick else "50_000_000"), timeout=_PATIENCE_S)
        parts = {
            "`kernel_list_vars`, 10,000 variables, an array of 10 GB": partial(call, "kernel_list_vars"),
            "`kernel_inspect`, a frame of 50,000,000 rows": partial(call, "kernel_inspect", var_name="frame"),
        }
        for name, row in shuffled(parts, 3 if quick else 30).items():
            yield Figure(what=name, value=statistics.median(row) * 1e3, unit="ms", goal=30)


def idle_kernels(*, quick: bool) -> Iterator[Figure]:
    """What a hundred idle kernels cost the daemon, and its successor."""
    many, settled, watched = (3, 1.0, 2.0) if quick else (100, _SETTLED_S, _IDLE_S)
    with supervisor() as empty, supervisor() as paths:
        before = _resident(paths)
        executions.start_kernels(paths, many)
        after = _resident(paths)
        time.sleep(settled)
        daemon = _daemon(paths)
        cpu, switched = sum(daemon.cpu_times()[:2]), daemon.num_ctx_switches().voluntary
        time.sleep(watched)
        used = (sum(daemon.cpu_times()[:2]) - cpu) / watched
        wakes = (daemon.num_ctx_switches().voluntary - switched) / watched
        rounds = range(1 if quick else 5)
        took = [(executions.come_back(paths, many), executions.come_back(empty, 0)) for _ in rounds]
    more = statistics.median(full - none for full, none in took)
    named = partial(Figure, beside=f"{many} kernels")
    yield named(what="idle kernels: memory each", value=(after - before) / many / 1e3, unit="kB", goal=250)
    yield named(what="idle kernels: CPU", value=100 * used, unit="%", goal=0.05)
    yield named(what="idle kernels: wake-ups a second", value=wakes, unit="", goal=0.1)
    yield named(what="idle kernels adopted after SIGKILL, more than none", value=more, unit="s", goal=1.5)


def _daemon(paths: Paths) -> psutil.Process:
    connection = Connection(paths)
    connection.open(start=True)
    pid = int(connection.request("supervisor/status", {})["pid"])
    connection.close()
    return psutil.Process(pid)


def _resident(paths: Paths) -> int:
    return int(_daemon(paths).memory_info().rss)


def recording(*, quick: bool) -> Iterator[Figure]:
    """A kernel that records beside one that does not."""
    with ExitStack() as stack:
        folder = stack.enter_context(executions.folder())
        bare = partial(executions.kernel, "-m", "ipykernel_launcher")
        before = stack.enter_context(bare())
        options = ("--log", f"{folder}/log", "--limit", str(RECORDED_BYTES))
        ours = stack.enter_context(executions.kernel(str(executions.RECORDER), *options))
        after = stack.enter_context(bare())
        kernels = {"before": before, "ours": ours, "after": after}
        for each in kernels.values():
            executions.execute(each, executions.SETUP)
        for name, code in executions.WORK.items():
            parts = {key: partial(executions.execute, each, code) for key, each in kernels.items()}
            times = shuffled(parts, 5 if quick else 200)
            floor = (statistics.median(times["before"]) + statistics.median(times["after"])) / 2
            value = statistics.median(times["ours"]) / floor
            yield Figure(
                what=f"recorder on: {name}", floor="without it", value=value, goal=1.03, beside=_ms(times["ours"])
            )


SECTIONS = (warm_calls, eight_clients, opening, starts, floods, looks, idle_kernels, recording)
