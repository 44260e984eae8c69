"""Promise: whatever user code replaces or removes, no call hangs, and nothing is said that was not looked at."""

from __future__ import annotations

import pytest

from tests.support import Home, Session

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
HARMLESS = {
    "dumps": "import json; json.dumps = None",
    "loads": "import json; json.loads = lambda *_: 1 / 0",
    "encoder": "import json; json.JSONEncoder = json.encoder.JSONEncoder = None",
    "decoder": "import json; del json.JSONDecoder, json.loads",
    "module": "import sys; sys.modules['json'] = None",
    "names": "list = 3; dict = 4; str = 5; len = 6; isinstance = 7; json = 8",
    "open": "import builtins; builtins.open = builtins.input = None",
    "checksums": "import base64, binascii; base64.b64encode = binascii.crc32 = None",
}
BREAKING = {
    "isinstance": "builtins.isinstance = None",
    "len": "builtins.len = 3",
    "print": "del builtins.print",
    "getattr": "builtins.getattr = lambda *_: None",
    "dict": "builtins.dict = 5",
    "all": "builtins.__dict__.clear()",
    "time": "import time; time.time = time.monotonic = None",
    "asyncio": "import asyncio; asyncio.wait_for = asyncio.sleep = asyncio.ensure_future = None",
    "threading": "import threading; threading.Thread = threading.current_thread = None",
}


async def told(session: Session) -> str:
    """What is said of a kernel by all that looks at it; each within its deadline."""
    said = [(await session.call("kernel_exec", code="x", timeout=2)).text]
    for tool, arguments in (("kernel_list_vars", {}), ("kernel_inspect", {"var_name": "x"}), ("kernel_status", {})):
        said.append((await session.call(tool, **arguments)).text)
    return "\n".join([*said, (await session.call("kernel_interrupt")).text])


async def test_what_we_need_ourselves_is_our_own(home: Home) -> None:
    async with home.client() as session:
        for name, code in HARMLESS.items():
            await session.run("x = 41")
            broken = await session.run(code, timeout=20)
            assert broken.facts["status"] == "ok", name
            said = await told(session)
            assert "41" in said.splitlines()[0] + said.splitlines()[1], name
            assert "nothing is running" in said, name
            assert "41" in (await session.call("kernel_inspect", var_name="x")).text, name
            await session.call("kernel_restart")


@pytest.mark.parametrize("code", BREAKING.values(), ids=BREAKING)
async def test_a_kernel_that_was_broken_is_not_said_to_be_held_by_c_code(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("import builtins; x = 41")
        await session.run(code, timeout=2)
        said = await told(session)
        held = [line for line in said.splitlines() if "C code" in line]
        assert all("replaced or removed what the kernel answers with" in line for line in held), held
        assert "busy" not in (await session.call("kernel_list_vars")).text or held, "an idle one is not said to be busy"
        restarted = await session.call("kernel_restart")
        assert not restarted.is_error, restarted.text
        assert (await session.run("6 * 7")).text.endswith("42")


async def test_a_kernel_that_computes_in_c_code_is_said_to_be_held_by_that_alone(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        await session.run("sum(map(len, [b''] * 10)); pow(7, 10**8) and None", timeout=1)
        said = (await session.call("kernel_list_vars")).text
        assert "C code holds them all." in said, said
        home.kernels()[0].kill()


async def test_a_kernel_that_stands_still_is_said_to_where_it_is_looked_into(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        kernel.suspend()
        for tool, arguments in (("kernel_list_vars", {}), ("kernel_inspect", {"var_name": "x"})):
            assert f"kill -CONT {kernel.pid}" in (await session.call(tool, **arguments)).text
        kernel.resume()
