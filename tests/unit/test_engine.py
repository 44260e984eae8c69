"""Promise: whatever a kernel says, whenever it is heard, whoever dies: each cell ends once, and is run once."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import deque
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_supervisor.core import life
from kernel_supervisor.core.model import SessionName
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.running import carrying, finished, reader, runner
from kernel_supervisor.running.reading import messages_of
from kernel_supervisor.running.runner import Runner
from tests.fake_kernel import OURS, THEIRS, FakeKernel, FakeLedger, record

SESSION = SessionName("work/")
DEADLINE_S = 30.0


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for in vain takes a hundredth of its time."""
    monkeypatch.setattr(life, "BEGIN_GRACE_S", 0.02)
    monkeypatch.setattr(life, "IDLE_GRACE_S", 0.04)
    monkeypatch.setattr(life, "REPLY_GRACE_S", 0.01)
    monkeypatch.setattr(carrying, "BEGIN_S", 0.01)
    monkeypatch.setattr(runner, "BEGIN_S", 0.01)
    monkeypatch.setattr(runner, "_COMMITS_S", 0.05)
    monkeypatch.setattr(reader, "_LOOK_S", 0.005)
    monkeypatch.setattr(reader, "_LOOK_IDLE_S", 0.005)


class Bench:
    """A kernel, its daemon, and what the kernel has to do."""

    def __init__(self, folder: Path, *, recorded: bool) -> None:
        self.kernel = FakeKernel(record(folder / "k.messages", recorded=recorded))
        self.ledger = FakeLedger()
        self.printed: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self._work: deque[tuple[str, str]] = deque()
        self._doing: deque[tuple[str, dict[str, Any]]] = deque()
        self._taken = self._theirs = 0
        self.runner = self._daemon("")

    def _daemon(self, gap: str) -> Runner:
        return Runner(cast(Any, self.kernel), self.ledger, lambda each: None, lambda each: None, gap=gap)

    # What may happen

    async def submit(self) -> None:
        self.runner.submit(self.ledger.queue(SESSION))

    async def others_submit(self) -> None:
        self._theirs += 1
        self._work.append((f"theirs-{self._theirs}", THEIRS))

    async def say(self, *, heard: bool = True) -> None:
        """The next thing that the kernel says; it has read everything that was sent to it."""
        self._work.extend((msg_id, OURS) for msg_id in self.kernel.begun[self._taken :])
        self._taken = len(self.kernel.begun)
        if not self._doing and self._work and self.kernel.alive:
            msg_id, to = self._work[0]
            self._doing.extend(_script(msg_id))
        if self._doing and self.kernel.alive:
            msg_id, to = self._work[0]
            msg_type, content = self._doing.popleft()
            if msg_type == "stream":
                self.printed[msg_id] = self.printed.get(msg_id, "") + content["text"]
            self.kernel.say(msg_type, msg_id, content, to=to, heard=heard)
            if not self._doing:
                self._work.popleft()
        elif not self._work:
            self.kernel.answer_what_passes()

    def has_had(self, msg_id: str) -> None:
        """A predecessor sent that, and the kernel has done with it."""
        self.kernel.begun.insert(0, msg_id)
        self._taken += 1

    async def say_unheard(self) -> None:
        await self.say(heard=False)

    async def turn(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def rest(self) -> None:
        await asyncio.sleep(0.0005)

    async def interrupt(self) -> None:
        if self.runner.current is not None:
            await self.runner.interrupt(self.runner.current, "interrupted")

    async def withdraw(self) -> None:
        if self.runner.waiting:
            await self.runner.withdraw(self.runner.waiting[-1], "withdrawn")

    async def fill_the_disk(self) -> None:
        self.kernel.full = not self.kernel.full

    async def kill_the_daemon(self) -> None:
        """And start another: it knows what was committed."""
        self.ledger = self.ledger.left()
        await self.runner.close()
        self.runner = self._daemon("no daemon listened")
        over = [each for each in self.ledger.settled() if each.kernel_id is not None]
        left = self.ledger.unsettled()
        theirs = await self.runner.recall(over)
        for execution in left:
            if execution.id not in theirs:
                self.runner.submit(self.ledger.expect(execution))

    async def kill_the_kernel(self) -> None:
        self.kernel.die()

    # In the end

    async def finish(self) -> None:
        """Have the kernel do all that it was asked for, on a disk with room, and see that everything ends."""
        self.kernel.full = False
        end = asyncio.get_running_loop().time() + DEADLINE_S
        while self.ledger.unsettled() or self._is_heard_of() or await self._is_taken():
            await self.say()
            await (self.turn() if self._work else self.rest())
            assert asyncio.get_running_loop().time() < end, "something did not come to its end"
        await self.runner.close()

    def _is_heard_of(self) -> bool:
        """Whether there is more to come, or to be read."""
        size = os.path.getsize(self.kernel.record.message_log)
        return self.kernel.alive and bool(self._work or self._doing or self.runner.reader.position < size)

    async def _is_taken(self) -> bool:
        """Whether something goes on once all that was read is taken: it is read before it is."""
        await self.runner.reader.to_end()
        return bool(self.ledger.unsettled())


def _script(msg_id: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("status", {"execution_state": "busy"}),
        ("execute_input", {"code": msg_id, "execution_count": 1}),
        ("stream", {"name": "stdout", "text": f"first of {msg_id}\n"}),
        ("stream", {"name": "stdout", "text": f"last of {msg_id}\n"}),
        ("execute_reply", {"status": "ok", "execution_count": 1}),
        ("status", {"execution_state": "idle"}),
    ]


OFTEN = ["submit", "say", "say", "say", "say", "turn", "rest", "others_submit", "interrupt", "withdraw"]


def orders(*also: str) -> st.SearchStrategy[list[str]]:
    """What happens in a test, in any order: `also` beside what always may."""
    return st.lists(st.sampled_from([*OFTEN, *also]), max_size=50)


async def _lived(folder: Path, order: list[str], *, recorded: bool) -> Bench:
    bench = Bench(folder, recorded=recorded)
    for name in order:
        await getattr(bench, name)()
    await bench.finish()
    return bench


def lived(order: list[str], *, recorded: bool = True) -> Bench:
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder:
        bench = asyncio.run(_lived(Path(folder), order, recorded=recorded))
        for each in bench.ledger.executions.values():
            outputs = fold(messages_of(each, unrecorded=bench.runner.stream.unrecorded()[0])).outputs
            bench.shown[each.msg_id or ""] = "".join(output["text"] for output in outputs)
    return bench


def check(bench: Bench) -> None:
    """What holds after everything, whatever happened."""
    assert len(set(bench.kernel.begun)) == len(bench.kernel.begun), "a cell was run twice"
    executions = list(bench.ledger.executions.values())
    assert len({each.msg_id for each in executions}) == len(executions), "an entry was made twice"
    for ends in bench.ledger.ends.values():
        assert len(set(ends)) == 1, "an end was told twice, and differently"
    for each in executions:
        assert each.status != "aborted" or each.msg_id not in bench.kernel.begun, "what ran is told not to have run"
        assert each.status != "ok" or each.msg_id in bench.printed, "what did not run is told to have run"


@given(order=orders("say_unheard", "say_unheard", "kill_the_daemon"))
@settings(max_examples=4 * settings().max_examples)
def test_a_kernel_that_records_itself_loses_nothing(order: list[str]) -> None:
    bench = lived(order)
    check(bench)
    for each in bench.ledger.executions.values():
        ran = each.client != "" or each.msg_id in bench.kernel.begun
        assert each.status == ("ok" if ran else "aborted"), each
        assert not ran or bench.shown[str(each.msg_id)] == bench.printed[str(each.msg_id)]


@given(order=orders("fill_the_disk", "fill_the_disk", "kill_the_daemon"))
def test_a_disk_that_is_full_costs_no_end_while_a_daemon_listens(order: list[str]) -> None:
    bench = lived(order)
    check(bench)
    lost = [each for each in bench.ledger.executions.values() if each.status == "lost"]
    assert not lost or "kill_the_daemon" in order


@given(order=orders("kill_the_daemon"))
def test_a_kernel_that_does_not_record_itself_is_sent_nothing_twice(order: list[str]) -> None:
    bench = lived(order, recorded=False)
    check(bench)
    assert len(set(bench.kernel.requests)) == len(bench.kernel.requests)


@given(order=orders("say_unheard", "kill_the_daemon"), then=st.booleans())
def test_the_death_of_a_kernel_ends_everything(order: list[str], then: bool) -> None:
    bench = lived([*order, "kill_the_kernel"], recorded=then)
    check(bench)
    assert all(each.status in ("ok", "dead", "aborted", "lost") for each in bench.ledger.executions.values())


@pytest.mark.anyio
async def test_what_is_told_not_to_run_is_committed_before(tmp_path: Path) -> None:
    """Else a daemon that is killed in between would leave it to the next one, which runs it."""
    bench = Bench(tmp_path, recorded=True)
    for _ in range(2):
        await bench.submit()
    await bench.rest()
    (waiting,) = bench.runner.waiting
    assert await bench.runner.withdraw(waiting, "not wanted")
    assert bench.ledger.executions[waiting.execution.id].status == "aborted"
    await bench.finish()


@pytest.mark.anyio
async def test_what_ended_while_a_kernel_could_not_be_heard_is_not_sent(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recorded=False)
    bench.kernel.audible.clear()
    bench.runner.restarted()
    await bench.rest()
    await bench.submit()
    await bench.rest()
    assert bench.runner.current is not None
    bench.runner.restarted()  # once more, by others
    await bench.rest()
    bench.kernel.audible.set()
    await bench.finish()
    assert bench.kernel.requests == []
    assert [each.status for each in bench.ledger.executions.values()] == ["aborted"]


@pytest.mark.anyio
async def test_others_cells_end_with_a_restart_and_once_however_many_bury_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recorded=True)
    for _ in range(2):
        await bench.others_submit()
        await bench.say()
        await bench.say()
        await bench.rest()
    await bench.submit()
    bench.kernel.die()
    await asyncio.gather(*(bench.runner.bury() for _ in range(3)))
    assert {each.status for each in bench.ledger.executions.values()} == {"dead", "aborted"}
    assert all(len(ends) == 1 for ends in bench.ledger.ends.values())
    await bench.runner.close()


