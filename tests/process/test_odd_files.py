"""Promise: a file that is none (a pipe, a device, a giant, nonsense) is refused with its name, and holds up nobody."""

from __future__ import annotations

import json
import os
import queue
import socket
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import Home, Shim, until_now

pytestmark = pytest.mark.timeout(180)


def _giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def _socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(path))


ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "giant": _giant,
    "folder": Path.mkdir,
    "nested": lambda path: path.write_text("[" * 200_000),
    "list": lambda path: path.write_text("[[], 1]"),
    "number": lambda path: path.write_text("9" * 5000),
    "bytes": lambda path: path.write_bytes(b"\xff\x00" * 1000),
    "loop": lambda path: path.symlink_to(path),
    "socket": _socket,
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "nowhere": lambda path: path.symlink_to("odd of nobody"),
}
AT_ONCE = 8
"""More than the daemon has threads for it."""


@contextmanager
def _shim(home: Home, env: dict[str, str]) -> Iterator[Shim]:
    with home.shim(env={**home.env, **env}) as shim:
        shim.open()
        yield shim


def _answers(home: Home, env: dict[str, str], tool: str, **arguments: Any) -> list[str]:
    """What is said to a client that calls a tool many times at once, while another one works."""
    with _shim(home, env) as shim, _shim(home, {}) as other, ThreadPoolExecutor() as threads:
        for number in range(AT_ONCE):
            shim.send("tools/call", {"name": tool, "arguments": arguments}, id=f"odd {number}")
        assert other.run("6 * 7")["text"].endswith("42")
        texts = [threads.submit(shim.answer, f"odd {number}").result(60) for number in range(AT_ONCE)]
    assert all("result" in each for each in texts), texts
    return ["\n".join(block["text"] for block in each["result"]["content"]) for each in texts]


@pytest.mark.parametrize("odd", ODD)
def test_files_that_a_call_names(home: Home, odd: str) -> None:
    for suffix in (".ipynb", ".json"):
        ODD[odd](home.project / f"odd{suffix}")
    calls = (
        ("kernel_load_notebook", {"path": "odd.ipynb"}),
        ("kernel_attach", {"kernel_id": str(home.project / "odd.json")}),
        ("kernel_save_notebook", {"path": "odd.ipynb"}),
    )
    for tool, arguments in calls:
        told = {answer.partition("\nnote: ")[0] for answer in _answers(home, {}, tool, **arguments)}
        assert len(told) == 1, told
        assert "odd" in min(told), told
        assert "inside the supervisor" not in min(told), told


@pytest.mark.parametrize("odd", ODD)
def test_files_that_are_looked_for(home: Home, odd: str) -> None:
    """Of other programs: what is odd is passed over, and what stands beside it is found."""
    user, runtime = home.path.parent / "user", home.path.parent / "runtime"
    specs = user / ".local/share/jupyter/kernels"
    for folder in (user / ".conda", runtime, specs / "odd", specs / "good"):
        folder.mkdir(parents=True)
    places = (user / ".conda/environments.txt", runtime / "jpserver-1.json", runtime / "kernel-odd.json")
    for place in (*places, specs / "odd/kernel.json"):
        ODD[odd](place)
    good = {"argv": ["true", "{connection_file}"], "display_name": "Good", "language": "good"}
    (specs / "good/kernel.json").write_text(json.dumps(good))
    home.path.mkdir(mode=0o700, exist_ok=True)
    ODD[odd](home.path / "servers.json")
    env = {"HOME": str(user), "JUPYTER_RUNTIME_DIR": str(runtime)}
    for tool in ("kernel_list_envs", "kernel_list_running"):
        for told in _answers(home, env, tool):
            assert "inside the supervisor" not in told, told
            assert tool != "kernel_list_envs" or "good" in told, told


