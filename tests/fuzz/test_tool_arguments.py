"""Promise: whatever arguments a tool is given, it is answered by what it did or why not, in words for its caller."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz import odd
from tests.fuzz.survivor import OURS, Survivor

CALLS = 60
RARELY = {"kernel_restart", "kernel_use_env", "kernel_shutdown", "kernel_interrupt"}
"""What takes long, each time that it does something."""
GOOD: dict[str, Any] = {
    "code": "print(6 * 7)",
    "execution_id": 1,
    "var_name": "answer",
    "text": "some",
    "grep": "4.*2",
    "path": "some.ipynb",
    "wait": 0,
    "timeout": 5,
    "max_chars": 1_000,
    "session": "",
}


def test_every_call_is_answered(survivor: Survivor, seeds: Iterator[random.Random]) -> None:
    for chance in seeds:
        with survivor.home.shim() as shim:
            shim.open()
            shim.run("answer = 42")
            tools = shim.request("tools/list")["tools"]
            for number in range(CALLS):
                tool = chance.choice(tools)
                while tool["name"] in RARELY and chance.random() < 0.9:
                    tool = chance.choice(tools)
                params = {"name": tool["name"], "arguments": arguments(tool, chance)}
                shim.write(odd.text({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}))
                answer = shim.answer(number)
                assert OURS not in json.dumps(answer), (params, answer)
        survivor.check()


LONG = 2_000_000
UP_AND_DOWN = "/tmp/../" * (LONG // 8)
DIGITS = "9" * 100


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "x" * LONG}),
        ("tools/call", {"name": "kernel_exec", "arguments": {"x" * LONG: 1, "code": "1"}}),
        ("tools/call", {"name": "kernel_exec", "arguments": dict.fromkeys(map(str, range(50_000)), 1)}),
        ("tools/call", {"name": "kernel_exec", "arguments": {"code": "1", "session": "x" * LONG}}),
        ("tools/call", {"name": "kernel_save_notebook", "arguments": {"path": UP_AND_DOWN}}),
        ("tools/call", {"name": "kernel_attach", "arguments": {"kernel_id": UP_AND_DOWN}}),
        ("tools/call", {"name": "kernel_use_env", "arguments": {"env_name": UP_AND_DOWN}}),
        ("tools/call", {"name": "kernel_exec", "arguments": {"code": "1"}, "requestState": f"{DIGITS}/q/{DIGITS}"}),
        ("supervisor/which", {"session": "x" * LONG}),
        ("resources/read", {"uri": f"kernel://project/executions/{DIGITS * 50}"}),
    ],
)
def test_what_is_far_too_long_is_refused_in_few_words(survivor: Survivor, method: str, params: dict[str, Any]) -> None:
    with survivor.home.shim() as shim:
        shim.open()
        shim.send(method, params, id="long")
        answer = shim.answer("long")
        said = json.dumps(answer.get("result") or answer["error"]["message"])
        assert OURS not in said
        assert len(said) < 2 * len(DIGITS * 50), said[:2000]
    survivor.check()


def arguments(tool: dict[str, Any], chance: random.Random) -> Any:
    """Some good, some odd ones."""
    schema = tool["inputSchema"]
    wanted = {*schema.get("required", ()), *(name for name in schema["properties"] if chance.random() < 0.3)}
    given = {name: GOOD[name] for name in sorted(wanted) if name in GOOD}
    given |= {name: odd.value(chance) for name in sorted(wanted) if name not in GOOD}
    for name in sorted(wanted):
        if chance.random() < 0.3:
            given[name] = odd.value(chance)
    return given if chance.random() < 0.95 else odd.value(chance)
