"""An execution's life as its kernel's owner sees it: what may happen to it, what is to be done next, how it ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from kernel_supervisor.core.model import ExecutionStatus

Phase = Literal[
    "queued", "begun", "left", "sent", "unheard", "running", "replied", "idle", "doubted", "unanswered", "over"
]  # fmt: skip
"""`begun`: committed as running, not sent. `left`: a predecessor sent it, or was about to. `unheard`: sent, and its
kernel does not begin: it runs something else, or had it from a predecessor whose records are lost. `running`: its
kernel said so. `replied`: its idle status is missing yet; `idle`: its reply. `doubted`: its reply may have been lost,
so a request behind it is to tell; `unanswered`: likewise, and its kernel is done with it."""

Step = Literal["begin", "send", "look", "doubt", "ask", "wait", "settle"]
"""What is to be done: commit it as running, send it, look whether it is over, put it in doubt, put a request behind it,
wait, or settle it."""

BEGIN_GRACE_S = 2.0
"""How long after it was sent an execution may not have begun before that is looked into."""
IDLE_GRACE_S = 4.0
"""How long after its reply an execution's idle status may be missing (nbclient waits as long)."""
REPLY_GRACE_S = 1.0
"""How long after its idle status an execution's reply may be missing before the kernel is asked."""


class IllegalEventError(Exception):
    """Something happened to an execution that cannot happen in its phase: a fault of ours."""


Event = Literal[
    "begun", "moved", "left", "sent", "started", "replied", "went idle", "waited", "doubted", "passed", "cancelled",
    "gone", "refused", "failed",
]  # fmt: skip
"""`begun`: committed as running on this kernel; `moved`: on one that was replaced before it was sent. `left`: found
running. `sent`: or about to be. `started`: its kernel said that it runs, or it showed something. `waited`: the grace
for what is missing is over. `doubted`: its reply may have been lost. `passed`: a request behind it was answered, and
all is read that came before that. `cancelled`: taken out of the queue, or interrupted. `gone`: the process that it was
for, or ran in. `refused`: it could not be sent, and was not. `failed`: we did, and nobody knows how it ended."""

