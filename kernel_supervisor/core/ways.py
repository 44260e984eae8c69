"""Ways on, as values: what can be done next, in nobody's words yet. Pure.

An agent is told of tools (`mcp/ways.py`), a person of commands (`cli/ways.py`, which the command line sends with its
hello); each has words for them all, and begins them with what joins them to the words before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

_OfExecutions = Literal[
    "wait on",
    "wait for it",
    "wait or restart",
    "interrupt hard",
    "answer",
    "answer unseen",
    "leave console",
    "stop",
    "may stop",
    "read",
]
_OfResults = Literal[
    "take longer",
    "see images",
    "unfold",
    "write notebook",
    "write whole",
    "overwrite",
    "run it",
    "show it",
    "see output",
]
_OfHistories = Literal[
    "see executions", "see history", "ask history", "see what ran", "see earlier", "find by code", "see sessions"
]
_OfKernels = Literal[
    "see kernels", "name kernel", "fresh kernel", "default kernel", "end kernel", "leave kernel", "kill"
]
_OfStarts = Literal[
    "first exec", "kill", "next exec", "restart there", "restart too", "restart for own", "replay", "own session"
]
_OfTheirs = Literal["attach by id", "detach", "detach first", "detach or restart", "detach or end", "return", "let go"]
_OfEnvironments = Literal["see environments", "name environment", "mend environment", "all environments", "use other"]
_OfCheckpoints = Literal["checkpoint", "bring back", "restore", "replay rest", "turn on", "see variables", "offer auto"]
_OfVariables = Literal["all variables", "fewer variables", "ask in its language"]
Name: TypeAlias = (
    _OfExecutions
    | _OfResults
    | _OfHistories
    | _OfKernels
    | _OfStarts
    | _OfTheirs
    | _OfEnvironments
    | _OfCheckpoints
    | _OfVariables
)


@dataclass(frozen=True, slots=True)
class WayOn:
    """One of them, and what it is about, such as an execution's number."""

    name: Name
    about: tuple[str | int, ...] = ()


Words: TypeAlias = str | tuple[str | WayOn, ...]
"""What is said: prose, and the ways on in it."""


def parts(words: Words) -> tuple[str | WayOn, ...]:
    """Words one by one."""
    return (words,) if isinstance(words, str) else words
