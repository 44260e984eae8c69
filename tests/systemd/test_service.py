"""Promise: whatever systemd and a login do to the daemon, no kernel is lost that was said to be kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import Shim
from tests.systemd.machine import UNIT, Machine, User

LINE = r"active, pid (\d+), lingering: {}"
CLIENTS = pytest.mark.parametrize("connected", [False, True], ids=["no client", "clients"])
CELL = """
import pathlib, time
with open("begun", "a") as file:
    file.write("begun ")
while not pathlib.Path("go").exists():
    time.sleep(0.01)
x += 1
print("done")
"""

LAST_WORDS = "import atexit, pathlib; atexit.register(pathlib.Path('last-words').touch); x = 41"


@pytest.fixture
def user(machine: Machine) -> Iterator[User]:
    """Somebody who is logged in and has installed the service."""
    user = machine.user()
    with user.logged_in():
        _verb(user, "install")
        yield user
        user.cli("stop", "--kernels")


def _verb(user: User, *arguments: str, code: int = 0) -> str:
    """What `service VERB` printed last."""
    done = user.cli("service", *arguments)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout.splitlines()[-1] if done.stdout else ""


@dataclass(frozen=True)
class Work:
    """Kernels of one user, `x = 41` in each, CELL in one; with clients, one that idles and one that waits for CELL."""

    user: User
    idle: Shim | None
    calling: Shim | None
    kernels: set[int]

    def is_told(self) -> None:
        """The call in flight is answered with what is known: that its cell may run on, or does."""
        if self.calling is not None:
            answer = self.calling.answer("cell")
            said = answer["error"]["message"] if "error" in answer else _text(answer["result"])
            assert re.search("runs? on|still be running|still running", said), said

    def is_answered(self) -> None:
        """The call in flight is answered whole, by whichever daemon there is."""
        self.user.touch("go")
        if self.calling is not None:
            assert "done" in _text(self.calling.answer("cell")["result"])

    def is_kept(self) -> None:
        """Whoever asks finds the variables; the cell ran once."""
        assert self.user.kernels() == self.kernels
        self.user.touch("go")
        if self.idle is not None and self.calling is not None:
            assert _last(self.idle.run("x")["text"]) == "41"
            assert _last(self.calling.run("x")["text"]) == "42"
        else:
            assert _last(self.user.does(*self.user.CLI, "exec", "--session", "main", "x")) == "42"
        assert self.user.does("cat", "begun").strip() == "begun"
        assert self.user.kernels() == self.kernels


@contextmanager
def _work(user: User, *, connected: bool = True) -> Iterator[Work]:
    with ExitStack() as stack:
        with user.shim() as shim:
            shim.run("x = 41")
            if not connected:
                shim.run(CELL, timeout=0)
                user.until(lambda: user.has("begun"), "the cell's beginning")
        if not connected:
            yield Work(user, None, None, user.kernels())
            return
        idle, calling = (stack.enter_context(user.shim(name)) for name in ("idle", "calling"))
        for each in (idle, calling):
            each.run("x = 41")
        calling.send("tools/call", {"name": "kernel_exec", "arguments": {"code": CELL}}, id="cell")
        user.until(lambda: user.has("begun"), "the cell's beginning")
        yield Work(user, idle, calling, user.kernels())


def _text(result: dict[str, Any]) -> str:
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


def _last(text: str) -> str:
    return text.splitlines()[-1]


def test_each_verb_ends_in_a_line_of_fact(machine: Machine) -> None:
    user = machine.user()
    with user.logged_in():
        none = "the service is not installed; clients start the daemon when they need it"
        for verb in ("status", "start", "stop", "restart"):
            assert _verb(user, verb, code=1) == none
        for verb in ("install", "status", "restart"):
            line = re.fullmatch(LINE.format("yes"), _verb(user, verb))
            assert line is not None
            assert user.unit("ActiveState", "MainPID") == ["active", line[1]]
            assert user.daemons() == {int(line[1])}
        assert user.lingering() == "yes"
        assert _verb(user, "stop") == "inactive, lingering: yes; kernels run on"
        assert _verb(user, "status", code=1) == "inactive, lingering: yes"
        assert user.daemons() == set()
        assert re.fullmatch(LINE.format("yes"), _verb(user, "start"))
        assert _verb(user, "uninstall") == "not installed, lingering: yes; kernels run on"
        assert _verb(user, "uninstall") == "the service is not installed"
        assert user.daemons() == set()
        assert user.unit("LoadState") == ["not-found"]


@CLIENTS
def test_installed_over_a_daemon_that_runs_it_takes_over(machine: Machine, connected: bool) -> None:
    user = machine.user()
    with user.logged_in(), _work(user, connected=connected) as work:
        line = re.fullmatch(LINE.format("yes"), _verb(user, "install"))
        assert line is not None
        user.until(lambda: user.daemons() == {int(line[1])}, "one daemon")
        work.is_answered()
        work.is_kept()
        user.cli("stop", "--kernels")


@CLIENTS
@pytest.mark.parametrize("what", ["systemctl restart", "service restart", "restart-daemon", "SIGKILL", "watchdog"])
def test_another_daemon_takes_up_what_the_last_one_had(user: User, what: str, connected: bool) -> None:
    if what == "watchdog":
        _set(user, "[Service]", "WatchdogSec=2")
        user.does("systemctl", "--user", "restart", UNIT)
    with _work(user, connected=connected) as work:
        daemons = user.daemons()
        if what == "systemctl restart":
            user.does("systemctl", "--user", "restart", UNIT)
        elif what == "SIGKILL":
            user.machine.root("kill", "-KILL", *map(str, daemons))
        elif what == "watchdog":
            user.machine.root("kill", "-STOP", *map(str, daemons))
        else:
            user.does(*user.CLI, *what.split())
        user.until(lambda: user.state() == "active" and user.daemons() not in (daemons, set()), "another daemon")
        work.is_answered()
        work.is_kept()


@CLIENTS
@pytest.mark.parametrize("what", ["systemctl stop", "systemctl disable", "service stop", "stop"])
def test_stopped_it_stays_so_until_something_is_asked(user: User, what: str, connected: bool) -> None:
    with _work(user, connected=connected) as work:
        started = _starts(user)
        if what == "systemctl stop":
            user.does("systemctl", "--user", "stop", UNIT)
        elif what == "systemctl disable":
            user.does("systemctl", "--user", "disable", "--now", UNIT)
        else:
            assert "kernels run on" in user.does(*user.CLI, *what.split())
        work.is_told()
        assert user.state() == "inactive"
        assert user.daemons() == set()
        work.is_kept()
        assert user.state() == "active", "who asks starts the service"
        assert _starts(user) == started + 1


@CLIENTS
def test_uninstalled_it_leaves_the_kernels_and_clients_a_daemon_when_they_ask(user: User, connected: bool) -> None:
    with _work(user, connected=connected) as work:
        assert _verb(user, "uninstall") == "not installed, lingering: yes; kernels run on"
        work.is_told()
        assert user.unit("LoadState", "ActiveState") == ["not-found", "inactive"]
        assert user.daemons() == set()
        work.is_kept()
        assert user.state() == "inactive"


def _set(user: User, section: str, setting: str) -> None:
    """Add a setting of one's own to the unit, as people do."""
    folder = f".config/systemd/user/{UNIT}.d"
    user.does("sh", "-c", f"mkdir -p {folder} && printf '{section}\n{setting}\n' > {folder}/own.conf")
    user.does("systemctl", "--user", "daemon-reload")


