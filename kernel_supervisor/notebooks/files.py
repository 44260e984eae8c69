"""Putting a document on the disk whole or not at all, and knowing whether it is still the one put there."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from kernel_supervisor.core.errors import RefusedError, SupervisorError, UnavailableError
from kernel_supervisor.keeping import LEFTOVER_S
from kernel_supervisor.notebooks.jsonstream import Write
from kernel_supervisor.paths import open_regular, sync_folder

Made = TypeVar("Made")

PRIVATE = 0o077
"""The umask where nobody's is known."""
_CHUNK, _LARGEST = 1 << 20, 8 << 30


def fingerprint(path: Path) -> str | None:
    """The SHA-256 of the file at `path` in hexadecimal, None where there is no file. Raises OSError.

    Of one that is larger than any document of ours it is no hash.
    """
    digest = hashlib.sha256()
    try:
        with os.fdopen(open_regular(str(path)), "rb") as file:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                return "too large to be ours"
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def is_ours(path: Path, known: str | None) -> bool:
    """Whether nothing stands at `path`, or what `known` (one `fingerprint`, or several) says. Raises OSError."""
    found = fingerprint(path)
    return found is None or found in (known or "").split()


def beside(path: Path) -> Path:
    """A free name next to `path`: `report.ipynb` → `report-1.ipynb`."""
    candidates = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))
    return next(candidate for candidate in candidates if not candidate.exists())


def check_target(path: Path, *, suffix: str) -> Path:
    """Where a document that is to be written to `path` will stand: with `suffix`, links followed.

    Raises RefusedError where none can stand there: a relative path, a folder, too long a name, a link to another kind.
    """
    with _explained(path):
        if not path.is_absolute():
            raise RefusedError(f"path: {path} is relative, and a document needs a place; give the whole path")
        if path.is_dir():
            raise RefusedError(f"path: {path} is a folder; name a file in it, such as {path / ('notebook' + suffix)}")
        if path.suffix != suffix:
            path = path.with_name(path.name + suffix)
            if path.is_dir():
                raise RefusedError(f"path: {path} is a folder; choose another name")
        if path.exists() and not path.is_file():
            raise RefusedError(f"path: {path} is no regular file; choose another name")
        target = Path(os.path.realpath(path))
        if target.suffix != suffix:  # it would get one, and stand where nobody looks for it
            raise RefusedError(f"path: {path} is a link to {target}, which is no {suffix} file; choose another name")
        return target


def check_folder(folder: Path) -> None:
    """Raises RefusedError where a folder that is taken for granted is not there (any more)."""
    if not folder.is_dir():
        raise RefusedError(
            f"path: the folder {folder} is {'no folder' if folder.exists() else 'gone'}, and is not made anew unasked; "
            "give the whole path of the notebook"
        )


def write_aside(
    path: Path,
    produce: Callable[[Write], Made],
    *,
    approve: Callable[[], None],
    announce: Callable[[str], None] = lambda fingerprint: None,
    umask: int = PRIVATE,
    make_folder: bool = True,
) -> tuple[str, Made]:
    """Write what `produce` gives next to `path`, and move it there in one step.

    Returns the file's `fingerprint`, and what `produce` returned.

    Folders that are missing are made if `make_folder` says so. `approve` is called before anything is written and again
    before the move, and raises to prevent it; `announce` is told the new fingerprint between that and the move. A file
    that is the same already is left as it is, and one that is replaced keeps its mode; `umask` is for what is new. On
    any error the old file is as it was and nothing is left beside it.
    Raises RefusedError for a path that cannot be, UnavailableError where the disk does not let it happen.
    """
    with _explained(path):
        approve()
        if make_folder:
            _make_folder(path.parent, umask)
        check_folder(path.parent)
        aside = path.with_name(f"{_aside_prefix(path)}{secrets.token_hex(4)}")
        try:
            written = _write_synced(aside, path, produce, umask)
            approve()
            if fingerprint(path) != written[0]:
                announce(written[0])
                os.replace(aside, path)
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        sync_folder(path.parent)
        return written


def umask_of(path: Path) -> int:
    """The umask under which somebody would make the file that stands at `path`; `PRIVATE` where none does."""
    try:
        return ~path.stat().st_mode & 0o777
    except OSError:
        return PRIVATE


def copy_aside(made: Path, path: Path, *, umask: int) -> None:
    """Put a copy of the file at `made` to `path`, as `write_aside` does, whatever stands there."""

    def produce(write: Write) -> None:
        with made.open("rb") as file:
            while chunk := file.read(_CHUNK):
                write(chunk)

    write_aside(path, produce, approve=lambda: None, umask=umask)


def _make_folder(folder: Path, umask: int) -> None:
    """The daemon's own umask is for the daemon's own files."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(0o777 & ~umask | 0o300)  # what comes into it must get there


def _aside_prefix(path: Path) -> str:
    # Not made of the name itself: with anything added, a name of 255 bytes would be too long.
    return f".kernel-supervisor-{hashlib.sha256(path.name.encode()).hexdigest()[:12]}-"


def _write_synced(aside: Path, path: Path, produce: Callable[[Write], Made], umask: int) -> tuple[str, Made]:
    digest = hashlib.sha256()
    with aside.open("xb", buffering=_CHUNK) as file:
        _remove_leftovers(path, os.fstat(file.fileno()).st_mtime)
        with suppress(OSError):  # a file system without permissions
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask)

        def write(piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        made = produce(write)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), made


def _remove_leftovers(path: Path, now: float) -> None:
    """Remove what writers of `path` that were killed have left; `now` is the file system's own time."""
    for leftover in path.parent.glob(_aside_prefix(path) + "*"):
        with suppress(OSError):
            if now - leftover.stat().st_mtime > LEFTOVER_S:
                leftover.unlink()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _explain(error, path) from error


def _explain(error: OSError, path: Path) -> SupervisorError:
    """`error`, met while writing `path`, in words that say what to do."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return RefusedError(f"path: a part of {path.parent} is a file, not a folder; choose another path")
    if error.errno in (errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.ELOOP):
        return RefusedError(f"path: {path} cannot be a file's name ({error.strerror}); choose another path")
    advice = {
        errno.ENOSPC: "free some room, or choose a path on another disk",
        errno.EDQUOT: "the disk quota is used up: free some room, or choose a path on another disk",
        errno.EROFS: "the file system is read-only: choose a path elsewhere",
        errno.EACCES: "choose a path in a folder that you may write to",
        errno.EPERM: "choose a path in a folder that you may write to",
        errno.ENOENT: "the folder has vanished meanwhile: try again, or choose another path",
    }.get(error.errno or 0, "try again, or choose another path")
    what = error.strerror or str(error)
    return UnavailableError(f"{path} could not be written: {what}; {advice}. What stood there before is unchanged.")
