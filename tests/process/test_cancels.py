"""Promise: what a client cancelled is run by no daemon, also where none hears of it at once."""

from __future__ import annotations

import sqlite3
import textwrap
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import DEADLINE_S, ERAS, Home, Shim, until_now

pytestmark = pytest.mark.timeout(180)
in_each_era = pytest.mark.parametrize("era", ERAS)


CLEANS_UP = """interrupts = 0
try:
{}
except KeyboardInterrupt:
    interrupts += 1
    try:
        time.sleep(1)
    except KeyboardInterrupt:
        interrupts += 1
    raise
"""


class Cell(NamedTuple):
    """A cell that marks that it began, and runs until its gate opens."""

    begun: Path
    gate: Path

    @classmethod
    def of(cls, home: Home) -> Cell:
        return cls(home.project / "begun", home.project / "gate")

    @property
    def code(self) -> str:
        waits = f"while not os.path.exists({str(self.gate)!r}): time.sleep(0.01)"
        return f"import os, time\nopen({str(self.begun)!r}, 'w').close()\n{waits}"


def send(shim: Shim, code: str, id_: str = "wanted") -> None:
    params = {"name": "kernel_exec", "arguments": {"code": code, "timeout": 60}}
    shim.send("tools/call", {**params, **shim.said}, id=id_)


def cancel(shim: Shim, id_: str = "wanted", **more: str) -> None:
    shim.send("notifications/cancelled", {"requestId": id_, **more, **shim.said})


def committed(home: Home, code: str) -> None:
    """Return once an entry stands on record."""

    def stands() -> bool:
        with closing(sqlite3.connect(home.path / "run/records.sqlite", timeout=10)) as records:
            return bool(records.execute("SELECT 1 FROM executions WHERE source = ?", (code,)).fetchone())

    until_now(stands, f"{code!r} is on record")


def queued(home: Home, shim: Shim, era: str = ERAS[0]) -> Cell:
    """A cell that runs, and behind it another call, which would make 42 of 41."""
    first = Cell.of(home)
    shim.open(era)
    shim.run("x = 41")
    shim.run(first.code, wait=False)
    send(shim, "x += 1")
    committed(home, "x += 1")
    return first


def last_settled(shim: Shim) -> tuple[dict[str, Any], str]:
    """The last entry once it is over, and all that was said until then."""
    end, said = time.monotonic() + DEADLINE_S, ""
    while time.monotonic() < end:
        result = shim.call("kernel_history")
        said += result["content"][0]["text"]
        entry: dict[str, Any] = result["_meta"]["kernel-supervisor/result"]["entries"][-1]
        if entry["status"] not in ("queued", "running"):
            return entry, said
    raise AssertionError("the last entry is not settled")


@in_each_era
def test_what_is_cancelled_while_no_daemon_is_there_is_not_run(home: Home, era: str) -> None:
    with home.shim() as shim:
        first = queued(home, shim, era)
        with home.no_daemon():
            cancel(shim)
        entry, said = last_settled(shim)
        first.gate.touch()
        after = shim.run("x")["text"]
    assert entry["status"] == "aborted"
    assert after.endswith("41")
    assert "had not begun: it was not run" in said


@in_each_era
def test_a_cell_that_is_cancelled_while_no_daemon_is_there_is_interrupted_once(home: Home, era: str) -> None:
    cell = Cell.of(home)
    with home.shim() as shim:
        shim.open(era)
        shim.run("x = 41")
        send(shim, CLEANS_UP.format(textwrap.indent(cell.code, "    ")))
        until_now(cell.begun.exists, "it runs")
        with home.no_daemon():
            cancel(shim)
        entry, _ = last_settled(shim)
        after = shim.run("x, interrupts")["text"]
    assert entry["status"] == "interrupted"
    assert after.endswith("(41, 1)")


def test_what_is_cancelled_while_its_kernel_starts_and_no_daemon_is_there_is_not_run(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        send(shim, "x = 42")
        committed(home, "x = 42")
        with home.no_daemon():
            cancel(shim)
        entry, _ = last_settled(shim)
        after = shim.run("'x' in globals()")["text"]
    assert entry["status"] == "aborted"
    assert after.endswith("False")


@pytest.mark.parametrize("late_s", [0.0, 0.002, 0.005, 0.01, 0.02, 0.05])
def test_what_is_cancelled_as_its_daemon_dies_is_not_run(home: Home, late_s: float) -> None:
    with home.shim() as shim:
        first = queued(home, shim)
        cancel(shim)
        time.sleep(late_s)  # the daemon is anywhere in its work then
        home.kill_daemon()
        entry, _ = last_settled(shim)
        first.gate.touch()
        after = shim.run("x")["text"]
    assert entry["status"] == "aborted"
    assert after.endswith("41")


@in_each_era
def test_who_lost_patience_while_no_daemon_is_there_has_the_cell_run_on(home: Home, era: str) -> None:
    first = Cell.of(home)
    with home.shim() as shim:
        shim.open(era)
        shim.run(first.code, wait=False)
        send(shim, "x = 41")
        committed(home, "x = 41")
        with home.no_daemon():
            cancel(shim, reason="Request timed out")
        first.gate.touch()
        assert shim.run("x")["text"].endswith("41")


def test_what_is_cancelled_by_a_client_that_leaves_at_once_is_not_run(home: Home) -> None:
    with home.shim() as other:
        other.open()
        with home.shim() as shim:
            first = queued(home, shim)
            cancel(shim)
        entry, _ = last_settled(other)
        first.gate.touch()
        assert other.run("x")["text"].endswith("41")
    assert entry["status"] == "aborted"


def test_a_cell_that_is_cancelled_by_a_client_that_leaves_at_once_is_interrupted(home: Home) -> None:
    cell = Cell.of(home)
    with home.shim() as shim:
        shim.open()
        send(shim, cell.code)
        until_now(cell.begun.exists, "it runs")
        cancel(shim)
    with home.shim() as other:
        other.open()
        entry, _ = last_settled(other)
    assert entry["status"] == "interrupted"


def test_an_interrupt_by_number_from_another_session_reaches_a_cell_that_a_dead_daemon_left(home: Home) -> None:
    cell = Cell.of(home)
    with home.shim() as shim:
        shim.open()
        shim.run(cell.code, wait=False)
        until_now(cell.begun.exists, "it runs")
        with home.no_daemon():
            pass
        stopped = shim.call("kernel_interrupt", execution_id=1, session="another")
        entry, _ = last_settled(shim)
    assert entry["status"] == "interrupted"
    assert stopped["_meta"]["kernel-supervisor/result"]["stopped"]


def test_who_makes_up_what_a_call_goes_on_with_stops_nobodys_cell(home: Home) -> None:
    cell = Cell.of(home)
    with home.shim() as shim:
        shim.open(ERAS[1])
        shim.run(cell.code, wait=False)
        until_now(cell.begun.exists, "it runs")
        params = {"name": "kernel_exec", "arguments": {"code": "x = 41"}, "requestState": "1/q/1"}
        with home.no_daemon():
            shim.send("tools/call", {**params, **shim.said}, id="wanted")
            cancel(shim)
        cell.gate.touch()
        entry, _ = last_settled(shim)
    assert entry["status"] == "ok"
