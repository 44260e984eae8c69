"""Errors that reach a caller: each says whose fault it is, what happened, and what to do next."""

from __future__ import annotations

from kernel_supervisor.core.ways import WayOn


class SupervisorError(Exception):
    """What was asked for could not be done; `words` are for the person or model that asked, the text for a log."""

    def __init__(self, *words: str | WayOn) -> None:
        super().__init__("".join(part for part in words if isinstance(part, str)))
        self.words = words


class RefusedError(SupervisorError):
    """The request is wrong as it stands: the caller can mend it."""


class UnavailableError(SupervisorError):
    """The request is fine; the system below (disk, kernel, interpreter) did not let it happen."""
