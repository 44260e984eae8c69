"""Promise: what stands in a log and not in the records is an entry again, once, with its number."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from kernel_supervisor.core.model import (
    BESIDE,
    Execution,
    ExecutionId,
    KernelId,
    Message,
    SessionName,
    SessionRecord,
    message_of,
)
from kernel_supervisor.records.beside import Forgotten, facts
from kernel_supervisor.records.database import Database
from kernel_supervisor.records.highest import Found, Highest
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from kernel_supervisor.records.recording import msg_id_of
from kernel_supervisor.sessions.executions import Executions
from kernel_supervisor.sessions.recovering import recover

pytestmark = pytest.mark.anyio
SESSION, KERNEL = SessionName("work/"), KernelId("0123456789ab")


def execution(number: int, **more: Any) -> Execution:
    known = Execution(
        id=ExecutionId(number),
        session=SESSION,
        kind="code",
        source=f"cell {number}",
        status="running",
        kernel_id=KERNEL,
        generation=2,
        msg_id=msg_id_of(f"client:{number}"),
        client="an agent",
        queued_at=1_000.0 + number,
    )
    return replace(known, **more)


@dataclass
class Log:
    """The log of a kernel, as its recorder writes it."""

    path: Path
    writer: MessageLogWriter = field(init=False)

    def __post_init__(self) -> None:
        self.writer = MessageLogWriter(self.path)

    def say(self, msg_type: str, of: Execution, beside: Any, **content: Any) -> None:
        channel = "shell" if msg_type == "execute_reply" else "iopub"
        header = {"msg_id": f"{msg_type}-{of.id}", "msg_type": msg_type, "date": "2026-11-26T10:00:00Z"}
        parent = {"msg_id": of.msg_id, "session": "ours", "username": "supervisor", BESIDE: beside}
        message = {"header": header, "parent_header": parent, "metadata": {}, "content": content}
        self.writer.append(encode_message(channel, message))

    def run(self, of: Execution, *, ends: bool = True, recorded: bool = False, beside: Any = None) -> None:
        travels = facts(of, f"client:{of.id}", "/work", recorded=recorded) if beside is None else beside
        self.say("execute_input", of, travels, code=of.source, execution_count=of.id)
        self.say("stream", of, travels, name="stdout", text="shown")
        if ends:
            self.say("execute_reply", of, travels, status="ok", execution_count=of.id)
            self.say("status", of, travels, execution_state="idle")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / f"{KERNEL}-2.messages")


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[Database]:
    records = Database(str(tmp_path / "records.sqlite"))
    await records.open()
    yield records
    await records.close()


class Sessions:
    """Those on record."""

    def __init__(self, records: Database) -> None:
        self._records = records
        self.known: dict[SessionName, SessionRecord] = {}

    async def keep(self, session: SessionRecord) -> None:
        await self._records.save_session(session)
        self.known[session.name] = session


async def recovered(records: Database, folder: Path) -> list[Execution]:
    """As a daemon does it that begins."""
    executions = Executions(records, cast(Any, None), cast(Any, Sessions(records)))
    await recover(str(folder), records, executions)
    return await records.history(SESSION)


async def test_what_only_the_log_knows_is_an_entry_again_once(records: Database, log: Log, tmp_path: Path) -> None:
    log.run(execution(7))
    log.run(execution(8, replaces=ExecutionId(7)), ends=False)
    for _ in range(2):
        over, running = await recovered(records, tmp_path) + await _replaced(records)
        assert {over.id, running.id} == {7, 8}
    first, second = await records.execution(7), await records.execution(8)
    assert first is not None
    assert second is not None
    assert (first.status, first.source, first.client, first.queued_at) == ("ok", "cell 7", "an agent", 1_007.0)
    assert (first.kernel_id, first.generation, first.execution_count) == (KERNEL, 2, 7)
    assert first.region is not None
    assert first.region.end > first.region.start
    assert (second.status, second.replaces) == ("running", 7)
    known = await records.execution_of_call("client:8")
    assert known == second, "the call that is made again finds it"
    (session,) = await records.sessions()
    assert (session.name, session.directory) == (SESSION, "/work")


@pytest.mark.parametrize("ends", [True, False])
async def test_what_stands_queued_and_began_while_nothing_could_be_committed_stands_as_its_log_has_it(
    records: Database, log: Log, tmp_path: Path, ends: bool
) -> None:
    waiting, begun = execution(7, status="queued", kernel_id=None), execution(8, status="queued", kernel_id=None)
    await records.save_session(SessionRecord(name=SESSION, directory="/work", created_at=1_000.0))
    for each in (waiting, begun):
        await records.add_execution(each, f"client:{each.id}")
    known = await records.execution_of_call("client:8")
    assert known is not None
    log.run(begun, ends=ends)
    first, second = await recovered(records, tmp_path)
    assert (first.status, first.kernel_id) == ("queued", None)
    assert (second.id, second.status, second.kernel_id) == (known.id, "ok" if ends else "running", KERNEL)
    assert second.region is not None
    assert (second.region.end > second.region.start) is ends


async def _replaced(records: Database) -> list[Execution]:
    return list((await records.replaced(SESSION)).values())


async def test_a_daemon_that_dies_while_it_recovers_goes_on_with_the_rest(
    records: Database, log: Log, tmp_path: Path
) -> None:
    """Whichever entry was the last that it committed, and whatever the clock did between the cells."""
    for number in (1, 2, 3, 4):
        log.run(execution(number, queued_at=1_000.0 - number))
    executions = Executions(records, cast(Any, None), cast(Any, Sessions(records)))

    class Dying:
        def __init__(self, after: int) -> None:
            self.left = after

        async def restore(self, forgotten: Forgotten) -> Execution | None:
            self.left -= 1
            return await executions.restore(forgotten) if self.left >= 0 else None

    for after in (1, 1, 1, 1):
        await recover(str(tmp_path), records, cast(Any, Dying(after)))
    assert [each.id for each in await recovered(records, tmp_path)] == [1, 2, 3, 4]


async def test_a_number_that_somebody_has_is_not_taken_and_none_is_given_again(
    records: Database, log: Log, tmp_path: Path
) -> None:
    await Sessions(records).keep(SessionRecord(name=SESSION, directory="/work"))
    taken, _ = await records.add_execution(execution(0, source="another", msg_id=None), "client:another")
    log.run(execution(taken.id))
    log.say("execute_reply", execution(40), facts(execution(40), "", "", recorded=True), status="ok")
    first, second = await recovered(records, tmp_path)
    assert (first.source, second.source) == ("another", f"cell {taken.id}")
    assert first.id != second.id
    fresh, _ = await records.add_execution(execution(0, msg_id=None), "client:fresh")
    assert fresh.id == 41, "40 stands in the log alone"


ODD = ("", "{", "[]", "null", "[" * 100_000, '{"execution_id": "1"}', '{"execution_id": true}', '{"execution_id": -1}')
ODD_FACTS = ('{"execution_id": 1e300}', f'{{"execution_id": {10**30}}}', '{"execution_id": 1, "session": "../.."}')


async def test_odd_things_beside_a_request_cost_nothing(records: Database, log: Log, tmp_path: Path) -> None:
    """User code can send messages with any header; what is in another's form is passed over."""
    for number, odd in enumerate((*ODD, *ODD_FACTS, 7, {"execution_id": 1}), 100):
        log.run(execution(number), beside=odd)
    log.run(execution(3))
    assert [each.id for each in await recovered(records, tmp_path)] == [3]
    fresh, _ = await records.add_execution(execution(0, msg_id=None), "client:fresh")
    assert fresh.id == 4


def test_what_travels_is_text_that_every_ipykernel_bears() -> None:
    """Some hash the whole header of a request."""
    header = {"msg_id": "a", "msg_type": "status"}
    told = facts(execution(7), "client:7", "/wörk\udcff", recorded=False)
    parent = {"msg_id": "b", BESIDE: told}
    assert frozenset(parent.items())
    message = message_of("iopub", json.loads(json.dumps([header, parent, {}, {}])))
    assert isinstance(message, Message)
    assert message.beside == told


def test_a_calls_message_id_is_its_own_and_of_nothing_else() -> None:
    assert msg_id_of("client:1") == msg_id_of("client:1")
    assert msg_id_of("client:1") != msg_id_of("client:11")
    assert msg_id_of(None) != msg_id_of(None)


@pytest.mark.parametrize("text", [b"", b"1", b"x y", b"1 " + b"9" * 40, b"1 -5", b"\xff" * 30, b"1 2 3"])
def test_a_damaged_file_of_the_highest_number_says_nothing(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "highest"
    path.write_bytes(text)
    assert Highest(str(path)).read().number == 0
    Highest(str(path)).write(Found(forgot=True, doubts=False, number=12))
    assert Highest(str(path)).read() == Found(forgot=True, doubts=False, number=12)
