"""What a daemon answers before a client shows it at all: kept, so that a shim can answer while the next one starts.

These answers depend on the protocol's version alone. The daemon keeps what it answered; a shim of the same version of
this package reads it where a daemon takes longer than clients wait.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from kernel_supervisor import __version__
from kernel_supervisor.paths import Paths, put, read_regular

ASKED_FIRST = ("initialize", "server/discover", "tools/list")
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
    """What the last daemon of this version answered to that, or None where nothing is known."""
    name = name_of(method, params, handshake)
    if not name:
        return None
    try:
        result = json.loads(read_regular(_path(paths, name)))
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def _path(paths: Paths, name: str) -> str:
    return os.path.join(paths.cache, "answers", __version__, name + ".json")
