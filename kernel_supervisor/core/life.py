"""An execution's life as its kernel's owner sees it: what may happen to it, what is to be done next, how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kernel_supervisor.core.model import ExecutionStatus

Phase = Literal[
    "queued", "begun", "left", "sent", "running", "replied", "idle", "doubted", "unanswered", "over"
]  # fmt: skip
"""`begun`: committed as running, not sent. `left`: a predecessor sent it, or was about to. `running`: its kernel said
so. `replied`: its idle status is missing yet; `idle`: its reply. `doubted`: its reply may have been lost, so a request
behind it is to tell; `unanswered`: likewise, and its kernel is done with it."""

Doubt = Literal["", "nobody listened", "log gone", "broken off"]
"""Why a reply may be lost: it came to nobody and is recorded nowhere, or a connection broke."""

Step = Literal["begin", "send", "doubt", "ask", "wait", "settle"]
"""What is to be done: commit it as running, send it, put it in doubt, put a request behind it, wait, or settle it."""

IDLE_GRACE_S = 4.0
"""How long after its reply an execution's idle status may be missing (nbclient waits as long)."""
REPLY_GRACE_S = 1.0
"""How long after its idle status an execution's reply may be missing before the kernel is asked."""


class IllegalEventError(Exception):
    """Something happened to an execution that cannot happen in its phase: a fault of ours."""


@dataclass(frozen=True, slots=True)
class Begun:
    """It was committed as running on this kernel."""


@dataclass(frozen=True, slots=True)
class Moved:
    """It was committed as running on a kernel that was replaced before it was sent."""


@dataclass(frozen=True, slots=True)
class Left:
    """It was found as running: a predecessor sent it, or was about to."""


@dataclass(frozen=True, slots=True)
class Sent:
    """It is sent, or is about to be."""


@dataclass(frozen=True, slots=True)
class Started:
    """Its kernel said that it runs, or it showed something."""


@dataclass(frozen=True, slots=True)
class Replied:
    """Its kernel replied."""

    status: ExecutionStatus
    execution_count: int | None = None


@dataclass(frozen=True, slots=True)
class WentIdle:
    """Its kernel is done with it."""


@dataclass(frozen=True, slots=True)
class Waited:
    """The grace for what is missing is over."""


@dataclass(frozen=True, slots=True)
class Doubted:
    """Its reply may have been lost."""

    why: Doubt


