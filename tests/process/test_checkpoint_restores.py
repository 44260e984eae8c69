"""Promise: a restore brings back what is whole and this user's, each on its own, and says why the rest is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.inside import CHECKPOINTS
from kernel_supervisor.kernels.checkpoints import rehearse
from tests.pickled import asked, manifest, read, written

PLAIN = [
    "import math",
    "one = [1]\ntwo = {'a': one}\nthree = 'text'\ndef double(x):\n    return 2 * x\nlot = bytes(100_000)",
]
AFTERWARDS = """
import sys
sys.saving = True
class {0}:
    def __setstate__(self, state):
        if not hasattr(sys, "saving"):
            import ctypes, os, signal, warnings
            {1}
{2} = {0}()
{2}.a = 1
"""
"""A class that does as it is told once it is restored."""
CRASHES = AFTERWARDS.format("Crashes", "ctypes.string_at(0)", "crashes")
STUCK = AFTERWARDS.format("Stuck", "while True: pass", "stuck")
THING = "from neighbour import Thing\nthing = Thing()\ndel Thing"
LOUD = AFTERWARDS.format("Loud", "print('LOUD'); warnings.warn('LOUD')", "loud")
INTERRUPTED = AFTERWARDS.format("Slow", "os.kill(os.getpid(), signal.SIGINT)", "slow")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A checkpoint of plain values."""
    return written(sys.executable, tmp_path, PLAIN)


def _object_of(checkpoint: Path, name: str) -> Path:
    told = manifest(checkpoint)
    return checkpoint / "objects" / str(told["units"][told["names"][name]["unit"]]["stream"])


def test_everything_is_back_and_nothing_of_ours_is_left(plain: Path) -> None:
    found = read(sys.executable, plain, {"two": ["", "assert v['a'] is one and double(2) == 4 and math.pi > 3"]})
    assert sorted(found["told"]["back"]) == ["double", "lot", "math", "one", "three", "two"]
    assert found["told"]["missing"] == {}
    assert found["told"]["by_source"] == []
    assert found["failed"] == {"two": ""}
    assert found["ours"] == []


def test_what_is_damaged_is_missing_alone(plain: Path) -> None:
    path = _object_of(plain, "three")
    path.write_bytes(path.read_bytes()[:-3] + b"abc")
    _object_of(plain, "lot").unlink()
    told = read(sys.executable, plain)["told"]
    assert told["missing"] == {"three": "its file is damaged: its checksum is wrong", "lot": "its file is gone"}
    assert {"one", "two", "double"} <= set(told["back"])


def test_what_others_could_have_written_is_not_read(plain: Path) -> None:
    _object_of(plain, "three").chmod(0o620)
    told = read(sys.executable, plain)["told"]
    assert told["missing"] == {"three": "its file is not this user's alone to write"}
    (plain / "manifest.json").chmod(0o602)
    refused = read(sys.executable, plain)["told"]
    assert refused == {
        "status": "refused",
        "why": "its manifest cannot be read: its file is not this user's alone to write",
    }


def test_a_manifest_that_was_changed_is_refused(plain: Path) -> None:
    request = asked(plain)
    (plain / "manifest.json").write_text((plain / "manifest.json").read_text().replace("three", "throe"))
    told = read(sys.executable, plain, sha256=request["sha256"])["told"]
    assert told["status"] == "refused"
    assert "checksum" in told["why"]


def test_only_what_is_asked_for_comes_back_with_what_it_needs(tmp_path: Path) -> None:
    cells = ["import math, json", "class Point:\n    def far(self): return root(self.x)\npoint = Point()\npoint.x = 4"]
    cells += ["def root(x):\n    return math.sqrt(x)\nother = 5\nalso = [other]"]
    checkpoint = written(sys.executable, tmp_path, cells)
    found = read(sys.executable, checkpoint, {"point": ["", "assert v.far() == 2"]}, only=["point", "nothing"])
    assert sorted(found["told"]["back"]) == ["Point", "math", "point", "root"]
    assert found["told"]["missing"] == {"nothing": "it is not in this checkpoint"}
    assert found["failed"]["point"] == ""


def test_variables_that_are_there_stay_where_they_are_not_to_be_replaced(plain: Path) -> None:
    check = {"three": ["", "assert v == 'mine'"]}
    found = read(sys.executable, plain, check, cells=["three = 'mine'"], replace=False)
    assert found["told"]["missing"] == {"three": "there is a variable of that name already"}
    assert found["failed"]["three"] == ""


def test_a_unit_that_ends_the_process_is_known_by_the_journal(tmp_path: Path) -> None:
    checkpoint = written(sys.executable, tmp_path, [*PLAIN, CRASHES])
    journal = tmp_path / "journal"
    with pytest.raises(AssertionError):
        read(sys.executable, checkpoint, journal=str(journal))
    lines = journal.read_text().splitlines()
    begun, number = lines[-1].split()
    assert begun == "unit"
    assert number == str(manifest(checkpoint)["names"]["crashes"]["unit"])
    assert [line for line in lines[:-1] if line.startswith("unit")] == [
        line.replace("done", "unit") for line in lines if line.startswith("done")
    ]
    told = read(sys.executable, checkpoint, journal=str(journal), without=[int(number)])["told"]
    assert told["missing"] == {"crashes": "making it ended the process"}
    assert {"one", "two", "Crashes"} <= set(told["back"])


