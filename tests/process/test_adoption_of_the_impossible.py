"""Promise: nothing that stands on record of one kernel, session or cell keeps another from working, nor the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.kernels.process import identify
from kernel_supervisor.records import messagelog
from tests.process.test_clients_of_kernels import another_client, connection_of, entry
from tests.support import Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

Record = dict[str, Any]


def records_of(home: Home) -> sqlite3.Connection:
    return sqlite3.connect(home.path / "run/records.sqlite")


def kernel_record(home: Home, session: str) -> Record:
    with closing(records_of(home)) as records:
        (text,) = records.execute("SELECT record FROM kernels WHERE session = ?", (session,)).fetchone()
    return dict(json.loads(text))


def add_session(records: sqlite3.Connection, name: str, kernel_id: str, **odd: Any) -> None:
    columns: dict[str, Any] = {"name": name, "directory": "/", "kernel_id": kernel_id, "created_at": 1.0}
    columns |= {"notebooks": "{}", "autosave": "", "notice": "", "loaded": "", **odd}
    marks = ", ".join("?" * len(columns))
    records.execute(f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))


def add_kernel(records: sqlite3.Connection, name: str, record: Any, directory: str) -> None:
    kernel_id = record.get("id", f"k-{name}") if isinstance(record, dict) else f"k-{name}"
    text = json.dumps(record) if isinstance(record, dict) else record
    values = (kernel_id, name, text)
    records.execute("INSERT INTO kernels (id, session, record, ended) VALUES (?, ?, ?, 0)", values)
    add_session(records, name, kernel_id, directory=directory)


@contextmanager
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives, leads a group of its own, and is no kernel."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def thread() -> Iterator[int]:
    """The id of a thread of this process."""
    over = threading.Event()
    running = threading.Thread(target=over.wait)
    running.start()
    assert running.native_id is not None
    try:
        yield running.native_id
    finally:
        over.set()
        running.join()


def processes(tid: int) -> dict[str, Any]:
    """What may stand on record as a kernel's process, and never is one."""
    numbers = {"zero": 0, "negative": -1, "of a kernel thread": 2, "of nobody": 2**31 - 1}
    numbers |= {"2**31": 2**31, "2**63": 2**63, "2**70": 2**70, "of somebody else": os.getpid()}
    some = {name: {"pid": pid, "start": 1, "boot": "x"} for name, pid in numbers.items()}
    exact = {name: identify(pid) for name, pid in (("of init", 1), ("of a thread", tid))}
    some |= {name: asdict(identity) for name, identity in exact.items() if identity is not None}
    odd: dict[str, Any] = {"empty": {}, "a list": [], "text": "12", "pid of text": {"pid": "1", "start": 1, "boot": ""}}
    odd |= {
        "pid of a fraction": {"pid": 1.5, "start": 1, "boot": ""},
        "pid null": {"pid": None, "start": 1, "boot": ""},
    }
    return {**some, **odd}


def connections(good: Record) -> dict[str, Callable[[Path], Any]]:
    """What may stand where a connection file should."""
    whole = json.loads(Path(good["connection_file"]).read_text())
    changes: dict[str, Any] = {
        "key a number": {"key": 5},
        "key null": {"key": None},
        "scheme unknown": {"signature_scheme": "hmac-rot13"},
        "scheme odd": {"signature_scheme": ["sha"]},
        "transport unknown": {"transport": "pigeon"},
        "transport within a process": {"transport": "inproc"},
        "port text": {"shell_port": "one"},
        "port negative": {"iopub_port": -1},
        "port huge": {"stdin_port": 2**70},
        "port null": {"control_port": None},
        "port true": {"hb_port": True},
        "address a number": {"ip": 7},
        "address long": {"ip": "/tmp/" + "x" * 400},
        "address of nobody": {"ip": "/tmp/nobody-is-here"},
    }
    texts = {"empty": "", "{}": "{}", "[]": "[]", "null": "null", "a number": "5", "text": '"x"', "deep": "[" * 100_000}
    texts |= {"truncated": json.dumps(whole)[:-20], "no JSON": "\x00\xff", "an array": json.dumps([whole])}
    texts |= {name: json.dumps({**whole, **change}) for name, change in changes.items()}

    def unreadable(path: Path) -> None:
        path.touch(0o000)

    def huge(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 40)

    special: dict[str, Callable[[Path], Any]] = {
        "missing": lambda path: None,
        "a pipe": os.mkfifo,
        "a folder": Path.mkdir,
        "unreadable": unreadable,
        "huge": huge,
        "a link to itself": lambda path: path.symlink_to(path),
        "a device": lambda path: path.symlink_to("/dev/zero"),
    }
    return {**{name: lambda path, text=text: path.write_text(text) for name, text in texts.items()}, **special}  # type: ignore[misc]


