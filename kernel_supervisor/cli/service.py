"""service: the daemon under systemd or launchd, started at login and after a crash. Kernels never depend on it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

from kernel_supervisor.cli.session import DONE, FAILED, Command
from kernel_supervisor.client import autostart

_MAC = sys.platform == "darwin"


def install(command: Command) -> int:
    """Write the unit for this interpreter, enable it and start it. A daemon that runs hands over."""
    target = Path(_target())
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".new")
    aside.write_text(_filled(_template()))
    os.replace(aside, target)
    print(f"wrote {target}")
    if _MAC:
        return _run(["launchctl", "bootstrap", f"gui/{os.getuid()}", str(target)])
    if _run(["systemctl", "--user", "daemon-reload"]) != DONE:
        return FAILED
    code = _run(["systemctl", "--user", "enable", "--now", autostart.SYSTEMD_UNIT])
    if code == DONE:
        print("To keep it running after you log out: loginctl enable-linger")
    return code


def uninstall(command: Command) -> int:
    """Stop and remove it."""
    target = Path(_target())
    if not target.exists():
        print("the service is not installed")
        return DONE
    if _MAC:
        code = _run(["launchctl", "bootout", f"gui/{os.getuid()}/{autostart.LAUNCHD_LABEL}"])
    else:
        code = _run(["systemctl", "--user", "disable", "--now", autostart.SYSTEMD_UNIT])
    target.unlink()
    if not _MAC:
        _run(["systemctl", "--user", "daemon-reload"])
    print(f"removed {target}; kernels run on")
    return code


def status(command: Command) -> int:
    """What the service manager says; 1 where it is not installed or does not run."""
    target = _target()
    if not os.path.exists(target):
        print("the service is not installed; clients start the daemon when they need it")
        return FAILED
    if _MAC:
        return _run(["launchctl", "print", f"gui/{os.getuid()}/{autostart.LAUNCHD_LABEL}"])
    return _run(["systemctl", "--user", "--no-pager", "status", autostart.SYSTEMD_UNIT])


def _target() -> str:
    return autostart.launch_agent() if _MAC else autostart.unit_file()


def _template() -> str:
    """The unit as it is shipped: inside the package, or beside it in a checkout."""
    name = f"launchd/{autostart.LAUNCHD_LABEL}.plist" if _MAC else f"systemd/{autostart.SYSTEMD_UNIT}"
    shipped = files("kernel_supervisor") / "units" / name
    if shipped.is_file():
        return shipped.read_text()
    return (Path(__file__).parents[2] / name).read_text()


def _filled(template: str) -> str:
    return template.replace("@PYTHON@", sys.executable).replace("@HOME@", os.path.expanduser("~"))


def _run(arguments: list[str]) -> int:
    try:
        return DONE if subprocess.run(arguments, check=False).returncode == 0 else FAILED
    except FileNotFoundError:
        print(f"kernel-supervisor: {arguments[0]} is not there: this machine has no such service manager", file=sys.stderr)
        return FAILED
