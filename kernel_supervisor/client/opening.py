"""What a daemon answers before a client shows it at all: kept, so that a shim can answer while the next one starts.

These answers depend on the protocol's version alone. The daemon keeps what it answered; a shim of the same version of
this package, at the same place and run by the same interpreter, reads it where a daemon takes longer than clients wait.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

from kernel_supervisor import __version__
from kernel_supervisor.paths import Paths, digest, is_own, open_regular, put

ASKED_FIRST: dict[str, dict[str, type]] = {
    "initialize": {"protocolVersion": str, "capabilities": dict, "serverInfo": dict},
    "server/discover": {"supportedVersions": list, "capabilities": dict},
    "tools/list": {"tools": list},
    "prompts/list": {"prompts": list},
}
"""And what an answer to each has at the least."""
_LARGEST = 1 << 20
_VERSION = "io.modelcontextprotocol/protocolVersion"
_PLAIN = re.compile(r"[\w.-]{1,20}")


def name_of(method: str, params: Any, handshake: Any) -> str:
    """What an answer is kept under; empty where it is none of those, or there is more to it than a version.

    `handshake` has the parameters of the connection's `initialize`, where there was one.
    """
    if method not in ASKED_FIRST or (isinstance(params, dict) and params.get("cursor")):
        return ""
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(_VERSION) if isinstance(meta, dict) else None
    if version is None and isinstance(handshake, dict):
        version = handshake.get("protocolVersion")
    return f"{method.replace('/', '-')}-{version}" if isinstance(version, str) and _PLAIN.fullmatch(version) else ""


def keep(paths: Paths, name: str, result: dict[str, Any]) -> None:
    """Keep an answer for the shims of this version. Raises OSError."""
    path = _path(paths, name)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    put(path, json.dumps(result))


def recall(paths: Paths, method: str, params: Any, handshake: Any) -> dict[str, Any] | None:
    """What the last daemon of this installation answered to that, or None where nothing is known, or it is doubtful."""
    name = name_of(method, params, handshake)
    if not name:
        return None
    try:
        result = json.loads(_read(_path(paths, name)), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError):
        return None
    wanted = ASKED_FIRST[method].items()
    whole = isinstance(result, dict) and all(_is(kind, result.get(field)) for field, kind in wanted)
    return result if whole else None


def _is(kind: type, value: Any) -> bool:
    """Whether a field of an answer is of its kind: a list is one of named things, or of names."""
    if not isinstance(value, kind):
        return False
    return not isinstance(value, list) or all(
        isinstance(each, str) or (isinstance(each, dict) and isinstance(each.get("name"), str)) for each in value
    )


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is none that JSON has")


def _read(path: str) -> bytes:
    """What is in a file that we alone wrote: ours, no link, closed to others. Raises OSError, ValueError."""
    if not is_own(os.path.dirname(path)):
        raise PermissionError("it is in a folder of somebody else's")
    with os.fdopen(open_regular(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & 0o022 or status.st_size > _LARGEST:
            raise PermissionError("somebody else may have written it")
        return file.read(_LARGEST)


def folder(paths: Paths) -> str:
    """Where the answers of this installation are."""
    return os.path.join(paths.cache, "answers", f"{__version__}-{digest(f'{sys.executable} {__file__}')}")


def _path(paths: Paths, name: str) -> str:
    return os.path.join(folder(paths), name + ".json")
