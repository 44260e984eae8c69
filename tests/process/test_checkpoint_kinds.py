"""Promise: values of every kind come back from a checkpoint as they were, or are named with a reason for people."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoint_kinds import KINDS, REFUSED
from tests.pickled import read, written

pytestmark = pytest.mark.timeout(400)
"""All that has values of these kinds is imported twice."""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of all kinds, and what a process that restored it says."""
    cells = [cell for cell, _ in [*KINDS.values(), *REFUSED.values()]]
    checkpoint = written(sys.executable, tmp_path_factory.mktemp("kinds"), cells)
    return checkpoint, read(sys.executable, checkpoint, KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_comes_back_as_it_was(kinds: tuple[Path, dict[str, Any]], kind: str) -> None:
    told = kinds[1]["told"]
    assert told["missing"].get(kind) is None, told["missing"][kind]
    assert kind in told["back"]
    assert not kinds[1]["failed"][kind], kinds[1]["failed"][kind]


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_come_back_is_named_with_the_reason(kinds: tuple[Path, dict[str, Any]], kind: str) -> None:
    reason = kinds[1]["told"]["missing"].get(kind, "it came back")
    assert re.search(REFUSED[kind][1], reason), reason
    assert len(reason) < 300
    assert "\n" not in reason