def texts_of_records(good: Record) -> dict[str, Any]:
    """What may stand in the column of a kernel's record."""
    odd = {f"without {name}": {key: value for key, value in good.items() if key != name} for name in ("id", "argv")}
    del odd["without argv"]
    for name in ("interpreter", "connection_file", "generation", "session"):
        odd[f"without {name}"] = {key: value for key, value in good.items() if key != name}
    for name, value in good.items():
        odd[f"odd {name}"] = {**good, name: {"an": "object"} if not isinstance(value, dict) else "text"}
    odd["no argv"] = {**good, "interpreter": {**good["interpreter"], "argv": []}}
    odd["of another's files"] = {**good, "connection_file": good["connection_file"].replace(".json", "0.json")}
    for name, value in {"generation": 2**70, "started_at": 1e308, "ended_at": float("nan")}.items():
        odd[f"impossible {name}"] = {**good, name: value}
    odd["odd argv"] = {**good, "interpreter": {**good["interpreter"], "argv": [5]}}
    whole: dict[str, Any] = {name: json.dumps(record) for name, record in odd.items()}
    del whole["odd process"]  # an object is what is expected there
    return {**whole, "not JSON": "{", "a list": "[]", "null": "null", "bytes": b"\xff\xfe", "a number": 7, "empty": ""}


