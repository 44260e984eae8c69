"""In the place of `inside/checkpoints/pickling.py`: pickle's own protocol, and what the border asks for."""

from __future__ import annotations

import io
import pickle
import sys
from typing import Any


class RefusedValue(Exception):  # noqa: N818 - the border's name
    """A value that is not saved, and why."""


class Pickled:
    """What came of a pickling."""

    def __init__(self, stream: bytes, buffers: list[memoryview], shares: set[int]) -> None:
        self.stream, self.buffers, self.shares = stream, buffers, shares
        self.doubtful = False
        self.memory: list[tuple[int, int]] = []
        self.needs: set[str] = set()
        self.modules: set[str] = set()


class Pickling:
    """Pickles values of one namespace."""

    def __init__(self, namespace: dict[str, Any], refuse: Any) -> None:
        self.refuse = refuse

    def definitions(self) -> dict[str, Any]:
        """None are known."""
        return {}

    def pickle(self, values: dict[str, Any], on_bytes: Any) -> Pickled:
        """The values, their large buffers apart."""
        refuse, buffers = self.refuse, list[memoryview]()

        class Pickler(pickle.Pickler):
            def persistent_id(self, value: Any) -> None:
                if type(value) in (str, bytes):
                    why = refuse(value)
                    if why:
                        raise RefusedValue(why)

        def take(buffer: pickle.PickleBuffer) -> bool:
            view = buffer.raw()
            if view.nbytes < 1 << 16:
                return True
            on_bytes(view)
            buffers.append(view)
            return False

        class File(io.BytesIO):
            def write(self, piece: Any) -> int:
                on_bytes(piece)
                return super().write(piece)

        file = File()
        Pickler(file, 5, buffer_callback=take).dump(values)
        pickled = Pickled(file.getvalue(), buffers, lists_in(values))
        for value in values.values():
            if type(value).__name__ == "ndarray":
                pickled.memory.append(sys.modules["numpy"].lib.array_utils.byte_bounds(value))
        return pickled

    def rehearse(self, pickled: Pickled) -> str:
        """It would be loaded."""
        return ""

    def pickle_definition(self, name: str) -> Pickled:
        """There are none."""
        raise KeyError(name)


def lists_in(values: dict[str, Any]) -> set[int]:
    """The lists in lists that these are, by their identity."""
    found, left = set[int](), list(values.values())
    while left:
        value = left.pop()
        if type(value) is list and id(value) not in found:
            found.add(id(value))
            left += value
    return found
