"""Checkpoints on disk: a folder each, written by the kernel's snapshot, and the objects that they share.

    checkpoints/objects/SHA-256         what was saved, each content once, never changed
    checkpoints/kept/ID/manifest.json   what is in it, by the snapshot (`inside/checkpoints`), written aside and renamed
    checkpoints/kept/ID/checkpoint.json ours, the last to be written: a folder without it is none
    checkpoints/kept/ID/expected.json   ours, of one that its kernel makes should others end it
    checkpoints/kept/ID/incomplete      the kernel that it was brought back to, but not as a whole

Everything here blocks on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any

from kernel_supervisor.core.checkpoints import Checkpoint, CheckpointId
from kernel_supervisor.core.model import Interpreter, KernelRecord
from kernel_supervisor.paths import Paths, children, is_own, put, read_regular, sync_folder

_OURS, MANIFEST, _INCOMPLETE = "checkpoint.json", "manifest.json", "incomplete"
_EXPECTED, _BEGUN, _FAILED = "expected.json", "begun.json", "failed.json"
_LARGEST = 256 << 20
"""Of a manifest: it has the source of every definition."""
_STALE_S = 3600.0
"""After so long nobody writes an unfinished one any more."""
_TEXTS = frozenset({"id", "session", "name", "kind", "kernel_id", "python", "manifest"})
_NUMBERS = frozenset({"at", "generation", "latest", "size", "written", "held_ms", "took_s"})


class SpoiledError(Exception):
    """A checkpoint is not as it was written, or is not this user's; the text says what."""


