"""Servers that hang, refuse, redirect or talk rubbish cost their limit at most, are named, and learn no token."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import KINDS, misbehaving, tokens_found
from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

TOKEN = "c0ffee-5ecret-0123456789abcdef"
REASONS = {
    "hangs": "did not answer within 2 s",
    "rubbish": "no answer that is HTTP",
    "elsewhere": "no list of kernels",
    "refuses": "refused the token (HTTP 401)",
    "fails": "HTTP 500",
    "drips": "did not answer within 2 s",
    "redirects": "which is not followed",
}


@pytest.fixture
def astray() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    with misbehaving() as server:
        yield server


def env_of(home: Home, port: int) -> dict[str, str]:
    servers = " ".join(f"{kind}=http://127.0.0.1:{port}/{kind}/?token={TOKEN}" for kind in KINDS)
    return {"JUPYTER_RUNTIME_DIR": str(home.project), "KERNEL_SUPERVISOR_SERVERS": servers}


async def test_listing_names_each_with_its_reason_and_waits_for_none(
    home: Home, astray: tuple[int, list[tuple[str, str]]]
) -> None:
    port, asked = astray
    async with home.client(env=env_of(home, port)) as session:
        await session.run("x = 1")
        begun = time.monotonic()
        listed = await session.call("kernel_list_running")
        took = time.monotonic() - begun
        troubles = {each.split()[1]: each for each in listed.facts["troubles"]}
        assert set(troubles) == set(KINDS)
        for kind, reason in REASONS.items():
            assert reason in troubles[kind], troubles[kind]
            assert f"http://127.0.0.1:{port}/{kind}/" in troubles[kind]
            assert troubles[kind] in listed.text
        assert len(listed.facts["kernels"]) == 1
        one_after_the_other = 2 * len(KINDS)
        assert took < one_after_the_other, took
        environments = await session.call("kernel_list_envs")
        assert len(environments.facts["troubles"]) == len(KINDS)
        for kind in KINDS:
            attached = await session.call("kernel_attach", kernel_id=f"{kind}:1234")
            assert attached.is_error
            assert f"server {kind}" in attached.text, attached.text
            used = await session.call("kernel_use_env", env_name=f"{kind}:python3")
            assert used.is_error
            assert f"server {kind}" in used.text, used.text
            assert TOKEN not in listed.text + attached.text + used.text + json.dumps(listed.facts)
        saved = await session.call("kernel_save_notebook", path="n")
        assert not saved.is_error
    assert "stolen" not in {path.split("/")[1] for path, _ in asked}
    assert all(credentials == f"token {TOKEN}" for _, credentials in asked)
    assert tokens_found(TOKEN, home.path, home.project) == []


async def test_a_configuration_that_others_can_read_is_refused(
    home: Home, astray: tuple[int, list[tuple[str, str]]]
) -> None:
    port, asked = astray
    config = home.path / "servers.json"
    home.path.mkdir()
    config.write_text(json.dumps({"open": {"url": f"http://127.0.0.1:{port}/refuses/", "token": TOKEN}}))
    config.chmod(0o644)
    async with home.client(env={"JUPYTER_RUNTIME_DIR": str(home.project)}) as session:
        listed = await session.call("kernel_list_running")
        assert "chmod 600" in listed.text
        assert asked == []
        config.write_text("{")
        assert "cannot be read" in (await session.call("kernel_list_running")).text


async def test_a_token_of_a_url_goes_nowhere_else(
    home: Home, astray: tuple[int, list[tuple[str, str]]], tmp_path: Path
) -> None:
    port, asked = astray
    async with home.client(env={"JUPYTER_RUNTIME_DIR": str(tmp_path)}) as session:
        for kind in KINDS:
            url = f"http://someone:{TOKEN}@127.0.0.1:{port}/{kind}/api/kernels/1234?token={TOKEN}"
            attached = await session.call("kernel_attach", kernel_id=url)
            assert attached.is_error
            assert TOKEN not in attached.text
        for url in ("ftp://host/", "http://host:port/", "http://[::1/", "http://"):
            attached = await session.call("kernel_attach", kernel_id=url)
            assert attached.is_error
            assert "http:// or https://" in attached.text, attached.text
    assert "stolen" not in {path.split("/")[1] for path, _ in asked}
    assert tokens_found(TOKEN, home.path, home.project) == []
