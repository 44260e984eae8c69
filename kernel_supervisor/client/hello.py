"""Who we are: the header of the hello that a client opens with."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping
from typing import Any

from kernel_supervisor import __version__
from kernel_supervisor.envelope import PROTOCOL

SESSION_VARIABLE = "KERNEL_SUPERVISOR_SESSION"
_LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]


def hello(
    kind: str, *, session: str = "", python: str = "", env: Mapping[str, str] | None = None, cwd: str = ""
) -> dict[str, Any]:
    """A hello for this process, with a client id of its own.

    `session` and `python` are the user's choice (`--session`, `--python`); the environment, the umask and
    the resource limits are those that user code will see. `env` and `cwd` are this process's own if not given; a `cwd`
    that is given is the project.
    """
    env = os.environ if env is None else env
    return {
        "protocol": PROTOCOL,
        "version": __version__,
        "client_id": os.urandom(12).hex(),
        "kind": kind,
        "pid": os.getpid(),
        "cwd": cwd or _working_directory(),
        "project": cwd or env.get("CLAUDE_PROJECT_DIR", ""),
        "session": session or env.get(SESSION_VARIABLE, ""),
        "python": python,
        "shim_python": sys.executable,
        "env": dict(env),
        "umask": _umask(),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS},
    }


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed under us; the shell that started us may know what it was called
        left = os.environ.get("PWD", "")
        return left if left and not os.path.exists(left) else os.path.expanduser("~")


def _umask() -> int:
    present = os.umask(0o077)
    os.umask(present)
    return present
