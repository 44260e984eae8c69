"""The picklers: what they do with each value, and what there is to know of what they made.

Runs *inside* kernels, in the forked copy that writes a checkpoint; loaded by `pickling.py`: stdlib only, Python 3.8 and
later. They are picklers of protocol 5 with cloudpickle's ways for functions and classes, and ours.
"""

from __future__ import annotations

import collections
import copyreg
import pickle
from typing import Any, Callable, ClassVar, Dict, FrozenSet, List, Optional, Set, Tuple

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
cloudpickle = beside("borrowed").cloudpickle()
rebuilding, ways, reducers, frames, refusals = map(beside, ("rebuilding", "ways", "reducers", "frames", "refusals"))
reducers.DERIVED.update(frames.DERIVED)
OUT_OF_BAND = 1 << 16
"""Bytes from which a buffer is not part of the stream."""
Taker = Optional[Callable[[Any], None]]


class RefusedValue(Exception):  # noqa: N818 - it is an answer, in words for people, not a fault
    """A value cannot be saved; the message says why: "an open file", "holds a lock"."""


class Pickled:
    """One pickle. `buffers` are views of what is out of band, in order; `needs` are definitions by name, `modules` what
    the stream imports; `shares` the ids of objects that other names may have, too; `memory` address ranges of arrays;
    `held` the variables that definitions have in them and that are not part of the stream; `kept` is what must live on.

    `doubtful`: it has classes with ways of their own, that may fail when loaded. `copied`: something comes back as a
    copy of what was mapped from a file.
    """

    __slots__ = ("buffers", "copied", "doubtful", "held", "kept", "memory", "modules", "needs", "shares", "stream")

    def __init__(self) -> None:
        self.stream = b""
        self.buffers: List[memoryview] = []
        self.needs: Set[str] = set()
        self.held: Set[str] = set()
        self.modules: Set[str] = set()
        self.shares: Set[int] = set()
        self.memory: List[Tuple[int, int]] = []
        self.kept: List[Any] = []
        self.copied = self.doubtful = False


class Sink:
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

    make, cloudpickle, place_of = rebuilding, cloudpickle, staticmethod(beside("definitions").place_of)
    dispatch_table: ClassVar[Any] = collections.ChainMap(
        {}, cloudpickle.Pickler._dispatch_table, copyreg.dispatch_table
    )

    def __init__(
        self,
        sink: Sink,
        pickling: Any,
        values: Dict[str, Any],
        defining: FrozenSet[str],
        held: Dict[int, str],
    ) -> None:
        super().__init__(sink, 5, buffer_callback=self._buffer)  # type: ignore[call-arg]  # the pickler's
        self.pickling, self.defining, self._sink = pickling, defining, sink
        self.roots = {id(value) for value in values.values()}
        self.made, self.to_name = Pickled(), held
        self.by_value: Set[int] = set()
        self.spaces = pickling.spaces
        self.globals: Dict[int, Any] = {}
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
        self.made.buffers.append(view)
        return False

    def reference(self, value: Any) -> Any:
        """The reduction of a definition to its name; None where it is none, or the one that is being saved."""
        path = self.pickling.known.path(value)
        root = path.partition(".")[0]
        if not path or root in self.defining:
            return None
        self.made.needs.add(root)
        return rebuilding.named, (path,)

    def named(self, value: Any) -> Optional[str]:
        """The variable of which a definition has this very value in it."""
        name = self.to_name.get(id(value))
        if name is not None:
            self.made.held.add(name)
        return name


class Pickler(_Ways, pickle.Pickler):
    """The pickler of C."""


class NamingPickler(Pickler):
    """The same where each value may be a variable's."""

    def persistent_id(self, value: Any) -> Any:
        return self.named(value)


class DeepPickler(_Ways, pickle._Pickler):
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


def _refuse(words: str) -> Any:
    def refuse(value: Any, pickler: Any) -> Any:
        raise pickler.refused(words)

    return refuse
