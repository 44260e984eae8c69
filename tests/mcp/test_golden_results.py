"""Promise: of each cell the agent is shown what a good colleague would tell it, and what it can do next.

Every golden result was read by eye. `python -m tests.mcp.test_golden_results` writes them anew, to be read again.
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.mcp.golden.cells import CELLS, Cell
from tests.support import ERAS, RESULT, Home, Shim, fresh_home

GOLDEN = Path(__file__).with_name("golden")
_CHANCE = (
    (r"execution(_id=| )\d+", r"execution\1N"),
    (r"In \[\d+\]", "In [N]"),
    (r"\b\d+(\.\d+)?( ms| s| min)\b", "T"),
    (r"\b\d\d:\d\d:\d\d\b", "HH:MM:SS"),
    (r"the \d+ cells that succeeded", "the N cells that succeeded"),
    (r"`[^`\n]*install[^`\n]*\[svg\]'`", "`… install 'kernel-supervisor[svg]'`"),
    (r"0x[0-9a-f]{6,}", "0xADDRESS"),
    (r"(/[^\s\"']+)?/(python3\.\d+|site-packages)/", "…/"),
    (r"/tmp/[\w-]+", "/tmp/…"),
    (r"kernel [0-9a-f]{12}", "kernel ID"),
    (r"(\.py|\.pyx|\.pxi)(:|, line )\d+", r"\1\2N"),
    (r"the same frame \d{3} more times", "the same frame N more times"),
    (r"\bpid \d+", "pid N"),
    (r"\d+(\.\d+)? [kMG]B", "SIZE"),
    (r"(\w{3,4} ?)\1{20,}\S*( \w+$)?", "«again and again»"),
    (r"[\d,]+ lines \([\d,]+ characters\) left out", "N lines (N characters) left out"),
    (r"[\d,]+ characters left out", "N characters left out"),
    (r"from_line=\d+\), grep", "from_line=N), grep"),
    (r"from_line=\d+\) …", "from_line=N) …"),
    (r"(noise \d+\n){5,}", "noise …\n"),
    (r"(line \d+\n){5,}", "line …\n"),
)
_DRAWING = ("plt", "go.Figure", "px.line", "alt.Chart")
"""Whose margins are their own."""


def shown(result: Any) -> str:
    """A tool's result as one text, without what differs from run to run."""
    return "\n".join(_block(block) for block in result["content"])


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "image":
        with Image.open(io.BytesIO(base64.b64decode(block["data"]))) as picture:
            return f"[{block['mimeType']} {'×'.join(map(str, picture.size))}]"
    text = str(block["text"])
    for pattern, instead in _CHANCE:
        text = re.sub(pattern, instead, text)
    return text


def run(home: Home, shim: Shim, cell: Cell) -> str:
    """A cell and the calls that follow it, with what each shows."""
    result = shim.call("kernel_exec", code=cell.code, **cell.arguments)
    number = result["_meta"][RESULT].get("execution_id")
    while "still being drawn" in shown(result):  # where the machine has much to do
        result = shim.call("kernel_output", execution_id=number)
    parts = [shown(result)]
    if cell.name == "queued-behind-it":
        (home.project / "gate").touch()
    for arguments in cell.reads:
        said = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        parts += [f"──── kernel_output(…, {said})", shown(shim.call("kernel_output", execution_id=number, **arguments))]
    text = "\n".join(parts) + "\n"
    return re.sub(r"\d+×\d+", "W×H", text) if any(each in cell.code for each in _DRAWING) else text


@pytest.fixture(scope="module", params=ERAS)
def played(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What each cell showed, all in one session, in order."""
    with fresh_home() as home, home.shim() as shim:
        shim.open(request.param)
        shim.run("0")  # which tells of the kernel that it starts
        shim.call("kernel_restart")
        yield {cell.name: run(home, shim, cell) for cell in CELLS}


def test_there_are_sixty_cells_and_a_golden_result_for_each() -> None:
    assert len(CELLS) >= 60
    assert {cell.name for cell in CELLS} == {path.stem for path in GOLDEN.glob("*.txt")}


@pytest.mark.timeout(300)  # the first one runs them all
@pytest.mark.parametrize("name", [cell.name for cell in CELLS])
def test_the_result_is_the_golden_one(played: dict[str, str], name: str) -> None:
    assert played[name] == (GOLDEN / f"{name}.txt").read_text(), "read the difference by eye before you accept it"


if __name__ == "__main__":
    tempfile.tempdir = "/tmp"
    with fresh_home() as home, home.shim() as shim:
        shim.open()
        shim.run("0")
        shim.call("kernel_restart")
        for cell in CELLS:
            (GOLDEN / f"{cell.name}.txt").write_text(run(home, shim, cell))
