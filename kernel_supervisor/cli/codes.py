"""Exit codes, and the one line that says why there is another than 0. Nothing heavy is imported here."""

from __future__ import annotations

import sys

DONE, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130


def failed(words: str, code: int = FAILED) -> int:
    """Say on standard error why it was not done; the exit code."""
    print(words, file=sys.stderr)
    return code
