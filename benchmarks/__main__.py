"""Prints what speed and memory cost beside what is promised, and keeps it.

    python -m benchmarks [--quick] [--only SECTION] [--json FILE] [--compare FILE]

`--json` keeps the figures with machine, versions and load; `--compare` prints those of such a file beside them; the
table is Markdown, as docs/performance.md has it. The exit code is 1 where a goal is missed; with `--quick`, which only
sees that each section works, where one fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from figures import PACKAGES, about
from goals import SECTIONS, Figure
from tabulate import tabulate


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="see that it works: the figures say nothing")
    parser.add_argument("--only", choices=[each.__name__ for each in SECTIONS], help="one section")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="figures that were kept, beside these")
    options = parser.parse_args()
    about(1)
    load = os.getloadavg()  # later it is our own
    before = _values(json.loads(options.compare.read_text("utf-8"))) if options.compare else {}
    found: list[Figure] = []
    for section in SECTIONS:
        if options.only in (None, section.__name__):
            found += _told(section(quick=options.quick), section.__name__, before)
    heads = ["what", "floor", "measured", "goal", "held", "section", "beside"]
    print("\n" + tabulate(map(_row, found), heads, tablefmt="github", disable_numparse=True))
    if options.json:
        options.json.write_text(json.dumps(_kept(found, load), indent=1) + "\n", "utf-8")
    return 0 if options.quick or all(each.held for each in found) else 1


def _told(figures: Iterator[Figure], section: str, before: dict[str, float]) -> list[Figure]:
    """A section's figures, each printed as it comes."""
    found = list[Figure]()
    for each in figures:
        then = f", {before[each.what]:.2f} then" if each.what in before else ""
        print(f"{each.what}: {each.value:.2f} {each.unit}{then} ({each.beside or each.floor})", flush=True)
        found.append(replace(each, section=section))
    return found


def _row(each: Figure) -> list[str]:
    goal = f"{'≥' if each.at_least else '≤'} {each.goal:g} {each.unit}".strip()
    measured = f"{each.value:.2f} {each.unit}".strip()
    return [each.what, each.floor or "–", measured, goal, "yes" if each.held else "no", each.section, each.beside]


def _kept(found: list[Figure], load: tuple[float, float, float]) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "version": version("kernel-supervisor"),
        "machine": {
            "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
            "cores": os.cpu_count(),
            "load": load,
        },
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "figures": [
            {
                "what": each.what,
                "floor": each.floor,
                "value": round(each.value, 3),
                "unit": each.unit,
                "goal": each.goal,
                "section": each.section,
            }
            for each in found
        ],
    }


def _values(kept: dict[str, Any]) -> dict[str, float]:
    return {str(each["what"]): float(each["value"]) for each in kept["figures"]}


if __name__ == "__main__":
    sys.exit(main())
