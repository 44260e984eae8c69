"""How sessions are spelled: `folder/` for a project's own one, `folder/name` for its others. Pure.

A project is a directory by its real path. The folder is the directory's own name, with a hash behind it where another
project has that name already; it never changes while the project has a session. Versions before this one knew a
session by one word alone: `inherit` says how theirs are spelled.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Collection, Iterable
from itertools import chain, count

from kernel_supervisor.core.model import SessionName

_WORD = re.compile(r"[\w.@+ -]{1,80}")
_LONGEST = 60


def spelled(folder: str, name: str = "") -> SessionName:
    """A session's name as it is shown, and understood from everywhere."""
    return SessionName(f"{folder}/{name}")


def word(given: str) -> str | None:
    """What somebody gave as a plain name; None where it is none."""
    plain = unicodedata.normalize("NFC", given.strip())
    return plain if _WORD.fullmatch(plain) else None


def fits(folder: object, name: object) -> bool:
    """Whether these can be a session's folder and name: together they are understood again."""
    if not isinstance(folder, str) or not isinstance(name, str):
        return False
    return _WORD.fullmatch(folder) is not None and name in ("", word(name))


def as_word(text: str) -> str:
    """A name of anything, such as a file's, that can be typed."""
    return re.sub(r"[^\w.@+ -]", "-", text)[:_LONGEST].strip() or "root"


def base(directory: str) -> str:
    """What a project in that directory is called where no other is called so."""
    return as_word(directory.rpartition("/")[2])


def mark(directory: str) -> str:
    """A short hash of a directory."""
    return f"{binascii.crc32(directory.encode('utf-8', 'surrogateescape')):08x}"


def apart(plain: str, directory: str, taken: Collection[str]) -> str:
    """`plain`, told apart from what is taken by the directory's hash, and if need be by a number."""
    marked = f"{plain[:_LONGEST]}-{mark(directory)}"
    candidates = chain((plain, marked), (f"{marked}-{number}" for number in count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def inherit(
    old: Iterable[tuple[str, str]], folders: dict[str, str], spelled_already: Collection[SessionName]
) -> dict[str, tuple[str, str]]:
    """Folder and name of sessions that are on record under a single word, given with their directories.

    `folders` has those of the projects that are known, by directory, and gets the new ones. A session belongs to its
    recorded directory; it is that project's own one where it was called after it.
    """
    left, found = list(old), dict[str, tuple[str, str]]()
    taken = set(spelled_already)
    words = {key for key, _ in left}

    def settle(key: str, directory: str, name: str) -> None:
        found[key] = (folders[directory], name)
        taken.add(spelled(*found[key]))

    for key, directory in left:
        plain = base(directory)
        if key in (plain, f"{plain}-{mark(directory)}"):
            if directory not in folders:
                folders[directory] = apart(key, directory, folders.values())
            if spelled(folders[directory]) not in taken:
                settle(key, directory, "")
    for key, directory in left:
        if key in found:
            continue
        if directory not in folders:
            folders[directory] = apart(base(directory), directory, {*folders.values(), *words})
        folder = folders[directory]
        plain = word(key) or as_word(key)
        names = (plain.removesuffix(f"-{mark(directory)}"), plain)
        free = [name for name in names if name and spelled(folder, name) not in taken]
        used = [each.partition("/")[2] for each in taken if each.startswith(f"{folder}/")]
        settle(key, directory, free[0] if free else apart(plain, directory, used))
    return found
