"""Variables can be looked at while a cell runs, whatever they do when they are looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.kernels.channels import Channels, NoSignError
from tests.ipykernels import python_with
from tests.process.test_recorder import Recorded, recorded, short
from tests.support import DEADLINE_S, Home, until, until_now

__all__ = ["short"]
pytestmark = pytest.mark.timeout(300)
LIST, LOOK = "supervisor_variables_request", "supervisor_inspect_request"

BUSY = {
    "sleeping": "started()\nimport time\nwhile not done(): time.sleep(0.05)",
    "looping": "started()\nwhile not done():\n    for _ in range(10_000): pass",
}
_MARKS = """
import os
def started(): open("started", "w").close()
def done(): return os.path.exists("done")
answer = 41
"""

HELD = """
import ctypes
call = ctypes.PyDLL(None).system(b"touch started; until [ -e free ]; do sleep 0.1; done")
""".strip()
"""One call of C code that keeps the interpreter to itself: with its file there, nothing else runs in the kernel."""

HOSTILE = """
import time, types
calls = []
class Raising:
    def _no(self, *args): calls.append("raised"); raise RuntimeError("no")
    __repr__ = __len__ = __str__ = __format__ = __eq__ = __hash__ = __bool__ = __iter__ = __dir__ = _no
    def __getattr__(self, name): return self._no()
    __class__ = property(_no)
class Hanging:
    def _hang(self, *args):
        calls.append("hung")
        while True: pass
    __repr__ = __len__ = __str__ = __format__ = __eq__ = __hash__ = __bool__ = __iter__ = __dir__ = _hang
    def __getattr__(self, name): return self._hang()
    __class__ = property(_hang)
class Printing:
    def __repr__(self): print("printed by a repr"); return "fine"
class Exiting:
    def __repr__(self): raise SystemExit("leaving")
class Meta(type):
    def _trap(cls, *args): calls.append("meta"); raise RuntimeError
    __eq__ = __repr__ = __getattr__ = __instancecheck__ = __subclasscheck__ = _trap
    __hash__ = _trap
    __name__ = property(_trap)
class Sly(metaclass=Meta): pass
class Word(str):
    def _trap(self, *args): calls.append("word"); raise RuntimeError
    __lt__ = __eq__ = startswith = _trap
    def __hash__(self): return 77
class Module(types.ModuleType):
    def __getattribute__(self, name): calls.append("module"); raise RuntimeError
raising, hanging, printing, exiting, sly = Raising(), Hanging(), Printing(), Exiting(), Sly()
list_of, dict_of, set_of = [raising, hanging] * 500, {i: hanging for i in range(500)}, {sly_ for sly_ in "abc"}
def defaulted(a, b=hanging, *c, d=raising, **e): pass
odd = Module("odd")
import sys; sys.modules["numpy_"] = odd
huge = 10 ** 1_000_000
globals()[Word("weird")] = 1
globals()[7] = 1
globals()["a b\\n|\\ud800"] = "\\ud800"
globals()["n" * 100_000] = 1
loop = []; loop.append(loop)
calls.clear()
"""
BIG = """
import numpy, pandas
array = numpy.broadcast_to(numpy.float64(1.5), (25_000, 25_000))
turned = numpy.broadcast_to(numpy.float64(1.5), (25_000, 25_000)).T
frame = pandas.DataFrame({"a": numpy.broadcast_to(numpy.int8(3), 50_000_000)}, copy=False)
million = {f"k{i}": i for i in range(1_000_000)}
numbers = set(range(1_000_000))
text = "x" * 100_000_000
"""


@pytest.fixture(scope="module")
def kernel(short: Callable[[str], Path]) -> Iterator[Recorded]:
    with recorded(short("looking")) as running:
        yield running


def ask(kernel: Recorded, kind: str, patience_s: float = 30, **content: Any) -> dict[str, Any]:
    """A control message's answer. Raises queue.Empty at the deadline."""
    message = kernel.client.session.msg(kind, content)
    kernel.client.control_channel.send(message)
    while True:
        answer = kernel.client.get_control_msg(timeout=patience_s)
        if answer["parent_header"]["msg_id"] == message["header"]["msg_id"]:
            return dict(answer["content"])


