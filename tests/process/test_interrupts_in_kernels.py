"""Promise: a cell has its reply and its kernel goes on, whenever an interrupt comes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_supervisor.outputs.folding import fold
from tests.ipykernels import python_with
from tests.process.test_recorder import VERSIONS, Recorded, recorded, short
from tests.support import DEADLINE_S, until_now

__all__ = ["short"]
pytestmark = pytest.mark.timeout(300)
CELL_S = 0.02
CELLS = (
    f"import time; time.sleep({CELL_S})",
    f"import asyncio; await asyncio.sleep({CELL_S})",
    f"import time; time.sleep({CELL_S}); print('x' * 100); 5",
    f"import time; time.sleep({CELL_S}); 1 / 0",
)


def slow_to_end(ending: Path, go: Path) -> str:
    """Code behind which ipykernel, before it replies, says so with the file `ending` and waits for the file `go`."""
    return f"""
import os, sys, time
def flush():
    del sys.stdout.flush
    open({str(ending)!r}, "w").close()
    while not os.path.exists({str(go)!r}): time.sleep(0.01)
sys.stdout.flush = flush
"""


def _begun(kernel: Recorded, request: str) -> None:
    while True:
        message = kernel.client.get_iopub_msg(timeout=DEADLINE_S)
        if message["parent_header"].get("msg_id") == request and message["msg_type"] == "execute_input":
            return


@pytest.mark.parametrize("requirement", VERSIONS)
def test_a_cell_has_its_reply_whenever_the_interrupt_comes(requirement: str, short: Callable[[str], Path]) -> None:
    """ipykernel by itself sends none where it comes between the end of the cell's code and the reply."""
    moments = random.Random(requirement)
    with recorded(short("at" + requirement[-5:]), python_with(requirement)) as kernel:
        statuses = set()
        for turn in range(120):
            request = kernel.client.execute(CELLS[turn % len(CELLS)], stop_on_error=False)
            _begun(kernel, request)
            time.sleep(CELL_S + (moments.uniform(-0.001, 0.006) if turn % 2 else moments.uniform(-CELL_S, 0)))
            os.kill(kernel.pid, signal.SIGINT)
            statuses.add(kernel.client._recv_reply(request, timeout=DEADLINE_S)["content"]["status"])
        after = kernel.run("6 * 7")
        replied = fold(kernel.items(after)).reply
    assert statuses == {"ok", "error"}, "it came on both sides of the end"
    assert replied is not None
    assert replied["status"] == "ok"


def test_what_is_over_is_not_interrupted_any_more(short: Callable[[str], Path]) -> None:
    folder = short("over")
    with recorded(folder) as kernel:
        cell = kernel.client.execute(slow_to_end(folder / "ending", folder / "go"))
        until_now((folder / "ending").exists, "the code is over")
        os.kill(kernel.pid, signal.SIGINT)
        (folder / "go").touch()
        reply = kernel.client._recv_reply(cell, timeout=DEADLINE_S)["content"]
    assert reply["status"] == "ok", reply


SLOW_TRANSFORMER = """
import time
def slow(lines):
    if "slow" in lines[0]:
        open("begun", "w").close()
        time.sleep(1000)
    return lines
get_ipython().input_transformers_cleanup.append(slow)
"""


def test_an_interrupt_of_what_ipython_does_around_a_cell_is_shown(short: Callable[[str], Path]) -> None:
    folder = short("around")
    with recorded(folder) as kernel:
        kernel.run(SLOW_TRANSFORMER)
        cell = kernel.client.execute("'slow'", stop_on_error=False)
        until_now((folder / "begun").exists, "the cell is transformed")
        os.kill(kernel.pid, signal.SIGINT)
        reply = kernel.client._recv_reply(cell, timeout=DEADLINE_S)["content"]
        kernel.run("pass")
        folded = fold(kernel.items(cell))
    assert (reply["status"], reply["ename"], reply["execution_count"]) == ("error", "KeyboardInterrupt", 2)
    assert [(output["output_type"], output.get("ename")) for output in folded.outputs] == [
        ("error", "KeyboardInterrupt")
    ]


