"""What is released: the wheel and the sdist in dist/, as `nox -s packages` builds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Built:
    """The files of a release."""

    wheel: Path
    sdist: Path


@pytest.fixture(scope="session")
def built() -> Built:
    """The sdist was made from the checkout, the wheel from the sdist."""
    (wheel,), (sdist,) = (ROOT / "dist").glob("*.whl"), (ROOT / "dist").glob("*.tar.gz")
    return Built(wheel, sdist)
