"""Errors that reach a caller: each says whose fault it is, what happened, and what to do next."""

from __future__ import annotations


class SupervisorError(Exception):
    """What was asked for could not be done; the text is for the person or model that asked."""


class RefusedError(SupervisorError):
    """The request is wrong as it stands: the caller can mend it."""


class UnavailableError(SupervisorError):
    """The request is fine; the system below (disk, kernel, interpreter) did not let it happen."""
