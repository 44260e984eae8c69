"""What running code costs on the way through MCP, shim and daemon; what recording costs; how soon kernels are adopted.

Goals: recording costs at most 5 %; 50 idle kernels are adopted within 2 s of the next daemon's start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from caller import SHIM, line_client
from figures import about, interleaved, seconds, show, supervisor, verdict
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import kernel_supervisor
from kernel_supervisor.client import autostart
from kernel_supervisor.client.connection import Connection
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.paths import HOME_VARIABLE, Paths

HERE = Path(__file__).parent
RECORDER = Path(kernel_supervisor.__file__).parent / "inside" / "recorder.py"
WORK = {
    "1+1": "1+1",
    "1,000 lines": "for i in range(1000): print(i, flush=i % 100 == 99)",
    "200 kB image": "display(Image)",
}
SETUP = "import os, IPython\nImage = IPython.display.Image(data=os.urandom(200_000), format='png')"
_GOAL_RECORDING, _GOAL_ADOPTION_S = 1.05, 2.0
_DEADLINE_S = 60.0


def main() -> int:
    """Print the figures; exit 1 where a goal is missed."""
    quick = "--quick" in sys.argv
    rounds, adoptions, kernels = (5, 2, 4) if quick else (200, 20, 50)
    about(rounds)
    asyncio.run(_warm_call(rounds))
    kept = [_recording(rounds), _adoption(adoptions, kernels)]
    return 0 if all(kept) else 1


# The way of a call


async def _warm_call(rounds: int) -> None:
    figures: dict[str, list[float]] = {"bare jupyter_client": [], "a line to the shim": [], "the SDK's client": []}
    with supervisor(), kernel("-m", "ipykernel_launcher") as bare, line_client() as call:
        shim = StdioServerParameters(command=sys.executable, args=SHIM[1:], env=dict(os.environ))
        async with Client(stdio_client(shim)) as client:
            for number in range(rounds + 1):
                times = [seconds(lambda: execute(bare, "1+1")), seconds(lambda: call("kernel_exec", code="1+1"))]
                began = time.perf_counter()
                await client.call_tool("kernel_exec", {"code": "1+1"})
                times.append(time.perf_counter() - began)
                for row, figure in zip(figures.values(), times if number else (), strict=False):
                    row.append(figure)
    show("warm 1+1", figures, floor="bare jupyter_client", unit="ms", scale=1e3)


# The recorder


def _recording(rounds: int) -> bool:
    """A second plain kernel shows how far two equal kernels are apart: no difference below that says anything."""
    with folder() as place, ExitStack() as stack:
        kernels = {
            "plain ipykernel": stack.enter_context(kernel("-m", "ipykernel_launcher")),
            "another plain one": stack.enter_context(kernel("-m", "ipykernel_launcher")),
            "with the recorder": stack.enter_context(
                kernel(str(RECORDER), "--log", f"{place}/log", "--limit", str(RECORDED_BYTES))
            ),
        }
        for client in kernels.values():
            execute(client, SETUP)
        kept = [_compare(kernels, name, code, rounds) for name, code in WORK.items()]
    return all(kept)


def _compare(kernels: dict[str, BlockingKernelClient], name: str, code: str, rounds: int) -> bool:
    def part(client: BlockingKernelClient) -> Callable[[], float]:
        return lambda: seconds(lambda: execute(client, code))

    figures = interleaved({name: part(client) for name, client in kernels.items()}, rounds)
    show(name, figures, floor="plain ipykernel", unit="ms", scale=1e3)
    plain, control, recorded = (figures[each] for each in kernels)
    cost, noise = _paired(recorded, plain), _paired(control, plain)
    text = (
        f"{name}: median of the pairs' ratios {cost:.3f} (of two plain kernels {noise:.3f}), at most {_GOAL_RECORDING}"
    )
    return verdict(cost <= _GOAL_RECORDING, text + "\n")


def _paired(figures: list[float], floor: list[float]) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(figures, floor, strict=True))


def folder() -> tempfile.TemporaryDirectory[str]:
    """One on a path that is short enough for sockets."""
    return tempfile.TemporaryDirectory(prefix="ksb-", dir="/tmp")


@contextmanager
def kernel(*arguments: str) -> Iterator[BlockingKernelClient]:
    """A kernel that this process starts and drives with jupyter_client alone."""
    with folder() as place, open(f"{place}/log", "wb") as log:
        file = f"{place}/kernel.json"
        write_connection_file(file, transport="ipc", ip=f"{place}/ipc")
        command = [sys.executable, *arguments, "-f", file]
        env = {**os.environ, "IPYTHONDIR": f"{place}/ipython"}  # kernels that share a profile wait for its history
        with subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=env) as process:
            client = BlockingKernelClient(connection_file=file)
            client.load_connection_file()
            client.start_channels(hb=False)  # which takes a kernel that starts slowly for a dead one
            try:
                client.wait_for_ready(timeout=_DEADLINE_S)
                yield client
            finally:
                client.stop_channels()
                process.kill()


def execute(client: BlockingKernelClient, code: str) -> None:
    """Until both the reply and the idle are there, as whoever shows the whole output has to wait."""
    number = client.execute(code)
    reply = client.get_shell_msg(timeout=_DEADLINE_S)
    while reply["parent_header"].get("msg_id") != number:
        reply = client.get_shell_msg(timeout=_DEADLINE_S)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(reply["content"])
    while True:
        message = client.get_iopub_msg(timeout=_DEADLINE_S)
        idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        if idle and message["parent_header"].get("msg_id") == number:
            return


# Adoption


def _adoption(rounds: int, kernels: int) -> bool:
    with supervisor() as empty, supervisor() as full:
        start_kernels(full, kernels)
        name = f"{kernels} idle kernels"
        parts = {
            "no kernels": lambda: come_back(empty, 0),
            name: lambda: come_back(full, kernels),
        }
        figures = interleaved(parts, rounds)
        _check_variables(full, kernels)
    show("SIGKILL, then ready", figures, floor="no kernels", unit="ms", scale=1e3)
    median = statistics.median(figures[name])
    return verdict(
        median <= _GOAL_ADOPTION_S, f"{name} adopted {median:.2f} s after the start of the next daemon, at most 2 s"
    )


def start_kernels(paths: Paths, kernels: int) -> None:
    connection = _connect(paths)
    for number in range(kernels):
        connection.call_tool("kernel_exec", {"code": f"x = {number}", "session": f"s{number}"}, deadline_s=_DEADLINE_S)
    connection.close()


def _check_variables(paths: Paths, kernels: int) -> None:
    """Raises RuntimeError where a kernel does not have its own value any more."""
    connection = _connect(paths)
    for number in range(kernels):
        code = f"print('still', x == {number})"
        text, _ = connection.call_tool("kernel_exec", {"code": code, "session": f"s{number}"}, deadline_s=_DEADLINE_S)
        if not text.endswith("still True"):
            raise RuntimeError(text)
    connection.close()


def come_back(paths: Paths, kernels: int) -> float:
    """From the start of a daemon until it serves calls and holds all kernels; the one before it is killed first."""
    connection = _connect(paths)
    pid = connection.request("supervisor/status", {}, deadline_s=_DEADLINE_S)["pid"]
    connection.close()
    os.kill(pid, signal.SIGKILL)
    while autostart.listening(paths):
        pass
    began = time.perf_counter()
    connection = _connect(paths)
    while True:
        status = connection.request("supervisor/status", {}, deadline_s=_DEADLINE_S)
        if status["ready"] and status["kernels"] == kernels:
            break
        time.sleep(0.002)
    took = time.perf_counter() - began
    connection.close()
    return took


def _connect(paths: Paths) -> Connection:
    os.environ[HOME_VARIABLE] = paths.state  # a daemon that is started now is this one's
    connection = Connection(paths)
    connection.open(start=True)
    return connection


if __name__ == "__main__":
    sys.exit(main())
