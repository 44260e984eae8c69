"""Real Jupyter servers for tests, servers that misbehave, and a wire to them that can be cut."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import DEADLINE_S


@dataclass(frozen=True)
class JupyterServer:
    """A server that listens on loopback, with its folders."""

    url: str
    token: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def runtime(self) -> Path:
        """Its runtime folder: connection files, and the file that says where it is."""
        return self.folder / "runtime"

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """A REST call of the server's own user."""
        request = urllib.request.Request(
            f"{self.url}api/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def kernel(self) -> str:
        """The id of a fresh kernel there that nobody has opened."""
        return self._listening(self.api("POST", "kernels", {"name": "python3"})["id"])

    def notebook(self, name: str) -> str:
        """The id of the kernel of a notebook that somebody has open there."""
        empty = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (self.folder / "root" / name).write_text(json.dumps(empty))
        body = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        return self._listening(self.api("POST", "sessions", body)["kernel"]["id"])

    def _listening(self, kernel_id: str) -> str:
        """That kernel, once its sockets are there."""
        info = json.loads((self.runtime / f"kernel-{kernel_id}.json").read_text())
        wait_for(lambda: _listens(info["ip"], info["shell_port"]), "the kernel's sockets")
        return kernel_id

    def ask(self, kernel_id: str, expression: str) -> str:
        """What another client of that kernel is shown for an expression."""
        file = self.runtime / f"kernel-{kernel_id}.json"
        command = [sys.executable, "-c", _ASK, str(file), expression]
        asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
        return asked.stdout.strip()


_ASK = """
import sys
from jupyter_client.blocking.client import BlockingKernelClient
client = BlockingKernelClient(connection_file=sys.argv[1])
client.load_connection_file()
client.start_channels(hb=False)
reply = client.execute("", user_expressions={"it": sys.argv[2]}, reply=True, timeout=60)
print(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])
"""


@contextmanager
def jupyter_server(
    folder: Path, *arguments: str, kind: str = "jupyter_server", base: str = "/", python: str = sys.executable
) -> Iterator[JupyterServer]:
    """A server of its own folders and token, ended with its kernels. `kind` is its module."""
    token = secrets.token_hex(16)
    for name in ("runtime", "config", "root"):
        (folder / name).mkdir(parents=True)
    dropped = ("PYTEST_CURRENT_TEST", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env |= {"JUPYTER_RUNTIME_DIR": str(folder / "runtime"), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    port = free_port()
    options = _OPTIONS[kind](folder / "root", port, token)
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [python, "-m", kind, *options, *arguments], env=env, stdout=log, stderr=log, cwd=folder / "root"
        )
    server = JupyterServer(f"http://127.0.0.1:{port}{base}", token, folder, process)
    try:
        wait_for(lambda: _answers(server), f"{kind} answers")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_OPTIONS = {
    "jupyter_server": lambda root, port, token: [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
    ],
    "kernel_gateway": lambda root, port, token: [
        "--KernelGatewayApp.ip=127.0.0.1",
        f"--KernelGatewayApp.port={port}",
        f"--KernelGatewayApp.auth_token={token}",
    ],
    "enterprise_gateway": lambda root, port, token: [
        "--EnterpriseGatewayApp.ip=127.0.0.1",
        f"--EnterpriseGatewayApp.port={port}",
        f"--EnterpriseGatewayApp.auth_token={token}",
    ],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """`until`, for where a loop may run and nothing else happens on it."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S:g} s: {what}"
        time.sleep(0.02)


def _answers(server: JupyterServer) -> bool:
    assert server.process.poll() is None, (server.folder / "log").read_text()
    with suppress(OSError):
        return bool(server.api("GET", "kernelspecs"))
    return False


@dataclass
class Wire:
    """A TCP relay to a server, which can be cut and mended."""

    target: int
    port: int = 0
    open: bool = True
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    cuts: int = 0

    def cut(self) -> None:
        """Break every connection, and take no new one."""
        self.open = False
        self.cuts += 1
        for writer in list(self.writers):
            writer.transport.abort()

    def mend(self) -> None:
        """Take connections again."""
        self.open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.open:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self.writers |= {writer, back}
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            self.writers -= {writer, back}
            for each in (writer, back):
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def wire(target: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A relay on a port of its own."""
    relay = Wire(target)
    server = await asyncio.start_server(relay._serve, host, 0, ssl=tls)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
        while relay.writers:  # noqa: ASYNC110 - they end with the next turns of the loop
            await asyncio.sleep(0)


class _Misbehaving(BaseHTTPRequestHandler):
    """Answers as its path's first part says."""

    def do_GET(self) -> None:
        seen: list[tuple[str, str]] = self.server.seen  # type: ignore[attr-defined]  # set by `misbehaving`
        seen.append((self.path, self.headers.get("Authorization", "")))
        kind = self.path.split("/")[1]
        if kind == "hangs":
            self.server.over.wait(DEADLINE_S)  # type: ignore[attr-defined]  # as above
        elif kind == "rubbish":
            self.wfile.write(secrets.token_bytes(3000))
        elif kind == "elsewhere":
            self._answer(200, b'{"kernels": "none"}')
        elif kind == "refuses":
            self._answer(401, json.dumps({"message": self.headers.get("Authorization", "")}).encode())
        elif kind == "fails":
            self._answer(500, json.dumps({"message": f"with {self.headers.get('Authorization')}"}).encode())
        elif kind == "drips":
            self._drip()
        else:
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/stolen/?next=1")
            self.end_headers()

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while not self.server.over.wait(0.05):  # type: ignore[attr-defined]  # as above
                self.wfile.write(b" ")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


KINDS = ("hangs", "rubbish", "elsewhere", "refuses", "fails", "drips", "redirects")


@contextmanager
def misbehaving() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """The port of a server whose paths begin with one of KINDS, and what it was asked: paths and credentials."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Misbehaving)
    server.daemon_threads = True
    server.seen, server.over = [], threading.Event()  # type: ignore[attr-defined]  # for the handlers
    thread = threading.Thread(target=server.serve_forever, name="misbehaving")
    thread.start()
    try:
        yield server.server_port, server.seen  # type: ignore[attr-defined]  # as above
    finally:
        server.over.set()  # type: ignore[attr-defined]  # as above
        server.shutdown()
        server.server_close()
        thread.join()


def tokens_found(token: str, *places: Path) -> list[str]:
    """The files under some places in which a token stands, in any of the forms that it travels in."""
    needle = token.encode()
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    return [str(path) for path in files if needle in path.read_bytes()]
