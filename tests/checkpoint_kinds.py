"""Values of many kinds, read from `checkpoint_kinds.txt`, which says what they are."""

from __future__ import annotations

import re
from pathlib import Path

KINDS: dict[str, tuple[str, str]] = {}
"""What comes back: the cell that makes a variable so named, and what must hold of it; "" for being the same."""
REFUSED: dict[str, tuple[str, str]] = {}
"""What does not: the cell, and the reason, as a regular expression."""

for _section in re.split(r"^=== ", Path(__file__).with_suffix(".txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[
    1:
]:
    _name, _, _text = _section.partition("\n")
    _cell, _line, _then = re.split(r"^(---.*)\n|\Z", _text, maxsplit=1, flags=re.MULTILINE)
    (REFUSED if _line == "--- refused" else KINDS)[_name] = (_cell.strip(), _then.strip())
