"""Why a value cannot be saved, in words of those who work with it."""

from __future__ import annotations

import re
import signal
from typing import Any

_KINDS = {
    "generator": "a generator",
    "async_generator": "an asynchronous generator",
    "coroutine": "a coroutine",
    "frame": "a frame of running code",
    "traceback": "a traceback",
    "module": "a module that cannot be imported",
    "lock": "a lock",
    "RLock": "a lock",
    "Lock": "a lock",
    "Condition": "a lock",
    "Event": "an event between threads",
    "Semaphore": "a lock",
    "Thread": "a thread",
    "ThreadPoolExecutor": "a pool of threads",
    "ProcessPoolExecutor": "a pool of processes",
    "Pool": "a pool of processes",
    "ThreadPool": "a pool of threads",
    "Process": "a process",
    "Popen": "a process",
    "SimpleQueue": "a queue between threads",
    "Queue": "a queue between threads",
    "socket": "a socket",
    "SSLSocket": "a socket",
    "SSLContext": "settings of encrypted connections",
    "Connection": "a database connection",
    "Cursor": "a database cursor",
    "DuckDBPyConnection": "a database connection",
    "DuckDBPyRelation": "a database query",
    "Engine": "a database connection",
    "Session": "a connection",
    "ClientSession": "a connection",
    "HTTPConnection": "a connection",
    "HTTPSConnection": "a connection",
    "TextIOWrapper": "an open file",
    "BufferedReader": "an open file",
    "BufferedWriter": "an open file",
    "BufferedRandom": "an open file",
    "FileIO": "an open file",
    "_TemporaryFileWrapper": "an open temporary file",
    "TemporaryDirectory": "a temporary folder",
    "mmap": "a file in memory",
    "DirEntry": "an entry of a folder",
    "ScandirIterator": "an iterator over a folder",
    "Task": "a task of the event loop",
    "Future": "something that is not done yet",
    "_asyncio.Task": "a task of the event loop",
    "_asyncio.Future": "something that is not done yet",
    "SparkSession": "a connection to a cluster",
    "Client": "a connection",
    "weakref": "a weak reference",
    "ReferenceType": "a weak reference",
    "local": "values of each thread",
    "_local": "values of each thread",
    "CDLL": "a library that was loaded",
    "PyCapsule": "an object of a library in C",
    "builtin_function_or_method": "a method of an object that cannot be saved",
}
_NAMED = re.compile(r"(?:cannot|can't|can not) (?:pickle|serialize) '?(?:<[^>]*)?([\w.]+)'?", re.IGNORECASE)
_LONGEST = 200
_SIGNALS = {int(each): each.name for each in signal.Signals}


def of_value(value: Any) -> str:
    """What a value is by its type, or by a type that this is made of; empty where that says nothing."""
    for kind in type.__dict__["__mro__"].__get__(type(value)):
        words = _KINDS.get(str(type.__dict__["__name__"].__get__(kind)))
        if words and type.__dict__["__module__"].__get__(kind) != "__main__":
            return words
    return ""


def of_error(value: Any, error: BaseException) -> str:
    """What keeps a value from being saved."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "there was not enough memory to save it"
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - whatever was raised is anybody's
        text = ""
    words = of_value(value)
    if words:
        return words
    named = _NAMED.search(text)
    if named is not None:
        kind = named.group(1)
        words = _KINDS.get(kind) or _KINDS.get(kind.rpartition(".")[2]) or ""
        return "holds %s" % words if words else "holds an object that cannot be saved (%s)" % kind
    kind = str(type.__dict__["__name__"].__get__(type(error)))
    said = "%s: %s" % (kind, text) if text else kind
    return "saving it failed (%s)" % (said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…")


def of_end(status: int) -> str:
    """How a process ended, by its status, whom saving a value ended."""
    if status < 0:
        return "saving it ended the process (%s)" % _SIGNALS.get(-status, "signal %d" % -status)
    return "saving it ended the process"


def of_size(most: int) -> str:
    """What is larger than may be."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if most >= size:
            return "it is larger than %g %s" % (round(most / size, 1), unit)
    return "it is larger than %d bytes" % most
