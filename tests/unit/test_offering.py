"""Promise: of a kernel that is gone it is said how, once, and when only where that was seen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_supervisor.sessions.offering import had_ended
from tests.fake_kernel import record


def _said(tmp_path: Path, why: str) -> str:
    return had_ended(replace(record(tmp_path / "log"), end_reason=why, ended_at=1_700_000_000.0))


def test_a_death_that_was_seen_has_its_time(tmp_path: Path) -> None:
    said = _said(tmp_path, "the kernel died (exit code 3).\nThe end of its standard error:\nword")
    assert re.fullmatch(r"this session's kernel had died at 2023-11-1[45] \d\d:\d\d:\d\d \(exit code 3\)", said), said


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("the kernel ended with the machine, which was shut down", "it ended with the machine, which was shut down"),
        ("the kernel was shut down by claude-code", "it was shut down by claude-code"),
        ("the kernel is gone: its server has deleted it", "its server has deleted it"),
        ("", "how it ended is not on record"),
    ],
)
def test_any_other_end_is_told_as_it_stands_on_record(tmp_path: Path, why: str, told: str) -> None:
    assert _said(tmp_path, why) == f"this session's kernel is gone: {told}"
