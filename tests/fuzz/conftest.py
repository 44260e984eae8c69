"""What all of fuzzing shares: how long it goes on, from which seeds, and a daemon that has to outlive it.

Without an option each test tries a few fixed seeds. `pytest tests/fuzz --minutes 10` goes on with new ones, so long for
each test; a seed that fails is named, and `--seed` tries it alone.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.fuzz.survivor import Survivor

FEW = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for those who look for more by hand."""
    group = parser.getgroup("fuzz")
    group.addoption("--minutes", type=float, default=0.0, help="how long each test goes on with new seeds")
    group.addoption("--seed", type=int, default=None, help="the one seed that is tried")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> Iterator[random.Random]:
    """A source of chance for each round; what is tried before a failure is named."""
    return _seeds(request.config.getoption("--minutes", 0.0), request.config.getoption("--seed", None))


def _seeds(minutes: float, chosen: int | None) -> Iterator[random.Random]:
    end = time.monotonic() + minutes * 60
    number = random.SystemRandom().randrange(10**9) if minutes and chosen is None else chosen or 0
    tried = 0
    while tried < (FEW if chosen is None else 1) or time.monotonic() < end:
        print(f"seed {number}")
        yield random.Random(number)
        number, tried = number + 1, tried + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whoever asks for minutes gets them."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(120 + config.getoption("--minutes", 0.0) * 60))


@pytest.fixture(scope="module")
def survivor() -> Iterator[Survivor]:
    """One daemon for all tests of a module, with a client of its own that nothing of theirs may concern."""
    from tests.fuzz.survivor import surviving  # takes an MCP client along

    with surviving() as found:
        yield found
