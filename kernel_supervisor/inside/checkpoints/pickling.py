"""Pickles the values of a kernel's namespace so that another process can make them again, or says why not.

Runs *inside* kernels, in the forked copy that writes a checkpoint, and only there: it freezes the garbage collector's
objects and leaves modules of ours in `sys.modules`. stdlib only, Python 3.8 and later.

It is a pickler of protocol 5 with cloudpickle's ways for functions and classes, and ours: functions live in the
namespace into which they are restored, what people defined by a name is a reference to that name, files are not read.
Streams name the makers of `rebuilding.py` and of cloudpickle, under names of ours.
"""

from __future__ import annotations

import contextlib
import gc
import pickle
import sys
import types
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Set

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
picklers, rebuilding, refusals, known, sharing, anchors, listing = map(
    beside, ("picklers", "rebuilding", "refusals", "definitions", "sharing", "anchors", "listing")
)
RefusedValue: Any = picklers.RefusedValue
_Pickled = Any
"""`picklers.Pickled`."""
_Taker = Optional[Callable[[Any], None]]
_Saved = Dict[str, List[str]]


class Pickling:
    """Pickles values of one namespace. `refuse(text)` says why a text or bytes must not be saved, or ""."""

    def __init__(self, namespace: Dict[str, Any], refuse: Callable[[Any], str]) -> None:
        self.namespace, self.refuse = namespace, refuse
        self.known = known.Definitions(namespace)
        self.ways: Dict[Any, Any] = anchors.ways()
        self.spaces = _spaces(namespace)
        self._direct: Dict[str, Set[str]] = {}
        self._with_held: Dict[str, Set[str]] = {}
        picklers.cloudpickle._get_or_create_tracker_id = _tracker_id
        for module in (picklers.cloudpickle, rebuilding):
            sys.modules[module.__name__] = module

    def definitions(self) -> Dict[str, Any]:
        """The functions and classes that people defined, by name: kind, source, needs."""
        found: Dict[str, Any] = self.known.all()
        return found

    def pickle(self, values: Dict[str, Any], on_bytes: _Taker = None) -> _Pickled:
        """These values as one pickle of a dict. Raises RefusedValue, and what `on_bytes` raises, which is given each
        piece of the stream and each buffer as it comes."""
        return self._pickled(values, on_bytes, frozenset())

    def pickle_definition(self, name: str, saved: _Saved) -> _Pickled:
        """A definition itself, with those that cannot be made without it nor it without them: all have one stream.

        `saved` are variables that have units of their own, with the definitions that each unit needs: one that the
        definition holds (in the body of a class, as a default) is not part of its stream, but named there.
        """
        group = self._group(name)
        own_keys = [each for each in self.namespace if each in group]  # so that all have the very same stream
        values = {each: self.namespace[each] for each in own_keys}
        held = self._to_be_named(group, saved)
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

    def rehearse(self, pickled: _Pickled) -> str:
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
        on_bytes: _Taker,
        defining: FrozenSet[str],
        places: Optional[List[Any]] = None,
        held: Optional[Dict[int, str]] = None,
    ) -> _Pickled:
        for value in values.values():
            if id(value) in self.spaces and not defining:
                raise RefusedValue(self.spaces[id(value)])
        gc.freeze()  # what the collector knows from now on was made by pickling
        for kind in (picklers.NamingPickler if held else picklers.Pickler, picklers.DeepPickler):
            sink = picklers.Sink(on_bytes)
            pickler = kind(sink, self, values, defining, held or {})
            try:
                pickler.dump(anchors.Whole(values, places or []))
                sharing.look_through(pickler, self.refuse_text)
                pickler.made.shares -= set(map(id, anchors.of(self.namespace).values()))
                pickler.made.stream = sink.whole()
                return pickler.made
            except RefusedValue:
                raise
            except RecursionError:
                continue
            except BaseException as error:
                if error is sink.raised:
                    raise
                raise RefusedValue("cannot be pickled (%s)" % refusals.in_short(error)) from None
        raise RefusedValue("nested too deeply for the pickle of Python %d.%d" % sys.version_info[:2])

    def refuse_text(self, text: Any) -> None:
        """Raise RefusedValue where a text must not be saved."""
        words = self.refuse(text)
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


def _spaces(namespace: Dict[str, Any]) -> Dict[int, str]:
    """What each dict is, by its id, that a process has anyway: a copy of one would be no other process's.

    That of `builtins` is not among them: `exec` puts it into each dict that it is given.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), types.ModuleType) and name != "builtins":
            found[id(listing.namespace_of(module))] = "the namespace of a module (%s)" % name
    found.pop(id(namespace), None)  # that is the next one's own, too
    return found


def _tracker_id(kind: Any) -> str:
    """What a class is known by within one checkpoint: the same in each worker, and the next time."""
    return "%x" % id(kind)
