"""Promise: wrong input gets an answer that says what to do, and disturbs nothing that runs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import Home

pytestmark = pytest.mark.anyio

WRONG: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "unknown tool": ("kernel_exce", {"code": "1"}, ("kernel_exce", "kernel_exec", "kernel_status")),
    "nothing like a tool": ("zzz", {}, ("'zzz'", "kernel_exec")),
    "unknown argument": ("kernel_exec", {"code": "1", "cod": "2"}, ("'cod'", "code", "timeout", "wait", "session")),
    "argument of another tool": ("kernel_status", {"var_name": "x"}, ("'var_name'", "session")),
    "missing argument": ("kernel_exec", {}, ("kernel_exec", "'code'", "timeout")),
    "required argument null": ("kernel_exec", {"code": None}, ("kernel_exec", "'code'")),
    "wrong type": ("kernel_exec", {"code": 5}, ("kernel_exec", "code", "string", "5")),
    "list for a string": ("kernel_exec", {"code": ["1"]}, ("kernel_exec", "code", "string")),
    "words for a number": ("kernel_output", {"execution_id": "the last"}, ("execution_id", "integer", "the last")),
    "words for a boolean": ("kernel_exec", {"code": "1", "wait": "perhaps"}, ("wait", "boolean", "perhaps")),
    "number out of range": ("kernel_exec", {"code": "1", "timeout": -1}, ("timeout", "0")),
    "not a number": ("kernel_exec", {"code": "1", "timeout": "nan"}, ("timeout",)),
    "empty code": ("kernel_exec", {"code": ""}, ("code is empty",)),
    "blank code": ("kernel_exec", {"code": " \n\t"}, ("code is empty",)),
    "empty name": ("kernel_inspect", {"var_name": ""}, ("var_name is empty",)),
    "call in a name": ("kernel_inspect", {"var_name": "exit()"}, ("exit()", "name")),
    "empty markdown": ("kernel_add_markdown", {"text": " "}, ("text is empty",)),
    "no such execution": ("kernel_output", {"execution_id": 10**6}, ("execution 1000000", "kernel_history")),
    "number beyond any": ("kernel_output", {"execution_id": 10**30}, ("kernel_output", "execution_id")),
    "no such execution to stop": ("kernel_interrupt", {"execution_id": 10**6}, ("1000000", "kernel_history")),
    "no such kernel to attach": ("kernel_attach", {"kernel_id": "nope"}, ("'nope'", "kernel_list_running")),
    "no kernel named": ("kernel_attach", {"kernel_id": ""}, ("kernel_id is empty",)),
    "no kernel named to end": ("kernel_shutdown", {"kernel_id": " "}, ("kernel_id is empty",)),
    "no environment named": ("kernel_use_env", {"env_name": ""}, ("env_name is empty",)),
    "no such connection file": ("kernel_attach", {"kernel_id": "nope.json"}, ("nope.json",)),
    "no such kernel to end": ("kernel_shutdown", {"kernel_id": "nope"}, ("'nope'", "kernel_list_running")),
    "no such environment": ("kernel_use_env", {"env_name": "nope"}, ("nope", "kernel_list_envs")),
    "name that is no session's": ("kernel_exec", {"code": "1", "session": "a/b"}, ("'a/b'", "session")),
    "broken pattern": ("kernel_output", {"execution_id": 1, "grep": "("}, ("grep",)),
    "choice that is none": ("kernel_save_notebook", {"only": "some"}, ("only", "ok")),
    "folder for a notebook": ("kernel_save_notebook", {"path": "/proc/nope/x.ipynb"}, ("/proc/nope",)),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_input_is_told_what_to_do_and_the_session_goes_on(standing_home: Home, era: str, case: str) -> None:
    name, arguments, words = WRONG[case]
    async with standing_home.client(era, "--session", "wrong") as session:
        before = await session.run("x = 41")
        answer = await session.call(name, **arguments)
        after = await session.run("x")
    assert answer.is_error, answer.text
    for word in words:
        assert word in answer.text
    assert answer.facts["error"] == answer.text
    assert after.facts["kernel_id"] == before.facts["kernel_id"]
    assert after.facts["execution_count"] == before.facts["execution_count"] + 1, "nothing was run in between"
    assert after.text.splitlines()[-1].endswith("41")


async def test_a_running_cell_is_not_disturbed_by_wrong_input(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    async with desk.client(era) as session:
        cell = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n'whole'"
        running = await session.run(cell, wait=False)
        for name, arguments, _words in WRONG.values():
            assert (await session.call(name, **arguments)).is_error
        gate.touch()
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
        history = await session.call("kernel_history")
    assert ended.facts["status"] == "ok"
    assert ended.text.splitlines()[-1] == "'whole'"
    assert len(history.facts["entries"]) == 1


async def test_booleans_and_numbers_sent_as_strings_are_understood(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        ran = await session.call("kernel_exec", code="print('one')\nprint('two')", timeout="30", wait="true")
        number = str(ran.facts["execution_id"])
        quick = await session.call("kernel_exec", code="1", wait="false", max_chars="600")
        read = await session.call("kernel_output", execution_id=number, wait="1.5", tail="1", full_traceback="False")
        last = await session.call("kernel_history", last="1")
        saved = await session.call("kernel_save_notebook", path="x", save_html="true", save_pdf="0", overwrite="no")
    assert ran.facts["status"] == "ok"
    assert quick.facts["status"] in ("queued", "running", "ok")
    assert "two" in read.text
    assert "one" not in read.text
    assert len(last.facts["entries"]) == 1
    assert (desk.project / "x.html").exists()
    assert saved.facts["failures"] == []


async def test_null_for_an_optional_argument_is_its_default(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        ran = await session.call("kernel_exec", code="1 + 1", timeout=None, wait=None, max_chars=None, session=None)
        read = await session.call("kernel_output", execution_id=ran.facts["execution_id"], tail=None, grep=None)
        status = await session.call("kernel_status", session=None)
    assert ran.text.splitlines()[-1] == "2"
    assert not read.is_error, read.text
    assert status.facts["session"] == ran.facts["session"]