EARLY = """
import os, signal
kernel = get_ipython().kernel
publish = kernel._publish_execute_input
def interrupted(*args, **kwargs):
    publish(*args, **kwargs)
    kernel._publish_execute_input = publish
    os.kill(os.getpid(), signal.SIGINT)
kernel._publish_execute_input = interrupted
"""


@pytest.mark.parametrize("requirement", VERSIONS)
def test_a_cell_that_is_interrupted_before_its_code_is_not_begun(
    requirement: str, short: Callable[[str], Path]
) -> None:
    """Everybody was told that it runs; the next one is another cell."""
    folder = short("early" + requirement[-5:])
    with recorded(folder, python_with(requirement)) as kernel:
        kernel.run(EARLY)
        cell = kernel.run("open('ran', 'w').close()")
        reply, ename = kernel.reply["content"], fold(kernel.items(cell)).outputs[0].get("ename")
        kernel.run("6 * 7")
    assert (reply["status"], reply["ename"], reply["execution_count"], ename) == (
        "error",
        "KeyboardInterrupt",
        2,
        "KeyboardInterrupt",
    )
    assert not (folder / "ran").exists()
    assert (kernel.reply["content"]["status"], kernel.reply["content"]["execution_count"]) == ("ok", 3)


def test_an_interrupt_takes_no_other_reply_away_and_ends_nothing(short: Callable[[str], Path]) -> None:
    """ipykernel raises it while it looks for a reply to anything; between two lines of its own the kernel ends."""
    code = """import os, signal
kernel = get_ipython().kernel
kernel_info, complete = kernel.shell_handlers["kernel_info_request"], kernel.shell.Completer.completions
def interrupted(*args):
    os.kill(os.getpid(), signal.SIGINT)
    return kernel_info(*args)
def slow(*args):
    os.kill(os.getpid(), signal.SIGINT)
    return complete(*args)
kernel.shell_handlers["kernel_info_request"] = interrupted
kernel.shell.Completer.completions = slow
"""
    with recorded(short("others")) as kernel:
        kernel.run(code)
        assert kernel.reply["content"]["status"] == "ok"
        info = kernel.client._recv_reply(kernel.client.kernel_info(), timeout=DEADLINE_S)["content"]
        completed = kernel.client._recv_reply(kernel.client.complete("kern"), timeout=DEADLINE_S)["content"]
        kernel.run("6 * 7")
    assert info["status"] == "ok"
    assert (completed["status"], completed["ename"]) == ("error", "KeyboardInterrupt")
    assert kernel.reply["content"]["status"] == "ok"


def test_a_cell_has_its_reply_where_ipython_itself_fails(short: Callable[[str], Path]) -> None:
    """As it does where an interrupt comes while it hands on an error: "cannot access local variable 'result'"."""
    code = """shell = get_ipython()
def broken(*args, **more):
    del shell.run_cell
    raise UnboundLocalError("result")
shell.run_cell = broken
"""
    with recorded(short("fails")) as kernel:
        kernel.run(code)
        cell = kernel.run("'not run'")
        reply, outputs = kernel.reply["content"], fold(kernel.items(cell)).outputs
        kernel.run("6 * 7")
    assert (reply["status"], reply["ename"], outputs[0]["ename"]) == ("error", "UnboundLocalError", "UnboundLocalError")
    assert (kernel.reply["content"]["status"], kernel.reply["content"]["execution_count"]) == ("ok", 3)


def test_a_cells_own_code_sees_the_handler_that_ipykernel_sets(short: Callable[[str], Path]) -> None:
    with recorded(short("sees")) as kernel:
        cell = kernel.run("import signal\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)")
        assert kernel.text(cell) == "True\n"
