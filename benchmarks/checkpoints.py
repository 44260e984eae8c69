"""What a checkpoint costs a kernel, and that it goes on, beside threads that are in BLAS, OpenMP, polars, pyarrow.

Goals: all of 200 saved, and what the kernel's own threads compute is right all the while; beside an untouched gigabyte,
after one small variable has changed, the kernel is held up for at most 30 ms and no more is written than that variable;
what is saved while a session is idle costs it at most 2 % once it works on, with the pages that are copied.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from executions import execute, kernel
from figures import about, show, verdict
from jupyter_client.blocking.client import BlockingKernelClient

import kernel_supervisor
from kernel_supervisor.inside.door import CHECKPOINT
from kernel_supervisor.keeping import RECORDED_BYTES

_INSIDE = Path(kernel_supervisor.__file__).parent / "inside"
_HELD_MS, _SMALL, _AUTO = 30.0, 1 << 20, 0.02
_IDLE_S, _CELLS = 30.0, 40
"""How long a session is idle before it is saved by itself, and the cells it runs once all of a gigabyte is changed."""
_ASKED = {"only": None, "deadline_s": 120.0, "name_s": 30.0, "name_bytes": 16 << 30, "total_bytes": 64 << 30}
_THREADS = """
import logging, os, subprocess, threading, time
import numpy as np, polars as pl, pyarrow as pa, pyarrow.compute as pc
from sklearn.cluster import KMeans
stop, wrong, rounds = threading.Event(), [], {}
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
def hindering(): time.sleep(0.002); raise RuntimeError('a hook that raises')
for when in ('before', 'after_in_parent', 'after_in_child'): os.register_at_fork(**{when: hindering})
full = os.pipe()[1]; os.set_blocking(full, False)
try:
    while True: os.write(full, b'x' * 4096)
except BlockingIOError: os.set_blocking(full, True)
log = logging.getLogger('full'); log.propagate = False; log.addHandler(logging.StreamHandler(os.fdopen(full, 'w')))
threading.Thread(target=log.warning, args=('x' * 9000,), daemon=True).start()
child = subprocess.Popen(['sleep', '3600'])
waited = []
threads = [threading.Thread(target=lasting, args=(each,)) for each in (blas, openmp, polars, pyarrow, python)]
threads.append(threading.Thread(target=lambda: waited.append(os.wait()[0])))
for each in threads: each.start()
"""
_ENDED = """
assert not waited, waited
stop.set(); child.kill()
for each in threads: each.join(60)
assert not any(each.is_alive() for each in threads) and waited == [child.pid], (threads, waited, child.pid)
assert not wrong and len(rounds) == 5, (set(wrong), rounds)
"""
_LARGE = "import numpy as np\nlarge = np.zeros(1 << 27); large += np.arange(1 << 27); small = np.arange(100000)"
_FORKED = """
import os, time
def forked():
    began = time.perf_counter(); pid = os.fork()
    if not pid: os._exit(0)
    took = time.perf_counter() - began
    os.waitpid(pid, 0)
    return took
