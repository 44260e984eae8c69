"""What a copy of the kernel's process does first: nothing that the kernel was doing goes on in it, or is heard of."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import platform
import resource
import signal
import sys
import threading
import warnings
from typing import Any

_IGNORED = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
_BLAS = ("openblas_set_num_threads", "openblas_set_num_threads64_")
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_LAST_OF_BEST_EFFORT = 2 << 13 | 7


def calm_down(deadline_s: float) -> None:
    """Be a process that answers nothing and gives way to all others, and ends with its deadline."""
    gc.disable()
    sys.settrace(None)
    sys.setprofile(None)
    threading.settrace(None)
    threading.setprofile(None)
    faulthandler.disable()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN if number in _IGNORED else signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, deadline_s))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    warnings.simplefilter("ignore")
    logging = sys.modules.get("logging")
    if logging is not None:
        logging.disable(1 << 30)
    sys.excepthook = threading.excepthook = sys.unraisablehook = _ignore
    for step in (_use_one_thread, _give_way, _leave_no_core):
        with contextlib.suppress(Exception):  # without it the copy is as good, only not as modest
            step()


def _ignore(*_: Any) -> None:
    """Nobody is there to hear of it."""


def _use_one_thread() -> None:
    """Have OpenBLAS compute in the thread that asks: its others are not in the copy, and would be waited for."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        files = {line.split(None, 5)[5].rstrip("\n") for line in maps if "blas" in line and ".so" in line}
    for file in files:
        library = ctypes.CDLL(file, mode=ctypes.RTLD_GLOBAL & 0 | getattr(os, "RTLD_NOLOAD", 0))
        for name in _BLAS:
            for prefix in ("scipy_", ""):
                if hasattr(library, prefix + name):
                    getattr(library, prefix + name)(1)


def _give_way() -> None:
    os.nice(10)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None).syscall(ctypes.c_long(number), 1, 0, _LAST_OF_BEST_EFFORT)
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _leave_no_core() -> None:
    """A worker that crashes leaves no file with what is in memory; 1 says that, too, to programs that take cores."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    most = 0 if hard == 0 else 1
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
