"""service: the daemon under systemd or launchd, started at login and after a crash. Kernels never depend on it.

Each verb ends in a line of what is so now, as the service manager says it. What is said of kernels holds: a unit goes
once nothing of it runs, for without its file systemd would end what it left.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from kernel_supervisor.cli.codes import DONE, FAILED, USAGE, failed
from kernel_supervisor.cli.session import Command
from kernel_supervisor.client import autostart
from kernel_supervisor.client.connection import ask
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import HOME_VARIABLE, Paths, find, prepare, put

_MAC = sys.platform == "darwin"
_UNIT, _AGENT = autostart.SYSTEMD_UNIT, f"gui/{os.getuid()}/{autostart.LAUNCHD_LABEL}"
LINGER = f"loginctl enable-linger {os.getuid()}"
_STOP_S = 10.0
"""For a daemon that is asked to stop; then its service manager stops it."""
_SEE_OFF_S = 40.0
"""For a daemon that ends its kernels; systemd gives the whole of a stop a minute."""
_ANSWERED_S = 20.0
"""For the service manager to say how it is."""
_AT_LOGOUT = f"Logging out ends what the service runs, kernels too; `{LINGER}` prevents that."


def install(command: Command) -> int:
    """Write the unit for this interpreter, enable it and (re)start it. A daemon that runs hands over.

    Where the service manager does not take it, or logging out would end kernels, nothing is left behind.
    """
    if os.environ.get(HOME_VARIABLE):
        set_aside = f"{HOME_VARIABLE} is set, and the service is for the usual place. Unset it and try again."
        return failed(f"kernel-supervisor service install: {set_aside}", USAGE)
    if facts()["state"] == "unknown":
        return failed("kernel-supervisor service install: the service manager did not take it; it does not answer")
    target = Path(autostart.service_file())
    installed, lingered = autostart.is_installed(), lingers()
    if lingered == "no" and not command.options.no_linger and not _enable_lingering(command.paths):
        return FAILED
    write(target)
    print(f"wrote {target}", flush=True)
    code = _start_on_mac(target, again=installed) if _MAC else _start_on_linux()
    if code != DONE and not installed:
        if lingered == "no" and lingers() == "yes":
            disable_lingering(command.paths)
        if removed(command.paths, target):
            print(f"removed {target} again: the service manager did not take it", file=sys.stderr)
        return code
    return _told(code)


def _enable_lingering(paths: Paths) -> bool:
    """Have the user's services, and with them kernels, outlive the user's logins. Says what was done, or who can."""
    if _run("loginctl", "--no-ask-password", "enable-linger", str(os.getuid())) == DONE:
        print("enabled lingering: logging out ends neither the daemon nor its kernels")
        with contextlib.suppress(OSError):  # so that `uninstall` knows whose it is
            prepare(paths)
            Path(paths.lingering).touch(mode=0o600)
        return True
    print(
        "kernel-supervisor service install: logging out would end the daemon and its kernels, and you may not change\n"
        f"that. An administrator can: {LINGER}\n"
        "Then install again; `install --no-linger` installs it all the same.",
        file=sys.stderr,
    )
    return False


def disable_lingering(paths: Paths) -> bool:
    """Have logins end the user's services again; whether that was done."""
    with contextlib.suppress(OSError):
        os.unlink(paths.lingering)
    return _run("loginctl", "--no-ask-password", "disable-linger", str(os.getuid())) == DONE


def outdated(path: str) -> bool:
    """Whether the unit at `path` is not what this version would write. Raises OSError."""
    return Path(path).read_text(encoding="utf-8", errors="replace") != filled(mac=_MAC, python=sys.executable)


def rewrite(path: str) -> None:
    """Put this version's unit there; what runs goes on with the one that it was started by. Raises OSError."""
    write(Path(path))
    if not _MAC:
        _run("systemctl", "--user", "daemon-reload")


