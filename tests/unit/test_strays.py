"""Promise: what a kernel's process was started with says what its record would, whatever else stands there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, ProcessIdentity, SessionName
from kernel_supervisor.kernels.strays import ABOUT, Stray, about, record_of

KERNEL, LOGS = KernelId("0123456789ab"), "/home/logs"
FILE = f"/home/run/kernels/{KERNEL}.json"
RECORD = KernelRecord(
    id=KERNEL,
    session=SessionName("work/two"),
    generation=3,
    interpreter=Interpreter(name="env", kind="venv", argv=("/env/bin/python",), prefix="/env", why="chosen"),
    connection_file=FILE,
    directory="/wörk",
    channel_identity="ours",
    overlay="/overlay",
    process=ProcessIdentity(pid=5, start=6, boot="b"),
    message_log=f"{LOGS}/{KERNEL}-3.messages",
    standard_error=f"{LOGS}/{KERNEL}-3.stderr",
    started_at=7.0,
)


def stray(said: str = about(RECORD), *more: str) -> Stray:
    options = ("--log", RECORD.message_log, "--owner", "ours", "--overlay", "/overlay", ABOUT, said, *more)
    return Stray(
        id=KERNEL,
        connection_file=FILE,
        command=("/env/bin/python", "/inside/recorder.py", *options, "-f", FILE),
        process=ProcessIdentity(pid=5, start=6, boot="b"),
        began=7.0,
        directory="/elsewhere",
    )


def test_a_command_line_says_what_the_record_said() -> None:
    assert record_of(stray(), None, LOGS) == RECORD


def test_a_record_of_an_earlier_process_gives_what_that_and_this_have_in_common() -> None:
    earlier = replace(
        RECORD, generation=2, process=None, ended_at=1.0, end_reason="gone", ipykernel="7", connection="{}"
    )
    assert record_of(stray(), earlier, LOGS) == replace(RECORD, ipykernel="7", connection="{}")


@pytest.mark.parametrize("said", ["", "{", "[]", "null", "{}", '{"session": "s", "directory": "/"}', "[" * 100_000])
def test_what_says_nothing_of_a_session_leaves_that_open(said: str) -> None:
    found = record_of(stray(said), None, LOGS)
    assert (found.session, found.directory) == ("", "/elsewhere")
    assert found.interpreter.argv == ("/env/bin/python",)
    assert (found.generation, found.recorded) == (3, True)


def test_a_kernel_without_a_recorder_is_known_by_its_file_alone() -> None:
    command = ("R", "--slave", "-e", "IRkernel::main()", "--args", FILE)
    found = record_of(replace(stray(), command=command), None, LOGS)
    assert (found.generation, found.recorded, found.session) == (1, False, "")
    assert found.message_log == f"{LOGS}/{KERNEL}-1.messages"