class Checkpoints:
    """Those of one supervisor."""

    def __init__(self, paths: Paths) -> None:
        """Name the folders; they are made when they are needed."""
        self.objects = os.path.join(paths.checkpoints, "objects")
        self._kept = os.path.join(paths.checkpoints, "kept")

    def begin(self) -> CheckpointId:
        """A new one, with an empty folder. Raises OSError."""
        for folder in (self.objects, self._kept):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if not is_own(folder):
                raise PermissionError(errno.EPERM, "it is not a folder of yours", folder)
        number = CheckpointId(f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
        os.mkdir(self.folder(number), 0o700)
        return number

    def folder(self, number: CheckpointId) -> str:
        """Where it is."""
        return os.path.join(self._kept, number)

    def manifest(self, number: CheckpointId) -> tuple[dict[str, Any], str]:
        """What the snapshot wrote, and its SHA-256. Raises OSError, ValueError, where there is none."""
        content = read_regular(os.path.join(self.folder(number), MANIFEST), _LARGEST)
        return dict(_parsed(content)), hashlib.sha256(content).hexdigest()

    def why_failed(self, number: CheckpointId) -> str:
        """What the snapshot says of why it wrote no manifest; empty for nothing."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(_parsed(read_regular(os.path.join(self.folder(number), _FAILED)))["why"])
        return ""

    def commit(self, checkpoint: Checkpoint) -> None:
        """From now on it is one. Raises OSError."""
        self._put(checkpoint, _OURS)
        for folder in (self.folder(checkpoint.id), self._kept):
            sync_folder(folder)

    def expect(self, checkpoint: Checkpoint) -> None:
        """It is one once its kernel has made it. Raises OSError."""
        self._put(checkpoint, _EXPECTED)

    def _put(self, checkpoint: Checkpoint, name: str) -> None:
        values = {**asdict(checkpoint), "missing": dict(checkpoint.missing), "makers": dict(checkpoint.makers)}
        put(os.path.join(self.folder(checkpoint.id), name), json.dumps(values))

    def expected(self) -> list[Checkpoint]:
        """Those that kernels are to make, or have made, and that nobody has taken up."""
        names = [name for name in children(self._kept) if not self._has(CheckpointId(name), _OURS)]
        return list(filter(None, (self._read(CheckpointId(name), _EXPECTED) for name in names)))

    def begun(self, number: CheckpointId) -> int:
        """The process that makes one which was expected; 0 where none has begun, or nothing tells."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return int(_parsed(read_regular(os.path.join(self.folder(number), _BEGUN)))["pid"])
        return 0

    def all(self) -> list[Checkpoint]:
        """Those that are whole, as far as a look tells, the oldest first."""
        names = [CheckpointId(name) for name in children(self._kept)]
        found = (self._read(name, _OURS) for name in names if self._has(name, MANIFEST))
        return sorted(filter(None, found), key=lambda each: each.at)

    def _has(self, number: CheckpointId, name: str) -> bool:
        return os.path.isfile(os.path.join(self.folder(number), name))

    def _read(self, number: CheckpointId, name: str) -> Checkpoint | None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            return _checked(_parsed(read_regular(os.path.join(self.folder(number), name), _LARGEST)), number)
        return None

    def check(self, checkpoint: Checkpoint) -> str:
        """The path of its manifest, which is as it was written, and this user's. Raises SpoiledError."""
        path = os.path.join(self.folder(checkpoint.id), MANIFEST)
        for each in (self._kept, self.folder(checkpoint.id), self.objects, path):
            status = _status(each)
            if status is None or status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise SpoiledError(f"{each} is gone, or could be written by others")
        try:
            is_same = self.manifest(checkpoint.id)[1] == checkpoint.manifest
        except (OSError, ValueError) as error:
            raise SpoiledError(f"{path} cannot be read: {error}") from None
        if not is_same:
            raise SpoiledError(f"{path} is not as it was written")
        return path

    def remove(self, number: CheckpointId) -> None:
        """Have one gone; what it alone needed goes with `sweep`."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.folder(number), _OURS))
        shutil.rmtree(self.folder(number), ignore_errors=True)

    def note_incomplete(self, number: CheckpointId, kernel: KernelRecord) -> None:
        """Remember that it was not brought back as a whole to this kernel: what that saves does not replace it."""
        with contextlib.suppress(OSError):
            put(os.path.join(self.folder(number), _INCOMPLETE), _generation(kernel.id, kernel.generation))

    def incomplete(self, checkpoint: Checkpoint) -> frozenset[CheckpointId]:
        """Those that were brought back incompletely to the kernel that this one is of."""
        place = _generation(checkpoint.kernel_id, checkpoint.generation)
        return frozenset(CheckpointId(name) for name in children(self._kept) if self._went_to(name) == place)

    def _went_to(self, name: str) -> str:
        with contextlib.suppress(OSError, ValueError):
            return read_regular(os.path.join(self._kept, name, _INCOMPLETE)).decode()
        return ""

    def sweep(self) -> int:
        """Remove what no checkpoint needs, and what writers that are gone have left; how many bytes. Nobody may write
        one meanwhile."""
        whole = {each.id for each in (*self.all(), *self.expected()) if each.kind != "carried"}
        for name in children(self._kept):
            if name not in whole and _age_s(os.path.join(self._kept, name)) > _STALE_S:
                self.remove(CheckpointId(name))
        needed = set().union(*(self._needs(CheckpointId(name)) for name in children(self._kept)))
        gone = 0
        for name in children(self.objects):
            path = os.path.join(self.objects, name)
            if name not in needed and (status := _status(path)) is not None:
                with contextlib.suppress(OSError):
                    os.unlink(path)
                    gone += status.st_size
        return gone

    def _needs(self, number: CheckpointId) -> set[str]:
        """The objects that one needs, by name."""
        try:
            return set(objects_of(self.manifest(number)[0]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()

    def sizes(self) -> dict[CheckpointId, int]:
        """By checkpoint, the bytes of what it alone needs."""
        needs = {each.id: self._needs(each.id) for each in self.all()}
        shared = Counter(name for names in needs.values() for name in names)
        return {number: self._own_size(number, names, shared) for number, names in needs.items()}

    def _own_size(self, number: CheckpointId, names: Iterable[str], shared: Mapping[str, int]) -> int:
        alone = [os.path.join(self.objects, name) for name in names if shared[name] == 1]
        folder = self.folder(number)
        files = [*alone, *(os.path.join(folder, name) for name in children(folder))]
        return sum(status.st_size for path in files if (status := _status(path)) is not None)


def objects_of(manifest: Mapping[str, Any]) -> Iterable[str]:
    """The names of the objects that a manifest needs. Raises KeyError, TypeError, AttributeError for an odd one."""
    for unit in manifest["units"]:
        yield str(unit["stream"])
        for buffer in unit["buffers"]:
            yield str(buffer["object"])


def _parsed(content: bytes) -> Any:
    """Raises ValueError."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is too deep") from None


def _checked(given: Any, number: CheckpointId) -> Checkpoint | None:
    """Raises TypeError, ValueError, KeyError, AttributeError for what is no checkpoint of ours."""
    known = {each.name for each in fields(Checkpoint)}
    given = {name: value for name, value in dict(given).items() if name in known}
    fits = all(isinstance(given[name], str) for name in _TEXTS & set(given))
    fits = fits and all(isinstance(given[name], int | float) for name in _NUMBERS & set(given))
    if not fits or given.get("id") != number:
        return None
    given["interpreter"] = Interpreter(
        **{**given["interpreter"], "argv": tuple(map(str, given["interpreter"]["argv"]))}
    )
    given["names"] = tuple(map(str, given["names"]))
    given["missing"] = MappingProxyType({str(name): str(why) for name, why in given["missing"].items()})
    given["makers"] = MappingProxyType({str(name): int(each) for name, each in given["makers"].items()})
    return Checkpoint(**given)


def _generation(kernel_id: str, generation: int) -> str:
    return f"{kernel_id}-{generation}"


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _age_s(path: str) -> float:
    status = _status(path)
    return time.time() - status.st_mtime if status is not None else 0.0