def write(target: Path) -> None:
    """Put the unit for this interpreter there, at one stroke. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    put(str(target), filled(mac=_MAC, python=sys.executable), 0o666)


def _start_on_linux() -> int:
    verbs = (["daemon-reload"], ["enable", _UNIT], ["restart", _UNIT])
    return DONE if all(_run("systemctl", "--user", *verb) == DONE for verb in verbs) else FAILED


def _start_on_mac(target: Path, *, again: bool) -> int:
    if again:
        _run("launchctl", "bootout", _AGENT)
    return _run("launchctl", "bootstrap", os.path.dirname(_AGENT), str(target))


def uninstall(command: Command) -> int:
    """Stop and remove it; what cannot be stopped is not removed."""
    target = Path(autostart.service_file())
    if not autostart.is_installed():
        print("the service is not installed")
        return DONE
    if not removed(command.paths, target):
        return failed(f"kernel-supervisor service uninstall: it does not stop ({_line()}); nothing was removed")
    print(f"removed {target}")
    print(f"not installed{_about_lingering()}; kernels run on{_at_logout()}")
    return DONE


def removed(paths: Paths, target: Path) -> bool:
    """Whether the unit is gone. Once its file is, no client starts it: only then nothing of it is sure to run."""
    if not _stopped(paths):
        return False
    if _MAC:
        _run("launchctl", "bootout", _AGENT)
        target.unlink()
        return True
    text = target.read_text(encoding="utf-8")
    _run("systemctl", "--user", "disable", _UNIT)
    target.unlink()
    if _stopped(paths):
        return _run("systemctl", "--user", "daemon-reload") == DONE
    target.write_text(text, encoding="utf-8")
    return False


def _stopped(paths: Paths) -> bool:
    """Whether nothing of the service runs, once the daemon was asked to stop, so that its clients hear of it."""
    if facts()["state"] not in ("inactive", "failed"):
        with contextlib.suppress(OSError, RuntimeError):  # it is gone, or hangs: then it is stopped without a word
            ask(paths, "supervisor/shutdown", {"kernels": False}, deadline_s=_STOP_S, start=False)
        if not _MAC:
            _run("systemctl", "--user", "stop", _UNIT)
    return facts()["state"] in ("inactive", "failed")


def start(command: Command) -> int:
    """Start it. A daemon that runs without it hands over."""
    return _done(["launchctl", "kickstart", _AGENT] if _MAC else ["systemctl", "--user", "start", _UNIT])


def restart(command: Command) -> int:
    """Another daemon in place of this one; calls in flight go to it."""
    return _done(["launchctl", "kickstart", "-k", _AGENT] if _MAC else ["systemctl", "--user", "restart", _UNIT])


def _done(words: list[str]) -> int:
    return _told(_run(*words)) if autostart.is_installed() else _not_installed()


def stop(command: Command) -> int:
    """Stop it until something is asked of it; kernels run on."""
    if not autostart.is_installed():
        return _not_installed()
    if not _stopped(command.paths):
        return failed(f"kernel-supervisor service stop: it does not stop ({_line()})")
    print(f"{_line()}; kernels run on{_at_logout()}")
    return DONE


def status(command: Command) -> int:
    """What the service manager says; 1 where it is not installed or does not run."""
    if not autostart.is_installed():
        return _not_installed()
    return _told(DONE if facts()["state"] == "active" else FAILED)


def logs(command: Command) -> int:
    """What the service manager noted of it."""
    lines, follow = str(command.options.lines), ["-f"] if command.options.follow else []
    if _MAC:
        return _run("tail", "-n", lines, *follow, command.paths.daemon_log)
    return _run("journalctl", "--user", "--no-pager", f"--unit={_UNIT}", "-n", lines, *follow)


def runs_as(pid: int) -> bool:
    """Whether that process is the service's daemon."""
    return autostart.has_service() and facts()["pid"] == str(pid)


