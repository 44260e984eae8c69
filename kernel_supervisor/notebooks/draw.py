"""The process that draws figures: `… -m …draw FOLDER ENVIRONMENT DEADLINE`, their bundles on standard input as JSON.

It answers with a list of PNGs in base64, null for a figure that could not be drawn.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path

from kernel_supervisor.core.answers import answer
from kernel_supervisor.notebooks.processes import end_within
from kernel_supervisor.notebooks.shown.figures import Draughtsman, figure_of


def main() -> int:
    """Draw, and return the exit code."""
    folder, environment, deadline = sys.argv[1:]
    end_within(float(deadline))
    asked = json.load(sys.stdin)
    figures = [figure_of(data, is_ours=asked["ours"]) for data in asked["figures"]]
    draughtsman = Draughtsman(Path(folder), environment, scale=1)
    pictures = iter(draughtsman.draw([each for each in figures if each is not None]))
    drawn = [next(pictures) if each is not None else None for each in figures]
    said = [base64.b64encode(each).decode() if each is not None else None for each in drawn]
    with os.fdopen(os.dup(1), "wb") as out:
        out.write(answer({"why": draughtsman.why, "pictures": said}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
