"""Promise: a session of 2,000 cells and 500 MB is saved in memory for three of its largest output."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message

pytestmark = pytest.mark.timeout(300)

CELLS = 2_000
LARGEST = 20_000_000
BUFFERS = 8_000_000
"""What file buffers take, and json for each line of a text."""
_SAVE = """
import json, resource, sys
from pathlib import Path
from kernel_supervisor.core.model import Execution
from kernel_supervisor.notebooks.document import About, write_notebook
from kernel_supervisor.notebooks.history import Entry
from kernel_supervisor.records.messagelog import read

folder = Path(sys.argv[1])
regions = json.loads((folder / "regions").read_text())
entries = [
    Entry(
        execution=Execution(id=number, session="s", kind="code", source="show()", status="ok"),
        messages=lambda start=start, end=end: (item for _, item in read(folder / "log", start, end)),
    )
    for number, (start, end) in enumerate(regions)
]

def peak():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux's ru_maxrss begins with that of the process that forked.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

write_notebook(folder / "small", entries[:2], about=About(session="s"))
before = peak()
written = write_notebook(folder / "large", entries, about=About(session="s"))
print(json.dumps({"cells": written.cells, "size": written.path.stat().st_size, "growth": peak() - before}))
"""


@pytest.mark.parametrize("kind", ["image", "text"])
def test_large_session_is_saved_in_little_memory(tmp_path: Path, kind: str) -> None:
    regions = []
    writer = MessageLogWriter(tmp_path / "log")
    image = base64.b64encode(os.urandom(180_000)).decode()
    for number in range(CELLS):
        start = (tmp_path / "log").stat().st_size
        _append(writer, number, "execute_input", {"execution_count": number})
        _append(writer, number, "display_data", {"data": {"image/png": image}, "metadata": {}})
        _append(writer, number, "stream", {"name": "stdout", "text": "line\n" * 2_000})
        if number == CELLS // 2:
            _append(writer, number, *_largest(kind))
        regions.append((start, (tmp_path / "log").stat().st_size))
    writer.close()
    (tmp_path / "regions").write_text(json.dumps(regions))
    finished = subprocess.run([sys.executable, "-c", _SAVE, str(tmp_path)], capture_output=True, text=True, check=True)
    said = json.loads(finished.stdout)
    assert said["cells"] == CELLS
    assert said["size"] > 500_000_000
    assert said["growth"] < 3 * LARGEST + BUFFERS


def _largest(kind: str) -> tuple[str, dict[str, object]]:
    if kind == "image":
        picture = base64.b64encode(os.urandom(LARGEST * 3 // 4)).decode()
        return "display_data", {"data": {"image/png": picture}, "metadata": {}}
    return "stream", {"name": "stdout", "text": ("x" * 99 + "\n") * (LARGEST // 100)}


def _append(writer: MessageLogWriter, number: int, msg_type: str, content: dict[str, object]) -> None:
    header = {"msg_id": f"{number}-{msg_type}", "msg_type": msg_type, "date": "2026-01-01T00:00:00Z"}
    message = {"header": header, "parent_header": {"msg_id": str(number)}, "metadata": {}, "content": content}
    writer.append(encode_message("iopub", message))