def test_what_takes_too_long_is_missing_alone(tmp_path: Path) -> None:
    told = read(sys.executable, written(sys.executable, tmp_path, [*PLAIN, STUCK]), unit_s=0.5)["told"]
    assert told["missing"] == {"stuck": "making it took longer than 0.5 s"}
    assert {"one", "two", "Stuck"} <= set(told["back"])


def test_what_restoring_prints_goes_nowhere(tmp_path: Path) -> None:
    checkpoint = written(sys.executable, tmp_path, [LOUD])
    found = read(sys.executable, checkpoint)
    assert "loud" in found["told"]["back"]
    assert "LOUD" not in found["printed"]


def test_what_an_import_takes_as_its_stream_is_the_real_one_afterwards(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("import sys\nprint('LOUD')\nstreams = sys.stdout, sys.stderr\n")
    checkpoint = written(sys.executable, tmp_path, [f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport loud"])
    check = "import sys\nassert v.streams == (sys.stdout, sys.stderr)\nv.streams[0].write('HEARD')"
    found = read(sys.executable, checkpoint, {"loud": ["", check]}, path=[str(tmp_path)])
    assert found["failed"]["loud"] == ""
    assert "HEARD" in found["printed"]
    assert "LOUD" not in found["printed"]


def test_packages_that_are_not_installed_are_named(tmp_path: Path) -> None:
    (tmp_path / "fancy.py").write_text("class Thing:\n    pass\ndef act(): pass\n")
    cells = [
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport fancy",
        "thing = fancy.Thing()\nact = fancy.act\nmine = 5",
    ]
    checkpoint = written(sys.executable, tmp_path, cells)
    (tmp_path / "fancy.py").unlink()
    told = read(sys.executable, checkpoint)["told"]
    assert told["missing"] == dict.fromkeys(("fancy", "thing", "act"), "needs fancy, which is not installed here")
    assert "mine" in told["back"]
    (tmp_path / "fancy.py").write_text("def act(): pass\n")
    changed = read(sys.executable, checkpoint, path=[str(tmp_path)])["told"]["missing"]
    assert changed == {"thing": "needs fancy.Thing, which the fancy that is installed here does not have"}


def test_a_restored_kernel_can_be_saved_again(tmp_path: Path) -> None:
    cells = ["import functools", "class Base:\n    # kept\n    def who(self): return 'base'\nbase = Base()"]
    cells += ["def outer(x):\n    return inner(x) + 1\ndef inner(x):\n    return x\nfs = [lambda x: x * 5]"]
    first = written(sys.executable, tmp_path / "first", cells)
    read(sys.executable, first, write_again=str(tmp_path / "second"))
    sources = [
        {name: each["source"] for name, each in manifest(tmp_path / place)["definitions"].items()}
        for place in ("first/checkpoint", "second")
    ]
    assert sources[0] == sources[1]
    assert "# kept" in sources[1]["Base"]
    check = {"base": ["", "assert v.who() == 'base' and isinstance(v, Base) and outer(1) == 2 and fs[0](2) == 10"]}
    found = read(sys.executable, tmp_path / "second", check)
    assert found["failed"]["base"] == ""
    assert found["told"]["missing"] == {}


def test_rehearsing_it_as_a_script_says_what_would_come_back(tmp_path: Path) -> None:
    checkpoint = written(sys.executable, tmp_path, [*PLAIN, LOUD])
    request, reply = tmp_path / "request.json", tmp_path / "reply.json"
    request.write_text(json.dumps({**asked(checkpoint), "journal": str(tmp_path / "journal")}))
    rehearsal = [sys.executable, "-I", str(Path(CHECKPOINTS) / "restoring.py"), str(request), str(reply)]
    done = subprocess.run(rehearsal, capture_output=True, text=True, timeout=60, check=True)
    told: dict[str, Any] = json.loads(reply.read_text())
    assert (done.stdout, done.stderr) == ("", "")
    assert {"one", "two", "double", "loud"} <= set(told["back"])
    assert told["missing"] == {}


def test_rehearsing_it_finds_modules_where_the_kernel_would(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "neighbour.py").write_text("class Thing:\n    pass")
    checkpoint = written(sys.executable, tmp_path, [f"import sys; sys.path.insert(0, {str(project)!r})", THING])
    folders: list[str]
    for folders, missing in ([str(project)], {}), ([], {"thing": "needs neighbour, which is not installed here"}):
        content, reply = {**asked(checkpoint), "path": folders}, str(tmp_path / f"{len(folders)}.json")
        told = rehearse([sys.executable], os.environ, content, reply, 60)
        assert told is not None
        assert told["missing"] == missing


def test_an_interrupt_leaves_what_is_whole(tmp_path: Path) -> None:
    checkpoint = written(sys.executable, tmp_path, ["first = 1", INTERRUPTED, "last = 3"])
    told = read(sys.executable, checkpoint)["told"]
    assert told["missing"] == dict.fromkeys(("slow", "last"), "bringing it back was interrupted")
    assert "first" in told["back"]