def _starts(user: User) -> int:
    """How often systemd has started it."""
    uid = user.machine.root("id", "-u", user.name)
    said = user.machine.root("journalctl", "--output=json", f"_UID={uid}", f"USER_UNIT={UNIT}", "JOB_TYPE=start")
    return sum(json.loads(line).get("JOB_RESULT") == "done" for line in said.splitlines())


def test_a_unit_that_cannot_be_stopped_is_not_removed(user: User) -> None:
    """A daemon that hangs is killed by systemd after a while; one that systemd may not stop is not left without it."""
    with user.shim() as shim:
        shim.run("x = 41")
        kernels = user.kernels()
        _set(user, "[Unit]", "RefuseManualStop=yes")
        user.machine.root("kill", "-STOP", *map(str, user.daemons()))
        done = user.cli("service", "uninstall")
        assert done.returncode == 1
        assert "nothing was removed" in done.stderr
        assert "run on" not in done.stdout
        assert user.unit("LoadState", "ActiveState", "UnitFileState") == ["loaded", "active", "enabled"]
        user.machine.root("kill", "-CONT", *map(str, user.daemons()))
        assert shim.run("x")["text"].splitlines()[-1] == "41"
        assert user.kernels() == kernels


@pytest.mark.parametrize("lingering", ["yes", "no"])
def test_logging_out_ends_kernels_only_where_that_was_said(machine: Machine, lingering: str) -> None:
    user = machine.user()
    with user.logged_in():
        done = user.cli("service", "install", *(["--no-linger"] if lingering == "no" else []))
        said = done.stdout
        assert re.search(LINE.format(lingering) + "\\n$", said), said
        with user.shim() as shim:
            shim.run(LAST_WORDS)
        with user.shim("busy") as shim:
            shim.run("while True: pass", timeout=0)
        kernels = user.kernels()
    if lingering == "yes":
        assert "enabled lingering: logging out ends neither the daemon nor its kernels" in said
        user.until(
            lambda: user.machine.root("loginctl", "show-user", user.name, "-pState") == "State=lingering", "logout"
        )
        assert user.kernels() == kernels
        assert user.does(*user.CLI, "exec", "--session", "main", "x").splitlines()[-1] == "41"
        user.cli("stop", "--kernels")
    else:
        assert "Logging out ends what the service runs, kernels too" in said
        user.until(lambda: not user.kernels() and not user.daemons(), "the end of all")
        assert user.has("last-words"), "its kernel was told"
        with user.logged_in():
            user.until(user.daemons, "a daemon, started by a login")
            user.until(lambda: user.state() == "active", "the service")
            with user.shim() as shim:
                said = _text(shim.call("kernel_exec", code="x"))
        why = (
            "Not run: this session's kernel is gone: it ended with your last login: lingering is off. "
            "Its variables are gone. kernel_restart gives"
        )
        assert said.startswith(why), said