@pytest.mark.anyio
async def test_nobody_waits_for_a_reader_that_is_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recorded=True)
    waiting = [asyncio.ensure_future(bench.runner.reader.to_end()) for _ in range(3)]
    await asyncio.sleep(0)
    await bench.runner.close()
    await asyncio.wait_for(asyncio.gather(*waiting, bench.runner.reader.to_end()), DEADLINE_S)


@pytest.mark.anyio
async def test_what_a_kernel_had_before_and_no_log_has_is_lost_and_holds_nobody_up(tmp_path: Path) -> None:
    """A predecessor sent it, whose records and whose kernel's log could take nothing: the kernel does not begin it."""
    bench = Bench(tmp_path, recorded=True)
    had = bench.ledger.queue(SESSION)
    bench.has_had(str(had.execution.msg_id))
    bench.runner.submit(had)
    await bench.submit()
    await bench.finish()
    first, second = bench.ledger.executions.values()
    assert (first.status, second.status) == ("lost", "ok")
    assert bench.kernel.begun == [first.msg_id, second.msg_id]
    assert bench.kernel.requests == bench.kernel.begun, "each was sent"


@pytest.mark.anyio
async def test_what_a_kernel_runs_and_waits_here_is_told_from_its_beginning(tmp_path: Path) -> None:
    """A predecessor sent it; its call came again, and stands behind another one."""
    bench = Bench(tmp_path, recorded=True)
    for _ in range(2):
        await bench.submit()
    await bench.rest()
    (waiting,) = bench.runner.waiting
    msg_id = str(waiting.execution.msg_id)
    bench.has_had(msg_id)
    for msg_type, content in (
        ("execute_input", {"code": waiting.execution.source, "execution_count": 1}),
        ("stream", {"name": "stdout", "text": "from its beginning"}),
        ("execute_reply", {"status": "ok", "execution_count": 1}),
        ("status", {"execution_state": "idle"}),
    ):
        bench.kernel.say(msg_type, msg_id, content, beside='{"execution_id": 2}')
    await bench.finish()
    execution = bench.ledger.executions[waiting.execution.id]
    assert execution.status == "ok"
    assert fold(messages_of(execution)).outputs[0]["text"] == "from its beginning"
    assert bench.kernel.begun.count(msg_id) == 1


