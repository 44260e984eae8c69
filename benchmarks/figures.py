"""What the benchmarks share: a supervisor of their own, medians side by side, and the table that is printed."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from tabulate import tabulate

from kernel_supervisor.isolation import VARIABLES
from kernel_supervisor.paths import HOME_VARIABLE, Paths, find

COMMAND = [sys.executable, "-m", "kernel_supervisor.cli.main"]
PACKAGES = ("mcp", "pyzmq", "jupyter_client", "ipykernel")


@contextmanager
def supervisor() -> Iterator[Paths]:
    """A supervisor's home for this process and what it starts; whatever was started is ended with it."""
    with tempfile.TemporaryDirectory(prefix="ksb-", dir="/tmp") as folder:
        os.environ[HOME_VARIABLE] = folder
        for name in ("PYTHONDONTWRITEBYTECODE", *VARIABLES):  # the first has everything compiled again at each start
            os.environ.pop(name, None)
        try:
            yield find()
        finally:
            os.environ[HOME_VARIABLE] = folder
            subprocess.run([*COMMAND, "stop", "--kernels"], check=True, stdout=subprocess.DEVNULL)


def interleaved(parts: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each part's figures. One of each per round, to and fro, so that the machine's moods meet all alike.

    One more round goes before and is not counted.
    """
    figures: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        for name, measure in list(parts.items())[:: -1 if number % 2 else 1]:
            figure = measure()
            if number:
                figures[name].append(figure)
    return figures


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def about(rounds: int) -> None:
    """What was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = " ".join(f"{part:.2f}" for part in os.getloadavg())
    print(f"Python {platform.python_version()}, {packages}")
    print(f"{os.cpu_count()} cores, load {load}, {rounds} rounds\n")


def show(title: str, figures: Mapping[str, Sequence[float]], *, floor: str, unit: str, scale: float) -> None:
    """A table of medians, each also as a multiple of the floor's."""
    base = statistics.median(figures[floor])
    rows = [
        [name, *(f"{value * scale:.1f}" for value in (statistics.median(row), min(row), max(row))), f"{ratio:.2f}"]
        for name, row in figures.items()
        for ratio in [statistics.median(row) / base]
    ]
    print(tabulate(rows, [title, f"median {unit}", "min", "max", f"÷ {floor}"], disable_numparse=True), end="\n\n")


def verdict(held: bool, text: str) -> bool:
    """Print whether a bound is kept."""
    print(f"{'kept  ' if held else 'BROKEN'}  {text}")
    return held
