"""A process that stands by to become a kernel: it has imported what each kernel imports, and done nothing else.

Runs *inside* the target interpreter, loaded by `recorder.py`: stdlib only, Python 3.8 and later, Linux. No kernel, no
socket and no thread is there before it is told what to become, on its standard input: then it has directory, variables,
standard error and command line of that kernel, and begins to be one as if it had just been started. Whatever is not as
it should be ends it, before it is a kernel; so does the end of who started it.

    python recorder.py --spare ID STATE --expires SECONDS --overlay DIR --room SPACES

STATE is "starting", and "standing" once it can be told. ROOM is for the longer command line of a kernel, as the
variable ROOM is for more variables.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import os
import select
import sys
import time
from typing import Any, Callable, List

STARTING, STANDING = "starting", "standing"
"""As long as each other: one is written over the other."""
ROOM = "_SUPERVISOR_ROOM"
EXPIRED, CHANGED, SHORT, UNFIT = 81, 82, 83, 84
"""Exit codes: nobody needed it, its environment is not as it was, memory is short, none can stand by here."""
_LOOK_S = 60.0
_LEAST_FREE, _SHARE = 1 << 30, 10
"""Bytes of memory, and one part in so many of all of it, that have to be free beside it."""
_IMPORTED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.zmqshell",
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "sqlite3",
)
"""Most of what a kernel imports before it is ready; nothing that it would not import."""
_DEBUGGER = "ipykernel.debugger"
_HOLDERS = (("_pydev_bundle.pydev_log", "_LoggingGlobals._debug_stream"), ("debugpy.common.log", "stderr.file"))
"""What keeps the standard error that there was when the debugger was imported: modules, and attributes there."""
_said_early = io.StringIO()
_HARMLESS = ("__editable__", "_virtualenv", "_distutils_hack", "__editables_", "apport_python_hook")
"""With what the names of modules begin that installers have Python import at each start, and that read no variables but
those in which a spare must not differ from its kernel."""
_STARTUP = ("sitecustomize", "usercustomize")
_DEBIANS = """
try:
    import apport_python_hook
except ImportError:
    pass
else:
    apport_python_hook.install()
"""
"""What each Python of Debian's and Ubuntu's own runs; it sets `sys.excepthook`, which IPython sets again."""
_HAS_ROOM = "--about"
"""The option whose value is JSON: spaces behind it mean nothing."""
_AREAS = (45, 46, 47, 48)
"""Where in /proc/PID/stat, after the name, it says where arguments and variables begin and end in memory (proc(5))."""


class _UnfitError(Exception):
    """No spare can stand by here, or this one no longer; the text says why."""


def stand(arguments: List[str], prepare: Callable[[], None]) -> None:
    """Stand by until told what to become, and have the surroundings of that, `sys.argv` among them. Else it ends.

    `prepare` loads what of ours is loaded anyway.
    """
    try:
        order = _stood(arguments, prepare)
        if order is None:
            os._exit(0)
        _become(order)
    except _UnfitError as error:
        _end(UNFIT, str(error))


def _stood(arguments: List[str], prepare: Callable[[], None]) -> Any:
    """What it is to become; None where nobody is there any more to say it."""
    expires_s, overlay = (arguments[arguments.index(name) + 1] for name in ("--expires", "--overlay"))
    began, areas = dict(os.environ), _areas()
    _check_startup()
    if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]
    if overlay:
        sys.path.append(overlay)
    watched = _watched(overlay)
    before = [_stamp(each) for each in watched]
    _import()
    prepare()
    if any(os.environ.get(name) != value for name, value in began.items()):
        raise _UnfitError("what is imported changes variables")
    _write(areas[:2], _read(areas[:2]).replace(STARTING.encode(), STANDING.encode(), 1))
    return _awaited(time.monotonic() + float(expires_s), lambda: [_stamp(each) for each in watched] == before)


def _import() -> None:
    """What is imported once a kernel has its own standard error writes to this one's stand-in until then."""
    for name in _IMPORTED:
        with contextlib.suppress(ImportError):  # another version's; the kernel says what it lacks
            importlib.import_module(name)
    real, sys.stderr = sys.stderr, _said_early
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module(_DEBUGGER)
    finally:
        sys.stderr = real


def settle(app: Any) -> None:
    """Have what was imported before the application has its standard error write there as soon as it has one."""
    begin = app.init_io

    def init_io() -> None:
        del app.init_io  # it is the class's own again
        begin()
        for module, path in _HOLDERS:
            *owners, name = path.split(".")
            owner: Any = sys.modules.get(module)
            for each in owners:
                owner = getattr(owner, each, None)
            if getattr(owner, name, None) is _said_early:
                setattr(owner, name, sys.stderr)
        if _said_early.getvalue():
            sys.stderr.write(_said_early.getvalue())

    app.init_io = init_io