def listed(kernel: Recorded, **content: Any) -> dict[str, dict[str, Any]]:
    answer = ask(kernel, LIST, **content)
    assert answer["status"] == "ok", answer
    return {row["name"]: row for row in answer["variables"]}


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("requirement", ["ipykernel==6.29.5", "ipykernel==7.4.0"])
def test_a_busy_kernel_answers_before_its_cell_ends(short: Callable[[str], Path], requirement: str, busy: str) -> None:
    folder = short(busy + requirement[-5:])
    with recorded(folder, python_with(requirement)) as kernel:
        kernel.run(_MARKS)
        cell = kernel.client.execute(BUSY[busy])
        until_now((folder / "started").exists, "the cell runs")
        for _ in range(3):
            assert listed(kernel)["answer"]["value"] == "41"
            assert ask(kernel, LOOK, expression="answer")["repr"] == "41"
        assert not (folder / "done").exists(), "it was answered while the cell ran"
        (folder / "done").touch()
        assert kernel.client._recv_reply(cell, timeout=60)["content"]["status"] == "ok"


def test_listing_calls_nobodys_code(kernel: Recorded) -> None:
    kernel.run(HOSTILE)
    assert kernel.reply["content"]["status"] == "ok", kernel.reply
    rows = listed(kernel)
    assert rows["raising"]["type"] == "Raising"
    assert rows["hanging"]["type"] == "Hanging"
    assert rows["sly"]["type"] == "Sly"
    assert rows["list_of"]["value"].startswith("[<Raising>, <Hanging>")
    assert rows["defaulted"]["value"] == "defaulted(a, b=<Hanging>, *c, d=<Raising>, **e)"
    assert "bits" in rows["huge"]["value"]
    assert all(len(name) < 200 and len(row["value"]) < 300 for name, row in rows.items())
    assert "7" not in rows
    assert kernel.text(kernel.run("print(calls)")) == "[]\n"


def test_inspecting_answers_whatever_an_object_does(kernel: Recorded) -> None:
    kernel.run(HOSTILE)
    assert "RuntimeError" in ask(kernel, LOOK, expression="raising")["repr"]
    assert "SystemExit" in ask(kernel, LOOK, expression="exiting")["repr"]
    assert ask(kernel, LOOK, expression="sly")["status"] == "ok"
    assert ask(kernel, LOOK, expression="huge")["repr"].startswith("int of")
    assert ask(kernel, LOOK, expression="loop")["repr"] == "[[...]]"
    for _ in range(12):  # each is ended, so they do not add up
        answer = ask(kernel, LOOK, expression="hanging", deadline_s=0.2)
        assert answer["ename"] == "TimeoutError", answer
    assert listed(kernel)["calls"], "the kernel goes on"
    alive = "import threading; print(sum(t.name == 'supervisor-lookup' for t in threading.enumerate()))"
    until_now(lambda: kernel.text(kernel.run(alive)) == "0\n", "the endless ones are ended")


@pytest.mark.parametrize("requirement", ["ipykernel==6.29.5", "ipykernel==7.4.0"])
def test_what_a_repr_prints_is_in_nobodys_cell(short: Callable[[str], Path], requirement: str) -> None:
    folder = short("print" + requirement[-5:])
    with recorded(folder, python_with(requirement)) as kernel:
        kernel.run(_MARKS + HOSTILE)
        cell = kernel.client.execute(BUSY["sleeping"] + "\nprint('end')")
        until_now((folder / "started").exists, "the cell runs")
        assert ask(kernel, LOOK, expression="printing")["repr"] == "fine"
        (folder / "done").touch()
        kernel.client._recv_reply(cell, timeout=60)
        kernel.run("1")
        until_now(lambda: kernel.text(cell), "its output")
        assert kernel.text(cell) == "end\n"


def test_what_is_big_costs_no_more_than_what_is_small(kernel: Recorded) -> None:
    began = time.monotonic()
    kernel.run(BIG)
    made_s = time.monotonic() - began
    began = time.monotonic()
    rows = listed(kernel)
    for name in ("array", "turned", "frame", "million", "numbers", "text"):
        assert len(ask(kernel, LOOK, expression=name)["repr"]) < 10_000
    assert time.monotonic() - began < max(2.0, 2 * made_s), "nothing was read or copied whole"
    assert rows["array"]["shape"] == "25000 × 25000"
    assert rows["turned"]["value"] == "float64, [1.5, 1.5, 1.5, 1.5, 1.5]"
    assert rows["frame"]["shape"] == "50000000 × 1"
    assert rows["million"]["shape"] == rows["numbers"]["shape"] == "1000000"


def test_ten_thousand_variables_are_bounded_and_the_rest_is_counted(short: Callable[[str], Path]) -> None:
    with recorded(short("many")) as kernel:
        kernel.run("globals().update({f'v{i:05}': i for i in range(10_000)}, wanted=1.5)")
        answer = ask(kernel, LIST)
        assert len(answer["variables"]) <= 2000
        assert len(answer["variables"]) + answer["left_out"] == 10_001
        narrowed = ask(kernel, LIST, filter="WANT", type="float")
        assert [row["name"] for row in narrowed["variables"]] == ["wanted"]
        assert narrowed["left_out"] == 0