def test_environments_that_take_long_to_enter_hold_up_nobody_else(home: Home) -> None:
    """A conda environment's activation script waits for something, for as many calls as there are threads."""
    prefix, gate = home.path.parent / "conda", home.path.parent / "gate"
    (prefix / "etc/conda/activate.d").mkdir(parents=True)
    venv.create(prefix, symlinks=True, with_pip=False)
    (prefix / "pyvenv.cfg").unlink()
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/history").touch()
    waiting = f"while [ -e '{prefix}' ] && [ ! -e '{gate}' ]; do sleep 0.05; done\n"
    (prefix / "etc/conda/activate.d/slow.sh").write_text(waiting)
    with _shim(home, {}) as shim, _shim(home, {}) as other:
        other.run("x = 6", session="other")
        for number in range(AT_ONCE):
            arguments = {"env_name": str(prefix), "session": f"s{number}"}
            shim.send("tools/call", {"name": "kernel_use_env", "arguments": arguments}, id=f"slow {number}")
        until_now(lambda: _waiting(prefix), "scripts wait")
        assert other.run("x * 7", session="other")["text"].endswith("42")
        (home.project / "some.ipynb").write_text(json.dumps(NOTEBOOK))
        assert "1 cell" in str(other.call("kernel_load_notebook", path="some.ipynb", session="other"))
        gave_up = [message for message in _messages(shim) if "method" not in message]
        gate.touch()
    assert gave_up == [], "not one of them had to for that"


def test_documents_that_take_long_leave_a_thread_to_other_clients(home: Home) -> None:
    (home.project / "small.ipynb").write_text(json.dumps(NOTEBOOK))
    cells = [{"cell_type": "markdown", "metadata": {}, "source": f"# {number}"} for number in range(20_000)]
    (home.project / "large.ipynb").write_text(json.dumps({**NOTEBOOK, "cells": cells}))
    with _shim(home, {}) as shim, _shim(home, {}) as other:
        for number in range(AT_ONCE):
            arguments = {"path": "large.ipynb", "session": f"s{number}"}
            shim.send("tools/call", {"name": "kernel_load_notebook", "arguments": arguments}, id=f"load {number}")
        shim.call("kernel_list_running")  # so that they are under way
        assert not other.call("kernel_load_notebook", path="small.ipynb", session="other")["isError"]
        done = [number for number in range(AT_ONCE) if shim.answered(f"load {number}")]
        assert len(done) <= 2, "it did not wait for its turn behind all of them"


MANY = {
    "looks into a kernel that is busy": ("kernel_inspect", {"var_name": "x"}),
    "waits for an output": ("kernel_output", {"execution_id": 2, "wait": 60}),
}


@pytest.mark.parametrize("many", MANY.values(), ids=MANY)
def test_a_client_that_asks_very_often_at_once_holds_up_nobody(home: Home, many: tuple[str, dict[str, Any]]) -> None:
    tool, arguments = many
    gate = home.project / "gate"
    with _shim(home, {}) as shim, _shim(home, {}) as other:
        other.run("x = 6", session="other")
        waiting = f"import os, time\nx = 1\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
        shim.run(waiting, timeout=0.1)
        for number in range(200):
            shim.send("tools/call", {"name": tool, "arguments": arguments}, id=f"many {number}")
        for _ in range(5):
            assert other.run("x * 7", session="other")["text"].endswith("42")
        gate.touch()
        answers = [shim.answer(f"many {number}") for number in range(200)]
    assert not [each for each in answers if "inside the supervisor" in json.dumps(each)]


def _messages(shim: Shim) -> Iterator[dict[str, Any]]:
    with suppress(queue.Empty):
        while message := shim.message(0.01):
            yield message


NOTEBOOK = {"cells": [{"cell_type": "markdown", "metadata": {}, "source": "# One"}], "metadata": {}, "nbformat": 4}
NOTEBOOK["nbformat_minor"] = 4


def _waiting(prefix: Path) -> bool:
    script = str(prefix / "etc/conda/activate.d/slow.sh")
    return any(script in each.info["cmdline"] for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"])
