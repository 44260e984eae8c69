"""What kernelspecs of ours are called: the command line writes them, and notebooks name them."""

from __future__ import annotations

import re

KERNELSPEC = "supervised"
"""That of the default environment; begins those of sessions and environments."""


def called(name: str) -> str:
    """As Jupyter allows it: https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    return plain if plain.startswith(KERNELSPEC) else "-".join(filter(None, (KERNELSPEC, plain)))


def of_session(session: str) -> dict[str, str]:
    """That of a session, as a notebook names it."""
    return {"name": called(f"session-{session}"), "display_name": titled(session), "language": "python"}


def titled(session: str) -> str:
    """What people see of that."""
    return f"session {session} (supervised)"