def test_user_code_that_replaced_builtins_is_not_in_the_way(short: Callable[[str], Path]) -> None:
    with recorded(short("replaced")) as kernel:
        kernel.run("import builtins\nfor name in ('sorted', 'repr'):\n    setattr(builtins, name, None)\nx = [1, 2]")
        assert listed(kernel)["x"]["value"] == "[1, 2]"
        assert ask(kernel, LOOK, expression="x")["repr"] == "[1, 2]"


def test_looking_leaves_no_trace(kernel: Recorded) -> None:
    kernel.run("seen = 5; seen")
    listed(kernel)
    ask(kernel, LOOK, expression="seen")
    assert kernel.text(kernel.run("print(_, 'supervisor' in str(sorted(map(str, globals()))))")) == "5 False\n"


@pytest.mark.anyio
async def test_an_agent_looks_while_its_cell_runs(home: Home) -> None:
    async with home.client() as session:
        await session.run(_MARKS)
        running = await session.run(BUSY["sleeping"], wait=False)  # one that loops may outlast a look on a busy machine
        assert "answer" in (await session.call("kernel_list_vars")).text
        assert "41" in (await session.call("kernel_inspect", var_name="answer")).text
        assert not (home.project / "done").exists()
        (home.project / "done").touch()
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
    assert ended.facts["status"] == "ok"


@pytest.mark.anyio
async def test_an_agent_is_told_when_c_code_holds_the_kernel(home: Home) -> None:
    async with home.client() as session:
        await session.run(_MARKS)
        before = await session.call("kernel_inspect", var_name="answer")
        running = await session.run(HELD, wait=False)
        number = running.facts["execution_id"]
        await until((home.project / "started").exists, "the cell runs")
        unknown = await session.call("kernel_list_vars")
        status = await session.call("kernel_output", execution_id=number, wait=0)
        assert not (await session.call("kernel_history")).is_error
        _free(home.project)
    assert "41" in before.text
    assert status.facts["status"] == "running", "it was said while the cell ran"
    assert unknown.is_error, "nobody had looked before"
    assert "None of its Python threads gets a turn" in unknown.text
    assert f"execution {number} runs since" in unknown.text
    assert HELD.partition("\n")[0] in unknown.text


@pytest.mark.anyio
async def test_while_c_code_holds_the_kernel_the_last_known_variables_are_given_with_their_age(home: Home) -> None:
    async with home.client() as session:
        await session.run(_MARKS)
        assert "answer" in (await session.call("kernel_list_vars")).text
        await session.run("answer = 42\n" + HELD, wait=False)
        await until((home.project / "started").exists, "the cell runs")
        listed = await session.call("kernel_list_vars", filter="ans")
        inspected = await session.call("kernel_inspect", var_name="answer + 1")
        missing = await session.call("kernel_inspect", var_name="nothing_like_it")
        _free(home.project)
    for told in (listed, inspected):
        assert "The kernel is busy" in told.text
        assert "None of its Python threads gets a turn" in told.text
        assert [(row["name"], row["value"]) for row in told.facts["variables"]] == [("answer", "41")]
        assert told.facts["busy"]
        assert told.facts["age_s"] > 0
        assert " ago:" in told.text
    assert "nothing of that name" in missing.text


@pytest.mark.anyio
@pytest.mark.parametrize("requirement", ["ipykernel==6.29.5", "ipykernel==7.4.0"])
async def test_a_looping_kernel_gives_a_sign_that_one_held_by_c_code_does_not_give(
    short: Callable[[str], Path], requirement: str
) -> None:
    folder = short("sign" + requirement[-5:])
    with recorded(folder, python_with(requirement)) as kernel:
        kernel.run(_MARKS)
        channels = Channels(folder / "k.json", "somebody", lambda message: None)
        try:
            kernel.client.execute(BUSY["looping"])
            await until((folder / "started").exists, "the cell runs")
            answer = await channels.ask("control", LIST, {}, DEADLINE_S, sign_s=DEADLINE_S / 2)
            assert answer["status"] == "ok"
            (folder / "started").unlink()
            held = kernel.client.execute(HELD + "\nprint(call)")
            (folder / "done").touch()
            await until((folder / "started").exists, "the next cell runs")
            with pytest.raises(NoSignError):
                await channels.ask("control", LIST, {}, DEADLINE_S, sign_s=0.9)
            assert not kernel.text(held), "it was said while C code held the kernel"
            _free(folder)
            kernel.client._recv_reply(held, timeout=DEADLINE_S)
        finally:
            await channels.close()


def _free(folder: Path) -> None:
    (folder / "free").touch()
