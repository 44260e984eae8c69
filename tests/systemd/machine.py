"""A machine of its own for tests: booted by systemd-nspawn, with users who log in, and nothing left of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support import DEADLINE_S, Shim, until_now
from tests.systemd.image import PYTHON, CannotBeHadError, kept

UNIT = "kernel-supervisor.service"
_BOOT_S = 60.0
_BOOT = """
for place in "$4" "$5"; do [ -z "$place" ] || echo $$ > "$place/cgroup.procs"; done
mount --make-rprivate / && mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work" "$1/root" &&
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$1/root" || exit
code=133
while [ $code = 133 ]; do
setpriv --pdeathsig=KILL systemd-nspawn -q -D "$1/root" --register=no --keep-unit --private-network \
    --bind-ro="$3":/wheels --machine="tests-$$" --console=passive -b
code=$?
done
"""
"""All that is written is in memory, and mounted where nobody else sees it. 133 asks for another start."""
_SETTINGS = """
mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nUserStopDelaySec=0\\n' > /etc/systemd/logind.conf.d/tests.conf
systemctl restart systemd-logind && groupadd guests && cat > /etc/polkit-1/rules.d/10-tests.rules <<'END'
polkit.addRule(function(action, subject) {
    if (action.id.indexOf("org.freedesktop.login1.set-") == 0 && subject.isInGroup("guests")) return polkit.Result.NO;
});
END
"""
"""A user's manager ends at once after a logout, not 10 s later; guests may not linger."""


