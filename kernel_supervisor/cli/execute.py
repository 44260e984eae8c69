"""exec, reply, history, output, save, load: working in a session from a terminal."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from kernel_supervisor.cli import questions
from kernel_supervisor.cli.codes import DONE, FAILED, INTERRUPTED, USAGE, failed
from kernel_supervisor.cli.questions import WAITING
from kernel_supervisor.cli.screen import print_table
from kernel_supervisor.cli.session import Command, print_json
from kernel_supervisor.cli.showing import Collected, Shown
from kernel_supervisor.envelope import LARGEST_CHARS

_LEAST = 1_000
_EXPORTS, _CELLS = ("save_html", "theme", "save_pdf", "pdf_engine", "to"), ("only", "first", "last")
_FLAGS = ("no-code", "fetch-images", "session-kernel")
_OF_A_NOTEBOOK = ("path", *_EXPORTS, *_CELLS, "autosave", "overwrite")


def execute(command: Command) -> int:
    """Run code; its output appears as it comes. Ctrl-C interrupts the code, not this command."""
    code = _code(command)
    if code is None:
        return failed("kernel-supervisor exec: give code, --file FILE, or code on standard input", USAGE)
    facts, pressed = _submit(command, code)
    number = facts["execution_id"]
    if command.options.no_wait:
        print_json(facts) if command.options.json else print(f"execution {number}")
        return DONE
    if facts.get("behind"):
        print(f"kernel-supervisor: execution {number} is queued behind {_listed(facts)}", file=sys.stderr)
    return see_through(command, number, pressed)


def _listed(facts: dict[str, Any]) -> str:
    first = ", ".join(map(str, facts["behind"]))
    more = facts["ahead"] - len(facts["behind"])
    return f"{first} and {more} more" if more > 0 else first


def see_through(command: Command, number: int, pressed: list[int]) -> int:
    """Follow an execution to its end, or to a question that nobody here can be asked."""
    shown: Shown | Collected = Collected() if command.options.json else Shown(command.paths.cache, number)
    try:
        outcome = _follow(command, number, pressed, shown)
    except KeyboardInterrupt:
        return _leave(command, number)
    interrupted = outcome["status"] == "interrupted"
    if isinstance(shown, Collected):
        text, facts = command.tool("kernel_output", execution_id=number)
        print_json({**facts, "text": text, **shown.apart()})
    elif outcome["status"] == WAITING:
        print(
            f"kernel-supervisor: execution {number} is waiting for input: {outcome['question'].strip()}\n"
            f"`kernel-supervisor reply {number}` answers, in a terminal",
            file=sys.stderr,
        )
    elif outcome["status"] not in ("ok", "error") and not (interrupted and outcome.get("interrupted")):
        _say_end(command, number, outcome)
    if outcome["status"] == "ok":
        return DONE
    if outcome["status"] == "error" and not command.options.json:
        _tell(command.tool("kernel_output", execution_id=number)[1]["advice"])
    return INTERRUPTED if interrupted or outcome.get("interrupted") else FAILED


def _say_end(command: Command, number: int, outcome: dict[str, Any]) -> None:
    """How an execution ended that is neither done nor has raised; and after a kernel's death, what can be done."""
    why = f": {outcome['reason']}" if outcome["reason"] else ""
    print(f"kernel-supervisor: execution {number} is {outcome['status']}{why}", file=sys.stderr)
    if outcome["status"] == "dead":
        for line in command.tool("kernel_output", execution_id=number, max_chars=_LEAST)[1]["advice"]:
            print(f"kernel-supervisor: {line}", file=sys.stderr)


def _leave(command: Command, number: int) -> int:
    """What becomes of an execution that somebody does not wait for any longer."""
    status = command.tool("kernel_output", execution_id=number, max_chars=_LEAST)[1]["status"]
    goes_on = status in ("queued", "running", WAITING)
    what = f"runs on; `kernel-supervisor output --follow {number}` shows the rest" if goes_on else f"is over ({status})"
    return failed(f"kernel-supervisor: execution {number} {what}", INTERRUPTED)


def _submit(command: Command, code: str) -> tuple[dict[str, Any], list[int]]:
    """The execution that was queued, and where the first Ctrl-C is kept until somebody can act on it.

    The code may be running before its number is known here. The second Ctrl-C ends this command.
    """
    command.connection(start=True)
    pressed: list[int] = []

    def keep(signum: int, frame: FrameType | None) -> None:
        if pressed:
            print("kernel-supervisor: it may run all the same; `kernel-supervisor history` shows it", file=sys.stderr)
            raise KeyboardInterrupt
        pressed.append(signum)

    signal.signal(signal.SIGINT, keep)
    facts = command.tool("kernel_exec", deadline_s=None, code=code, wait=False)[1]
    if not command.options.json:
        _tell(facts["notices"])
    return facts, pressed


def _tell(lines: list[str]) -> None:
    """What stands beside a result, for a person; a file should have what the code prints and nothing else."""
    for line in lines if sys.stderr.isatty() else ():
        print(f"kernel-supervisor: {line}", file=sys.stderr)


def _interrupt(command: Command, number: int) -> None:
    print(command.tool("kernel_interrupt", execution_id=number)[0], file=sys.stderr)


