"""Brings the variables of a checkpoint back into a namespace, each whole or not at all, and says which are missing.

Runs *inside* kernels, in the main thread of one that was just started, or as a script in a process of the environment
that is asked for, as a rehearsal: `python -I restoring.py REQUEST.json REPLY.json`. stdlib only, Python 3.8 and later.
Nothing is unpickled but what is this user's and has the right checksum; code objects only by the Python that made them.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import gc
import hashlib
import importlib
import importlib.util
import io
import json
import linecache
import os
import pickle
import re
import signal
import stat
import sys
import threading
import time
import types
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional, Set

FORMAT = 1
STACK = 512 << 20
_DEEPEST = 200_000
_CACHED: Any = type(functools.lru_cache(maxsize=None)(len))
_OF_ONE_PANDAS = re.compile("GroupBy|Rolling|Expanding|Window|Resampler|Styler")
"""Classes whose values hold what is internal to a version of pandas."""
_DYNAMIC = ("skeleton", "_make_skeleton_enum")
_Content = Dict[str, Any]


def beside(name: str) -> Any:
    """The module in the file beside this one, once more, under a name of ours; not in `sys.modules`."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("_kernel_supervisor_" + name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rebuilding, refusals = beside("rebuilding"), beside("refusals")
UnfitError = rebuilding.UnfitError


class RefusedCheckpointError(Exception):
    """A checkpoint is not to be read at all; the message says why."""


class _TooLongError(BaseException):
    """Raised in a unit whose time is over."""


def restore(namespace: Dict[str, Any], content: _Content) -> Dict[str, Any]:
    """Bring back what `content` asks for, as `{"status": "ok", "back", "missing", "copies", "by_source", "took_s"}`, or
    `{"status": "refused", "why"}`.

    `content`: "manifest" (a path) and its "sha256", "objects" (a folder); "only" (names, or null for all), "without"
    (units and definitions that ended the process before), "journal" (a path: "unit N", "done N", "source NAME", a line
    each, before and after), "unit_s", "replace" (whether a variable that is there already may be replaced).
    """
    began = time.monotonic()
    collecting = gc.isenabled()
    gc.disable()
    try:
        with _quietly():
            restoring = _Restoring(namespace, content)
            restoring.run()
    except RefusedCheckpointError as error:
        return {"status": "refused", "why": str(error)}
    finally:
        if collecting:
            gc.enable()
    return {"status": "ok", **restoring.told(), "took_s": round(time.monotonic() - began, 3)}


