"""Promise: what an ipykernel lacks is named, and one that lacks nothing is left alone."""

from __future__ import annotations

import pytest

from kernel_supervisor.mcp.advice import lacks


@pytest.mark.parametrize("version", ["", "7.4.0", "7.10.1", "8.0", "unknown"])
def test_a_kernel_that_lacks_nothing_or_is_not_known_is_not_spoken_of(version: str) -> None:
    assert lacks(version) == ""


@pytest.mark.parametrize(
    ("version", "said"),
    [("7.0.1", "7.4 or later"), ("7.3.0", "7.4 or later"), ("6.31.0", "subshells"), ("5.5.6", "while a cell runs")],
)
def test_what_an_old_ipykernel_lacks_is_named(version: str, said: str) -> None:
    assert said in lacks(version)
