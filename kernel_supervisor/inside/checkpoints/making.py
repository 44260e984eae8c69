"""Calls what people's classes and sources do while they are brought back: quietly, in time, with room on the stack.

Runs *inside* kernels, loaded by `restoring.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import signal
import sys
import threading
import types
import warnings
from typing import Any, Callable, Iterator, List, Optional, Sequence, Set

STACK = 512 << 20
_DEEPEST = 200_000
_CACHED: Any = type(functools.lru_cache(maxsize=None)(len))


beside: Any = globals().get("beside")
"""`restoring.beside`, which loads this module and puts itself here before."""
refusals, UnfitError = beside("refusals"), beside("rebuilding").UnfitError


class _TooLongError(BaseException):
    """Raised in a unit whose time is over."""


def made(make: Callable[[], Any], limit_s: Optional[float]) -> Any:
    """What `make` returns; UnfitError with the reason where it raises, or takes longer."""
    try:
        try:
            with _limited(limit_s):
                return make()
        except RecursionError:
            return _with_room(make)
    except (UnfitError, KeyboardInterrupt):
        raise
    except _TooLongError:
        raise UnfitError("making it took longer than %g s" % (limit_s or 0)) from None
    except ModuleNotFoundError as error:
        raise UnfitError("needs %s, which is not installed here" % (error.name or error)) from None
    except BaseException as error:  # noqa: BLE001 - what an object's own code raises is the reason
        unfit = UnfitError("cannot be made again (%s)" % refusals.in_short(error))
        if isinstance(error, NameError):
            unfit.unknown = (re.findall(r"'(\w+)'", str(error)) or [""])[0]
        raise unfit from None


@contextlib.contextmanager
def _limited(limit_s: Optional[float]) -> Iterator[None]:
    """Put an end to what takes longer, in the main thread; C code that never comes back is the daemon's."""
    if not limit_s or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(signum: int, frame: Any) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, over)
    outer = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, before)


def _with_room(make: Callable[[], Any]) -> Any:
    """What `make` returns, made in a thread with a stack for what is nested deeply."""
    result: List[Any] = []
    raised: List[BaseException] = []

    def run() -> None:
        try:
            result.append(make())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            raised.append(error)

    size, limit = threading.stack_size(STACK), sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _DEEPEST))
    try:
        thread = threading.Thread(target=run, name="supervisor-restore")
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
        sys.setrecursionlimit(limit)
    if raised:
        raise raised[0]
    return result[0]


def globals_of(value: Any) -> Set[str]:
    """The names that the code of a function, or of a class's methods, looks up when it runs."""
    inside = list(vars(value).values()) if issubclass(type(value), type) else [value]
    names: Set[str] = set()
    codes = [each.__code__ for each in map(_plain, inside) if type(each) is types.FunctionType]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names


def _plain(value: Any) -> Any:
    """The function in a method of any kind, or under decorators."""
    for _ in range(20):
        inner = getattr(value, "__func__", None) or getattr(value, "__wrapped__", None)
        if not isinstance(value, (staticmethod, classmethod, types.FunctionType, _CACHED)) or inner is None:
            break
        value = inner
    return value.fget if type(value) is property else value


def is_other(version: str, package: str) -> bool:
    """Whether a package that is loaded is of another major version."""
    here = str(getattr(sys.modules.get(package), "__version__", ""))
    return bool(version and here) and version.split(".")[0] != here.split(".")[0]


def look_in(folders: Sequence[str]) -> None:
    """Have modules looked for in these, too: first where they came first, and last else."""
    known = [number for number, each in enumerate(folders) if each in sys.path]
    first = known[0] if known else 0
    new = [each for each in folders if each not in sys.path and os.path.isdir(each)]
    sys.path[:0] = [each for each in new if each in folders[:first]]
    sys.path += [each for each in new if each not in folders[:first]]


def is_there(top: str) -> bool:
    """Whether a package is installed here."""
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Have what is printed and warned of go nowhere."""
    with _silent(sys.stdout), _silent(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _silent(stream: Any) -> Iterator[None]:
    """Have what is written to a stream go nowhere. Another in its place would stay with whoever takes it meanwhile: a
    logger that an import sets up, a variable that is the stream."""
    before = getattr(stream, "__dict__", {}).get("write")
    try:
        stream.write = len
    except (AttributeError, TypeError):  # there is none, or it is somebody's own
        yield
        return
    try:
        yield
    finally:
        if before is None:
            del stream.write
        else:
            stream.write = before
