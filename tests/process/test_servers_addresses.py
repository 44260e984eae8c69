"""One server has many addresses: as people copy them, over IPv6, over TLS; and a token in one that is wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import certipy
import pytest

from tests.servers import JupyterServer, jupyter_server, tokens_found, wire
from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter") / "server", "--ServerApp.allow_remote_access=1") as server:
        yield server


@pytest.fixture(scope="module")
def kernel_id(server: JupyterServer) -> str:
    return server.notebook("work.ipynb")


def stranger(home: Home, **more: str) -> dict[str, str]:
    """The environment of a client that knows no server."""
    return {"JUPYTER_RUNTIME_DIR": str(home.project), **more}


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/lab/tree/work.ipynb?token={token}",
        "http://localhost:{port}//notebooks//work.ipynb/?token={token}#top",
        "HTTP://LOCALHOST:{port}?token={token}",
        "http://me:{token}@127.0.0.1:{port}/tree?token={token}",
        "http://127.0.0.1:{port}/api/kernels/{kernel}?token={token}",
    ],
)
async def test_an_address_as_people_copy_it_leads_there(
    home: Home, server: JupyterServer, kernel_id: str, address: str
) -> None:
    url = address.format(port=server.port, token=server.token, kernel=kernel_id)
    async with home.client(env=stranger(home)) as session:
        attached = await session.call("kernel_attach", kernel_id=url)
        assert not attached.is_error, attached.text
        assert server.token not in attached.text
        assert (await session.run("40 + 2")).text.endswith("42")
        listed = await session.call("kernel_list_running")
        assert [each["server"] for each in listed.facts["kernels"]] == [attached.facts["server"]]
    assert tokens_found(server.token, home.path, home.project) == []


async def test_a_wrong_token_or_address_in_a_call_spoils_nothing(
    home: Home, server: JupyterServer, kernel_id: str
) -> None:
    known = {"KERNEL_SUPERVISOR_SERVERS": f"gpu={server.url}?token={server.token}"}
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        async with home.client(env=stranger(home, **known)) as session:
            refused = await session.call("kernel_attach", kernel_id=f"{server.url}lab/tree/work.ipynb?token=wrong")
            assert "refused the token" in refused.text, refused.text
            away = await session.call("kernel_attach", kernel_id=nowhere)
            assert "nothing listens there" in away.text, away.text
            listed = await session.call("kernel_list_running")
            assert [each["kernel_id"] for each in listed.facts["others"]] == [kernel_id]
            assert listed.facts["troubles"] == []
            assert not (await session.call("kernel_attach", kernel_id="gpu:work.ipynb")).is_error


async def test_a_server_is_reached_over_ipv6(home: Home, server: JupyterServer, kernel_id: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    async with wire(server.port, "::1") as relay, home.client(env=stranger(home)) as session:
        url = f"http://[::1]:{relay.port}/lab/tree/work.ipynb?token={server.token}"
        attached = await session.call("kernel_attach", kernel_id=url)
        assert not attached.is_error, attached.text
        assert attached.facts["server"] == f"http://[::1]:{relay.port}/"
        assert (await session.run("40 + 2")).text.endswith("42")
        relay.cut()
        while (await session.call("kernel_status")).facts["state"] != "unreachable":  # noqa: ASYNC110 - only a call tells
            await asyncio.sleep(0.05)
        assert "which is out of reach" in (await session.call("kernel_detach")).text


async def test_a_certificate_is_checked_and_one_that_is_trusted_opens_the_server(
    home: Home, server: JupyterServer, kernel_id: str, tmp_path: Path
) -> None:
    store = certipy.Certipy(store_dir=str(tmp_path))
    store.create_ca("authority")
    made = store.create_signed_pair("there", "authority", alt_names=["IP:127.0.0.1"])
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made["files"]["cert"], made["files"]["key"])
    async with wire(server.port, tls=tls) as relay:
        url = f"https://127.0.0.1:{relay.port}/lab/tree/work.ipynb?token={server.token}"
        async with home.client(env=stranger(home)) as session:
            refused = await session.call("kernel_attach", kernel_id=url)
            assert refused.is_error
            assert "its certificate is not trusted" in refused.text, refused.text
        assert home.cli("stop", "--kernels").returncode == 0
        trusting = stranger(home, SSL_CERT_FILE=made["files"]["ca"])
        async with home.client(env=trusting) as session:
            attached = await session.call("kernel_attach", kernel_id=url)
            assert not attached.is_error, attached.text
            assert (await session.run("40 + 2")).text.endswith("42")
