"""Pickles the values of a kernel's namespace so that another process can make them again, or says why not.

Runs *inside* kernels, in the forked copy that writes a checkpoint, and only there: it freezes the garbage collector's
objects and leaves modules of ours in `sys.modules`. stdlib only, Python 3.8 and later.

It is a pickler of protocol 5 with cloudpickle's ways for functions and classes, and ours: functions live in the
namespace into which they are restored, what people defined by a name is a reference to that name, files are not read.
Streams name the makers of `rebuilding.py` and of cloudpickle, under names of ours.
"""

from __future__ import annotations

import collections
import contextlib
import copyreg
import gc
import pickle
import sys
import types
from typing import Any, Callable, ClassVar, Dict, FrozenSet, List, Optional, Set, Tuple

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
cloudpickle = beside("borrowed").cloudpickle()
rebuilding, ways, reducers, frames, refusals, known, sharing, anchors = map(
    beside, ("rebuilding", "ways", "reducers", "frames", "refusals", "definitions", "sharing", "anchors")
)
reducers.DERIVED.update(frames.DERIVED)
OUT_OF_BAND = 1 << 16
"""Bytes from which a buffer is not part of the stream."""
Taker = Optional[Callable[[Any], None]]
_Saved = Dict[str, List[str]]


class RefusedValue(Exception):  # noqa: N818 - it is an answer, in words for people, not a fault
    """A value cannot be saved; the message says why: "an open file", "holds a lock"."""


class Pickled:
    """One pickle. `buffers` are views of what is out of band, in order; `needs` are definitions by name, `modules` what
    the stream imports; `shares` the ids of objects that other names may have, too; `memory` address ranges of arrays;
    `held` the variables that definitions have in them and that are not part of the stream.

    `code`: it has code objects, which no other Python can load. `doubtful`: it has classes with ways of their own, that
    may fail when loaded. `copied`: something comes back as a copy of what was mapped from a file.
    """

    __slots__ = (
        "buffers", "code", "copied", "doubtful", "held", "kept", "memory", "modules", "needs", "shares", "stream",
    )  # fmt: skip

    def __init__(self, stream: bytes, pickler: Any, found: Any) -> None:
        self.stream: bytes = stream
        self.buffers: List[memoryview] = pickler.buffers
        self.needs: Set[str] = pickler.needs
        self.held: Set[str] = pickler.held
        self.modules: Set[str] = found.modules | pickler.modules
        self.shares: Set[int] = found.shares | pickler.shares
        self.memory: List[Tuple[int, int]] = pickler.memory
        self.code: bool = pickler.code
        self.copied: bool = pickler.copied
        self.doubtful: bool = found.doubtful
        self.kept = pickler.kept


