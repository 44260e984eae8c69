"""One machine for all tests: each has users of its own on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.systemd.image import CannotBeHadError
from tests.systemd.machine import Machine, booted


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """A machine with systemd and our package; where none can be booted, the tests are skipped with the reason."""
    try:
        with booted() as machine:
            yield machine
    except CannotBeHadError as error:
        pytest.skip(f"no machine with systemd: {error}")
