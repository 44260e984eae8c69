"""Promise: what the workflows call is there."""

from __future__ import annotations

import re

from tests.packages.conftest import ROOT


def test_every_session_file_and_workflow_that_they_call_exists() -> None:
    texts = [path.read_text("utf-8") for path in sorted((ROOT / ".github/workflows").glob("*.yml"))]
    noxfile = (ROOT / "noxfile.py").read_text("utf-8")
    sessions = set(re.findall(r"^@nox\.session.*\ndef (\w+)", noxfile, re.MULTILINE))
    called = set(re.findall(r"nox -s (\S+)", "\n".join(texts)))
    assert {"packages", "tests"} <= called <= sessions
    for named in re.findall(r"uses: \./(\S+)|bash (\S+)|(tests/\w+)", "\n".join(texts)):
        assert (ROOT / "".join(named)).exists(), named
