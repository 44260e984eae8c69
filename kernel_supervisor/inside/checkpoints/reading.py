"""Reads the files of a checkpoint: only what is this user's alone to write, and whose checksum is right.

Runs *inside* kernels, loaded by `restoring.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any, Dict

FORMAT = 1


class UnreadableError(Exception):
    """A file is not to be used; the message says why, for people."""


class RefusedCheckpointError(Exception):
    """A checkpoint is not to be read at all; the message says why."""


def manifest(content: Dict[str, Any]) -> Dict[str, Any]:
    """What stands in the manifest that a restore asks for. Raises RefusedCheckpointError."""
    path = content["manifest"]
    try:
        text = _read(path)
    except (OSError, UnreadableError) as error:
        raise RefusedCheckpointError("its manifest cannot be read: %s" % error) from None
    if hashlib.sha256(text).hexdigest() != content["sha256"]:
        raise RefusedCheckpointError("its manifest is not the one that was written: its checksum is wrong")
    try:
        found: Dict[str, Any] = json.loads(text.decode("utf-8"))
        known = found["format"]
    except (ValueError, KeyError, TypeError):
        raise RefusedCheckpointError("its manifest is damaged") from None
    if known != FORMAT:
        raise RefusedCheckpointError("it was written by another version, in format %s" % known)
    return found


def _read(path: str) -> bytearray:
    """A whole file, which must be this user's alone to write. Raises UnreadableError with the reason, and OSError."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC)
    with open(file, "rb", buffering=0) as opened:
        told = os.fstat(file)
        if not stat.S_ISREG(told.st_mode) or told.st_uid != os.geteuid() or told.st_mode & 0o022:
            raise UnreadableError("its file is not this user's alone to write")
        content = bytearray(told.st_size)
        view, done = memoryview(content), 0
        while done < len(content):
            read = opened.readinto(view[done:])
            if not read:
                raise UnreadableError("its file is cut short")
            done += read
    return content


def content_of(folder: str, name: str, length: int) -> bytearray:
    """An object by its checksum, which is its name. Raises UnreadableError."""
    try:
        content = _read(os.path.join(folder, os.path.basename(name)))
    except FileNotFoundError:
        raise UnreadableError("its file is gone") from None
    except OSError as error:
        raise UnreadableError("its file cannot be read: %s" % (error.strerror or error)) from None
    if len(content) != length or hashlib.sha256(content).hexdigest() != name:
        raise UnreadableError("its file is damaged: its checksum is wrong")
    return content


def buffer(folder: str, told: Dict[str, Any]) -> Any:
    """What an array had as its memory, to be written to where it could be."""
    content = content_of(folder, told["object"], told["bytes"])
    return memoryview(content).toreadonly() if told.get("readonly") else content