class Pickling:
    """Pickles values of one namespace. `refuse(text)` says why a text or bytes must not be saved, or ""."""

    def __init__(self, namespace: Dict[str, Any], refuse: Optional[Callable[[Any], str]] = None) -> None:
        self.namespace, self.refuse = namespace, refuse
        self.known = known.Definitions(namespace)
        self.ways: Dict[Any, Any] = anchors.ways()
        self.spaces = _spaces(namespace)
        self._direct: Dict[str, Set[str]] = {}
        self._with_held: Dict[str, Set[str]] = {}
        cloudpickle._get_or_create_tracker_id = _tracker_id
        for module in (cloudpickle, rebuilding):
            sys.modules[module.__name__] = module

    def definitions(self) -> Dict[str, Any]:
        """The functions and classes that people defined, by name: kind, source, needs."""
        found: Dict[str, Any] = self.known.all()
        return found

    def pickle(self, values: Dict[str, Any], on_bytes: Taker = None) -> Pickled:
        """These values as one pickle of a dict. Raises RefusedValue, and what `on_bytes` raises, which is given each
        piece of the stream and each buffer as it comes."""
        return self._pickled(values, on_bytes, frozenset())

    def pickle_definition(self, name: str, saved: Optional[_Saved] = None) -> Pickled:
        """A definition itself, with those that cannot be made without it nor it without them: all have one stream.

        `saved` are variables that have units of their own, with the definitions that each unit needs: one that the
        definition holds (in the body of a class, as a default) is not part of its stream, but named there.
        """
        group = self._group(name)
        own_keys = [each for each in self.namespace if each in group]  # so that all have the very same stream
        values = {each: self.namespace[each] for each in own_keys}
        held = self._to_be_named(group, saved or {})
        places = list(filter(None, map(self.known.place, values)))
        pickled = self._pickled(values, None, frozenset(group), places, held)
        pickled.needs -= group
        return pickled

    def _to_be_named(self, group: Set[str], saved: _Saved) -> Dict[int, str]:
        """The variables that these definitions can name, by id: whose units need none of them, however far away."""
        ids = {id(self.namespace[name]): name for name in saved}

        def after(name: str) -> Set[str]:
            return set(saved[name]) if name in saved else self._needs_of(name, ids)

        return {key: name for key, name in ids.items() if not group & _reached(name, after)}

    def memory(self, values: Dict[str, Any]) -> List[Tuple[int, int]]:
        """The address ranges of the arrays in these values."""
        return self.pickle(values).memory

    def rehearse(self, pickled: Pickled) -> str:
        """Load a pickle here and now; why that failed, or ""."""
        rebuilding.begin(self.namespace, self.namespace.__getitem__)
        try:
            pickle.loads(pickled.stream, buffers=pickled.buffers)
        except BaseException as error:  # noqa: BLE001 - what a class's own code raises is the answer
            return "cannot be made again from its pickle (%s)" % refusals.in_short(error)
        return ""

    def _pickled(
        self,
        values: Dict[str, Any],
        on_bytes: Taker,
        defining: FrozenSet[str],
        places: Optional[List[Any]] = None,
        held: Optional[Dict[int, str]] = None,
    ) -> Pickled:
        refuse = self.refused_text if self.refuse is not None else None
        for value in values.values():
            if id(value) in self.spaces and not defining:
                raise RefusedValue(self.spaces[id(value)])
        gc.freeze()  # what the collector knows from now on was made by pickling
        for kind in (_NamingPickler if held else _Pickler, _DeepPickler):
            sink = _Sink(on_bytes)
            pickler = kind(sink, self, values, defining, held or {})
            try:
                pickler.dump(anchors.Whole(values, places or []))
                found = sharing.found(pickler, refuse)
                found.shares -= set(map(id, anchors.of(self.namespace).values()))
                return Pickled(sink.whole(), pickler, found)
            except RefusedValue:
                raise
            except RecursionError:
                continue
            except BaseException as error:
                if error is sink.raised:
                    raise
                raise RefusedValue("cannot be pickled (%s)" % refusals.in_short(error)) from None
        raise RefusedValue("nested too deeply for the pickle of Python %d.%d" % sys.version_info[:2])

    def refused_text(self, text: Any) -> None:
        """Raise RefusedValue where a text must not be saved."""
        words = self.refuse(text) if self.refuse is not None else ""
        if words:
            raise RefusedValue(words)

    def _group(self, name: str) -> Set[str]:
        """The definitions that need `name` and that it needs, itself among them."""
        after = _reached(name, self._needs_of)
        return {name} | {each for each in after if name in _reached(each, self._needs_of)}

    def _needs_of(self, name: str, held: Optional[Dict[int, str]] = None) -> Set[str]:
        """The definitions that one needs by itself, and which of `held` it has in it."""
        known = self._direct if held is None else self._with_held
        if name not in known:
            known[name] = set()
            with contextlib.suppress(RefusedValue, KeyError):  # it is named where it is itself pickled
                pickled = self._pickled({name: self.namespace[name]}, None, frozenset([name]), held=held)
                known[name] = pickled.needs | pickled.held
        return known[name]


def _reached(name: str, after: Callable[[str], Set[str]]) -> Set[str]:
    """What comes after a name, and after that."""
    reached: Set[str] = set()
    ahead = [name]
    while ahead:
        new = after(ahead.pop()) - reached
        reached |= new
        ahead += new
    return reached


class _Sink:
    """Where a pickler writes to; who is told of it may put an end to it."""

    def __init__(self, on_bytes: Taker) -> None:
        self._on_bytes = on_bytes
        self._pieces: List[bytes] = []
        self.raised: Optional[BaseException] = None

    def write(self, piece: Any) -> int:
        self.tell(piece)
        self._pieces.append(bytes(piece))
        return len(piece)

    def tell(self, piece: Any) -> None:
        try:
            if self._on_bytes is not None:
                self._on_bytes(piece)
        except BaseException as error:
            self.raised = error
            raise

    def whole(self) -> bytes:
        return b"".join(self._pieces)


