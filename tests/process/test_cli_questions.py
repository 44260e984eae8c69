"""Promise: at a terminal a cell's questions are asked there, a password without showing it; elsewhere they are told."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import DEADLINE_S, Home, until_now


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, command: subprocess.Popen[bytes], fd: int) -> None:
        self.command, self.fd, self.shown = command, fd, ""

    def wait_for(self, text: str) -> None:
        """Read until `text` was shown."""
        end = time.monotonic() + DEADLINE_S
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if select.select([self.fd], [], [], 1)[0]:
                try:
                    self.shown += os.read(self.fd, 1 << 16).decode()
                except OSError:  # EIO: nobody has it open any more
                    assert text in self.shown, self.shown

    def wait_until_it_reads(self) -> None:
        """A signal between a prompt and the reading behind it is kept until a line was typed."""
        place = Path(f"/proc/{self.command.pid}/wchan")
        until_now(lambda: place.read_text() in ("wait_woken", "n_tty_read"), "the command reads from its terminal")

    def type(self, text: str) -> None:
        """As a person does."""
        os.write(self.fd, text.encode())


@contextmanager
def terminal(home: Home, *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        home.cli_command(*arguments),
        cwd=home.project,
        env={**home.env, "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(command, ours)
        assert command.wait(DEADLINE_S) is not None
    finally:
        command.kill()
        command.wait()
        os.close(ours)


def test_questions_are_asked_at_the_terminal(home: Home) -> None:
    cell = "name = input('Name? ')\nage = input('Age? ')\nprint(name, int(age) + 1)"
    with terminal(home, "exec", cell) as screen:
        screen.wait_for("Name? ")
        screen.type("Ada\n")
        screen.wait_for("Age? ")
        screen.type("36\n")
        screen.wait_for("Ada 37")
    assert screen.command.returncode == 0


def test_a_password_is_not_shown(home: Home) -> None:
    cell = "import getpass\nsecret = getpass.getpass('Password? ')\nprint(len(secret), 'long')"
    with terminal(home, "exec", cell) as screen:
        screen.wait_for("Password? ")
        screen.type("battery-staple\n")
        screen.wait_for("14 long")
    assert "staple" not in screen.shown


def test_ctrl_d_ends_the_input_and_ctrl_c_interrupts_the_cell(home: Home) -> None:
    cell = "try:\n    input('One? ')\nexcept EOFError:\n    print('over')\nx = 41\ninput('Two? ')"
    with terminal(home, "exec", cell) as screen:
        screen.wait_for("One? ")
        screen.type("\x04")
        screen.wait_for("over")
        screen.wait_for("Two? ")
        screen.wait_until_it_reads()
        os.kill(screen.command.pid, signal.SIGINT)
        screen.wait_for("KeyboardInterrupt")
    assert screen.command.returncode == 130
    assert home.cli("exec", "x").stdout == "41\n"


def test_without_a_terminal_the_question_is_told_and_answered_later(home: Home) -> None:
    asked = home.cli("exec", "input('Go? ')", stdin=subprocess.DEVNULL)
    assert asked.returncode == 1
    assert "waiting for input: Go?" in asked.stderr
    (kernel,) = json.loads(home.cli("list", "--json").stdout)["kernels"]
    assert kernel["state"] == "waiting for input"
    number = json.loads(home.cli("history", "--json").stdout)["entries"][-1]["execution_id"]
    assert f"reply {number}" in asked.stderr
    answered = home.cli("reply", str(number), "yes")
    assert (answered.stdout, answered.returncode) == ("'yes'\n", 0)
    again = home.cli("reply", str(number), "yes")
    assert again.returncode == 1
    assert "does not ask" in again.stderr
    told = json.loads(home.cli("exec", "--json", "input('Go? ')", stdin=subprocess.DEVNULL).stdout)
    assert (told["status"], told["question"]) == ("waiting for input", "Go? ")
    assert home.cli("reply", str(told["execution_id"]), input="piped\n").stdout == "'piped'\n"


DEAF = """
kernel = get_ipython().kernel
class Deaf:
    def __init__(self, socket): self.socket = socket
    def __getattr__(self, name): return getattr(self.socket, name)
    def send_multipart(self, *args, **kwargs): kernel.stdin_socket = self.socket
kernel.stdin_socket = Deaf(kernel.stdin_socket)
input('Go? ')
"""


def test_a_question_that_only_the_log_has_is_told(home: Home) -> None:
    """A kernel drops what it asks a client whose stdin is not connected yet, as that of a daemon that just came."""
    asked = home.cli("exec", DEAF, stdin=subprocess.DEVNULL)
    assert asked.returncode == 1
    assert "waiting for input: Go?" in asked.stderr
    number = asked.stderr.partition("execution ")[2].partition(" ")[0]
    assert home.cli("reply", number, "yes").stdout == "'yes'\n"


def test_what_one_terminal_was_asked_another_may_answer(home: Home) -> None:
    asked = home.cli("exec", "import getpass\nlen(getpass.getpass('Password? '))", stdin=subprocess.DEVNULL)
    number = asked.stderr.partition("execution ")[2].partition(" ")[0]
    with terminal(home, "reply", number) as screen:
        screen.wait_for("Password? ")
        screen.type("battery-staple\n")
        screen.wait_for("\n14")
    assert "staple" not in screen.shown
