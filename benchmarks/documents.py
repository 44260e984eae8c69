"""HTML of fifty plots beside nbconvert alone, and of 200,000 printed lines; PDF of those by each engine that is here.

    python benchmarks/documents.py [--quick]

The bounds: 1.5 times nbconvert, and a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
from figures import about, interleaved, seconds, show
from nbformat import v4

from kernel_supervisor import engines
from kernel_supervisor.isolation import isolated
from kernel_supervisor.notebooks.export import export

_ROUNDS, _QUICK = 5, 1
_PLOTS, _LINES = 50, 200_000
_RATIO, _LONGEST_S = 1.5, 60.0
_DRAW = """
import io, sys, base64
import matplotlib; matplotlib.use("agg")
import matplotlib.pyplot as plt, numpy as np
for number in range(int(sys.argv[1])):
    plt.figure(figsize=(6.4, 4.8)); plt.plot(np.random.default_rng(number).normal(size=500).cumsum())
    out = io.BytesIO(); plt.savefig(out, format="png"); plt.close()
    print(base64.b64encode(out.getvalue()).decode())
"""


def main() -> int:
    """Measure, print, and say by the exit code whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round")
    rounds = _QUICK if parser.parse_args().quick else _ROUNDS
    about(rounds)
    with tempfile.TemporaryDirectory(prefix="ksb-") as name:
        folder = Path(name)
        plots, printed = _written(folder / "plots.ipynb", _plots()), _written(folder / "printed.ipynb", _printed())
        alone = partial(_alone, plots)
        figures = interleaved(
            {"nbconvert alone": partial(seconds, alone), "ours": partial(seconds, partial(_made, "html", plots))},
            rounds,
        )
        show(f"{_PLOTS} plots as HTML", figures, floor="nbconvert alone", unit="s", scale=1)
        ratio = statistics.median(figures["ours"]) / statistics.median(figures["nbconvert alone"])
        forms = [("html", "")] + [("pdf", engine) for engine in ("typst", "browser") if engines.FOUND[engine]()]
        longest = {f"{form} {engine}": seconds(partial(_made, form, printed, engine)) for form, engine in forms}
    for what, took in longest.items():
        print(f"{_LINES:,} printed lines as {what}: {took:.1f} s")
    held = ratio <= _RATIO and max(longest.values()) <= _LONGEST_S
    print(f"\nat most {_RATIO} times nbconvert, and {_LONGEST_S:g} s: {'held' if held else 'broken'}")
    return 0 if held else 1


def _made(form: str, ipynb: Path, engine: str = "") -> None:
    asyncio.run(export(form, ipynb, ipynb.with_suffix(f".{form}"), engine, deadline_s=300))


def _alone(ipynb: Path) -> None:
    """In a process of its own, as ours is."""
    command = [*isolated("nbconvert"), "--to", "html", "--embed-images", "--output", "alone.html", str(ipynb)]
    subprocess.run(command, check=True, capture_output=True)


def _written(path: Path, cells: list[Any]) -> Path:
    nbformat.write(v4.new_notebook(cells=cells), path)  # type: ignore[no-untyped-call]  # nbformat has no types
    return path


def _plots() -> list[Any]:
    said = subprocess.run([sys.executable, "-c", _DRAW, str(_PLOTS)], check=True, capture_output=True, text=True)
    pictures = said.stdout.split()
    assert all(base64.b64decode(each[:16]) for each in pictures)
    return [_cell(f"plot({number})", _shown({"image/png": each})) for number, each in enumerate(pictures)]


def _printed() -> list[Any]:
    text = "".join(f"line {number}\n" for number in range(_LINES))
    return [_cell("talk()", v4.new_output("stream", text=text))]  # type: ignore[no-untyped-call]  # as above


def _shown(data: dict[str, str]) -> Any:
    return v4.new_output("display_data", data)  # type: ignore[no-untyped-call]  # as above


def _cell(source: str, output: Any) -> Any:
    return v4.new_code_cell(source, outputs=[output])  # type: ignore[no-untyped-call]  # as above


if __name__ == "__main__":
    sys.exit(main())
