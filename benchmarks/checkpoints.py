"""What a checkpoint costs a kernel, and that it goes on, beside threads that are in BLAS, OpenMP, polars, pyarrow.

Goals: all of 200 saved, and what the kernel's own threads compute is right all the while; beside an untouched gigabyte,
after one small variable has changed, the kernel is held up for at most 30 ms and no more is written than that variable;
one that comes at each pause of a busy session costs it at most 2 %. `--only NAME` measures one part.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from beside import beside_threads
from executions import execute
from figures import about, seconds, show, verdict
from saving import Asked, recorded

from kernel_supervisor.keeping import IDLE_S

_HELD_MS, _SMALL, _BUSY = 30.0, 1 << 20, 0.02
_GB = 1 << 30
_LARGE = "import numpy as np\nlarge = np.zeros(1 << 27); large += np.arange(1 << 27); small = np.arange(100000)"
_PAGES = "import ctypes\nctypes.CDLL(None).prctl(41, 1, 0, 0, 0)\n"
"""No huge pages in this process (PR_SET_THP_DISABLE)."""
_FORKS = """
import ctypes, os, signal, time
libc, forks = ctypes.PyDLL(None), []
for _ in range({rounds}):
    began = time.perf_counter()
    pid = libc._Fork()
    if not pid: libc._exit(0)
    forks.append(time.perf_counter() - began)
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
open({path!r}, 'w').write(' '.join(map(str, forks)))
"""
"""The system's own share: no hooks, nobody waits, nor is a child waited for that waits for the interpreter."""
_A_LITTLE = "large[::512 * 64] += 1; total = sum(range(10**6))"
"""One page of 64, and some work."""
_CELLS = 20


def main() -> int:
    """Print the figures; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description="What a checkpoint costs a kernel.")
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--only", choices=["threads", "gigabyte", "restore", "auto"])
    options = parser.parse_args()
    rounds = 10 if options.quick else 200
    about(rounds)
    parts: list[tuple[str, Callable[[Path], bool]]] = [
        ("threads", lambda folder: _beside_threads(folder, rounds)),
        ("gigabyte", lambda folder: _beside_a_gigabyte(folder, "huge pages where there are", "")),
        ("gigabyte", lambda folder: _beside_a_gigabyte(folder, "pages of 4 kB", _PAGES)),
        ("restore", _restored),
        ("auto", lambda folder: _busy(folder, 2 if options.quick else 5)),
    ]
    kept = []
    for name, part in parts:
        with tempfile.TemporaryDirectory(prefix="ksb-", dir="/var/tmp") as folder:
            kept += [part(Path(folder))] if options.only in (None, name) else []
    return 0 if all(kept) else 1


def _beside_threads(folder: Path, rounds: int) -> bool:
    with recorded(folder) as (client, home):
        return beside_threads(client, home, rounds)


def _beside_a_gigabyte(folder: Path, pages: str, before: str, rounds: int = 10) -> bool:
    with recorded(folder) as (client, home):
        execute(client, before + _LARGE)
        disk = seconds(lambda: _write(home / "plain"))
        first, manifests = Asked(client, home).manifest(), []
        for number in range(rounds):
            execute(client, f"small[7] = {number}")
            manifests.append(Asked(client, home).manifest())
        execute(client, _FORKS.format(rounds=rounds, path=str(home / "forks")))
        forks = [*map(float, (home / "forks").read_text().split())]
    took = {"a file on the disk": [disk], "the first": [first["took_s"]]}
    took["the others"] = [each["took_s"] for each in manifests]
    show(f"1 GB, {pages}", took, floor="a file on the disk", unit="s", scale=1)
    held = [each["held_ms"] / 1e3 for each in manifests]
    show(f"held up, 1 GB, {pages}", {"a bare fork": forks, "held up": held}, floor="a bare fork", unit="ms", scale=1e3)
    written = max(each["written"] for each in manifests)
    speeds = f"{first['written'] / first['took_s'] / 1e6:.0f} MB/s, the disk {_GB / disk / 1e6:.0f} MB/s"
    median = statistics.median(held) * 1e3
    text = f"held up {median:.1f} ms, {written:,} bytes written; the first {speeds}\n"
    return verdict(median <= _HELD_MS and written <= _SMALL, text)


def _write(path: Path) -> None:
    """A gigabyte, of which no two blocks are the same, on the disk."""
    block = bytearray(os.urandom(1 << 24))
    with open(path, "wb") as file:
        for number in range(_GB // len(block)):
            block[:8] = number.to_bytes(8, "little")
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    path.unlink()


def _restored(folder: Path, rounds: int = 3) -> bool:
    with recorded(folder) as (client, home):
        execute(client, _LARGE)
        asked = Asked(client, home)
        asked.manifest()
    figures: dict[str, list[float]] = {"the files read": [], "restored": []}
    for _ in range(rounds):
        figures["the files read"].append(seconds(lambda: [each.read_bytes() for each in asked.objects.iterdir()]))
        with recorded(folder) as (client, _home):
            execute(client, "import numpy")
            figures["restored"].append(seconds(lambda client=client: asked.restore(client)))  # type: ignore[misc]
            execute(client, "assert large[-1] == (1 << 27) - 1 and small[5] == 5")
    show("1 GB brought back", figures, floor="the files read", unit="s", scale=1)
    return True


def _busy(folder: Path, rounds: int) -> bool:
    """Cells that follow each other while a checkpoint is written beside them: what it costs them all in all."""
    figures: dict[str, list[float]] = {"without": [], "beside a checkpoint": []}
    costs = []
    with recorded(folder) as (client, home):
        execute(client, _LARGE)
        Asked(client, home).manifest()
        for number in range(rounds):
            execute(client, f"small[7] = {number}")
            without = statistics.fmean(seconds(lambda: execute(client, _A_LITTLE)) for _ in range(_CELLS))
            began, count = time.perf_counter(), 0
            asked = Asked(client, home)
            while not asked.stands or count < _CELLS:
                execute(client, _A_LITTLE)
                count += 1
            each = (time.perf_counter() - began) / count
            figures["without"].append(without)
            figures["beside a checkpoint"].append(each)
            costs.append((each - without) * count)
    show("a cell that changes 1 GB a little", figures, floor="without", unit="ms", scale=1e3)
    cost = statistics.median(costs)
    text = f"a checkpoint costs {cost:.2f} s in all, {cost / IDLE_S:.1%} where there is one in {IDLE_S:g} s\n"
    return verdict(cost / IDLE_S <= _BUSY, text)


if __name__ == "__main__":
    sys.exit(main())
