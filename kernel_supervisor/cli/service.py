"""service: the daemon under systemd or launchd, started at login and after a crash. Kernels never depend on it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from kernel_supervisor.cli.session import DONE, FAILED, USAGE, Command, failed
from kernel_supervisor.client import autostart
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import HOME_VARIABLE

_MAC = sys.platform == "darwin"
_UNIT, _AGENT = autostart.SYSTEMD_UNIT, f"gui/{os.getuid()}/{autostart.LAUNCHD_LABEL}"


def install(command: Command) -> int:
    """Write the unit for this interpreter, enable it and (re)start it. A daemon that runs hands over.

    Where the service manager does not take it, nothing is left behind.
    """
    if os.environ.get(HOME_VARIABLE):
        set_aside = f"{HOME_VARIABLE} is set, and the service is for the usual place. Unset it and try again."
        return failed(f"kernel-supervisor service install: {set_aside}", USAGE)
    target = Path(autostart.service_file())
    installed = target.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".new")
    aside.write_text(filled(mac=_MAC, python=sys.executable), encoding="utf-8")
    os.replace(aside, target)
    print(f"wrote {target}", flush=True)
    code = _start_on_mac(target, again=installed) if _MAC else _start_on_linux()
    if code != DONE and not installed:
        target.unlink()
        print(f"removed {target} again: the service manager did not take it", file=sys.stderr)
    return code


def _start_on_linux() -> int:
    for verb in (["daemon-reload"], ["enable", _UNIT], ["restart", _UNIT]):
        if _run("systemctl", "--user", *verb) != DONE:
            return FAILED
    print("To keep it running after you log out: loginctl enable-linger")
    return DONE


def _start_on_mac(target: Path, *, again: bool) -> int:
    if again:
        _run("launchctl", "bootout", _AGENT)
    return _run("launchctl", "bootstrap", os.path.dirname(_AGENT), str(target))


def uninstall(command: Command) -> int:
    """Stop and remove it."""
    target = Path(autostart.service_file())
    if not target.exists():
        print("the service is not installed")
        return DONE
    code = _run("launchctl", "bootout", _AGENT) if _MAC else _run("systemctl", "--user", "disable", "--now", _UNIT)
    target.unlink()
    if not _MAC:
        _run("systemctl", "--user", "daemon-reload")
    print(f"removed {target}; kernels run on")
    return code


def status(command: Command) -> int:
    """What the service manager says; 1 where it is not installed or does not run."""
    if not os.path.exists(autostart.service_file()):
        print("the service is not installed; clients start the daemon when they need it")
        return FAILED
    if _MAC:
        return _run("launchctl", "print", _AGENT)
    return _run("systemctl", "--user", "--no-pager", "status", _UNIT)


def filled(*, mac: bool, python: str) -> str:
    """The plist or the unit as it is installed, for the interpreter `python`."""
    name = f"launchd/{autostart.LAUNCHD_LABEL}.plist" if mac else f"systemd/{_UNIT}"
    program, *words = isolated("kernel_supervisor.daemon", "--service", python=python)
    if mac:
        from xml.sax.saxutils import escape  # 20 ms, and only where there is a plist to fill

        command = "\n    ".join(f"<string>{escape(word)}</string>" for word in (program, *words))
    else:
        command = " ".join((_quoted(program), *map(_quoted_if_odd, words)))
    return _template(name).replace("@COMMAND@", command)


def _template(name: str) -> str:
    """The file as it is shipped: inside the package, or beside it in a checkout."""
    shipped = files("kernel_supervisor") / "units" / name
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / name).read_text(encoding="utf-8")


def _quoted(word: str) -> str:
    """As a word of ExecStart (systemd.service(5)), where `%` begins a specifier.

    Names with quotes or backslashes need no escapes: systemd refuses them, and `install` says so.
    """
    return '"' + word.replace("%", "%%") + '"'


def _quoted_if_odd(word: str) -> str:
    return word if shlex.quote(word) == word else _quoted(word)


def _run(*arguments: str) -> int:
    try:
        return DONE if subprocess.run(arguments, check=False).returncode == 0 else FAILED
    except FileNotFoundError:
        there_is_none = f"there is no {arguments[0]}: this machine has no such service manager"
        return failed(f"kernel-supervisor: {there_is_none}")