def _check_startup() -> None:
    """Code that runs at each start may read anything: a kernel's own start has to run it. Ours, which is `__main__`,
    lies among installed packages, too."""
    ours = os.path.dirname(os.path.abspath(__file__)) + os.sep
    for name, module in list(sys.modules.items()):
        file = os.path.abspath(getattr(module, "__file__", None) or "")
        is_theirs = ("site-packages" in file or "dist-packages" in file) and not file.startswith(ours)
        is_theirs = is_theirs and not name.startswith(_HARMLESS)
        if (not _is_nothing(file)) if name in _STARTUP else is_theirs:
            raise _UnfitError("%s is run at each start of Python" % name)


def _is_nothing(path: str) -> bool:
    """Whether a file of startup code has no statement in it, or Debian's alone."""
    try:
        with open(path, "rb") as file:
            found = ast.dump(ast.parse(file.read()))
    except (OSError, SyntaxError, ValueError):
        return False
    return found in [ast.dump(ast.parse(each)) for each in ("", _DEBIANS)]


def _watched(overlay: str) -> List[str]:
    """What is as it was as long as an environment is: the folders that its modules come from, with the files there that
    lead to others, and what makes it one. Folders of projects are none of its."""
    prefixes = (sys.prefix, sys.base_prefix)
    folders = [each for each in sys.path if each.endswith("-packages") or each.startswith(prefixes)]
    files = [os.path.join(folder, name) for folder in folders for name in _names(folder) if name.endswith(".pth")]
    ones = [os.path.join(sys.prefix, name) for name in ("pyvenv.cfg", "conda-meta")]
    return [*folders, *files, *ones, sys.executable, *([overlay] if overlay else [])]


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _stamp(path: str) -> Any:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _awaited(until: float, is_as_before: Callable[[], bool]) -> Any:
    """What it is told to become. It ends where that comes too late, and with who could tell it."""
    said = b""
    while not said.endswith(b"\n"):
        _check(until, is_as_before)
        left = max(0.0, min(_LOOK_S, until - time.monotonic()))
        if select.select([0], [], [], left)[0]:
            more = os.read(0, 1 << 16)
            if not more:
                return None
            said += more
    _check(until + _LOOK_S, is_as_before)
    return json.loads(said)


def _check(until: float, is_as_before: Callable[[], bool]) -> None:
    """End where there is no reason any more to stand by."""
    if time.monotonic() >= until:
        _end(EXPIRED, "nobody needed it")
    if not is_as_before():
        _end(CHANGED, "its environment is not as it was")
    if _free_bytes() < 0:
        _end(SHORT, "memory is short")


def _free_bytes() -> int:
    """How much memory is free beyond what has to be; 0 where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return free - max(_LEAST_FREE, total // _SHARE)
    except (OSError, ValueError, LookupError):
        return 0


def _end(code: int, why: str) -> None:
    os.write(2, ("spare: %s\n" % why).encode("utf-8", "replace"))
    os._exit(code)


def _become(order: Any) -> None:
    """Have everything of a kernel around it that it would have been started with. Nothing is begun before all of it."""
    areas, command = _areas(), order["command"]
    argv, env = [os.fsencode(each) for each in command], order["env"]
    variables = b"".join(b"%s=%s\0" % (os.fsencode(name), os.fsencode(value)) for name, value in env.items())
    room = areas[1] - areas[0] - sum(len(each) + 1 for each in argv)
    if room < 0 or len(variables) > areas[3] - areas[2]:
        raise _UnfitError("there is no room for what it is to become")
    os.chdir(order["directory"])
    _write_on(order["standard_error"])
    argv[command.index(_HAS_ROOM) + 1] += b" " * room
    started = {entry.partition(b"=")[0] for entry in _read(areas[2:]).split(b"\0")}
    own = {name: value for name, value in os.environ.items() if os.fsencode(name) not in started}
    os.environ.clear()
    os.environ.update({**env, **{name: value for name, value in own.items() if name not in env}})
    _write(areas[2:], variables)
    _write(areas[:2], b"\0".join(argv) + b"\0")
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[:] = command
    sys.argv = [sys.argv[0], *command[command.index(sys.argv[0]) + 1 :]]
    _hear_no_more()


def _write_on(path: str) -> None:
    """What it wrote so far, and will write, goes to this file."""
    said = os.pread(2, 1 << 20, 0)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.write(log, said)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)


def _hear_no_more() -> None:
    """Standard input is at its end, as a kernel's is. Who told it what to become sees by that that it has begun."""
    reading, writing = os.pipe()
    os.close(writing)
    os.dup2(reading, 0)
    os.close(reading)


# What the system shows of a process stands in its own memory


def _areas() -> List[int]:
    """Where its arguments, and then its variables, begin and end. Raises _UnfitError."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        found = [int(fields[at]) for at in _AREAS]
    except (OSError, ValueError, LookupError):
        found = [0]
    if not all(found):
        raise _UnfitError("the system does not tell where its command line is")
    return found


def _read(area: List[int]) -> bytes:
    with open("/proc/self/mem", "rb", buffering=0) as file:
        file.seek(area[0])
        return file.read(area[1] - area[0])


def _write(area: List[int], content: bytes) -> None:
    with open("/proc/self/mem", "r+b", buffering=0) as file:
        file.seek(area[0])
        file.write(content.ljust(area[1] - area[0], b"\0"))
