"""Why a value is not saved, or not made again, in words of people who work with it. stdlib only, Python 3.8 and later.

Types are known by their names: nothing is imported, nothing of the user's is called.
"""

from __future__ import annotations

import io
import re
import signal
from typing import Any

_SIGNALS = {int(each): each.name for each in signal.Signals}
_EXACT = {
    "builtins.generator": "a generator, which runs on from where it is",
    "builtins.coroutine": "a coroutine",
    "builtins.async_generator": "an asynchronous generator",
    "builtins.frame": "a frame of a running function",
    "builtins.traceback": "a traceback",
    "weakref.ReferenceType": "a weak reference",
    "builtins.weakref": "a weak reference",
    "_weakref.ProxyType": "a weak reference",
    "re.Match": "a match of a regular expression: keep its groups",
    "_io._IOBase": "an open file",
    "io.IOBase": "an open file",
    "mmap.mmap": "a file mapped into memory",
    "_thread.lock": "a lock",
    "_thread.RLock": "a lock",
    "threading.Event": "an event that threads wait for",
    "threading.Condition": "a condition that threads wait for",
    "threading.Semaphore": "a semaphore",
    "threading.Barrier": "a barrier that threads wait for",
    "threading.Thread": "a thread",
    "_thread._local": "what each thread has of its own (threading.local)",
    "queue.Queue": "a queue between threads",
    "_queue.SimpleQueue": "a queue between threads",
    "socket.socket": "a network connection",
    "_socket.socket": "a network connection",
    "selectors._BaseSelectorImpl": "what waits for network connections",
    "subprocess.Popen": "a running process",
    "multiprocessing.process.BaseProcess": "a process",
    "multiprocessing.pool.Pool": "a pool of processes",
    "multiprocessing.queues.Queue": "a queue between processes",
    "multiprocessing.synchronize.SemLock": "a lock between processes",
    "multiprocessing.connection._ConnectionBase": "a connection between processes",
    "multiprocessing.managers.BaseManager": "a process that others share values through",
    "multiprocessing.shared_memory.SharedMemory": "memory that processes share",
    "concurrent.futures._base.Executor": "a pool of workers",
    "concurrent.futures._base.Future": "a future: keep its result",
    "_asyncio.Future": "a future: keep its result",
    "_asyncio.Task": "an asyncio task",
    "asyncio.events.AbstractEventLoop": "an event loop",
    "asyncio.queues.Queue": "a queue between asyncio tasks",
    "tempfile._TemporaryFileWrapper": "an open file",
    "tempfile.TemporaryDirectory": "a temporary folder, which goes with this kernel",
    "zipfile.ZipFile": "an open archive",
    "tarfile.TarFile": "an open archive",
    "ipywidgets.widgets.widget.Widget": "a widget, which belongs to this kernel's front end",
    "IPython.core.display_functions.DisplayHandle": "a handle of what is displayed",
    "h5py._hl.base.HLObject": "an open HDF5 file, or a part of one: keep its values",
    "netCDF4._netCDF4.Dataset": "an open netCDF file: keep its values",
    "tables.file.File": "an open HDF5 file",
    "ctypes.CDLL": "a loaded library: load it again",
    "_ctypes.CFuncPtr": "a function of a loaded library",
    "_ctypes._Pointer": "a pointer to memory",
    "zmq.sugar.socket.Socket": "a network connection",
    "requests.sessions.Session": "",
    "pyspark.sql.session.SparkSession": "a Spark session",
    "pyspark.sql.dataframe.DataFrame": "a Spark frame, which lives in its cluster",
    "duckdb.DuckDBPyRelation": "a query of a database connection",
    "_duckdb.DuckDBPyRelation": "a query of a database connection",
}
"""By the full name of a type or one of its bases; "" is let through."""
_DATABASES = (
    "sqlite3|psycopg|psycopg2|psycopg_c|pymysql|MySQLdb|mysql|_mysql|duckdb|_duckdb|pyodbc|oracledb|cx_Oracle|pymssql|"
    "asyncpg|aiosqlite|snowflake|google|trino|clickhouse_connect|clickhouse_driver|redis|pymongo|motor|cassandra|neo4j|"
    "sqlalchemy|adbc_driver_manager|databricks|impala|pyhive|ibis|elasticsearch|databases|peewee|kuzu|lancedb"
)
_CONNECTION = re.compile(
    rf"(?:{_DATABASES})\..*(?:Connection|connection|Cursor|cursor|(?<!Type)Engine|Session|Client|Redis)\w*$"
)
_ITERATORS = re.compile(r"(?:csv|_csv)\.(?:reader|writer|Reader|Writer)$|(?:posix|nt)\.(?:ScandirIterator|DirEntry)$")


def refusal(kind: Any) -> str:
    """Why no value of type `kind` can be saved, as what it is: "an open file"; "" where nothing is known against it."""
    bases = type.__dict__["__mro__"].__get__(kind)
    if io.BytesIO in bases or io.StringIO in bases:
        return ""
    for base in bases:
        name = "%s.%s" % (getattr(base, "__module__", ""), getattr(base, "__qualname__", ""))
        if name in _EXACT:
            return _EXACT[name]
        if _CONNECTION.match(name):
            return "a database connection"
        if _ITERATORS.match(name):
            return "what goes through an open file or folder"
    return ""


def of_end(status: int) -> str:
    """How a process ended, by its status, that was saving a value."""
    if status < 0:
        return "saving it ended the process (%s)" % _SIGNALS.get(-status, "signal %d" % -status)
    return "saving it ended the process"


def of_size(most: int) -> str:
    """It is larger than what the disk has room for."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if most >= size:
            return "it is larger than %g %s, and the disk has no room for more" % (round(most / size, 1), unit)
    return "it is larger than %d bytes, and the disk has no room for more" % most


def in_short(error: BaseException) -> str:
    """An exception as one short line."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - its own code may raise anything
        text = ""
    line = " ".join(text.split())
    line = line if len(line) <= 200 else line[:199] + "…"
    name = type.__dict__["__name__"].__get__(type(error))
    return "%s: %s" % (name, line) if line else name