open({path!r}, "w").write(str(1e3 * sorted(forked() for _ in range(9))[4]))
"""
"""How long a bare fork holds up the same process, in milliseconds: what no copy of a process can be made without."""
_RESTORED = """
import importlib.util, json, time
spec = importlib.util.spec_from_file_location("_restoring", {code!r} + "/restoring.py")
restoring = importlib.util.module_from_spec(spec); spec.loader.exec_module(restoring)
began = time.perf_counter(); told = restoring.restore(globals(), json.loads({content!r}))
took = time.perf_counter() - began
assert not told["missing"] and large[-1] == (1 << 27) - 1, told["missing"]
began = time.perf_counter(); assert large.sum() > 0; summed = time.perf_counter() - began
open({path!r}, "w").write(json.dumps([took, summed]))
"""
_PAGES = "import ctypes\nctypes.CDLL(None).prctl(41, 1, 0, 0, 0)\n"
"""No huge pages in this process (PR_SET_THP_DISABLE)."""


def main() -> int:
    """Print the figures; exit 1 where a goal is missed."""
    rounds = 10 if "--quick" in sys.argv else 200
    about(rounds)
    with tempfile.TemporaryDirectory(prefix="ksb-", dir="/var/tmp") as folder, ExitStack() as stack:
        count = itertools.count()

        def begun() -> tuple[BlockingKernelClient, Path]:
            home = Path(folder) / str(next(count))
            home.mkdir()
            arguments = (str(_INSIDE / "recorder.py"), "--log", str(home / "log"), "--limit", str(RECORDED_BYTES))
            return stack.enter_context(kernel(*arguments)), home

        kept = [
            _beside_threads(*begun(), rounds),
            *_beside_a_gigabyte(begun, min(rounds, 10)),
            _saved_while_idle(begun, 2 if rounds < 200 else 6),
        ]
    return 0 if all(kept) else 1


def _beside_threads(client: BlockingKernelClient, home: Path, rounds: int) -> bool:
    execute(client, _THREADS)
    figures: dict[str, list[float]] = {"all of it": [], "held up": []}
    saved = 0
    for _ in range(rounds):
        began = time.perf_counter()
        manifest = _checkpoint(client, home, only=["a", "points", "labels", "product"])
        saved += len(manifest["names"]) == 4
        figures["all of it"].append(time.perf_counter() - began)
        figures["held up"].append(manifest["held_ms"] / 1e3)
    execute(client, _ENDED)
    show("a checkpoint beside threads", figures, floor="all of it", unit="ms", scale=1e3)
    return verdict(saved == rounds, f"{saved} of {rounds} saved, and what the threads computed was right\n")


def _beside_a_gigabyte(begun: Any, rounds: int) -> list[bool]:
    kept = []
    for pages, before in (("huge pages where there are", ""), ("pages of 4 kB", _PAGES)):
        client, home = begun()
        execute(client, before + _LARGE)
        first, manifests = _checkpoint(client, home), []
        for number in range(rounds):
            execute(client, f"small[7] = {number}")
            manifests.append(_checkpoint(client, home))
        figures = {"the first": [first["took_s"]], "the others": [each["took_s"] for each in manifests]}
        show(f"1 GB, {pages}", figures, floor="the first", unit="s", scale=1)
        held = statistics.median(each["held_ms"] for each in manifests)
        written = max(each["written"] for each in manifests)
        execute(client, _FORKED.format(path=str(home / "forked")))
        bare = float((home / "forked").read_text())
        text = f"held up {held:.1f} ms (a bare fork of it: {bare:.1f}), {written:,} bytes written"
        kept.append(verdict(held <= _HELD_MS and written <= _SMALL, text))
        _rates(first, home, begun)
    return kept


def _rates(first: dict[str, Any], home: Path, begun: Any) -> None:
    """How fast a gigabyte is written and brought back, beside the disk's own speed."""
    size = first["bytes"]
    sample = os.urandom(1 << 20) * (size >> 20)
    began = time.perf_counter()
    with open(home / "sample", "wb") as file:
        file.write(sample)
        file.flush()
        os.fsync(file.fileno())
    disk = time.perf_counter() - began
    began = time.perf_counter()
    (home / "sample").read_bytes()
    read = time.perf_counter() - began
    (home / "sample").unlink()
    path = min(home.glob("*/manifest.json"))
    content = {"manifest": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    asked = json.dumps({**content, "objects": str(home / "objects")})
    fresh, own = begun()
    code = _RESTORED.format(code=str(_INSIDE / "checkpoints"), content=asked, path=str(own / "took"))
    execute(fresh, code)
    took, summed = json.loads((own / "took").read_text())
    print(f"        written in {first['took_s']:.1f} s (the same bytes by themselves: {disk:.1f})")
    print(f"        brought back in {took:.2f} s, summed up then in {summed:.2f} (read by itself: {read:.2f})\n")


def _saved_while_idle(begun: Any, rounds: int) -> bool:
    """What cells take that change a gigabyte right after it was begun to be saved, beside without."""
    client, home = begun()
    execute(client, _LARGE)
    _checkpoint(client, home)
    cells = [f"part = large[{n} << 20 : {n + 1} << 20]; part += 1; _ = (part[::7] ** 0.5).sum()" for n in range(128)]
    figures: dict[str, list[float]] = {"alone": [], "saved": []}
    for number in range(rounds):
        for name in ("alone", "saved") if number % 2 else ("saved", "alone"):
            manifest = _checkpoint(client, home, wait=name == "alone")
            began = time.perf_counter()
            for cell in itertools.islice(itertools.cycle(cells), 128 + _CELLS):
                execute(client, cell)
            figures[name].append(time.perf_counter() - began + manifest["held_ms"] / 1e3 * (name == "saved"))
            time.sleep(6)  # until what is saved is
    show("cells that change all of 1 GB", figures, floor="alone", unit="s", scale=1)
    more = statistics.median(figures["saved"]) - statistics.median(figures["alone"])
    share = more / (_IDLE_S + statistics.median(figures["alone"]))
    text = f"{more:.2f} s more, {100 * share:.1f} % of these and of the {_IDLE_S:g} s that it was idle before"
    return verdict(share <= _AUTO, text)


def _checkpoint(client: BlockingKernelClient, home: Path, *, wait: bool = True, **content: Any) -> dict[str, Any]:
    """What a checkpoint says of itself once it stands, or, not to `wait`, that it is begun."""
    into, objects = home / str(time.time_ns()), home / "objects"
    into.mkdir(mode=0o700)
    objects.mkdir(mode=0o700, exist_ok=True)
    folders = {"code": str(_INSIDE / "checkpoints"), "into": str(into), "objects": str(objects)}
    client.control_channel.send(client.session.msg(CHECKPOINT, {**_ASKED, **folders, **content}))
    while (reply := client.control_channel.get_msg(timeout=60))["msg_type"] != "supervisor_checkpoint_reply":
        pass
    if reply["content"]["status"] != "ok":
        raise RuntimeError(reply["content"])
    if not wait:
        return dict(reply["content"])
    manifest, failed = into / "manifest.json", into / "failed.json"
    while not manifest.exists():
        if failed.exists() or (not os.path.exists(f"/proc/{reply['content']['pid']}") and not manifest.exists()):
            raise RuntimeError(f"no checkpoint: {reply['content']}")
        time.sleep(0.001)
    found: dict[str, Any] = json.loads(manifest.read_bytes())
    return found


if __name__ == "__main__":
    sys.exit(main())