@dataclass(frozen=True, slots=True)
class Passed:
    """A request behind it was answered, and everything is read that came before that."""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It is not wanted any more: taken out of the queue, or interrupted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The process that it was for, or ran in, is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It could not be sent, and certainly was not."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """We failed; what became of it nobody knows."""

    reason: str


Event = (
    Begun | Moved | Left | Sent | Started | Replied | WentIdle | Waited | Doubted | Passed | Cancelled | Gone
    | Refused | Failed
)  # fmt: skip

_ENDS: dict[type[Event], Phase] = {Gone: "over", Failed: "over", Refused: "over"}
_SENT: dict[type[Event], Phase] = {
    **_ENDS,
    Cancelled: "sent",
    Started: "running",
    Replied: "replied",
    WentIdle: "idle",
    Doubted: "doubted",
}
STEPS: dict[Phase, dict[type[Event], Phase]] = {
    "queued": {**_ENDS, Begun: "begun", Left: "left", Cancelled: "over"},
    "begun": {**_ENDS, Moved: "queued", Sent: "sent", Cancelled: "over"},
    "left": {**_SENT, Cancelled: "left", Sent: "sent"},
    "sent": _SENT,
    "running": {**_SENT, Cancelled: "running"},
    "replied": {
        **_ENDS, Cancelled: "replied", Started: "replied", Replied: "replied", Doubted: "replied", Passed: "replied",
        WentIdle: "over", Waited: "over",
    },
    "idle": {
        **_ENDS, Cancelled: "idle", Started: "idle", WentIdle: "idle", Replied: "over", Doubted: "unanswered",
        Waited: "unanswered",
    },
    "doubted": {
        **_ENDS, Cancelled: "doubted", Started: "doubted", Doubted: "doubted", Replied: "replied",
        WentIdle: "unanswered", Passed: "over",
    },
    "unanswered": {
        **_ENDS, Cancelled: "unanswered", Started: "unanswered", Doubted: "unanswered", WentIdle: "unanswered",
        Replied: "over", Passed: "over",
    },
    "over": {},
}  # fmt: skip
"""What may happen in which phase, and the phase that follows. In `over` everything may, and changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Where an execution stands, and what is known of its end."""

    phase: Phase = "queued"
    sent: bool = False
    """Whether its kernel may have got it."""
    left: bool = False
    """Whether a predecessor may have sent it."""
    reply: ExecutionStatus | None = None
    """What its kernel replied."""
    execution_count: int | None = None
    doubt: Doubt = ""
    unanswered: bool = False
    """Whether its kernel was done with it before it replied."""
    cancelled: str = ""
    """Why it is not wanted any more."""
    end: Event | None = None
    """What ended it."""

    @property
    def over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.phase == "over"

    @property
    def started(self) -> bool:
        """Whether its kernel has begun with it, as far as is known."""
        return self.phase in ("running", "replied", "idle", "unanswered", "over")


LEFT = Life(phase="left", sent=True, left=True)
"""What a predecessor left running."""


def step(life: Life, event: Event) -> Life:
    """The life after `event`. Raises IllegalEventError for what cannot happen now."""
    if life.over:
        return life
    phase = STEPS[life.phase].get(type(event))
    if phase is None:
        raise IllegalEventError(f"{type(event).__name__} in phase {life.phase}")
    unanswered = life.unanswered or phase == "unanswered"
    life = replace(life, phase=phase, unanswered=unanswered, end=event if phase == "over" else None)
    match event:
        case Sent() | Left():
            return replace(life, sent=True, left=life.left or isinstance(event, Left))
        case Replied(status, count):
            return replace(life, reply=status, execution_count=count)
        case Doubted(why):
            return replace(life, doubt=life.doubt or why)
        case Cancelled(reason):
            return replace(life, cancelled=reason)
        case _:
            return life


def wants(life: Life, *, sending_again_is_safe: bool) -> Step:
    """What is to be done next. What a predecessor may have sent is sent again only where the kernel begins it once."""
    if life.left and not (life.doubt or sending_again_is_safe) and life.phase in ("left", "running", "idle"):
        return "doubt"
    match life.phase:
        case "queued":
            return "begin"
        case "begun" | "left":
            return "send"
        case "doubted" | "unanswered":
            return "ask"
        case "over":
            return "settle"
        case _:
            return "wait"


def grace_s(life: Life) -> float | None:
    """How long what is missing now may be waited for; None for as long as it takes."""
    return {"replied": IDLE_GRACE_S, "idle": REPLY_GRACE_S}.get(life.phase)


_NOT_AGAIN = "so nobody knows how it ended. It was not run again"
_DOUBTS: dict[Doubt, str] = {
    "nobody listened": "it was sent, or about to be sent, when the daemon died, and was over before another listened; "
    f"this kernel does not record itself, {_NOT_AGAIN}",
    "log gone": "it was over before another daemon listened, and its kernel's message log is gone or could not take "
    f"it; {_NOT_AGAIN}",
    "broken off": "the connection to its kernel broke while it ran, and when that was back it was over and its reply "
    f"gone, or it had never arrived; {_NOT_AGAIN}",
    "": "its kernel was done with it and sent no reply, so nobody knows how it ended; kernels that do not record "
    "themselves do that where an interrupt comes as a cell ends. What it printed is whole. It was not run again",
}


def ending(life: Life) -> tuple[ExecutionStatus, str]:
    """The final status of an execution, and why, in words. Raises IllegalEventError for one that is not over."""
    if not life.over:
        raise IllegalEventError(f"an end in phase {life.phase}")
    status, reason = _ended(life)
    return status, "; ".join(dict.fromkeys(filter(None, (reason, life.cancelled))))


def _ended(life: Life) -> tuple[ExecutionStatus, str]:
    match life.end:
        case _ if life.reply is not None:
            return life.reply, ""
        case Passed():
            in_doubt = "" if life.unanswered and life.doubt == "broken off" else life.doubt
            return "lost", _DOUBTS[in_doubt]
        case Failed(reason):
            return "lost", reason
        case Gone(reason) if life.sent:
            return "dead", reason
        case Gone(reason) | Refused(reason):
            return "aborted", f"it was not run: {reason}"
        case _:
            return "aborted", ""


def status_of(reply: Mapping[str, Any]) -> ExecutionStatus:
    """The status that the content of an execute_reply means."""
    match reply.get("status"):
        case "ok":
            return "ok"
        case "aborted" | "abort":
            return "aborted"
        case _:
            return "error"
