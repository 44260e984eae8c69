"""Promise: counts read as a person would write them."""

from __future__ import annotations

import pytest

from kernel_supervisor.amounts import several


@pytest.mark.parametrize(
    ("count", "what", "words"),
    [
        (0, "cell", "0 cells"),
        (1, "cell", "1 cell"),
        (2, "matching line", "2 matching lines"),
        (1, "process", "1 process"),
        (2, "process", "2 processes"),
        (1200, "thing", "1,200 things"),
    ],
)
def test_one_is_one_and_several_are_several(count: int, what: str, words: str) -> None:
    assert several(count, what) == words