class _Restoring:
    """One restore."""

    def __init__(self, namespace: Dict[str, Any], content: _Content) -> None:
        self.namespace, self.content = namespace, content
        self.manifest = _manifest(content)
        made_by = (self.manifest.get("implementation", ""), self.manifest["python"].split(".")[:2])
        self.same = made_by == (sys.implementation.name, list(map(str, sys.version_info[:2])))
        self.definitions: Dict[str, Any] = self.manifest.get("definitions", {})
        self.names: Dict[str, Any] = self.manifest.get("names", {})
        self.imports: Dict[str, str] = self.manifest.get("imports", {})
        self.without: Set[Any] = set(content.get("without") or ())
        self.was_missing: Dict[str, str] = self.manifest.get("missing", {})
        only = content.get("only")
        everything = [*self.imports, *self.definitions, *self.names, *self.was_missing]
        self.wanted: Set[str] = set(everything if only is None else only)
        self.taken = set() if content.get("replace", True) else set(namespace)
        self.values: Dict[str, Any] = {}
        self.units: Dict[int, Any] = {}
        self.missing: Dict[str, str] = {}
        self.by_source: List[str] = []
        self.under_way: Set[Any] = set()
        self.cloudpickle = beside("cloudpickle")  # a new one, since it remembers classes
        rebuilding.begin(namespace, self.value)

    def run(self) -> None:
        """Bring back all that is wanted: imports, definitions by need, and then everything else."""
        for dotted in self.manifest.get("loaded", ()):
            with contextlib.suppress(Exception):
                importlib.import_module(dotted)
        try:
            for name in self._in_order():
                self._bring(name)
            self._bring_what_is_used()
        except KeyboardInterrupt:
            for name in self.wanted - set(self.values):
                self.missing.setdefault(name, "bringing it back was interrupted")

    def _in_order(self) -> List[str]:
        everything = dict.fromkeys([*self.imports, *self.definitions, *self.names, *self.was_missing])
        return [name for name in everything if name in self.wanted] + sorted(self.wanted - set(everything))

    def _bring_what_is_used(self) -> None:
        """Where not all is wanted: the functions and modules, too, that functions look up when they are called."""
        looked_at: Set[str] = set()
        while set(self.values) - looked_at:
            for name in set(self.values) - looked_at:
                looked_at.add(name)
                for used in _globals_of(self.values[name]):
                    if used in self.imports or used in self.definitions:
                        self._bring(used)

    def told(self) -> Dict[str, Any]:
        """What came back, and what did not."""
        back = [name for name in self.values if name not in self.missing and self._is_bound(name)]
        wanted = {name: reason for name, reason in self.missing.items() if name in self.wanted}
        copies = [name for name in back if self.names.get(name, {}).get("copies")]
        by_source = [name for name in self.by_source if name in back]
        return {"back": back, "missing": wanted, "copies": copies, "by_source": by_source}

    def value(self, name: str) -> Any:
        """A name's value, brought back now where something else needs it. Raises UnfitError where it cannot be."""
        if name not in self.values and name not in self.under_way:
            self._bring(name)
        if name in self.values:
            return self.values[name]
        raise UnfitError("needs %s, which is not back: %s" % (name, self.missing.get(name, "it needs itself")))

    def _bring(self, name: str) -> None:
        if name in self.values or name in self.missing:
            return
        self.under_way.add(name)
        try:
            self._make(name)
        except UnfitError as error:
            self.missing[name] = str(error)
        finally:
            self.under_way.discard(name)

    def _keep(self, name: str, value: Any) -> None:
        """Have a value for a name, in the namespace as well unless it only shares its unit with one that is wanted."""
        self.values[name] = value
        if not self._is_bound(name):
            return
        if name in self.taken:
            self.missing[name] = "there is a variable of that name already"
        else:
            self.namespace[name] = value

    def _is_bound(self, name: str) -> bool:
        return name in self.wanted or name in self.definitions or name in self.imports

    def _make(self, name: str) -> None:
        if name in self.was_missing:
            raise UnfitError(self.was_missing[name])
        if name in self.imports:
            self._keep(name, _made(lambda: importlib.import_module(self.imports[name]), None))
            return
        definition = self.definitions.get(name, {})
        unit, source = self.names.get(name, definition).get("unit"), definition.get("source", "")
        if unit is None and not source:
            raise UnfitError("it was not saved" if definition else "it is not in this checkpoint")
        reason = None
        if unit is not None and (self.same or name in self.names):
            try:
                self._unit(unit)
                return
            except UnfitError as error:
                if not source:
                    raise
                reason = error
        if not source:
            raise UnfitError("another version of Python compiled it, and its source is not known")
        try:
            self._keep(name, self._from_source(name, source, definition.get("needs", ())))
        except UnfitError as error:
            raise (reason or error) from None
        self.by_source.append(name)

    def _unit(self, index: int) -> None:
        """Load a unit; all its names have their values, or this raises."""
        if index in self.without:
            raise UnfitError("making it ended the process")
        if index in self.under_way:
            raise UnfitError("it needs itself")
        if index not in self.units:
            self.under_way.add(index)
            try:
                self.units[index] = self._loaded(index)
            except UnfitError as error:
                self.units[index] = error
            finally:
                self.under_way.discard(index)
        loaded = self.units[index]
        if isinstance(loaded, UnfitError):
            raise loaded
        for name, value in loaded.items():
            if name not in self.values:
                self._keep(name, value)

    def _loaded(self, index: int) -> Dict[str, Any]:
        unit = self.manifest["units"][index]
        for top in unit.get("modules", ()):
            if not _is_there(top):
                raise UnfitError("needs %s, which is not installed here" % top)
        folder = self.content["objects"]
        stream = bytes(_object(folder, unit["stream"], unit["stream_bytes"]))
        buffers = [_buffer(folder, told) for told in unit.get("buffers", ())]
        self._note("unit %d" % index)
        loaded: Dict[str, Any] = self._made(lambda: _Unpickler(stream, buffers, self).load())
        self._note("done %d" % index)
        if type(loaded) is not dict:
            raise UnfitError("its pickle is none of ours")
        return loaded

    def _from_source(self, name: str, source: str, needs: Any) -> Any:
        if name in self.without:
            raise UnfitError("running its source ended the process")
        for each in needs:
            if each != name and (each in self.names or each in self.definitions or each in self.imports):
                with contextlib.suppress(UnfitError):  # the source says it itself, if it matters
                    self.value(each)
        file = "<restored %s>" % name
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        own: Dict[str, Any] = {}
        self._note("source %s" % name)
        self._made(lambda: exec(compile(source, file, "exec", 0, True), self.namespace, own))
        self._note("done %s" % name)
        if name not in own and len(own) != 1:
            raise UnfitError("its source does not define it")
        return own.get(name, next(iter(own.values())))

    def _made(self, make: Callable[[], Any]) -> Any:
        """What `make` returns. Where its code looks up a name that is not back yet, that is brought back first."""
        known: Set[str] = set()
        while True:
            try:
                return _made(make, self.content.get("unit_s", 60.0))
            except UnfitError as error:
                name = error.unknown
                if (
                    not name
                    or name in known
                    or not (name in self.names or name in self.definitions or name in self.imports)
                ):
                    raise
                known.add(name)
                self.value(name)

    def _note(self, line: str) -> None:
        path = self.content.get("journal")
        if path:
            with open(path, "a", encoding="utf-8") as journal:
                journal.write(line + "\n")


