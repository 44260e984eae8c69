"""Names: of sessions, from directories; of kernels, from unique prefixes."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable, Mapping

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, SessionName, SessionRecord

_NAME = re.compile(r"[\w.@+ -]{1,80}")


def session_name(wanted: str, directory: str, sessions: Mapping[SessionName, SessionRecord]) -> SessionName:
    """`wanted` if given; else the directory's own name, told apart from another directory's of the same name.

    Raises RefusedError for a name that nobody could type.
    """
    if wanted:
        if not _NAME.fullmatch(wanted):
            raise RefusedError(f"{wanted!r} is no session name: use letters, digits, spaces and . _ - @ +, 80 at most")
        return SessionName(wanted)
    return _apart(os.path.basename(directory), directory, sessions)


def notebook_session(notebook: str, directory: str, sessions: Mapping[SessionName, SessionRecord]) -> SessionName:
    """The session of a notebook that is open in Jupyter: its file's name, as long as no other directory has it."""
    return _apart(os.path.basename(notebook), directory, sessions)


def _apart(name: str, directory: str, sessions: Mapping[SessionName, SessionRecord]) -> SessionName:
    base = re.sub(r"[^\w.@+ -]", "-", name)[:60].strip() or "root"
    present = sessions.get(SessionName(base))
    if present is None or present.directory == directory:
        return SessionName(base)
    return SessionName(f"{base}-{binascii.crc32(os.fsencode(directory)):08x}"[:80])


def kernel_id(wanted: str, known: Iterable[KernelId]) -> KernelId:
    """The one kernel whose id is or begins with `wanted`. Raises RefusedError."""
    ids = list(known)
    if wanted in ids:
        return KernelId(wanted)
    matches = [each for each in ids if wanted and each.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RefusedError(f"several kernels begin with {wanted!r}: {', '.join(sorted(matches))}")
    raise RefusedError(f"there is no kernel {wanted!r}; kernel_list_running lists them")
