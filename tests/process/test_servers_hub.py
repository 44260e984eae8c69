"""A user's server behind a real JupyterHub: listed, worked in, its token refused, started and stopped by the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.hub import Hub, jupyterhub
from tests.servers import tokens_found
from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]  # the first time, npm fetches the hub's proxy


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with jupyterhub(tmp_path_factory.mktemp("jupyter") / "hub") as hub:
        yield hub


def knows(home: Home, hub: Hub, name: str, token: str) -> dict[str, str]:
    """The environment of a client of a supervisor whose configuration names a user's server."""
    home.path.mkdir()
    config = home.path / "servers.json"
    config.touch(mode=0o600)
    config.write_text(json.dumps({"hub": {"url": f"{hub.url}user/{name}", "token": token}}))
    return {"JUPYTER_RUNTIME_DIR": str(home.project)}


async def test_a_notebook_that_is_open_there_is_listed_and_worked_in(home: Home, hub: Hub) -> None:
    token = hub.user("jane")
    hub.start("jane")
    body = {"path": "work.ipynb", "name": "work.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    _, opened = hub.ask("POST", "user/jane/api/sessions", body, token)
    kernel_id = opened["kernel"]["id"]
    async with home.client(env=knows(home, hub, "jane", token)) as session:
        listed = await session.call("kernel_list_running")
        assert [(each["kernel_id"], each["notebook"]) for each in listed.facts["others"]] == [(kernel_id, "work.ipynb")]
        attached = await session.call("kernel_attach", kernel_id=f"{hub.url}user/jane/lab/tree/work.ipynb")
        assert not attached.is_error, attached.text
        assert (await session.run("x = 41\nx + 1")).text.endswith("42")
        plotted = await session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
        assert len(plotted.images) == 1, plotted.text
        begun = await session.call("kernel_exec", code="import time\nwhile True: time.sleep(0.05)", wait=False)
        await until(lambda: _state(hub, kernel_id, token) == "busy", "it runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert "KeyboardInterrupt" in ended.text
        used = await session.call("kernel_use_env", env_name="hub:python3")
        assert not used.is_error, used.text
        assert (await session.run("'x' in globals()")).text.endswith("False")
        assert not (await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])).is_error
        await session.call("kernel_detach")
    _, left = hub.ask("GET", "user/jane/api/kernels", token=token)
    assert [each["id"] for each in left] == [kernel_id]
    assert tokens_found(token, home.path / "logs", home.path / "run", home.project) == []
    assert token not in (home.path / "daemon.log").read_text()


def _state(hub: Hub, kernel_id: str, token: str) -> str:
    return str(hub.ask("GET", f"user/jane/api/kernels/{kernel_id}", token=token)[1]["execution_state"])


async def test_a_token_that_it_refuses_and_a_server_that_is_not_running_are_told_apart(home: Home, hub: Hub) -> None:
    token, stranger = hub.user("joe"), hub.user("mallory")
    env = knows(home, hub, "joe", token)
    config = home.path / "servers.json"
    async with home.client(env=env) as session:
        asleep = await session.call("kernel_attach", kernel_id="hub:")
        assert asleep.is_error
        assert f"is not running, says its JupyterHub: start it there ({hub.url}hub/home)" in asleep.text
        hub.start("joe")
        for wrong in ("0" * 32, stranger):
            config.write_text(config.read_text().replace(token, wrong))
            refused = await session.call("kernel_use_env", env_name="hub:python3")
            assert refused.is_error
            assert "refused the token (HTTP 403)" in refused.text, refused.text
            assert wrong not in refused.text
            config.write_text(config.read_text().replace(wrong, token))
        used = await session.call("kernel_use_env", env_name="hub:python3")
        assert not used.is_error, used.text
        await session.run("x = 1")
        hub.stop("joe")
        hub.start("joe")
        gone = await session.call("kernel_exec", code="x")  # which may be the first to hear of it
        assert gone.facts.get("status") != "ok", gone.text
        assert "has no kernel" in gone.text, gone.text
