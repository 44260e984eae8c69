"""Brings the variables of a checkpoint back into a namespace, each whole or not at all, and says which are missing.

Runs *inside* kernels, in the main thread of one that was just started, or as a script in a process of the environment
that is asked for, as a rehearsal: `python -I restoring.py REQUEST.json REPLY.json`. stdlib only, Python 3.8 and later.
Nothing is unpickled but what is this user's and has the right checksum; code objects only by the Python that made them.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import importlib.util
import io
import json
import linecache
import os
import pickle
import re
import sys
import time
import types
from typing import Any, Callable, Dict, List, Set

_OF_ONE_PANDAS = re.compile("GroupBy|Rolling|Expanding|Window|Resampler|Styler")
"""Classes whose values hold what is internal to a version of pandas."""
_DYNAMIC = ("skeleton", "_make_skeleton_enum")
_Content = Dict[str, Any]
_loaded: Dict[str, Any] = {}


def beside(name: str) -> Any:
    """The module in the file beside this one, loaded once, under a name of ours; not in `sys.modules`."""
    if name not in _loaded:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec: Any = importlib.util.spec_from_file_location("_kernel_supervisor_" + name, path)
        module = importlib.util.module_from_spec(spec)
        vars(module)["beside"] = beside
        spec.loader.exec_module(module)
        _loaded[name] = module
    return _loaded[name]


rebuilding, reading, making, borrowed = map(beside, ("rebuilding", "reading", "making", "borrowed"))
UnfitError = rebuilding.UnfitError


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
        with making.quietly():
            why = borrowed.hindrance(content)
            if why:
                raise reading.RefusedCheckpointError(why)
            restoring = _Restoring(namespace, content)
            restoring.run()
    except reading.RefusedCheckpointError as error:
        return {"status": "refused", "why": str(error)}
    finally:
        if collecting:
            gc.enable()
    return {"status": "ok", **restoring.told(), "took_s": round(time.monotonic() - began, 3)}


def answer(namespace: Dict[str, Any], content: _Content, reply: str) -> None:
    """Restore, and say in the file `reply` how that went; nothing where it was said there before."""
    if os.path.exists(reply):
        return
    told = restore(namespace, content)
    with open(reply + ".new", "w", encoding="utf-8") as file:
        json.dump(told, file)
    os.replace(reply + ".new", reply)


class _Restoring:
    """One restore."""

    def __init__(self, namespace: Dict[str, Any], content: _Content) -> None:
        self.namespace, self.content = namespace, content
        self.manifest = reading.manifest(content)
        made_by = (self.manifest.get("implementation", ""), self.manifest["python"].split(".")[:2])
        self.same = made_by == (sys.implementation.name, list(map(str, sys.version_info[:2])))
        self.definitions: Dict[str, Any] = self.manifest.get("definitions", {})
        self.names: Dict[str, Any] = self.manifest.get("names", {})
        self.imports: Dict[str, str] = self.manifest.get("imports", {})
        self.without: Set[Any] = set(content.get("without") or ())
        self.was_missing: Dict[str, str] = self.manifest.get("missing", {})
        only = content.get("only")
        self.saved = {**self.imports, **self.definitions, **self.names}
        self.wanted: Set[str] = set([*self.saved, *self.was_missing] if only is None else only)
        self.taken = set() if content.get("replace", True) else set(namespace)
        self.values: Dict[str, Any] = {}
        self.units: Dict[int, Any] = {}
        self.missing: Dict[str, str] = {}
        self.by_source: List[str] = []
        self.under_way: Set[Any] = set()
        self.cloudpickle = borrowed.cloudpickle()
        rebuilding.begin(namespace, self.value)

    def run(self) -> None:
        """Bring back all that is wanted: imports, definitions by need, and then everything else."""
        if self.manifest.get("prefix") == sys.prefix:  # another environment has others
            making.look_in(self.manifest.get("path", ()))
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
        everything = {**self.saved, **self.was_missing}
        return [name for name in everything if name in self.wanted] + sorted(self.wanted - set(everything))

    def _bring_what_is_used(self) -> None:
        """Where not all is wanted: the functions and modules, too, that functions look up when they are called."""
        looked_at: Set[str] = set()
        while set(self.values) - looked_at:
            for name in set(self.values) - looked_at:
                looked_at.add(name)
                for used in making.globals_of(self.values[name]):
                    if used in self.imports or used in self.definitions:
                        self._bring(used)

    def told(self) -> Dict[str, Any]:
        """What came back, and what did not."""
        back = [name for name in self.values if name not in self.missing and self._is_bound(name)]
        wanted = {name: reason for name, reason in self.missing.items() if name in self.wanted}
        copies = [name for name in back if (self.names.get(name) or self.definitions.get(name, {})).get("copies")]
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
            self._keep(name, making.made(lambda: importlib.import_module(self.imports[name]), None))
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
            if not making.is_there(top):
                raise UnfitError("needs %s, which is not installed here" % top)
        folder = self.content["objects"]
        try:
            stream = bytes(reading.content_of(folder, unit["stream"], unit["stream_bytes"]))
            buffers = [reading.buffer(folder, told) for told in unit.get("buffers", ())]
        except reading.UnreadableError as error:
            raise UnfitError(str(error)) from None
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
            if each != name and each in self.saved:
                with contextlib.suppress(UnfitError):  # the source says it itself, if it matters
                    self.value(each)
        file = "<restored %s>" % name
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        own: Dict[str, Any] = {}
        self._note("source %s" % name)
        self._made(lambda: exec(compile(source, file, "exec", 0, True), self.namespace, own))
        self._note("done %s" % name)
        if name not in own:
            own.pop("annotations", None)  # of `from __future__`
        if name not in own and len(own) != 1:
            raise UnfitError("its source does not define it")
        return own.get(name, next(iter(own.values())))

    def _made(self, make: Callable[[], Any]) -> Any:
        """What `make` returns. Where its code looks up a name that is not back yet, that is brought back first."""
        known: Set[str] = set()
        while True:
            try:
                return making.made(make, self.content.get("unit_s", 60.0))
            except UnfitError as error:
                name = error.unknown
                if name in known or name not in self.saved:
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
        self._other_pandas = making.is_other(restoring.manifest.get("modules", {}).get("pandas", ""), "pandas")

    def persistent_load(self, name: Any) -> Any:
        """A variable that a definition holds."""
        return self._value(name)

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
        if not making.is_there(top):
            raise UnfitError("needs %s, which is not installed here" % top)
        raise UnfitError("needs %s.%s, which the %s that is installed here does not have" % (module, name, top))


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
    answer(vars(scratch), content, reply)
    os._exit(0)  # what was restored has threads and exit functions of its own


if __name__ == "__main__":
    main(*sys.argv[1:3])