@pytest.mark.anyio
async def test_what_a_predecessor_sent_and_forgot_is_an_entry_once_it_begins(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recorded=True)
    beside = '{"execution_id": 1, "session": "work/", "call_key": "client:1"}'
    bench.kernel.say("execute_input", "theirs", {"code": "forgotten", "execution_count": 1}, beside=beside)
    await bench.runner.reader.to_end()
    (running,) = bench.runner.others.tickets
    assert (running.execution.source, running.execution.status) == ("forgotten", "running")
    assert not bench.runner.free, "what comes now waits for it"
    bench.kernel.say("execute_reply", "theirs", {"status": "ok", "execution_count": 1}, beside=beside)
    bench.kernel.say("status", "theirs", {"execution_state": "idle"}, beside=beside)
    await bench.finish()
    assert [each.status for each in bench.ledger.executions.values()] == ["ok"]


@pytest.mark.anyio
async def test_what_a_cell_long_past_goes_on_to_print_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many cells ago that its kernel's owner does not have it in mind any more."""
    monkeypatch.setattr(finished, "FINISHED", 1)
    bench = Bench(tmp_path, recorded=True)
    ticket, last = bench.ledger.queue(SESSION), bench.ledger.queue(SESSION)
    bench.runner.submit(ticket)
    bench.runner.submit(last)
    while not last.settled.is_set():
        await bench.say()
        await bench.rest()
    bench.kernel.say("stream", str(ticket.execution.msg_id), {"name": "stdout", "text": "at last"})
    bench.kernel.say("stream", "of nobody's", {"name": "stdout", "text": "unknown"})
    await bench.runner.reader.to_end()
    bench.runner.finished.flush()
    await bench.finish()
    execution = bench.ledger.executions[ticket.execution.id]
    assert bench.ledger.late == [execution.id]
    assert "at last" in fold(messages_of(execution)).outputs[-1]["text"]


@pytest.mark.anyio
async def test_what_no_cell_shows_is_one_entry_from_one_cell_to_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path, recorded=True)
    for place, text in (("outside-x-1", "one"), ("outside-x-1", "two"), ("outside-x-2", "three")):
        bench.kernel.say("stream", place, {"name": "stdout", "text": text}, to="")
    await bench.runner.reader.to_end()
    bench.runner.finished.flush()
    await bench.finish()
    entries = list(bench.ledger.executions.values())
    assert [each.kind for each in entries] == ["note", "note"]
    texts = ["".join(output["text"] for output in fold(messages_of(each)).outputs) for each in entries]
    assert texts == ["onetwo", "three"]
    assert bench.ledger.late == [each.id for each in entries]
