"""What a worker does: looks at one variable, or writes one unit of variables. It answers in words, whatever happens."""

from __future__ import annotations

import array
import contextlib
import os
from typing import Any

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
_KEPT, _SMALL = 256 << 20, 4 << 20


class Desk:
    """One worker's, made before it is copied: what it finds out stays in that worker."""

    def __init__(self, namespace: dict[str, Any], secrets: Any, objects: Any, name_bytes: int) -> None:
        self.namespace, self.secrets, self.objects = namespace, secrets, objects
        self.name_bytes = name_bytes
        self.pickling: Any = None
        self.kept: dict[str, Any] = {}
        self.kept_bytes = 0
        self.refusals, self.listing = beside("refusals"), beside("listing")
        self.store, self.picklings = beside("objects"), beside("pickling")

    def answer(self, task: Any) -> tuple[Any, bytes]:
        """Do a task, `[verb, …]`: what came of it, `{"why": words}`, or `{"fatal": words}`: nothing can be written."""
        verb, arguments = task[0], task[1:]
        value = self.namespace.get(arguments[0][0]) if arguments and arguments[0] else None
        why = self.why_of(value) if verb == "look" else ""
        if why:
            return {"why": why}, b""
        try:
            if self.pickling is None:
                self.pickling = self.picklings.Pickling(self.namespace, self.secrets.refuse)
            return getattr(self, verb)(*arguments)  # type: ignore[no-any-return]  # each of these returns an answer
        except self.store.StoreError as error:
            return {"fatal": str(error)}, b""
        except self.store.TooMuchError:
            return {"why": "the checkpoint has no room left for it"}, b""
        except self.picklings.RefusedValue as error:
            return {"why": self.quietly(str(error))}, b""
        except _LargeError:
            return {"why": self.refusals.of_size(self.name_bytes)}, b""
        except BaseException as error:  # noqa: BLE001 - an object may raise anything; it is the reason
            return {"why": self.quietly("saving it failed (%s)" % self.refusals.in_short(error))}, b""

    def why_of(self, value: Any) -> str:
        """Why it is not even looked at."""
        return self.secrets.refuse_whole(value) if type(value) in (str, bytes, bytearray) else ""

    def quietly(self, words: str) -> str:
        """Words that may have something secret in them, without."""
        return "saving it failed" if self.secrets.found_in(words.encode("utf-8", "surrogatepass")) else words

    def definitions(self) -> tuple[Any, bytes]:
        """The functions and classes that were made here."""
        found = {}
        for name, each in self.pickling.definitions().items():
            found[name] = {"kind": each.kind, "source": each.source, "needs": sorted(each.needs)}
        return {"definitions": found}, b""

    def look(self, names: list[str]) -> tuple[Any, bytes]:
        """How large a variable is, what it needs, what it shares, and where its memory is."""
        name = names[0]
        value = self.namespace[name]
        pickled = self.pickle(names)
        size = len(pickled.stream) + sum(memoryview(each).nbytes for each in pickled.buffers)
        why = self.pickling.rehearse(pickled) if pickled.doubtful and size <= _SMALL else ""
        if why:
            return {"why": self.quietly(why)}, b""
        ranges = [[int(start), int(end)] for start, end in pickled.memory]
        if size - len(pickled.stream) <= _SMALL and self.kept_bytes + len(pickled.stream) <= _KEPT:
            self.kept[name], self.kept_bytes = pickled, self.kept_bytes + len(pickled.stream)
        looked = {"type": self.listing.type_name(value), "bytes": size, "memory": ranges}
        return {**looked, "needs": sorted(pickled.needs), "copied": pickled.copied}, array.array(
            "Q", pickled.shares
        ).tobytes()

    def write(self, names: list[str], most: int) -> tuple[Any, bytes]:
        """Write some variables as one unit, at most so many bytes of it."""
        pickled = self.kept.pop(names[0], None) if len(names) == 1 else None
        return self.put(pickled or self.pickle(names), most), b""

    def define(self, names: list[str], most: int, saved: dict[str, list[str]]) -> tuple[Any, bytes]:
        """Write a definition as code of this very Python; variables that are saved are named in it."""
        pickled = self.pickling.pickle_definition(names[0], saved)
        return self.put(pickled, most), array.array("Q", pickled.shares).tobytes()

    def pickle(self, names: list[str]) -> Any:
        """The pickle of some variables. Raises what it raises."""
        left = [self.name_bytes * len(names)]

        def count(piece: Any) -> None:
            left[0] -= memoryview(piece).nbytes
            if left[0] < 0:
                raise _LargeError

        return self.pickling.pickle({name: self.namespace[name] for name in names}, count)

    def put(self, pickled: Any, most: int) -> Any:
        """Write what was pickled, all of it or nothing."""
        why = self.secrets.found_in(pickled.stream)
        if why:
            return {"why": why}
        placed: list[Any] = []
        try:
            for part in (pickled.stream, *pickled.buffers):
                view = memoryview(part)
                made = self.objects.put([view], most)
                most -= made["bytes"] if made["aside"] else 0
                placed.append({**made, "readonly": view.readonly})
        except BaseException:
            for each in placed:
                with contextlib.suppress(OSError):
                    os.unlink(each["aside"])
            raise
        return {"placed": placed, "needs": sorted(pickled.needs), "modules": sorted(pickled.modules)}


class _LargeError(Exception):
    """It is larger than a variable may be."""