class _Unpickler(pickle.Unpickler):
    """Knows our makers without `sys.modules`, and says in words what is not there."""

    def __init__(self, stream: bytes, buffers: List[Any], restoring: _Restoring) -> None:
        super().__init__(io.BytesIO(stream), buffers=buffers)
        self._ours = {each.__name__: each for each in (rebuilding, restoring.cloudpickle)}
        self._value, self._same = restoring.value, restoring.same
        self._other_pandas = _is_other(restoring.manifest.get("modules", {}).get("pandas", ""), "pandas")

    def find_class(self, module: str, name: str) -> Any:
        """What a module has under a name, or the one above it: versions of Python and of libraries move things."""
        if module in self._ours:
            if name in _DYNAMIC and not self._same:
                raise UnfitError("needs a class whose source is not known, and another version of Python compiled it")
            return getattr(self._ours[module], name)
        if module.startswith("pandas.") and self._other_pandas and _OF_ONE_PANDAS.search(name):
            raise UnfitError("it is a %s of another version of pandas: make it again from its frame" % name)
        if module == "__main__":
            self._value(name.partition(".")[0])
            return rebuilding.named(name)
        place = module
        while place:
            try:
                return super().find_class(place, name)
            except (ImportError, AttributeError):
                place = place.rpartition(".")[0]
        top = module.partition(".")[0]
        if not _is_there(top):
            raise UnfitError("needs %s, which is not installed here" % top)
        raise UnfitError("needs %s.%s, which the %s that is installed here does not have" % (module, name, top))


def _made(make: Callable[[], Any], limit_s: Optional[float]) -> Any:
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


def _manifest(content: _Content) -> Dict[str, Any]:
    path = content["manifest"]
    try:
        text = _read(path)
    except (OSError, UnfitError) as error:
        raise RefusedCheckpointError("its manifest cannot be read: %s" % error) from None
    if hashlib.sha256(text).hexdigest() != content["sha256"]:
        raise RefusedCheckpointError("its manifest is not the one that was written: its checksum is wrong")
    try:
        manifest: Dict[str, Any] = json.loads(text.decode("utf-8"))
        known = manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise RefusedCheckpointError("its manifest is damaged") from None
    if known != FORMAT:
        raise RefusedCheckpointError("it was written by another version, in format %s" % known)
    return manifest


def _read(path: str) -> bytearray:
    """A whole file, which must be this user's alone to write. Raises UnfitError with the reason, and OSError."""
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC)
    with open(file, "rb", buffering=0) as opened:
        told = os.fstat(file)
        if not stat.S_ISREG(told.st_mode) or told.st_uid != os.geteuid() or told.st_mode & 0o022:
            raise UnfitError("its file is not this user's alone to write")
        content = bytearray(told.st_size)
        view, done = memoryview(content), 0
        while done < len(content):
            read = opened.readinto(view[done:])
            if not read:
                raise UnfitError("its file is cut short")
            done += read
    return content


def _object(folder: str, name: str, length: int) -> bytearray:
    """An object by its checksum, which is its name."""
    try:
        content = _read(os.path.join(folder, os.path.basename(name)))
    except FileNotFoundError:
        raise UnfitError("its file is gone") from None
    except OSError as error:
        raise UnfitError("its file cannot be read: %s" % (error.strerror or error)) from None
    if len(content) != length or hashlib.sha256(content).hexdigest() != name:
        raise UnfitError("its file is damaged: its checksum is wrong")
    return content


def _buffer(folder: str, told: Dict[str, Any]) -> Any:
    content = _object(folder, told["object"], told["bytes"])
    return memoryview(content).toreadonly() if told.get("readonly") else content


def _globals_of(value: Any) -> Set[str]:
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


def _is_other(version: str, package: str) -> bool:
    """Whether a package that is loaded is of another major version."""
    here = str(getattr(sys.modules.get(package), "__version__", ""))
    return bool(version and here) and version.split(".")[0] != here.split(".")[0]


def _is_there(top: str) -> bool:
    if top in sys.modules:
        return True
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError, AttributeError):
        return False


class _Nowhere(io.TextIOBase):
    """Where what is printed goes."""

    def write(self, text: str) -> int:
        """Take it."""
        return len(text)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with contextlib.redirect_stdout(_Nowhere()), contextlib.redirect_stderr(_Nowhere()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main(request: str, reply: str) -> None:
    """Restore into an empty `__main__`, as the file `request` says, and say in the file `reply` how that went."""
    with open(request, encoding="utf-8") as file:
        content = json.load(file)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.path[:0] = content.get("path") or []
    scratch = types.ModuleType("__main__")
    vars(scratch)["__builtins__"] = builtins
    sys.modules["__main__"] = scratch
    told = restore(vars(scratch), content)
    with open(reply + ".new", "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.replace(reply + ".new", reply)
    os._exit(0)  # what was restored has threads and exit functions of its own


if __name__ == "__main__":
    main(*sys.argv[1:3])