class Machine:
    """One that has booted."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._users = 0

    @property
    def first(self) -> int:
        """The pid, as seen from here, of the machine's first process."""
        nspawn = psutil.Process(self._process.pid).children()[0]
        return int(nspawn.children()[0].pid)

    def enter(self, *command: str) -> list[str]:
        """What runs `command` there, as root and in no session."""
        return ["nsenter", "--target", str(self.first), "--all", "--", "env", "--chdir=/", *command]

    def root(self, *command: str, check: bool = True) -> str:
        """What `command` says there, run by root in no session."""
        done = subprocess.run(
            self.enter(*command), capture_output=True, text=True, timeout=DEADLINE_S, check=False, env={"PATH": _PATH}
        )
        assert done.returncode == 0 or not check, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def user(self, *, groups: str = "") -> User:
        """An ordinary user who was never there before."""
        self._users += 1
        name = f"user{self._users}"
        self.root("useradd", "--create-home", "--shell=/bin/bash", f"--groups={groups}", name)
        return User(self, name)

    def reboot(self) -> None:
        """Shut it down as a person does, and see it come up again."""
        before = psutil.Process(self.first)
        self.root("systemctl", "reboot", check=False)
        before.wait(DEADLINE_S)
        until_now(self.up, "the machine's next start")

    def up(self) -> bool:
        """Whether it has come up, with all that is to be started."""
        try:
            return self.root("systemctl", "is-system-running", check=False) in ("running", "degraded")
        except (IndexError, psutil.Error):  # its first process is not there yet
            return False


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class User:
    """Somebody who has an account on the machine. What is run for a user is run in a login, which ends with it."""

    CLI = (str(Path(PYTHON).with_name("kernel-supervisor")),)
    SHIM = (str(Path(PYTHON).with_name("kernel-supervisor-mcp")),)
    machine: Machine
    name: str

    def login(self, *command: str) -> list[str]:
        """What runs `command` in a login of its own, through PAM, as login and sshd do."""
        how = (
            "--quiet",
            "--pipe",
            "--wait",
            "--collect",
            "--service-type=exec",
            f"--working-directory=/home/{self.name}",
        )
        session = ("--setenv=XDG_SESSION_CLASS=user", "--setenv=XDG_SESSION_TYPE=tty", "--property=PAMName=login")
        return self.machine.enter("systemd-run", *how, f"--uid={self.name}", *session, "--", *command)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        return subprocess.run(
            self.login(*command), capture_output=True, text=True, timeout=DEADLINE_S, check=False, env={"PATH": _PATH}
        )

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.run(*self.CLI, *arguments)

    def does(self, *command: str) -> str:
        """What a command says that must not fail."""
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    @contextmanager
    def logged_in(self) -> Iterator[None]:
        """A login that does nothing but last."""
        with subprocess.Popen(self.login("cat"), stdin=subprocess.PIPE, env={"PATH": _PATH}) as process:
            try:
                until_now(lambda: self.sessions(), "a login")
                yield
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(DEADLINE_S)

    def sessions(self) -> list[str]:
        """The numbers of the logins that there are."""
        lines = self.machine.root("loginctl", "list-sessions", "--no-legend").splitlines()
        return [line.split()[0] for line in lines if line.split()[2] == self.name]

    @contextmanager
    def shim(self, session: str = "main") -> Iterator[Shim]:
        """A client that works in that session, in a login of its own."""
        shim = Shim(self.login(*self.SHIM, "--session", session), env={"PATH": _PATH})
        try:
            shim.open()
            yield shim
        finally:
            shim.close()

    def pids(self, part: str) -> set[int]:
        """The user's processes with that in their command lines."""
        return {int(pid) for pid in self.machine.root("pgrep", "-u", self.name, "-f", part, check=False).split()}

    def kernels(self) -> set[int]:
        """The user's kernels."""
        return self.pids("run/kernels")

    def daemons(self) -> set[int]:
        """The user's daemons."""
        return self.pids("kernel_supervisor.daemon")

    def manager(self, *words: str) -> str:
        """What the user's manager says, asked in no session."""
        uid = self.machine.root("id", "-u", self.name)
        who = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups")
        return self.machine.root(*who, "env", f"XDG_RUNTIME_DIR=/run/user/{uid}", "systemctl", "--user", *words)

    def unit(self, *names: str) -> list[str]:
        """Properties of the service, as the user's manager has them."""
        asked = [f"--property={name}" for name in names]
        said = self.manager("show", UNIT, *asked)
        facts = dict(line.split("=", 1) for line in said.splitlines())
        return [facts.get(name, "") for name in names]

    def lingering(self) -> str:
        """Whether the user's manager outlives logins."""
        return self.machine.root("loginctl", "show-user", self.name, "--property=Linger", "--value")

    def has(self, name: str) -> bool:
        """Whether that is in the user's home directory."""
        return self.machine.root("sh", "-c", f"test -e /home/{self.name}/{name} && echo yes", check=False) == "yes"

    def touch(self, name: str) -> None:
        """Make a file there."""
        self.machine.root("touch", f"/home/{self.name}/{name}")

    def state(self) -> str:
        """Whether the service is active."""
        return self.unit("ActiveState")[0]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Look until `condition` holds."""
        return until_now(condition, f"{self.name}: {what}")


@contextmanager
def booted() -> Iterator[Machine]:
    """A machine with our package on it. Raises CannotBeHadError."""
    image = kept()
    if not image.exists():
        raise CannotBeHadError(
            "there is no image of a machine to boot; `nox -s systemd` builds it where that can be done"
        )
    work = Path(tempfile.mkdtemp(prefix="ks-machine-"))
    wheels = work / "wheels"
    try:
        with open(work / "log", "wb") as log:
            _build_wheel(wheels)
            (mounted := work / "mounted").mkdir()
            command = ["setpriv", "--pdeathsig=KILL", "unshare", "-m", "sh", "-c", _BOOT, "sh"]
            groups = _control_groups(work.name)
            words = map(str, (mounted, image, wheels, *groups))
            process = subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield _see_it_up(process, work / "log")
        finally:
            _end(process)
            until_now(lambda: all(map(_is_gone, groups)), "the end of all that the machine ran")
    finally:
        shutil.rmtree(work)


def _control_groups(name: str) -> list[Path]:
    """New ones, by which systemd there knows its processes: machines that share theirs take them from each other.

    None where they cannot be made: then this machine has to be the only one.
    """
    made: list[Path] = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        unified = Path("/sys/fs/cgroup/unified")
        place = {"name=systemd": unified.with_name("systemd"), "": unified if unified.exists() else unified.parent}
        if controllers in place:
            with suppress(OSError):
                group = place[controllers] / path.lstrip("/") / name
                group.mkdir()
                made.append(group)
    return made


def _is_gone(group: Path) -> bool:
    """Whether nothing runs in a control group any more, which is removed then."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _see_it_up(process: subprocess.Popen[bytes], log: Path) -> Machine:
    machine, end = Machine(process), time.monotonic() + _BOOT_S
    while process.poll() is None and time.monotonic() < end:
        if machine.up():
            install = ("-m", "pip", "--quiet", "install", "--no-deps", "--no-index")
            machine.root("sh", "-c", _SETTINGS)
            machine.root("sh", "-c", f"{PYTHON} {' '.join(install)} /wheels/*.whl")
            return machine
        time.sleep(0.1)
    raise CannotBeHadError(f"a machine does not boot here: {log.read_text(errors='replace')[-300:]}")


def _build_wheel(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(Path(__file__).parents[2])], check=True, timeout=DEADLINE_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As a power cut."""
    with suppress(IndexError, psutil.Error):
        psutil.Process(Machine(process).first).kill()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
