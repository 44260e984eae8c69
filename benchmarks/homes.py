"""What it costs that outputs find their home: the recorder beside itself without `homes.py`, `pipes.py` and `forks.py`.

Goals: a cell at most 25 µs more; a print 1.2 times, a thread's start 1.6 times, 20 MB from a child 1.0 times the floor.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from executions import execute, kernel
from figures import about, interleaved, show, verdict
from jupyter_client.blocking.client import BlockingKernelClient

import kernel_supervisor
from kernel_supervisor.keeping import RECORDED_BYTES

_INSIDE = Path(kernel_supervisor.__file__).parent / "inside"
_LEFT_OUT = ("homes.py", "pipes.py", "forks.py")
_WORK = {
    "cell": ("us", "for _ in range(500): await kernel.do_execute('pass', True, False)", 500, None),
    "print": ("us", "for _ in range(5000): print('a line')", 5000, 1.2),
    "thread": (
        "us",
        "for _ in range(500): thread = threading.Thread(target=int); thread.start(); thread.join()",
        500,
        1.6,
    ),
    "20 MB from a child": ("ms", "subprocess.run('yes | head -c 20000000', shell=True)", 1, 1.0),
}
"""The unit, the code, how often it does that, and how many times the floor it may cost."""
_CELL_S = 25e-6
_NOISE = 1.05
"""Two kernels of a kind are as far apart."""
_SCALE = {"us": 1e6, "ms": 1e3}


def main() -> int:
    """Print the figures; exit 1 where a goal is missed."""
    rounds = 3 if "--quick" in sys.argv else 30
    about(rounds)
    with tempfile.TemporaryDirectory(prefix="ksb-", dir="/tmp") as folder, ExitStack() as stack:
        without = Path(folder) / "inside"
        shutil.copytree(_INSIDE, without, ignore=lambda *_: _LEFT_OUT)
        places = {"without": without, "with": _INSIDE}
        limit = ("--limit", str(RECORDED_BYTES))
        kernels = {
            name: stack.enter_context(kernel(str(place / "recorder.py"), "--log", f"{folder}/{name}", *limit))
            for name, place in places.items()
        }
        kept = [_compare(kernels, name, Path(folder) / "figure", rounds) for name in _WORK]
    return 0 if all(kept) else 1


def _compare(kernels: dict[str, BlockingKernelClient], name: str, answer: Path, rounds: int) -> bool:
    unit, code, times, most = _WORK[name]

    def part(client: BlockingKernelClient) -> Callable[[], float]:
        def measure() -> float:
            begin = "import subprocess, threading, time; kernel = get_ipython().kernel; began = time.perf_counter()\n"
            end = f"\nopen({str(answer)!r}, 'w').write(repr(time.perf_counter() - began));"
            execute(client, begin + code + end)
            return float(answer.read_text()) / times

        return measure

    figures = interleaved({which: part(client) for which, client in kernels.items()}, rounds)
    show(name, figures, floor="without", unit=unit, scale=_SCALE[unit])
    cost, floor = (statistics.median(figures[which]) for which in ("with", "without"))
    if most is None:
        return verdict(cost - floor <= _CELL_S, f"{name}: {(cost - floor) * 1e6:.1f} µs more, at most 25\n")
    return verdict(cost / floor <= most * _NOISE, f"{name}: {cost / floor:.2f} times, at most {most}\n")


if __name__ == "__main__":
    sys.exit(main())
