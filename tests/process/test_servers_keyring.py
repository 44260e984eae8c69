"""A server's token in the keyring: found as it was put there, asked for anew, and a keyring that does not answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers import JupyterServer, jupyter_server, tokens_found
from tests.support import Home, interpreter_with, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

MINE = """
import os, time
from keyring.backend import KeyringBackend

class Backend(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        open(os.environ["ASKED"], "a").write(f"{service} {username}\\n")
        while True:
            if not os.path.exists(os.environ["STUCK"]):
                raise RuntimeError("the collection is locked")
            time.sleep(0.05)

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter") / "server") as server:
        yield server


def knows(home: Home, server: JupyterServer, backend: str, **more: str) -> dict[str, str]:
    """The environment of a client, and of its daemon, that knows the server's address and has a keyring."""
    home.path.mkdir()
    config = home.path / "servers.json"
    config.write_text(json.dumps({"gpu": {"url": server.url}, "spare": {"url": f"{server.url}elsewhere"}}))
    config.chmod(0o600)
    own = {"JUPYTER_RUNTIME_DIR": str(home.project), "XDG_DATA_HOME": str(home.project / "data")}
    return {**own, "PYTHON_KEYRING_BACKEND": backend, **more}


def put(env: dict[str, str], token: str) -> None:
    """What a person types: `keyring set kernel-supervisor gpu`."""
    command = [sys.executable, "-m", "keyring", "set", "kernel-supervisor", "gpu"]
    subprocess.run(command, input=token, text=True, check=True, env={**os.environ, **env}, capture_output=True)


async def test_the_token_that_a_person_put_there_opens_the_server(home: Home, server: JupyterServer) -> None:
    env = knows(home, server, "keyrings.alt.file.PlaintextKeyring")
    kernel_id = server.notebook("kept.ipynb")
    async with home.client(env=env) as session:
        refused = await session.call("kernel_attach", kernel_id="gpu:kept.ipynb")
        assert "wants a token, and none is configured for it" in refused.text, refused.text
        lost = await session.call("kernel_attach", kernel_id="spare:kept.ipynb")
        assert "HTTP 404: is there a Jupyter server at that address?" in lost.text, lost.text
        put(env, "wrong" * 8)
        refused = await session.call("kernel_attach", kernel_id="gpu:kept.ipynb")
        assert "refused the token" in refused.text, refused.text
        put(env, server.token)
        attached = await session.call("kernel_attach", kernel_id="gpu:kept.ipynb")
        assert not attached.is_error, attached.text
        assert (await session.run("x = 41\nx + 1")).text.endswith("42")
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        assert (await session.run("x")).text.endswith("41"), "the next daemon finds the token there"
        await session.call("kernel_save_notebook", path="n")
    assert server.ask(kernel_id, "x") == "41"
    assert tokens_found(server.token, home.path) == []
    assert [Path(file).parent.name for file in tokens_found(server.token, home.project)] == []


async def test_a_keyring_that_is_stuck_or_locked_is_named_and_holds_nothing_up(
    home: Home, server: JupyterServer, tmp_path: Path
) -> None:
    home = replace(home, python=interpreter_with(tmp_path / "mine", test_keyring_of_mine=MINE))
    stuck, asked = tmp_path / "stuck", tmp_path / "asked"
    stuck.touch()
    more = {"STUCK": str(stuck), "ASKED": str(asked)}
    env = knows(home, server, "test_keyring_of_mine.Backend", **more)
    async with home.client("legacy", "--python", sys.executable, env=env) as session:
        for _ in range(8):  # more often than a daemon has threads for such things
            listed = await session.call("kernel_list_running")
        assert "server gpu" in listed.text
        assert "wants a token, and the keyring did not answer within 3 s" in listed.text
        assert (await session.run("1")).text.endswith("1")
        assert sorted(asked.read_text().splitlines()) == ["kernel-supervisor gpu", "kernel-supervisor spare"]
        stuck.unlink()
        await until(lambda: not stuck.exists(), "it answers again")
        listed = await session.call("kernel_list_running")
        assert "the keyring could not be read (RuntimeError: the collection is locked)" in listed.text
        stuck.touch()
        await session.call("kernel_list_running")
    stopped = home.cli("stop", "--kernels")
    assert stopped.returncode == 0, stopped.stderr
    assert not home.daemons(), "a keyring that does not answer does not keep the daemon"
