"""Promise: code is read whoever reads other code meanwhile, whatever is collected in between."""

from __future__ import annotations

import ast
import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kernel_supervisor.core.parsing import parsed

SOURCE = "def f(a, b):\n    return [a + b * (c - d) for c in a if c]\n" * 200


@pytest.fixture
def turns_in_between() -> Iterator[None]:
    """Other threads get a turn whenever garbage is collected, as where an object's finalizer waits for something."""

    def turn(*_: object) -> None:
        time.sleep(0.0001)

    gc.callbacks.append(turn)
    yield
    gc.callbacks.remove(turn)


@pytest.mark.usefixtures("turns_in_between")
def test_threads_that_read_code_at_once_all_read_it() -> None:
    """In CPython 3.11 `ast.parse` by itself raises SystemError then."""
    with ThreadPoolExecutor(4) as threads:
        trees = list(threads.map(parsed, [SOURCE] * 12))
    assert all(tree is not None and len(tree.body) == 200 for tree in trees)


def test_a_tree_that_is_made_elsewhere_meanwhile_makes_it_raise_nothing() -> None:
    """As `traceback` makes one in CPython 3.11, for the marks below a line."""
    made = []

    def make(*_: object) -> None:
        gc.callbacks.remove(make)
        made.append(elsewhere.submit(ast.parse, "x = 1").result())

    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(int).result()  # its thread is there
        gc.callbacks.append(make)
        tree = parsed(SOURCE)
    assert made
    assert tree is None or len(tree.body) == 200


@pytest.mark.parametrize(
    "source", ["def", "\0", "(" * 10_000, "-" * 100_000 + "1"], ids=["half", "nul", "deep", "long"]
)
def test_what_is_no_code_is_none(source: str) -> None:
    assert parsed(source) is None
