"""Promise: of a dead kernel's standard error whole lines are told, and of a crash what the user's code did."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_supervisor.kernels import postmortem
from kernel_supervisor.kernels.postmortem import MemoryWatch, explain, last_words
from kernel_supervisor.kernels.process import Exit
from tests.fake_kernel import record

CRASHED = Exit(code=-signal.SIGSEGV)
_SITE = "/env/lib/python3.11/site-packages"
_CRASH = f"""Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "{_SITE}/IPython/core/magics/execution.py", line 1 in time
  File "/tmp/ipykernel_12/3456.py", line 3 in <module>
%s
Extension modules: numpy (total: 1)
"""
_MACHINERY = f"""  File "{_SITE}/IPython/core/interactiveshell.py", line 3823 in run_code
  File "{_SITE}/ipykernel/kernelapp.py", line 788 in start
  File "<frozen runpy>", line 198 in _run_module_as_main
"""


def _told(tmp_path: Path, text: str, ended: Exit) -> str:
    file = tmp_path / "standard_error"
    file.write_text(text)
    return last_words(replace(record(tmp_path / "log"), standard_error=str(file)), ended)


def test_what_runs_a_cell_is_counted_and_nothing_else(tmp_path: Path) -> None:
    told = _told(tmp_path, _CRASH % _MACHINERY, CRASHED)
    assert '3456.py", line 3 in <module>\n  … 3 frames of the kernel itself …\n\nExtension modules' in told
    assert "execution.py" in told, "above the cell everything stays"
    assert _told(tmp_path, _CRASH % "", CRASHED).endswith("(total: 1)")


def test_a_long_dump_ends_with_a_whole_line(tmp_path: Path) -> None:
    frames = "".join(f'  File "/some/where/long/enough/file.py", line {n} in function_{n}\n' for n in range(1000, 1200))
    told = _told(tmp_path, _CRASH % frames, CRASHED)
    *_, last, mark = told.splitlines()
    assert mark == "…"
    assert last.startswith('  File "/some')
    assert last.rpartition(" ")[2].startswith("function_1")
    assert len(last.rpartition("_")[2]) == 4


def test_the_last_words_begin_with_a_whole_line(tmp_path: Path) -> None:
    lines = [f"a line that ends {number:05}" for number in range(500)]
    told = _told(tmp_path, "\n".join(lines), Exit(code=3)).splitlines()
    assert told[2] == "…"
    assert told[3:] == lines[-len(told[3:]) :]
    assert len(told) > 50
    assert _told(tmp_path, "one\ntwo", Exit(code=3)).endswith(":\none\ntwo")
    assert len(_told(tmp_path, "x" * 5000, Exit(code=3))) > 1900, "a line without an end is told all the same"


def test_a_kill_is_said_to_be_without_a_sign_of_lacking_memory_only_where_that_was_looked_at(tmp_path: Path) -> None:
    dead, killed = record(tmp_path / "log"), Exit(code=-signal.SIGKILL)
    looked = MemoryWatch(cgroup=tmp_path, killed=0, system_killed=None)
    unknown = MemoryWatch(cgroup=None, killed=0, system_killed=None)
    no_sign = "who sent it is not known; there is no sign that memory ran out"
    assert no_sign in explain(dead, killed, looked)
    for before in (unknown, None):
        said = explain(dead, killed, before)
        assert "who sent it is not known; nothing here tells whether memory ran out" in said
        assert "no sign" not in said


def test_the_first_kill_for_lack_of_memory_that_a_system_counts_is_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postmortem, "field", lambda path, name: "1")
    before = MemoryWatch(cgroup=None, killed=0, system_killed=0)
    said = explain(record(tmp_path / "log"), Exit(code=-signal.SIGKILL), before)
    assert "it ran out of memory: the system killed a process for lack of memory at that time" in said
