"""What goes, and when: the policy, applied to what is kept. Pure; the clock is passed in.

Nothing of a living kernel goes. A history that no notebook has goes once people were told so for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel_supervisor.keeping import RECENT_S, TOLD_S

Kind = Literal["session", "checkpoint", "left over", "cache", "log"]
"""Files of kernels that no session knows are left over; what is in the cache can be fetched again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long and how much is kept; None is for ever, and whatever it comes to."""

    unused_s: float | None
    total: int | None
    """Bytes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something that is kept and can go as a whole."""

    kind: Kind
    name: str
    """A session's, a checkpoint's id, or a path."""
    size: int
    last_used: float
    """Seconds since the epoch."""
    stays: str = ""
    """Why it cannot go now, whatever its age: a kernel lives, or it is in use."""
    unsaved: bool = False
    """Whether it is a history that no notebook has."""
    told_at: float | None = None
    """Since when it is said that it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something that is to go."""

    item: Item
    why: Literal["unused", "room"]
    at: float
    """When it may, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to go, and by how many bytes what then is left is still too much."""

    due: tuple[Due, ...]
    over: int


def plan(items: Sequence[Item], policy: Policy, now: float, besides: int = 0) -> Plan:
    """What has to go of what is kept; `besides` are bytes that count, and stay.

    What waits to be told of counts as gone: nothing younger goes in its place.
    """
    due = [_due(each, "unused", now) for each in items if _is_old(each, policy, now)]
    if policy.total is None:
        return Plan(due=tuple(due), over=0)
    over = besides + sum(each.size for each in items) - sum(each.item.size for each in due) - policy.total
    old = {(each.item.kind, each.item.name) for each in due}
    for each in _for_room(items, now):
        if over <= 0:
            break
        if (each.kind, each.name) not in old:
            due.append(_due(each, "room", now))
            over -= each.size
    return Plan(due=tuple(due), over=max(0, over))


def _is_old(item: Item, policy: Policy, now: float) -> bool:
    return not item.stays and policy.unused_s is not None and now - item.last_used > policy.unused_s


def _for_room(items: Iterable[Item], now: float) -> list[Item]:
    """What can go to make room: first what is nobody's work, then sessions, the oldest first."""
    found = [
        each
        for each in items
        if each.kind != "log" and each.size and not each.stays and now - each.last_used > RECENT_S
    ]
    return sorted(found, key=lambda each: (each.kind == "session", each.last_used))


def _due(item: Item, why: Literal["unused", "room"], now: float) -> Due:
    if not item.unsaved:
        return Due(item=item, why=why, at=now)
    told = item.told_at if item.told_at is not None and item.told_at > item.last_used else now
    return Due(item=item, why=why, at=min(told, now) + TOLD_S)
