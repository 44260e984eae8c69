"""nbformat, which has no types, as something whose calls need none."""

from __future__ import annotations

from typing import Any

import nbformat as _nbformat
import nbformat.v4 as _v4

nbformat: Any = _nbformat
v4: Any = _v4
