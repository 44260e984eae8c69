"""Sizes, numbers and durations in words, for people and models."""

from __future__ import annotations


def size(count: int | None) -> str:
    """A number of bytes in the unit that fits; empty for None."""
    if count is None:
        return ""
    if count < 1_000_000:
        return f"{count} bytes" if count < 1000 else f"{count / 1000:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def several(count: int, what: str) -> str:
    """So many of something, which is named as one of it is."""
    plural = "" if count == 1 else "es" if what.endswith("s") else "s"
    return f"{count:,} {what}{plural}"


def span(seconds: float) -> str:
    """A duration in the units that matter."""
    if seconds < 0.0995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"
