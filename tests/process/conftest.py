"""Fixtures for tests with processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks_corpus.foreign import foreign_notebooks, real_notebooks


@pytest.fixture(scope="session")
def foreign(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Notebooks that no one here wrote."""
    cache = Path(pytestconfig.cache.mkdir("foreign-notebooks"))
    return foreign_notebooks(cache, tmp_path_factory.mktemp("foreign"))


@pytest.fixture(scope="module")
def real(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five notebooks that people have written and run, by their names."""
    cache = Path(pytestconfig.cache.mkdir("foreign-notebooks"))
    return real_notebooks(cache, tmp_path_factory.mktemp("real"))
