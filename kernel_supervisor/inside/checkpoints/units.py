"""Which variables belong together: those that share objects, and those that share memory. Pure."""

from __future__ import annotations

from typing import Any


def joined(shares: dict[str, Any]) -> list[list[str]]:
    """The names, with those together that share an object, directly or through others; sorted in each."""
    leaders: dict[str, str] = {name: name for name in shares}
    owners: dict[int, str] = {}
    for name, objects in shares.items():
        for each in objects:
            _join(leaders, owners.setdefault(each, name), name)
    return _groups(leaders)


def overlapping(memory: dict[str, Any]) -> list[list[str]]:
    """The names whose ranges of addresses, `[start, end]`, have bytes in common; none that shares with nobody."""
    leaders = {name: name for name in memory}
    reach, last = 0, ""
    for start, end, name in sorted((start, end, name) for name, ranges in memory.items() for start, end in ranges):
        if last and start < reach:
            _join(leaders, last, name)
        if end > reach:
            reach, last = end, name
    return [group for group in _groups(leaders) if len(group) > 1]


def _join(leaders: dict[str, str], one: str, other: str) -> None:
    leaders[_leader(leaders, one)] = _leader(leaders, other)


def _leader(leaders: dict[str, str], name: str) -> str:
    while leaders[name] != name:
        leaders[name] = name = leaders[leaders[name]]
    return name


def _groups(leaders: dict[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sorted(leaders):
        groups.setdefault(_leader(leaders, name), []).append(name)
    return list(groups.values())
