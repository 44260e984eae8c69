"""Why a value is not saved where its pickling does not say so itself: it failed, ended its process, or is too large."""

from __future__ import annotations

import signal

_LONGEST = 200
_SIGNALS = {int(each): each.name for each in signal.Signals}


def of_error(error: BaseException) -> str:
    """What was raised as it was saved."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - whatever was raised is anybody's
        text = ""
    kind = str(type.__dict__["__name__"].__get__(type(error)))
    said = "%s: %s" % (kind, text) if text else kind
    return "saving it failed (%s)" % (said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…")


def of_end(status: int) -> str:
    """How a process ended, by its status, that was saving a value."""
    if status < 0:
        return "saving it ended the process (%s)" % _SIGNALS.get(-status, "signal %d" % -status)
    return "saving it ended the process"


def of_size(most: int) -> str:
    """It is larger than what the disk has room for."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if most >= size:
            return "it is larger than %g %s, and the disk has no room for more" % (round(most / size, 1), unit)
    return "it is larger than %d bytes, and the disk has no room for more" % most
