"""What the clients that people use take of a result, and how long they wait, by the name that they give themselves.

Seen with Claude Code 2.1.332, Codex 0.169.0 and Gemini CLI 0.61. Codex cuts a result at 12,000 bytes of UTF-8, its own
lines included, in the exact middle. Claude Code takes 50,000 characters, or what a tool's definition says; after 120 s
it moves a call to the background and loses its images. Older Codexes gave a call up at 60 s, newer ones wait for 290.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 12_000
"""Of a result's text, where nothing else is asked for."""
MOST_CHARS = 40_000
"""Of what comes without having been asked for by length: a list, a resource. Of more, Claude Code shows less."""
MAX_BYTES = 11_800
"""Of a result's text for clients that cut at 12,000, and for those that nobody knows."""
_KNOWN = ("claude", "gemini", "cursor", "visual studio code", "kernel-supervisor")
_CODEX, _PATIENT_CODEX = "codex", (0, 169)
_VERSION = re.compile(r"(\d{1,6})\.(\d{1,6})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What one client can take."""

    name: str
    version: str = ""

    @property
    def patience_s(self) -> float:
        """How long it is made to wait, where it does not say."""
        if "claude" in self.name.lower():
            return 90.0
        found = _VERSION.match(self.version)
        patient = found is not None and (int(found[1]), int(found[2])) >= _PATIENT_CODEX
        return 240.0 if _CODEX in self.name.lower() and patient else 45.0

    def max_bytes(self, max_chars: int) -> int | None:
        """How many bytes of text it takes of `max_chars` characters; None for as many as those have."""
        name = self.name.lower()
        if _CODEX in name:
            return MAX_BYTES
        return MAX_BYTES if max_chars <= MAX_CHARS and not any(known in name for known in _KNOWN) else None