def _code(command: Command) -> str | None:
    options = command.options
    if options.file:
        return Path(options.file).read_text(encoding="utf-8")
    if options.code not in (None, "-"):
        return str(options.code)
    if options.code is None and sys.stdin.isatty():
        return None
    return sys.stdin.read()


def reply(command: Command) -> int:
    """Answer what an execution asks, then follow it as `exec` does."""
    number, text = command.options.execution, command.options.text
    facts = command.tool("kernel_output", execution_id=number)[1]
    if facts["status"] != WAITING:
        return failed(f"kernel-supervisor: execution {number} does not ask for input ({facts['status']})")
    if text is None and not sys.stdin.isatty():
        text = sys.stdin.readline().rstrip("\n")
    if text is not None:
        questions.answer(command, number, text)
    return see_through(command, number, [])


def _follow(command: Command, number: int, pressed: list[int], shown: Shown | Collected) -> dict[str, Any]:
    """Its end, or its question where that cannot be asked here. Raises the second KeyboardInterrupt."""
    connection = command.connection()
    seen: set[str] = set()
    outcome: dict[str, Any] = {"place": []}
    pending: list[dict[str, Any]] = []
    interrupted = False

    def show(message: dict[str, Any]) -> None:
        if message["msg_type"] == "input_request":
            if message["msg_id"] not in seen:  # a second look, after an interrupt or another daemon, shows it again
                seen.add(message["msg_id"])
                raise questions.Asked
        else:
            shown.take(message)

    while True:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on a Ctrl-C is raised here
            if pressed:
                pressed.clear()
                raise KeyboardInterrupt
            while True:
                while pending:
                    show(pending[0])
                    del pending[0]
                if outcome["place"] is None:
                    shown.finish()
                    return {**outcome, "interrupted": interrupted}
                asked_for = {"executionId": number, "place": outcome["place"]}
                outcome = connection.request("supervisor/follow", asked_for)
                pending = outcome["messages"]
        except questions.Asked:
            asked = questions.open_question(command, number)
            if asked is not None and (isinstance(shown, Collected) or not sys.stdin.isatty()):
                return asked
            if asked is not None and not _ask(command, number, asked):
                interrupted = True
                _interrupt(command, number)
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            _interrupt(command, number)


def _ask(command: Command, number: int, asked: dict[str, Any]) -> bool:
    """Ask whoever sits at this terminal; False for a Ctrl-C, which is meant for the cell."""
    try:
        questions.answer(command, number, questions.ask(asked))
    except KeyboardInterrupt:
        return False
    return True


def history(command: Command) -> int:
    """What was run."""
    command.known_place()
    text, facts = command.tool("kernel_history", last=command.options.last)
    if command.options.json:
        print_json(facts)
    elif not facts["entries"]:
        print(text)
    else:
        print(f"session {facts['session']}; `kernel-supervisor output EXECUTION` shows what one printed")
        heads = ["execution", "status", "cell", "when", "client", "code"]
        print_table(heads, list(map(_row, facts["entries"])), leave_out=("cell", "client"))
        if more := facts.get("more"):
            print(more)
    return DONE


def _row(entry: dict[str, Any]) -> list[Any]:
    count, lines = entry["execution_count"], [line for line in entry["code"].splitlines() if line.strip()] or [""]
    standing = entry["status"] if entry["kind"] == "code" else entry["kind"]
    standing = f"loaded ({standing})" if "loaded" in entry else standing
    standing += ", not all recorded" if "unrecorded" in entry else ""
    when = time.strftime("%m-%d %H:%M", time.localtime(entry["queued_at"]))
    client = entry["client"].removeprefix("kernel-supervisor-")
    code = lines[0] + (f" … ({len(lines)} lines)" if len(lines) > 1 else "")
    return [entry["execution_id"], standing, "" if count is None else f"In [{count}]", when, client, code]


def output(command: Command) -> int:
    """What an execution showed, and with --follow what it shows until it ends."""
    number = command.options.execution
    if command.options.follow:
        command.connection()
        return see_through(command, number, [])
    text, facts = command.tool("kernel_output", execution_id=number, max_chars=LARGEST_CHARS)
    if command.options.json:
        print_json({**facts, "text": text})
    else:
        print(text)
    return DONE


def save(command: Command) -> int:
    """The session as a document."""
    command.known_place()
    chosen = {name: getattr(command.options, name) for name in _OF_A_NOTEBOOK}
    text, facts = command.tool("kernel_save_notebook", deadline_s=None, **chosen, options=_wishes(command.options))
    print(text)
    return FAILED if facts["failures"] else DONE


def _wishes(options: argparse.Namespace) -> list[str]:
    """What was asked for in flags, as the tool takes it."""
    flags = [flag for flag in _FLAGS if getattr(options, flag.replace("-", "_"))]
    values = {"page": options.page, "template": options.template}
    return flags + [f"{name}={value}" for name, value in values.items() if value]


def load(command: Command) -> int:
    """A notebook as the session's history."""
    options = command.options
    path = str(Path(options.path).absolute())
    text, facts = command.tool("kernel_load_notebook", start=True, deadline_s=None, path=path, run=options.run_cells)
    print(text)
    return FAILED if "failed" in facts else DONE
