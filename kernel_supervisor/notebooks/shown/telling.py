"""What a converter tells of the document that it has made."""

from __future__ import annotations

from dataclasses import dataclass, field

BESIDE = "_files"
"""What the folder is called, after the document, that has what is beside it: nbconvert's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What made a document, and what is not in it."""

    engine: str
    missing: str = ""
    """Characters that no font here has, each once."""
    remarks: list[str] = field(default_factory=list)
    """What it does not show, by cell, in words."""
