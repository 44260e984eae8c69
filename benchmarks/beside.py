"""Checkpoints beside threads: all are made, the kernel's own results are right each time, and nothing is left.

The threads are in BLAS, OpenMP, polars, pyarrow and pure Python, one waits for a child, one logs into a full pipe;
hooks that sleep for a minute, and that raise, are called at each fork.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil
from executions import execute
from figures import show, verdict
from jupyter_client.blocking.client import BlockingKernelClient
from saving import Asked

_LEFT_S = 10.0
_THREADS = """
import logging, os, subprocess, threading, time
import numpy as np, polars as pl, pyarrow as pa, pyarrow.compute as pc
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info
stop, wrong, rounds, hooked = threading.Event(), [], {}, []
a = np.random.default_rng(0).random((200, 200)); product = a @ a
points = np.random.default_rng(0).random((500, 2))
frame, numbers = pl.DataFrame({'x': range(10000)}), pa.array(range(10000))
labels = KMeans(3, n_init=1, random_state=0).fit_predict(points)
def blas(): return np.allclose(a @ a, product)
def openmp(): return (KMeans(3, n_init=1, random_state=0).fit_predict(points) == labels).all()
def polars(): return frame.group_by((pl.col('x') % 7).alias('k')).agg(pl.col('x').sum()).sum()['x'][0] == 49995000
def pyarrow(): return pc.sum(pc.add(numbers, 1)).as_py() == 50005000
def python(): return sum(range(10**5)) == 4999950000
def lasting(work):
    while not stop.is_set():
        if not work(): wrong.append(work.__name__)
        rounds[work.__name__] = rounds.get(work.__name__, 0) + 1
works = (blas, openmp, polars, pyarrow, python)
libraries = {each['user_api'] for each in threadpool_info()}
assert libraries >= {'blas', 'openmp'}, libraries
child = subprocess.Popen(['sleep', '3600'])
waited = []
reading, writing = os.pipe()
os.set_blocking(writing, False)
try:
    while True: os.write(writing, b'x' * 4096)
except BlockingIOError: pass
os.set_blocking(writing, True)
log = logging.getLogger('full'); log.propagate = False
log.addHandler(logging.StreamHandler(os.fdopen(writing, 'w', closefd=False)))
threads = [threading.Thread(target=lasting, args=(each,)) for each in works]
threads.append(threading.Thread(target=lambda: waited.append(os.wait()[0])))
threads.append(threading.Thread(target=lambda: log.warning('y' * 100)))
for each in threads: each.start()
def raises(when):
    def hook():
        hooked.append(when); raise ValueError(when)
    return hook
os.register_at_fork(before=lambda: time.sleep(60), after_in_parent=lambda: time.sleep(60))
os.register_at_fork(before=raises('before'), after_in_parent=raises('parent'), after_in_child=raises('child'))
os.register_at_fork(after_in_child=lambda: time.sleep(0.05))
"""
_STILL = """
before, until = dict(rounds), time.monotonic() + 60
while any(rounds.get(each.__name__, 0) <= before.get(each.__name__, 0) for each in works):
    assert time.monotonic() < until, ('a thread stands still', before, rounds)
    time.sleep(0.001)
assert not (wrong or waited or hooked) and all(each.is_alive() for each in threads), (wrong, waited, hooked, threads)
"""
"""Each thread has got on by a round, and was right in all."""
_ENDED = """
stop.set(); child.kill()
while b'y' not in os.read(reading, 1 << 20): pass
for each in threads: each.join(60)
assert not any(each.is_alive() for each in threads) and waited == [child.pid], (threads, waited, child.pid)
assert not wrong and not hooked and len(rounds) == 5, (set(wrong), hooked, rounds)
"""


def beside_threads(client: BlockingKernelClient, home: Path, rounds: int) -> bool:
    """Make so many checkpoints, and look at the kernel after each."""
    execute(client, _THREADS)
    execute(client, f"open({str(home / 'pid')!r}, 'w').write(str(os.getpid()))")
    figures: dict[str, list[float]] = {"all of it": [], "held up": []}
    saved = 0
    for _ in range(rounds):
        began = time.perf_counter()
        manifest = Asked(client, home, only=["a", "points", "labels", "product"]).manifest()
        saved += len(manifest["names"]) == 4
        figures["all of it"].append(time.perf_counter() - began)
        figures["held up"].append(manifest["held_ms"] / 1e3)
        execute(client, _STILL)
    left = _left(psutil.Process(int((home / "pid").read_text())))
    execute(client, _ENDED)
    show("a checkpoint beside threads", figures, floor="all of it", unit="ms", scale=1e3)
    kept = saved == rounds and not left
    return verdict(kept, f"{saved} of {rounds} saved, all threads got on and were right after each, {left} left\n")


def _left(kernel: psutil.Process) -> int:
    """How many processes are left of the checkpoints: children but for the one that is its own, and copies."""
    until = time.monotonic() + _LEFT_S
    while left := [each for each in psutil.process_iter() if _is_left(each, kernel)]:
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return len(left)


def _is_left(process: psutil.Process, kernel: psutil.Process) -> bool:
    with suppress(psutil.Error):
        is_child = process.ppid() == kernel.pid and process.name() != "sleep"
        return is_child or (process.pid != kernel.pid and process.cmdline() == kernel.cmdline())
    return False
