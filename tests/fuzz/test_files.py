"""Promise: whatever stands in a file that others may write, it spoils itself alone: every call is answered in words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz import odd
from tests.fuzz.survivor import OURS, Survivor
from tests.support import RESULT, Shim

ROUNDS = 15
CLOSED = 9
"""A port on which nothing listens."""
FILES: dict[str, Any] = {
    "runtime/kernel-odd.json": {
        **dict.fromkeys(("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port"), CLOSED),
        "ip": "127.0.0.1", "key": "secret", "transport": "tcp", "signature_scheme": "hmac-sha256", "kernel_name": "odd",
    },
    "runtime/jpserver-1.json": {
        "url": f"http://127.0.0.1:{CLOSED}/", "base_url": "/", "hostname": "127.0.0.1", "port": CLOSED, "pid": 1,
        "token": "secret", "root_dir": "/", "secure": False, "sock": "", "password": False, "version": "2.0",
    },
    "user/.conda/environments.txt": None,
    "home/servers.json": {"odd": {"url": f"http://127.0.0.1:{CLOSED}/", "token": "secret"}},
    "user/.local/share/jupyter/kernels/odd/kernel.json": {
        "argv": ["true", "{connection_file}"], "display_name": "Odd", "language": "odd", "env": {"X": "y"},
        "metadata": {"debugger": True}, "interrupt_mode": "signal",
    },
    "project/odd.ipynb": {
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# odd"], "attachments": {"a": {"image/png": "AA=="}}},
            {
                "cell_type": "code", "metadata": {"tags": []}, "source": "1", "execution_count": 1, "id": "one",
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["x\n"]},
                    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a"]},
                    {"output_type": "display_data", "data": {"text/plain": "x", "image/png": "AA=="}, "metadata": {}},
                ],
            },
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "P", "language": "python"}, "widgets": {}},
        "nbformat": 4, "nbformat_minor": 5,
    },
}  # fmt: skip
CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("kernel_list_running", {}),
    ("kernel_list_envs", {}),
    ("kernel_load_notebook", {"path": "odd.ipynb", "session": "loaded"}),
    ("kernel_save_notebook", {"path": "saved.ipynb", "session": "loaded", "overwrite": True}),
    ("kernel_history", {"session": "loaded"}),
    ("kernel_attach", {"kernel_id": "odd", "session": "attached"}),
)


def test_files_of_other_programs(survivor: Survivor, seeds: Iterator[random.Random]) -> None:
    root = survivor.home.path.parent
    env = {**survivor.home.env, "HOME": str(root / "user"), "JUPYTER_RUNTIME_DIR": str(root / "runtime")}
    for chance in seeds:
        with survivor.home.shim(env=env) as shim:
            shim.open()
            for _ in range(ROUNDS):
                for name, good in FILES.items():
                    write(root / name, content(good, root, chance))
                for tool, arguments in CALLS:
                    answered(shim, tool, arguments)
        survivor.check()


def content(good: Any, root: Path, chance: random.Random) -> bytes:
    """A good file with something odd in it; of conda's, lines that may be paths."""
    if good is None:
        lines = [str(root), str(root / "nowhere"), *(str(odd.value(chance)) for _ in range(3))]
        return "\n".join(lines).encode("utf-8", "replace")
    text = odd.text(odd.neighbour(good, chance))
    return odd.damaged(text, chance) if chance.random() < 0.3 else text


def write(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def answered(shim: Shim, tool: str, arguments: dict[str, Any]) -> None:
    answer = shim.request("tools/call", {"name": tool, "arguments": arguments})
    assert OURS not in json.dumps(answer), (tool, answer)


def test_message_logs(survivor: Survivor, seeds: Iterator[random.Random]) -> None:
    logs = survivor.home.path / "logs"
    for number, chance in enumerate(seeds):
        session = f"log-{number}"
        with survivor.home.shim("--session", session) as shim:
            shim.open()
            shim.run("print('printed'); from IPython.display import *; h = display(HTML('<b>x</b>'), display_id=True)")
            shown = shim.run("h.update(HTML('<i>y</i>')); print('more\\n' * 50); 1 / 0")
            status = shim.call("kernel_status")["_meta"][RESULT]
            shim.call("kernel_shutdown", kernel_id=status["kernel_id"])
            (log,) = logs.glob(f"{status['kernel_id']}-*.messages")
            whole, last = log.read_bytes(), int(shown["execution_id"])
            for _ in range(ROUNDS):
                log.write_bytes(lines_changed(whole, chance))
                for execution in (last - 1, last):
                    answered(shim, "kernel_output", {"execution_id": execution})
                answered(shim, "kernel_history", {})
                answered(shim, "kernel_save_notebook", {"path": f"{session}.ipynb", "overwrite": True})
            log.write_bytes(whole)
            assert "more" in str(shim.call("kernel_output", execution_id=last)), "it reads what is good again"
        survivor.check()


def lines_changed(log: bytes, chance: random.Random) -> bytes:
    """A log with bytes cut or replaced, or with some of its JSON replaced by other JSON."""
    if chance.random() < 0.5:
        return odd.damaged(log, chance)
    lines = log.split(b"\n")
    for _ in range(3):
        at = chance.randrange(len(lines))
        start = lines[at].find(b"{")
        if start >= 0:
            try:
                changed = odd.text(odd.neighbour(json.loads(lines[at][start:]), chance))
            except ValueError:
                continue  # it was changed before
            lines[at] = lines[at][:start] + changed
    return b"\n".join(lines)