_ENDS: dict[Event, Phase] = {"gone": "over", "failed": "over", "refused": "over"}
_SENT: dict[Event, Phase] = {
    **_ENDS, "started": "running", "replied": "replied", "went idle": "idle", "doubted": "doubted",
}  # fmt: skip
STEPS: dict[Phase, dict[Event, Phase]] = {
    "queued": {**_ENDS, "begun": "begun", "left": "left", "cancelled": "over"},
    "begun": {**_ENDS, "moved": "queued", "sent": "sent", "cancelled": "over"},
    "left": {**_SENT, "cancelled": "left", "sent": "sent"},
    "sent": {**_SENT, "cancelled": "sent", "waited": "unheard"},
    "unheard": {**_SENT, "cancelled": "unheard"},
    "running": {**_SENT, "cancelled": "running"},
    "replied": {
        **_ENDS, **dict.fromkeys(("cancelled", "started", "replied", "doubted", "passed"), "replied"),
        "went idle": "over", "waited": "over",
    },
    "idle": {
        **_ENDS, **dict.fromkeys(("cancelled", "started", "went idle"), "idle"),
        "replied": "over", "doubted": "unanswered", "waited": "unanswered",
    },
    "doubted": {
        **_ENDS, **dict.fromkeys(("cancelled", "started", "doubted"), "doubted"),
        "replied": "replied", "went idle": "unanswered", "passed": "over",
    },
    "unanswered": {
        **_ENDS, **dict.fromkeys(("cancelled", "started", "doubted", "went idle"), "unanswered"),
        "replied": "over", "passed": "over",
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
    forgotten: bool = False
    """Whether a predecessor had it whose records are lost, and may have sent it to a kernel that is gone."""
    reply: ExecutionStatus | None = None
    """What its kernel replied."""
    execution_count: int | None = None
    doubt: str = ""
    """Why its reply may be lost: `nobody listened`, `log gone`, `broken off` or `unsaid`."""
    unanswered: bool = False
    """Whether its kernel was done with it before it replied."""
    cancelled: str = ""
    """Why it is not wanted any more."""
    end: Event | None = None
    """What ended it, and `why`."""
    why: str = ""

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


def step(
    life: Life, event: Event, why: str = "", *, reply: ExecutionStatus | None = None, count: int | None = None
) -> Life:
    """The life after `event`, with `why` it is cancelled, doubted or over, or with what its kernel replied.

    Raises IllegalEventError for what cannot happen now.
    """
    if life.over:
        return life
    phase = STEPS[life.phase].get(event)
    if phase is None:
        raise IllegalEventError(f"{event} in phase {life.phase}")
    return replace(
        life,
        phase=phase,
        sent=life.sent or event in ("sent", "left"),
        left=life.left or event == "left",
        reply=reply or life.reply,
        execution_count=life.execution_count if count is None else count,
        doubt=life.doubt or (why if event == "doubted" else ""),
        unanswered=life.unanswered or phase == "unanswered",
        cancelled=why if event == "cancelled" else life.cancelled,
        end=event if phase == "over" else None,
        why=why if phase == "over" else "",
    )


_WANTED: dict[Phase, Step] = {
    "queued": "begin", "begun": "send", "left": "send", "doubted": "ask", "unanswered": "ask", "over": "settle",
}  # fmt: skip


def wants(life: Life, *, sending_again_is_safe: bool) -> Step:
    """What is to be done next. What a predecessor may have sent is sent again only where the kernel begins it once."""
    if life.left and not (life.doubt or sending_again_is_safe) and life.phase in ("left", "running", "idle"):
        return "doubt"
    if life.phase == "unheard":
        return "look" if sending_again_is_safe else "wait"
    return _WANTED.get(life.phase, "wait")


def grace_s(life: Life) -> float | None:
    """How long what is missing now may be waited for; None for as long as it takes."""
    return {"sent": BEGIN_GRACE_S, "replied": IDLE_GRACE_S, "idle": REPLY_GRACE_S}.get(life.phase)


_NOT_AGAIN = "so nobody knows how it ended. It was not run again"
_FORGOTTEN = (
    "a daemon had this call that could not record it, and is gone, and nothing that is left tells whether it was run. "
    "It was not run again"
)
_DOUBTS: dict[str, str] = {
    "nobody listened": "it was sent, or about to be sent, when the daemon died, and was over before another listened; "
    f"this kernel does not record itself, {_NOT_AGAIN}",
    "log gone": "it was over before another daemon listened, and its kernel's message log is gone or could not take "
    f"it; {_NOT_AGAIN}",
    "broken off": "the connection to its kernel broke while it ran, and when that was back it was over and its reply "
    f"gone, or it had never arrived; {_NOT_AGAIN}",
    "unsaid": "its kernel is done with it and never said how it ended, as where code changes whose output it is, "
    f"{_NOT_AGAIN}",
    "": "its kernel was done with it and sent no reply, as where an interrupt comes while a cell ends, so nobody knows "
    "how it ended. It was not run again",
}


def ending(life: Life) -> tuple[ExecutionStatus, str]:
    """The final status of an execution, and why, in words. Raises IllegalEventError for one that is not over."""
    if not life.over:
        raise IllegalEventError(f"an end in phase {life.phase}")
    status, reason = _ended(life)
    return status, "; ".join(dict.fromkeys(filter(None, (reason, life.cancelled))))


def _ended(life: Life) -> tuple[ExecutionStatus, str]:
    if life.reply is not None:
        return life.reply, ""
    match life.end:
        case "passed":
            return "lost", _DOUBTS["" if life.unanswered and life.doubt == "broken off" else life.doubt]
        case "failed" if life.sent:
            return "lost", life.why
        case "gone" if life.sent:
            return "dead", life.why
        case "gone" | "refused" | "failed":
            return not_run(life, f"it was not run: {life.why}")
        case _:
            return not_run(life)


def not_run(life: Life, reason: str = "") -> tuple[ExecutionStatus, str]:
    """The end of an execution that we sent to no kernel, and why: one that is forgotten may have been run before."""
    return ("lost", _FORGOTTEN) if life.forgotten else ("aborted", reason)


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_INTERRUPTS = ("KeyboardInterrupt", "InterruptException")
"""What an interrupt raises, in Python and in Julia."""


def status_of(reply: Mapping[str, Any], *, stopped: bool = False) -> ExecutionStatus:
    """The status that the content of an execute_reply means, of an execution that was `stopped` or not.

    Code may turn an interrupt into another error; that names it, as what it was raised from. Kernels that wrap other
    programs say `abort` of what they ended.
    """
    match reply.get("status"):
        case "ok":
            return "ok"
        case "aborted" | "abort" as said:
            return "interrupted" if stopped and said == "abort" else "aborted"
    name, lines = str(reply.get("ename")), reply.get("traceback") or ()
    if name in _INTERRUPTS or (stopped and (name == "CancelledError" or _names_an_interrupt(lines))):
        return "interrupted"
    return "error"


def _names_an_interrupt(lines: Iterable[Any]) -> bool:
    """Whether an interrupt is among the exceptions of a traceback, each of which begins a line with its name."""
    rows = (row for text in lines for row in _COLOUR.sub("", str(text)).splitlines())
    return any(row.startswith(_INTERRUPTS) for row in rows)


def exits(reply: Mapping[str, Any]) -> bool:
    """Whether a kernel whose execute_reply has this content said that it will exit, as `exit()` makes it."""
    asked = [payload for payload in reply.get("payload") or () if payload.get("source") == "ask_exit"]
    return any(not payload.get("keepkernel") for payload in asked)