def test_a_reboot_is_told_to_kernels_and_the_service_is_there_after_it(user: User) -> None:
    with user.shim() as shim:
        shim.run(LAST_WORDS)
    user.machine.reboot()
    user.until(lambda: user.state() == "active", "the service, without a login")
    assert user.has("last-words")
    with user.shim() as shim:
        said = _text(shim.call("kernel_exec", code="x"))
        why = "Not run: this session's kernel is gone: it ended with the machine, which was shut down."
        assert said.startswith(why), said


@pytest.mark.parametrize("service", [True, False])
def test_variables_outlive_a_reboot_where_they_are_saved_by_themselves(machine: Machine, service: bool) -> None:
    user = machine.user()
    with user.logged_in():
        if service:
            assert user.cli("service", "install").returncode == 0
        with user.shim() as shim:
            shim.run("x = list(range(1000))")
            shim.call("kernel_checkpoint", mode="auto")
            shim.run("y = sum(x); con = __import__('sqlite3').connect(':memory:')")
        user.machine.reboot()
        with user.shim() as shim:
            said = _text(shim.call("kernel_exec", code="y"))
            assert 'kernel_restart(restore="last")' in said, said
            back = _text(shim.call("kernel_restart", restore="last"))
            assert "con (a database connection" in back, back
            assert "499500 1000" in _text(shim.call("kernel_exec", code="print(y, len(x))"))
        user.cli("stop", "--kernels")


def test_variables_outlive_a_logout_that_ends_all_where_they_are_saved_by_themselves(machine: Machine) -> None:
    user = machine.user()
    with user.logged_in():
        assert user.cli("service", "install", "--no-linger").returncode == 0
        with user.shim() as shim:
            shim.run("x = list(range(1000))")
            shim.call("kernel_checkpoint", mode="auto")
            shim.run("y = sum(x)")
    user.until(lambda: not user.kernels() and not user.daemons(), "the end of all")
    with user.logged_in():
        user.until(user.daemons, "a daemon, started by a login")
        user.until(lambda: user.state() == "active", "the service")
        with user.shim() as shim:
            back = _text(shim.call("kernel_restart", restore="last"))
            assert "2 variables" in back, back
            assert "499500 1000" in _text(shim.call("kernel_exec", code="print(y, len(x))"))
        user.cli("stop", "--kernels")


def test_who_may_not_linger_is_told_what_an_administrator_would_run(machine: Machine) -> None:
    user = machine.user(groups="guests")
    with user.logged_in():
        done = user.cli("service", "install")
        assert done.returncode == 1
        line = re.search("An administrator can: (.*)", done.stderr)
        assert line is not None
        assert "nothing" not in done.stdout
        assert not user.has(f".config/systemd/user/{UNIT}")
        assert user.cli("service", "install", "--no-linger").returncode == 0
        assert re.fullmatch(LINE.format("no"), _verb(user, "status"))
        machine.root(*line[1].split())
        assert re.fullmatch(LINE.format("yes"), _verb(user, "install"))
        assert _verb(user, "uninstall").startswith("not installed")


def test_the_journal_is_shown_and_calls_kernels_left_over_alone(user: User) -> None:
    with user.shim() as shim:
        shim.run("x = 41")
    (kernel,) = user.kernels()
    assert _verb(user, "stop").endswith("kernels run on")
    _verb(user, "start")
    user.machine.root("journalctl", "--flush")
    shown = user.does(*user.CLI, "service", "logs")
    assert re.findall(r"Unit process (\d+) .*remains running after unit stopped", shown) == [str(kernel)]
    assert re.findall(r"Found left-over process (\d+) .*Ignoring", shown) == [str(kernel)]


def test_a_service_that_was_masked_stays_so(machine: Machine) -> None:
    user = machine.user()
    with user.logged_in():
        user.does("systemctl", "--user", "mask", UNIT)
        assert user.does(*user.CLI, "exec", "x = 41; x").splitlines()[-1] == "41"
        assert _verb(user, "uninstall") == "the service is not installed"
        user.cli("doctor", "--fix")
        user.cli("uninstall", "-y")
        assert user.unit("LoadState") == ["masked"]