def see_off() -> None:
    """Before systemd stops the daemon: end the kernels well where they end in any case, with the user's manager."""
    if autostart.stops("--user"):
        what = "all your services, which systemd ended"
        if autostart.stops("--system"):
            what = "the machine, which was shut down"
        elif lingers() == "no":
            what = "your last login: lingering is off"
        with contextlib.suppress(OSError, RuntimeError):  # a daemon that hangs; its kernels end all the same
            params = {"kernels": True, "why": f"the kernel ended with {what}"}
            ask(find(), "supervisor/shutdown", params, deadline_s=_SEE_OFF_S, start=False)


def _not_installed() -> int:
    print("the service is not installed; clients start the daemon when they need it")
    return FAILED


def _told(code: int) -> int:
    """Say what is so now; `code`."""
    if lingers() == "no":
        print(_AT_LOGOUT)
    print(_line(), flush=True)
    return code


def _line() -> str:
    """Such as "active, pid 4711, lingering: yes"."""
    told = facts()
    return told["state"] + (f", pid {told['pid']}" if told["pid"] else "") + _about_lingering()


def _about_lingering() -> str:
    return f", lingering: {lingering}" if (lingering := lingers()) else ""


def _at_logout() -> str:
    return "; those of the service end when you log out" if lingers() == "no" else ""


def lingers() -> str:
    """Whether the user's services outlive logins: yes, no, or nothing where nobody ends them at a logout."""
    if _MAC:
        return ""
    return (_output("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value") or "").strip()


def facts() -> dict[str, str]:
    """The `state` of the service, `unknown` where nobody tells, and its daemon's `pid`, if it has one."""
    if _MAC:
        said = dict(re.findall(r"^\t(state|pid) = (.*)$", _output("launchctl", "print", _AGENT) or "", re.MULTILINE))
        return {"state": "active" if said.get("state") == "running" else "inactive", "pid": said.get("pid", "")}
    told = _output("systemctl", "--user", "show", "--property=ActiveState,MainPID", _UNIT)
    said = dict(line.split("=", 1) for line in (told or "").splitlines())
    state = "unknown" if told is None else said.get("ActiveState", "inactive")
    return {"state": state, "pid": said.get("MainPID", "0").removeprefix("0")}


def filled(*, mac: bool, python: str) -> str:
    """The plist or the unit as it is installed, for the interpreter `python`."""
    name = f"launchd/{autostart.LAUNCHD_LABEL}.plist" if mac else f"systemd/{_UNIT}"
    words = isolated("kernel_supervisor.daemon", "--service", python=python)
    if mac:
        from xml.sax.saxutils import escape  # 20 ms, and only where there is a plist to fill

        command = "\n    ".join(f"<string>{escape(word)}</string>" for word in words)
    else:
        command = _command_line(words)
    see_off = _command_line(isolated("kernel_supervisor.cli.service", python=python))
    return _template(name).replace("@COMMAND@", command).replace("@SEE_OFF@", see_off)


def _template(name: str) -> str:
    """The file as it is shipped: inside the package, or beside it in a checkout."""
    shipped = files("kernel_supervisor") / "units" / name
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / name).read_text(encoding="utf-8")


def _command_line(words: list[str]) -> str:
    return " ".join((_quoted(words[0]), *map(_quoted_if_odd, words[1:])))


def _quoted(word: str) -> str:
    """As a word of ExecStart (systemd.service(5)), where `%` begins a specifier.

    Names with quotes or backslashes need no escapes: systemd refuses them, and `install` says so.
    """
    return '"' + word.replace("%", "%%") + '"'


def _quoted_if_odd(word: str) -> str:
    return word if shlex.quote(word) == word else _quoted(word)


def _output(*arguments: str) -> str | None:
    """What a command says; None where it fails or there is none."""
    try:
        return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=_ANSWERED_S).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _run(*arguments: str) -> int:
    try:
        return DONE if subprocess.run(arguments, check=False).returncode == 0 else FAILED
    except FileNotFoundError:
        there_is_none = f"there is no {arguments[0]}: this machine has no such service manager"
        return failed(f"kernel-supervisor: {there_is_none}")


if __name__ == "__main__":
    see_off()
