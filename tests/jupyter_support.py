"""Jupyter's own programs as real parts: a server on loopback with a token, its REST interface, its WebSocket."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import websocket

from tests.support import DEADLINE_S, Home, until_now

_EXTENSIONS = ("jupyterlab", "notebook_shim", "jupyter_lsp", "jupyter_server_terminals")


@dataclass(frozen=True)
class Server:
    """A Jupyter server that a test started."""

    process: subprocess.Popen[bytes]
    url: str
    token: str
    runtime: str
    """Its folder of connection files."""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def kernels(self) -> list[dict[str, Any]]:
        """GET /api/kernels."""
        status, kernels = self.ask("GET", "api/kernels")
        assert status == 200, kernels
        return list(kernels)

    def open_notebook(self, name: str, kernel: str = "supervised") -> dict[str, Any]:
        """What JupyterLab does when a notebook is opened: a session with a kernel."""
        body = {"path": name, "name": name, "type": "notebook", "kernel": {"name": kernel}}
        status, session = self.ask("POST", "api/sessions", body)
        assert status == 201, session
        return dict(session)

    @contextmanager
    def connected(self, kernel_id: str) -> Iterator[Tab]:
        """A browser's tab that shows a notebook of this kernel."""
        address = self.url.replace("http://", "ws://") + f"api/kernels/{kernel_id}/channels?token={self.token}"
        tab = Tab(websocket.create_connection(address, timeout=DEADLINE_S))
        try:
            yield tab
        finally:
            tab.socket.close()

    def end(self, number: int = signal.SIGTERM) -> None:
        """As a service manager ends it, or as SIGKILL does."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE_S)


class Tab:
    """One WebSocket to a kernel."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def send(self, channel: str, msg_type: str, content: dict[str, Any]) -> str:
        """A request's msg_id."""
        msg_id = uuid.uuid4().hex
        header = {"msg_id": msg_id, "msg_type": msg_type, "username": "jane", "session": "tab", "version": "5.4"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": channel, "buffers": []}))
        return msg_id

    def begin(self, code: str) -> str:
        """Send a cell."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        return self.send("shell", "execute_request", {**content, "stop_on_error": True})

    def wait(self, msg_id: str, *msg_types: str) -> dict[str, Any]:
        """The next message of that request with one of these types."""
        while True:
            message: dict[str, Any] = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") == msg_id and message["msg_type"] in msg_types:
                return message

    def run(self, code: str) -> str:
        """A cell's result as text; the name of the error that it raised."""
        message = self.wait(self.begin(code), "execute_result", "error")
        content = message["content"]
        return str(content["ename"] if message["msg_type"] == "error" else content["data"]["text/plain"])


@contextmanager
def jupyter(home: Home, *arguments: str, module: str = "jupyter_server", kernelspecs: bool = True) -> Iterator[Server]:
    """`kernel-supervisor jupyterlab` with a bare server (or what `module` names) in JupyterLab's place."""
    printed = home.cli("jupyterlab", "--print")
    assert printed.returncode == 0, printed.stderr
    words = shlex.split(printed.stdout)
    start = words.index(sys.executable)
    variables = dict(word.split("=", 1) for word in words[1:start])
    command = [module if word == "jupyterlab" else word for word in words[start:]]
    with tempfile.TemporaryDirectory(prefix="jupyter-", dir=home.path.parent) as place:
        own = {f"JUPYTER_{name}_DIR": f"{place}/{name.lower()}" for name in ("RUNTIME", "DATA", "CONFIG")}
        if module == "jupyter_server":
            arguments = (*arguments, f"--ServerApp.jpserver_extensions={dict.fromkeys(_EXTENSIONS, False)}")
        more = ["--port=0", "--ip=127.0.0.1", "--no-browser", f"--ServerApp.root_dir={home.project}", "--allow-root"]
        log = open(Path(place, "log"), "wb")  # noqa: SIM115 - the `with` below closes it
        with log:
            process = subprocess.Popen(
                [*command, *more, *arguments],
                env={**home.env, **own, **(variables if kernelspecs else {})},
                cwd=home.project,
                stdout=log,
                stderr=log,
            )
        try:
            facts = until_listening(Path(own["JUPYTER_RUNTIME_DIR"]), process, Path(place, "log"))
            yield Server(process, f"http://127.0.0.1:{facts['port']}/", facts["token"], own["JUPYTER_RUNTIME_DIR"])
        finally:
            process.kill()
            process.wait()


def until_listening(folder: Path, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """What a server says of itself, once it answers."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and process.poll() is None:
        for path in folder.glob("jpserver-*.json"):
            try:
                facts = json.loads(path.read_text())
                with urllib.request.urlopen(f"http://127.0.0.1:{facts['port']}/api", timeout=DEADLINE_S):
                    return dict(facts)
            except (ValueError, OSError):
                continue
        time.sleep(0.05)
    raise AssertionError(f"no server came up:\n{log.read_text()[-3000:]}")


def kernel_pid(home: Home) -> int:
    """The one kernel of this home."""
    return int(until_now(lambda: [each.pid for each in home.kernels()] or None, "a kernel runs")[0])
