"""The image that machines for tests boot from: a small Debian with the dependencies, built once and kept.

`python -m tests.systemd.image` builds it where it is missing; where it cannot be had here, the last line says why.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CACHE = Path("~/.cache/kernel-supervisor-tests").expanduser()
PYTHON = "/opt/kernel-supervisor/bin/python"
"""The interpreter on the machine that our package is installed for."""
_ROOT = Path(__file__).parents[2]
_SUITE = "bookworm"
_PACKAGES = "systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,polkitd,python3,python3-venv,procps"
_GLIBCS = ("2_5", "2_12", "2_17", "2_28")
_MIRROR = "http://deb.debian.org/debian"
_BUILD_S, _TRY_S = 240.0, 20.0
_ALONE = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
"""Nothing that a command starts or mounts is left once it has ended, or its time is over."""
_UNUSED_S = 14 * 86400.0
_TOOLS = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "nsenter": "util-linux"}


class CannotBeHadError(Exception):
    """This machine cannot boot another one; the text says why."""


def kept() -> Path:
    """Where the image is, or would be; its name tells what is in it."""
    told = [_SUITE, _PACKAGES, platform.machine(), *_dependencies(), inspect.getsource(_fill)]
    return CACHE / f"systemd-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"


def build() -> Path:
    """The image, built if it is not there. Raises CannotBeHadError."""
    _look_at_this_machine()
    target = kept()
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix="systemd-new-", dir=CACHE))
        try:
            _fill(aside, time.monotonic() + _BUILD_S)
            aside.chmod(0o755)
            with suppress(OSError):  # another run may have built it meanwhile
                aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    os.utime(target)
    for each in CACHE.glob("systemd-*"):
        if time.time() - each.stat().st_mtime > _UNUSED_S:
            shutil.rmtree(each, ignore_errors=True)
    return target


def _look_at_this_machine() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise CannotBeHadError("only root on Linux can boot a machine")
    if missing := [f"{tool} (Debian's {package})" for tool, package in _TOOLS.items() if not shutil.which(tool)]:
        raise CannotBeHadError(f"there is no {', no '.join(missing)}")
    _run("mounts are refused", time.monotonic() + _TRY_S, "mount", "-t", "tmpfs", "tmpfs", "/mnt")


def _fill(root: Path, end: float) -> None:
    look = ["wget", "-nv", "--tries=1", "--timeout=5", "-O-", f"{_MIRROR}/dists/{_SUITE}/Release"]
    _run(f"{_MIRROR} is out of reach", time.monotonic() + _TRY_S, *look)
    debian = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root), _MIRROR]
    _run(f"no Debian {_SUITE}", end, *debian)
    (root / "etc/machine-id").write_text("")  # each machine gets one of its own
    wheels = root / "wheels"
    version = re.sub(r"\D", "", os.readlink(root / "usr/bin/python3"))
    platforms = [f"--platform=manylinux_{each}_{platform.machine()}" for each in _GLIBCS]
    target = ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}", *platforms]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--timeout=10", "--retries=1"]
    _run("no wheels", end, *pip, "download", *target, "-d", str(wheels), *_dependencies())
    _run("no venv", end, "chroot", str(root), "/usr/bin/python3", "-m", "venv", str(Path(PYTHON).parents[1]))
    install = [PYTHON, "-m", "pip", "--quiet", "install", "--no-index", "--find-links=/wheels", *_dependencies()]
    _run("wheels do not go in", end, "chroot", str(root), "env", "PIP_CONFIG_FILE=/dev/null", *install)
    shutil.rmtree(wheels)


def _run(what: str, end: float, *command: str) -> None:
    try:
        left = max(1.0, end - time.monotonic())
        done = subprocess.run(
            (*_ALONE, *command), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=left, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBeHadError(f"{what}: {error}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise CannotBeHadError(f"{what}: {said}")


def _dependencies() -> list[str]:
    """What our package needs, as pyproject.toml says it. Read as text: Python 3.10 has no tomllib."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", (_ROOT / "pyproject.toml").read_text("utf-8"), re.M | re.S)
    assert listed is not None
    return re.findall(r'"(.*)"', listed.group(1))


def main() -> int:
    """Build it; 1 where it cannot be had."""
    try:
        print(f"image: {build()}")
    except (CannotBeHadError, OSError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
