"""ipykernel for interpreters that have none: in a cache of ours, their own folders untouched."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kernel_supervisor.core.answers import MARK, heard
from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.environments.commands import Progress, capture, follow
from kernel_supervisor.environments.installing import find_uv, has_pip, install_command, installer_environ
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.prefixes import remember

WANTED = "ipykernel>=6.29,<8"
_PROBE = f"""
import json, os, sys, sysconfig
tag = sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag
os.write(1, ("\\n{MARK}" + json.dumps([tag, sysconfig.get_platform()]) + "\\n").encode())
"""
_CHECK = "import sys; sys.path.append(sys.argv[1]); import ipykernel.kernelapp"
_BORROWED_PIP = """
import ensurepip, glob, os, runpy, sys
sys.path[:0] = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_PROBE_SECONDS = 30.0
_AGAIN_SECONDS = 0.1


def ensure_overlay(
    environment: Environment,
    cache: Path,
    progress: Progress,
    environ: Mapping[str, str],
    *,
    deadline: float = 600.0,
) -> Path:
    """The folder to append to `sys.path` of `environment`'s interpreter, so that `import ipykernel` works.

    There is one per ABI tag and platform in `cache`, fetched on first need with uv, or the interpreter's own
    pip or ensurepip, as the client's variables `environ` configure them. It appears whole or not at all; of
    concurrent callers one builds, and the others wait. Blocks, at most `deadline` seconds and a moment (a
    known one costs the start of the interpreter, once per process). Raises UnavailableError with the
    command that puts ipykernel into the environment itself where it cannot be had, offline for instance.
    """
    until = time.monotonic() + deadline
    overlay = cache / _tag(environment, environ)
    if _whole(overlay):
        with contextlib.suppress(OSError):
            os.utime(overlay)  # what nobody uses any more goes
        return overlay
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(overlay.with_name(overlay.name + ".lock"), until):
            if not _whole(overlay):
                progress(f"fetching ipykernel for {environment.name} (once for every {overlay.name})")
                _build(environment, overlay, progress, environ, until)
    except OSError as error:
        raise UnavailableError(
            f"{environment.name} has no ipykernel, and fetching one to lay over it failed: {error}\n"
            f"To install it there: {install_command(environment, environ)}"
        ) from error
    return overlay


def _tag(environment: Environment, environ: Mapping[str, str]) -> str:
    """What interpreters share that can share an overlay, as a file name: `cpython-312-x86_64-linux-gnu…`."""

    def asked() -> tuple[str, list[str]]:
        probe = [environment.python, "-I", "-c", _PROBE]
        ended = capture(probe, installer_environ(environ), deadline=_PROBE_SECONDS)
        said = heard(ended.output.splitlines())
        if ended.code != 0 or not said:
            how = f"it did not end in {_PROBE_SECONDS:g} s" if ended.code is None else "it does not say what it is"
            raise UnavailableError(_dumb(environment, ended.tail or how))
        return re.sub(r"[^\w.-]", "_", "-".join(map(str, said[-1]))), [environment.python]

    try:
        return remember(("tag", environment.python), asked)
    except (OSError, ValueError) as error:
        raise UnavailableError(_dumb(environment, str(error))) from error


def _dumb(environment: Environment, reason: str) -> str:
    return f"Stage interpreter: {environment.python} of {environment.name} does not run: {reason}"


def _whole(overlay: Path) -> bool:
    """It was renamed into place when it was complete, and no cleaner of caches has been at it since."""
    return all((overlay / name).is_file() for name in ("ipykernel_launcher.py", "ipykernel/kernelapp.py"))


@contextlib.contextmanager
def _locked(path: Path, until: float) -> Iterator[None]:
    """Hold the lock on `path`, which ends with its holder. Raises TimeoutError when the time is up."""
    with open(path, "ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError("another process has been fetching it for too long") from None
                time.sleep(_AGAIN_SECONDS)
        yield


def _build(
    environment: Environment, overlay: Path, progress: Progress, environ: Mapping[str, str], until: float
) -> None:
    """Fetch aside, try it, rename. Whoever died here before left his folder: it is removed."""
    for left in overlay.parent.glob(f"{overlay.name}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix=f"{overlay.name}.new-", dir=overlay.parent))
    try:
        _fetch(environment, aside, progress, environ, until)
        _try(environment, aside, environ, until)
        os.sync()  # a folder renamed before its files are on the disk could come out of a power cut hollow
        shutil.rmtree(overlay, ignore_errors=True)
        aside.rename(overlay)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fetch(environment: Environment, aside: Path, progress: Progress, environ: Mapping[str, str], until: float) -> None:
    python, target = environment.python, ["--target", str(aside)]
    pip = ["-I", "-m", "pip"] if has_pip(environment) else ["-I", "-c", _BORROWED_PIP]
    commands = [[python, *pip, "install", *target, WANTED]]
    if uv := find_uv(environ):
        commands.insert(0, [uv, "pip", "install", "--python", python, "--compile-bytecode", *target, WANTED])
    said = ""
    for command in commands:
        ended = follow(command, installer_environ(environ), deadline=until - time.monotonic(), progress=progress)
        if ended.code == 0:
            return
        said = f"{os.path.basename(command[0])}: {ended.tail or 'its time was up'}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
    raise ChildProcessError(said)


def _try(environment: Environment, aside: Path, environ: Mapping[str, str], until: float) -> None:
    """Import it without the environment's own packages, which the next environment would not have."""
    command = [environment.python, "-I", "-S", "-c", _CHECK, str(aside)]
    seconds = max(1.0, until - time.monotonic())
    ended = capture(command, installer_environ(environ), deadline=seconds)
    if ended.code != 0:
        raise ChildProcessError(f"what was fetched does not import: {ended.tail or 'its time was up'}")