async def test_a_daemon_starts_over_records_of_every_wrong_kind(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41", session="good")
        await session.run("print('shown before')", session="good")
    home.kill_daemon()
    good = kernel_record(home, "good")
    names = []
    with bystander() as stranger, thread() as tid, closing(records_of(home)) as records, records:
        identity = identify(stranger.pid)
        assert identity is not None
        alive = asdict(identity)
        folder = Path(good["connection_file"]).parent

        def add(name: str, record: Any) -> None:
            names.append(name)
            add_kernel(records, name, record, good["directory"])

        def like(number: int, **changes: Any) -> Record:
            number_ = f"{number:012x}"
            mine = {"id": number_, "connection_file": str(folder / f"{number_}.json"), "channel_identity": number_}
            return {**good, **mine, **changes}

        for number, (name, process) in enumerate(processes(tid).items(), 0x1000):
            add(f"process {name}".replace("*", "x"), like(number, process=process))
        for number, make in enumerate(connections(good).values(), 0x2000):
            record = like(number, process=alive)
            make(Path(record["connection_file"]))
            add(f"connection {number:x}", record)
        for number, (name, make) in enumerate({"a pipe": os.mkfifo, "a folder": os.mkdir}.items(), 0x3000):
            log = str(home.project / f"log-{number}")
            make(log)
            add(f"log {name}", like(number, process=alive, message_log=log, standard_error=log))
            add(f"log {name} gone", like(number + 0x10, process=None, message_log=log, standard_error=log))
        for number, text in enumerate(texts_of_records(good).values(), 0x4000):
            add(f"text {number:x}", text)
        _damage_other_rows(records, good)
        later = json.dumps({**good, "of_a_later_version": {"a": 1}})
        records.execute("UPDATE kernels SET record = ? WHERE id = ?", (later, good["id"]))
        records.commit()
        damaged = _texts(records)

        async with home.client() as session:
            assert (await session.run("x + 1", session="good")).text.endswith("42")
            daemon = home.daemon()
            assert daemon is not None
            await asyncio.gather(*(_is_said_to_be_gone_or_out_of_reach(session, name) for name in names))
            assert not (await session.call("kernel_list_running")).is_error
            shown = await session.call("kernel_history", session="good", last=500)
            assert "shown before" in shown.text
            assert "is damaged" in (await session.run("1", session="sessions row")).text
            for name in ("process of a thread", "text 4000"):
                restarted = await session.call("kernel_restart", session=name)
                assert not restarted.is_error, restarted.text
                assert (await session.run("6 * 7", session=name)).text.endswith("42")
            assert (await session.run("x + 1", session="good")).text.endswith("42")
            assert home.daemon() == daemon, "it is the same daemon"
        assert stranger.poll() is None, "a stranger was signalled"
        kept = _texts(records)
        assert {name: text for name, text in damaged.items() if name.startswith("text ")} == {
            name: text for name, text in kept.items() if name.startswith("text ") and name in damaged
        }, "a damaged record stays as it is"
        assert home.cli("sessions").returncode == 0


async def _is_said_to_be_gone_or_out_of_reach(session: Session, name: str) -> None:
    status = await session.call("kernel_status", session=name)
    assert not status.is_error, (name, status.text)
    assert status.facts["state"] in ("dead", "unreachable"), (name, status.text)
    refused = await session.call("kernel_list_vars", session=name)
    assert refused.is_error, name
    assert len(refused.text) > 40, (name, refused.text)


def _texts(records: sqlite3.Connection) -> dict[str, Any]:
    return dict(records.execute("SELECT id, record FROM kernels").fetchall())


def _damage_other_rows(records: sqlite3.Connection, good: Record) -> None:
    """Sessions and entries with what should not be there; what was on its way among them."""
    add_session(records, "sessions row", "", directory=good["directory"], notebooks="{", created_at="yesterday")
    add_session(records, "another", "k-none", notebooks='{"a": 5}', notice=5, previous_kernel_id=b"\x00\xff")
    records.execute("UPDATE sessions SET loaded = CAST(x'ff' AS TEXT) WHERE name = 'another'")
    columns = "directory, kernel_id, previous_kernel_id, created_at, notebooks, autosave, notice, loaded"
    nameless = f"INSERT INTO sessions (name, {columns}) SELECT NULL, {columns} "
    records.execute(nameless + "FROM sessions WHERE name = 'another'")
    add_session(records, "of no time", "k-none", created_at=float("inf"))
    entries: list[dict[str, Any]] = [
        {"status": "ok", "queued_at": 1e308, "started_at": -1e308, "finished_at": float("inf")},
        {"status": "running", "msg_id": b"\xff\x00", "log": good["message_log"], "log_start": 0, "log_end": 0},
        {"status": "running", "msg_id": None, "log": good["message_log"], "log_start": "a", "log_end": None},
        {"status": "queued", "generation": "two"},
        {"status": "queued", "queued_at": "yesterday", "client": 7},
        {"status": "nonsense", "kind": "nonsense"},
        {"status": "ok", "execution_count": "many", "finished_at": "later", "started_at": b"\xff"},
        {"status": "ok", "log": "/dev/zero", "log_start": 0, "log_end": 1 << 40},
        {"status": "ok", "log": good["message_log"], "log_start": -5, "log_end": -9},
        {"status": "running", "kernel_id": "k-none"},
        {"status": "running", "session": "no session of this name", "kernel_id": None},
    ]
    for entry_ in entries:
        row: dict[str, Any] = {"session": "good", "kernel_id": good["id"], "generation": 1, "kind": "code", "place": 1}
        row |= {
            "source": "raise SystemExit('it must not run')",
            "client": "x",
            "queued_at": 1.0,
            "reason": "",
            **entry_,
        }
        marks = ", ".join("?" * len(row))
        records.execute(f"INSERT INTO executions ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


COUNTS = {"as large as the database takes": 2**63 - 1, "larger": 2**63, "much larger": 10**30}


@pytest.mark.parametrize("count", COUNTS.values(), ids=list(COUNTS))
async def test_cells_with_an_impossible_count_are_on_record_live_and_after_a_daemons_death(
    home: Home, count: int
) -> None:
    """IPython's own history then complains, in another thread: each text is one write."""
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            client.execute_interactive(f"get_ipython().execution_count = {count}", timeout=60)
            client.execute_interactive("print(f'theirs-{x}')", timeout=60)
            theirs = await entry(session, "print(f'theirs-{x}')")
            assert theirs["status"] == "ok"
            assert "theirs-41" in (await session.call("kernel_output", execution_id=theirs["execution_id"])).text
            assert "ours-42" in (await session.run("print(f'ours-{x + 1}')")).text
            _run_while_no_daemon_lives(home, client, "print(f'unwatched-{x}')")
            assert "ours-43" in (await session.run("print(f'ours-{x + 2}')")).text
        unwatched = await entry(session, "print(f'unwatched-{x}')")
        assert unwatched["status"] == "ok"
        assert "unwatched-41" in (await session.call("kernel_output", execution_id=unwatched["execution_id"])).text
        assert [each["code"] for each in (await session.call("kernel_history")).facts["entries"]][
            -1
        ] == "print(f'ours-{x + 2}')"


def _run_while_no_daemon_lives(home: Home, client: Any, code: str) -> None:
    """The shim, which would start a daemon at once, is held meanwhile."""
    with home.no_daemon():
        client.execute_interactive(code, timeout=60)


THEIRS = {"session": "somebody", "username": "jane"}
ODD: list[tuple[Record, Any, Any]] = [
    ({}, {**THEIRS, "msg_id": ["a", "list"]}, {"code": "1"}),
    ({}, {**THEIRS, "msg_id": {"an": "object"}}, {"code": "2"}),
    ({}, {**THEIRS, "msg_id": "a", "username": ["jane"]}, {"code": ["3"], "execution_count": "many"}),
    ({}, {**THEIRS, "msg_id": "b"}, {"code": "4", "execution_count": {"a": 1}}),
    ({"date": "0001-01-01T00:00:00"}, {**THEIRS, "msg_id": "c"}, {"code": "5", "execution_count": 1e400}),
    ({"date": 5}, {**THEIRS, "msg_id": "d"}, ["no", "object"]),
    ({"msg_type": 5}, {**THEIRS, "msg_id": "e"}, {}),
    ({"msg_id": 7}, {**THEIRS, "msg_id": "f"}, {}),
    ({}, ["no", "object"], {"code": "6"}),
    ({}, None, {"code": "7"}),
    ({}, {**THEIRS, "msg_id": "g"}, None),
    ({"msg_type": "execute_reply"}, {**THEIRS, "msg_id": "a"}, {"execution_count": [], "status": ["ok"]}),
    ({"msg_type": "status"}, {**THEIRS, "msg_id": "a"}, {"execution_state": "idle"}),
    ({"msg_type": "display_data"}, {**THEIRS, "msg_id": "b"}, {"data": [1], "metadata": 5, "transient": "x"}),
]


def _record_of(header: Record, parent: Any, content: Any) -> bytes:
    message = {"header": header, "parent_header": parent, "metadata": {}, "content": content}
    return messagelog.encode_message("iopub", message)


def _odd_record(number: int, parts: tuple[Record, Any, Any]) -> bytes:
    header, parent, content = parts
    header = {"msg_id": f"odd-{number}", "msg_type": "execute_input", "date": "", **header}
    return _record_of(header, parent, content)


def _header(msg_type: str) -> Record:
    return {"msg_id": f"last-{msg_type}", "msg_type": msg_type, "date": ""}


_LAST = [
    b"\n00000000 torn\n",
    b"\n%08x [[[\n" % 5 + b"\xff" * 100,
    _record_of(_header("execute_input"), {**THEIRS, "msg_id": "last"}, {"code": "'last'"}),
    _record_of(_header("status"), {**THEIRS, "msg_id": "last"}, {"execution_state": "idle"}),
]


def _append(log: Path, records: list[bytes]) -> None:
    with log.open("ab") as file:
        file.write(b"".join(records))


async def test_odd_records_in_a_log_spoil_only_themselves(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41", session="good")
    home.kill_daemon()
    _append(Path(kernel_record(home, "good")["message_log"]), [*map(_odd_record, range(len(ODD)), ODD), *_LAST])
    async with home.client() as session:
        assert (await session.run("x + 1", session="good")).text.endswith("42")
        entries = (await session.call("kernel_history", session="good")).facts["entries"]
        assert [each["code"] for each in entries].count("'last'") == 1


REQUESTS: list[Record] = [{"msg_id": each} for each in (["a"], {"a": 1}, 5, None)]
REQUESTS += [{"username": ["jane"]}, {"session": {"a": 1}}, {"date": 5}, {"msg_type": ["x"]}, {"msg_type": None}]


async def test_odd_requests_of_another_client_make_the_daemon_deaf_to_nothing(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            for odd in REQUESTS:
                content = {"code": "'odd'", "silent": False, "store_history": True, "stop_on_error": False}
                request = client.session.msg(
                    "execute_request", {**content, "user_expressions": {}, "allow_stdin": False}
                )
                request["header"].update(odd)
                client.session.send(client.shell_channel.socket, request)
                result = await session.run("x + 1")
                assert result.text.endswith("42"), (odd, result.text)
        home.kill_daemon()
        assert (await session.run("x + 1")).text.endswith("42")


async def test_a_kernel_whose_connection_file_was_moved_away_has_its_variables(home: Home) -> None:
    """Also where something else stands in its place: what was on record of it is laid there again."""
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        file = Path(await connection_of(session))
        file.rename(file.with_suffix(".away"))
        os.mkfifo(file)
        home.kill_daemon()
        assert (await session.run("x + 1")).text.endswith("42")
        listed = (await session.call("kernel_list_running")).facts["kernels"]
        assert [each["state"] for each in listed] == ["idle"]
        assert file.is_file()
        assert [each.pid for each in home.kernels()] == [kernel.pid]


async def test_no_session_works_in_the_kernel_of_another_whatever_leads_there(home: Home) -> None:
    async with home.client() as session:
        for name in ("one", "two"):
            await session.run(f"who = {name!r}", session=name)
        one, two = (kernel_record(home, name) for name in ("one", "two"))
        with home.no_daemon():
            file = Path(one["connection_file"])
            own = file.read_text()
            file.write_text(Path(two["connection_file"]).read_text())
            with closing(records_of(home)) as records, records:
                add_kernel(records, "twin", {**two, "id": "0123456789ab"}, two["directory"])
        refused = await session.call("kernel_exec", code="who", session="twin")
        assert refused.is_error, refused.text
        assert "its record is damaged" in refused.text
        assert not (await session.call("kernel_restart", session="twin")).is_error
        assert (await session.run("who", session="two")).text.endswith("'two'")
        assert (await session.run("who", session="one")).text.endswith("'one'"), "its own file was laid there again"
        assert json.loads(file.read_text()) == json.loads(own)


@pytest.mark.parametrize("tool", ["kernel_restart", "kernel_shutdown"])
async def test_a_kernel_that_cannot_be_reached_can_be_ended_and_started_afresh(home: Home, tool: str) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
        kernel.suspend()
        home.kill_daemon()
        assert (await session.call("kernel_exec", code="x")).is_error
        ended = await session.call(tool, **({"kernel_id": kernel_id} if tool == "kernel_shutdown" else {}))
        assert not ended.is_error, ended.text
        await until(lambda: kernel.pid not in [each.pid for each in home.kernels()], "the old process is gone")
        assert (await session.run("6 * 7")).text.endswith("42")
        assert len(home.kernels()) == 1


async def test_what_is_advised_where_a_server_is_out_of_reach_works(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41", session="good")
        home.kill_daemon()
        good = kernel_record(home, "good")
        url = "http://127.0.0.1:9/"  # nothing listens there
        there = {"kind": "server", "argv": [url, "python3"]}
        away = {"id": "0123456789ab", "connection_file": "", "process": None, "server": url, "server_kernel": "k"}
        with closing(records_of(home)) as records, records:
            record = {**good, **away, "session": "away", "interpreter": {**good["interpreter"], **there}}
            add_kernel(records, "away", record, good["directory"])
        refused = await session.call("kernel_exec", code="1", session="away")
        status = await session.call("kernel_status", session="away")
        assert refused.is_error
        for told in (refused.text, status.text):
            assert 'kernel_detach(session="project/away") leaves it' in told
            assert "kernel_restart" not in told, "it cannot be restarted"
        assert not (await session.call("kernel_detach", session="away")).is_error
        assert (await session.run("6 * 7", session="away")).text.endswith("42")


async def test_calls_for_other_sessions_are_answered_while_an_adoption_hangs(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 1", session="hangs")
        (hanging,) = home.kernels()
        await session.run("x = 41", session="good")
    hanging.suspend()
    home.kill_daemon()
    with home.shim() as shim:
        calls = {1: ("kernel_history", {"session": "hangs"}), 2: ("kernel_status", {"session": "good"})}
        calls |= {3: ("kernel_exec", {"code": "x + 1", "session": "good"}), 4: ("kernel_history", {"session": "new"})}
        calls |= {5: ("kernel_list_running", {"session": "good"})}
        shim.open()
        for number, (name, arguments) in calls.items():
            shim.send("tools/call", {"name": name, "arguments": arguments}, id=number + 100)
        shim.send("tools/list", id=106)
        answers: dict[int, Any] = {}
        while len(answers) < len(calls) + 1:
            message = shim.message()
            assert message is not None
            if "id" in message:
                answers[message["id"] - 100] = message["result"]
        assert list(answers)[-1] == 1, "what has to wait for the kernel that hangs is answered last"
        assert answers[3]["content"][0]["text"].endswith("42")
        assert "x = 1" in answers[1]["content"][0]["text"]
        refused = shim.call("kernel_exec", code="x", session="hangs")
        assert refused["isError"]
        assert "does not answer" in refused["content"][0]["text"]


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _overwrite(path: Path) -> None:
    path.write_bytes(os.urandom(5000))


LOGS: dict[str, Callable[[Path], None]] = {
    "removed": Path.unlink,
    "a folder": _replace_by_folder,
    "a pipe": _replace_by_pipe,
    "cut off": lambda path: os.truncate(path, 10),
    "garbage": _overwrite,
}


@pytest.mark.parametrize("ruin", LOGS.values(), ids=list(LOGS))
async def test_a_kernel_whose_log_is_ruined_is_adopted_and_it_is_said_what_is_lost(
    home: Home, ruin: Callable[[Path], Any]
) -> None:
    async with home.client() as session:
        first = await session.run("x = 41; print('shown')")
        await session.run("import time; print('begun'); time.sleep(600)", timeout=0)
        with home.no_daemon():
            ruin(Path(kernel_record(home, "project")["message_log"]))
        stopped = await session.call("kernel_interrupt")
        assert not stopped.is_error, stopped.text
        assert stopped.facts["stopped"], stopped.text
        assert (await session.run("x + 1")).facts["status"] == "ok"
        again = await session.call("kernel_output", execution_id=first.facts["execution_id"])
        assert not again.is_error, again.text
        assert "note: some output could not be recorded" in again.text or "shown" in again.text, again.text
        assert (await session.run("x + 1")).facts["status"] == "ok"
