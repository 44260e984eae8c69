"""Promise: with nothing running, a client connects, runs code, and finds its variables again."""

from __future__ import annotations

import pytest

from tests.support import ERAS, Home

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_on_a_machine_without_a_daemon_runs_code(home: Home, era: str) -> None:
    async with home.client(era) as session:
        names = {tool.name for tool in (await session.client.list_tools()).tools}
        assert {"kernel_exec", "kernel_output", "kernel_status", "kernel_history"} <= names
        assert not home.kernels(), "connecting and listing start no kernel"
        await session.run("x = 41")
        result = await session.run("x + 1")
    assert result.text.splitlines()[-1] == "42"
    assert result.facts["status"] == "ok"
