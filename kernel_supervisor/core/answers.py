"""What a process that we start says to us, told from what else is printed there: by a sitecustomize, by .pth files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

MARK = "kernel-supervisor hears: "
"""Begins each line that is for us."""


def answer(words: Any) -> bytes:
    """`words`, which JSON can say, as a line of its own, whatever was printed before it."""
    return f"\n{MARK}{json.dumps(words)}\n".encode()


def heard(lines: Iterable[bytes]) -> list[Any]:
    """The answers among `lines`."""
    mark = MARK.encode()
    return [json.loads(line[len(mark) :]) for line in lines if line.startswith(mark)]
