"""Connection files: where the sockets of a kernel are, as Jupyter writes it down. What stands in them is checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.paths import put, read_regular

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
_TRANSPORTS = ("ipc", "tcp")
_SCHEMES = frozenset(f"hmac-{name}" for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
_TEXTS = ("transport", "ip", "key", "signature_scheme")
_TYPES: dict[str, type] = {**dict.fromkeys(_TEXTS, str), **dict.fromkeys(PORTS, int)}


class StrandedError(UnavailableError):
    """A kernel of ours runs, and nobody can reach it any more; the text says why."""


def read_connection(path: Path) -> dict[str, Any]:
    """The content of a connection file that can be used. Blocks on the disk, never for ever.

    Raises OSError where it cannot be read, ValueError where it is no connection file; both name it.
    """
    raw = read_regular(str(path))
    try:
        return _checked(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no connection file: {error}") from error


def check_own(path: Path, known: str = "") -> None:
    """Make sure that a connection file of ours leads to the sockets of its own kernel, with the key that is `known` of
    an earlier text of it. Raises as `read_connection`."""
    found = read_connection(path)
    if found["ip"] != f"{path.with_suffix('')}-ipc":
        raise ValueError(f"{path} leads to sockets that are not its kernel's: {found['ip']:.200}")
    if found["key"] != (_key(known) or found["key"]):
        raise ValueError(f"{path} has a key that is not its kernel's")


def key_of(record: KernelRecord) -> str:
    """The key of a kernel, from its record or its connection file; empty where neither has it. Blocks on the disk."""
    known = _key(record.connection)
    with contextlib.suppress(OSError, ValueError):
        return known or str(read_connection(Path(record.connection_file))["key"])
    return known


def _key(text: str) -> str:
    with contextlib.suppress(ValueError, RecursionError):
        return str(_checked(json.loads(text))["key"])
    return ""


def text_of(path: Path, known: str) -> str:
    """What stands in a connection file of ours; what is `known` of an earlier text where it was removed or damaged.
    Blocks on the disk, never for ever."""
    with contextlib.suppress(OSError, ValueError):
        check_own(path, known)
        return read_regular(str(path)).decode()
    return known


def lay_again(path: Path, text: str) -> None:
    """Put a connection file where it was removed or damaged, whole at once. Raises OSError."""
    if path.is_dir():  # nothing that is a file takes its place
        path.rename(f"{path}.set-aside-{time.time_ns()}")
    put(str(path), text)


def check_sockets(path: Path) -> None:
    """Make sure that the sockets are there to which a connection file of ours leads. Raises StrandedError, and as
    `read_connection`."""
    connection = read_connection(path)
    wanted = [f"{connection['ip']}-{connection[port]}" for port in PORTS if port != "hb_port"]
    missing = [each for each in wanted if not os.path.exists(each)]
    if missing:
        were = f"its sockets were removed ({missing[0]})"
        raise StrandedError(f"{were}: it runs on with its variables, and nothing can reach it any more.")


def remove_connection(record: KernelRecord) -> None:
    """Remove the connection file and the sockets of a kernel of ours that is gone; those of others are theirs."""
    base = Path(record.connection_file)
    if not record.owned or base.name != f"{record.id}.json":
        return
    for path in base.parent.glob(f"{record.id}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _checked(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("it holds no object")
    found: dict[str, Any] = {"signature_scheme": "hmac-sha256", "hb_port": 0, **given}
    wrong = [name for name, kind in _TYPES.items() if type(found.get(name)) is not kind]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} missing or of a wrong type")
    if found["transport"] not in _TRANSPORTS or found["signature_scheme"] not in _SCHEMES:
        raise ValueError(f"transport {found['transport']!r}, signature scheme {found['signature_scheme']!r}")
    if not all(0 <= found[port] < 1 << 16 for port in PORTS):
        raise ValueError("a port is out of range")
    return found