class _Ways:
    """What our picklers do with each value; mixed into the fast one of C and the one that takes any depth."""

    make, cloudpickle, place_of = rebuilding, cloudpickle, staticmethod(known.place_of)
    dispatch_table: ClassVar[Any] = collections.ChainMap(
        {}, cloudpickle.Pickler._dispatch_table, copyreg.dispatch_table
    )

    def __init__(
        self,
        sink: _Sink,
        pickling: Pickling,
        values: Dict[str, Any],
        defining: FrozenSet[str],
        held: Dict[int, str],
    ) -> None:
        super().__init__(sink, 5, buffer_callback=self._buffer)  # type: ignore[call-arg]  # the pickler's
        self.pickling, self.defining, self._sink = pickling, defining, sink
        self.roots = {id(value) for value in values.values()}
        self.buffers: List[memoryview] = []
        self.memory: List[Tuple[int, int]] = []
        self.needs: Set[str] = set()
        self.to_name = held
        self.held: Set[str] = set()
        self.modules: Set[str] = set()
        self.shares: Set[int] = set()
        self.by_value: Set[int] = set()
        self.kept: List[Any] = []
        self.code = self.copied = False
        self.spaces = pickling.spaces
        self.globals: Dict[int, Any] = {}
        self.keep = self.kept.append
        self._ways, self._current = pickling.ways, None

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        way = self._ways.get(kind)
        if way is None:
            way = self._ways[kind] = _way(kind)
        if way is NotImplemented:
            return way
        self._current = value
        return way(value, self)

    def refused(self, words: str) -> RefusedValue:
        """What to raise where the value at hand cannot be saved."""
        return RefusedValue(words if id(self._current) in self.roots else "holds " + words)

    def refuse_space(self, value: Any) -> None:
        """Raise RefusedValue where a dict is not a value but what this process looks names up in."""
        words = self.spaces.get(id(value))
        if words:
            raise RefusedValue(words if id(value) in self.roots else "holds " + words)

    def _buffer(self, buffer: Any) -> bool:
        view = buffer.raw()
        if view.nbytes < OUT_OF_BAND:
            return True
        self._sink.tell(view)
        self.buffers.append(view)
        return False

    def reference(self, value: Any) -> Any:
        """The reduction of a definition to its name; None where it is none, or the one that is being saved."""
        path = self.pickling.known.path(value)
        root = path.partition(".")[0]
        if not path or root in self.defining:
            return None
        self.needs.add(root)
        return rebuilding.named, (path,)

    def named(self, value: Any) -> Optional[str]:
        """The variable of which a definition has this very value in it."""
        name = self.to_name.get(id(value))
        if name is not None:
            self.held.add(name)
        return name


class _Pickler(_Ways, pickle.Pickler):
    """The pickler of C."""


class _NamingPickler(_Pickler):
    """The same where each value may be a variable's."""

    def persistent_id(self, value: Any) -> Any:
        return self.named(value)


class _DeepPickler(_Ways, pickle._Pickler):
    """The pickler of Python, slow, for what is nested more deeply than C allows."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        python: Any = pickle._Pickler
        reduce = python.save_reduce

        def save_reduce(*args: Any, **more: Any) -> None:
            reduce(self, *args, **more)

        # Python 3.12 and later count a call of a method with `*args` as one of C, of which they allow few; not of a
        # function, which this is.
        self.save_reduce = save_reduce

    def persistent_id(self, value: Any) -> Any:
        return self.named(value)


def _way(kind: Any) -> Any:
    """How values of exactly this type are pickled: a function, or NotImplemented for pickle's own way."""
    way = ways.find(kind) or reducers.find(kind)
    if way is not None:
        return way
    words = refusals.refusal(kind)
    if words:
        return _refuse(words)
    return NotImplemented if kind in _Ways.dispatch_table else reducers.find_last(kind) or NotImplemented


def _spaces(namespace: Dict[str, Any]) -> Dict[int, str]:
    """What each dict is, by its id, that a process has anyway: a copy of one would be no other process's.

    That of `builtins` is not among them: `exec` puts it into each dict that it is given.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), types.ModuleType) and name != "builtins":
            found[id(ways.namespace_of(module))] = "the namespace of a module (%s)" % name
    found.pop(id(namespace), None)  # that is the next one's own, too
    return found


def _refuse(words: str) -> Any:
    def refuse(value: Any, pickler: Any) -> Any:
        raise pickler.refused(words)

    return refuse


def _tracker_id(kind: Any) -> str:
    """What a class is known by within one checkpoint: the same in each worker, and the next time."""
    return "%x" % id(kind)
