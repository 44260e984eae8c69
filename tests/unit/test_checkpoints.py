"""Promise: which checkpoint is meant, which makes which needless, and what makes the rest."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.core import checkpoints as core
from kernel_supervisor.core.checkpoints import Checkpoint, CheckpointId
from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Execution, ExecutionId, Interpreter, KernelId, SessionName
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.checkpoints import Checkpoints, SpoiledError
from kernel_supervisor.sessions import checkpoints as sessions

_SESSION, _KERNEL = SessionName("project/"), KernelId("0123456789ab")


def _checkpoint(at: float, name: str = "", names: int = 10, **more: object) -> Checkpoint:
    fields: dict[str, object] = {
        "id": CheckpointId(f"c{at:g}"),
        "session": _SESSION,
        "name": name,
        "kind": "auto",
        "at": at,
        "kernel_id": _KERNEL,
        "generation": 1,
        "latest": 0,
        "python": "3.11.7",
        "interpreter": Interpreter(name="default", kind="default", argv=("python",)),
        "names": tuple(f"v{number}" for number in range(names)),
        "missing": {},
        "makers": {},
        "size": 1,
        "written": 1,
        "held_ms": 1.0,
        "took_s": 0.1,
        "manifest": "",
    }
    return Checkpoint(**{**fields, **more})  # type: ignore[arg-type]  # a test's shorthand


def _cell(number: int, source: str, **more: object) -> Execution:
    fields: dict[str, object] = {"kernel_id": _KERNEL, "generation": 1, "status": "ok", "kind": "code"}
    return Execution(id=ExecutionId(number), session=_SESSION, source=source, **{**fields, **more})  # type: ignore[arg-type]  # likewise


def test_last_is_the_newest_and_a_name_is_the_newest_of_that_name() -> None:
    there = [_checkpoint(1, "clean"), _checkpoint(3), _checkpoint(2, "clean")]
    assert core.find(there, "last") is there[1]
    assert core.find(there, "clean") is there[2]
    assert core.find(there, "c1") is there[0]
    assert core.find(there, "none") is None
    assert core.find([], "last") is None


def test_last_is_that_of_the_kernel_that_a_session_is_in() -> None:
    there = [_checkpoint(1), _checkpoint(2, kernel_id="another")]
    assert core.find(there, "last", _KERNEL) is there[0]
    assert core.find(there, "last", KernelId("a third")) is there[1]


@pytest.mark.parametrize(
    ("wanted", "parted"),
    [("last", ("", "last")), ("main:clean data", ("main", "clean data")), (" a/b : c ", ("a/b", "c")), ("", ("", ""))],
)
def test_a_session_may_stand_before_a_name(wanted: str, parted: tuple[str, str]) -> None:
    assert core.parted(wanted) == parted


@pytest.mark.parametrize("name", ["last", "a:b", "a\nb", "x" * 101, "-rf", "\u202eabc"])
def test_a_name_that_could_not_be_asked_for_is_none(name: str) -> None:
    assert core.why_no_name(name)


def test_a_new_one_makes_older_ones_needless_that_were_made_by_themselves_and_have_no_more() -> None:
    old, named, asked = _checkpoint(1), _checkpoint(2, "mine"), _checkpoint(3, kind="asked")
    of_another = _checkpoint(4, session=SessionName("other/"))
    new = _checkpoint(9)
    assert core.superseded(new, [old, named, asked, of_another, new], frozenset()) == [old]


def test_a_new_one_with_far_fewer_variables_leaves_the_good_one() -> None:
    good, new = _checkpoint(1, names=10), _checkpoint(2, names=7)
    assert core.superseded(new, [good, new], frozenset()) == []
    assert core.superseded(_checkpoint(2, names=8), [good], frozenset()) == [good]


def test_a_new_one_leaves_that_which_was_not_brought_back_whole() -> None:
    good, new = _checkpoint(1), _checkpoint(2)
    assert core.superseded(new, [good, new], frozenset({good.id})) == []


def test_of_good_ones_that_stay_there_are_only_a_few() -> None:
    there = [_checkpoint(at, names=100) for at in range(10)]
    gone = core.superseded(_checkpoint(20, names=1), there, frozenset())
    assert len(there) - len(gone) == 4
    assert there[-1] not in gone


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "for x in y: pass",
        "with a as x: pass",
        "def x(): pass",
        "async def x(): pass",
        "class x: pass",
        "import x",
        "import a as x",
        "from a import x",
        "(x := 2)",
        "a, (x, b) = 1, (2, 3)",
        "if a:\n  x = 1",
        "%time\nx = 1",
    ],
)
def test_what_made_a_variable_is_the_newest_cell_that_binds_it(source: str) -> None:
    cells = [_cell(3, "print(x)"), _cell(2, source), _cell(1, "x = 0")]
    assert core.makers(["x", "never"], cells) == {"x": 2}


def test_what_never_ran_made_nothing() -> None:
    cells = [_cell(3, "x = 3", status="aborted"), _cell(2, "x = 2", kind="markdown"), _cell(1, "x = 1", status="error")]
    assert core.makers(["x"], cells) == {"x": 1}


def test_the_rest_is_what_made_what_is_gone_and_what_succeeded_since() -> None:
    checkpoint = _checkpoint(1, latest=5, makers={"gen": ExecutionId(2), "kept": ExecutionId(3)})
    since = [
        _cell(5, "before"),
        _cell(6, "after"),
        _cell(7, "failed", status="error"),
        _cell(8, "elsewhere", generation=2),
        _cell(9, "a note", kind="note"),
    ]
    assert core.rest(checkpoint, ["gen", "unknown"], since) == [2, 6]


# On disk


@pytest.fixture
def disk(tmp_path: Path) -> Checkpoints:
    return Checkpoints(Paths(str(tmp_path / "state"), str(tmp_path / "run")))


def _written(disk: Checkpoints, at: float, *objects: str, commit: bool = True, **more: object) -> Checkpoint:
    number = disk.begin()
    units = [{"stream": name, "buffers": []} for name in objects]
    Path(disk.folder(number), "manifest.json").write_text(json.dumps({"units": units}))
    for name in objects:
        Path(disk.objects, name).write_text(name)
    made = replace(_checkpoint(at, **more), id=number, manifest=disk.manifest(number)[1])  # type: ignore[arg-type]  # likewise
    if commit:
        disk.commit(made)
    return made


def test_one_that_was_committed_is_read_again_as_it_was(disk: Checkpoints) -> None:
    made = _written(disk, 5.0, "a", missing={"gen": "a generator"}, makers={"gen": ExecutionId(7)})
    assert disk.all() == [made]
    assert disk.check(made) == os.path.join(disk.folder(made.id), "manifest.json")


def test_one_that_was_not_is_none(disk: Checkpoints) -> None:
    _written(disk, 5.0, "a", commit=False)
    assert disk.all() == []


def test_what_is_not_needed_any_more_goes_and_what_is_stays(disk: Checkpoints) -> None:
    first, second = _written(disk, 1.0, "both", "first"), _written(disk, 2.0, "both", "second")
    assert disk.sizes()[first.id] > disk.sizes()[second.id] - 10
    disk.remove(first.id)
    assert disk.sweep() == len("first")
    assert sorted(os.listdir(disk.objects)) == ["both", "second"]
    assert disk.all() == [second]


def test_what_a_writer_left_goes_once_it_is_old(disk: Checkpoints) -> None:
    left = _written(disk, 1.0, "a", commit=False)
    disk.sweep()
    assert os.listdir(disk.objects) == ["a"]
    old = time.time() - 7200
    os.utime(disk.folder(left.id), (old, old))
    disk.sweep()
    assert os.listdir(disk.objects) == []
    assert not os.path.exists(disk.folder(left.id))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{}"),
        lambda path: path.unlink(),
        lambda path: path.chmod(0o666),
        lambda path: path.parent.chmod(0o777),
        lambda path: path.write_text("x" * 100),
    ],
)
def test_one_that_is_not_as_it_was_written_is_not_used(disk: Checkpoints, spoil: Callable[[Path], object]) -> None:
    made = _written(disk, 1.0, "a")
    spoil(Path(disk.folder(made.id), "manifest.json"))
    with pytest.raises(SpoiledError):
        disk.check(made)


@pytest.mark.parametrize("spoiled", ["", "[]", "{}", "null", '{"id": 5}', "\0", "[" * 100_000])
def test_a_spoiled_one_hides_no_other(disk: Checkpoints, spoiled: str) -> None:
    good, bad = _written(disk, 1.0, "a"), _written(disk, 2.0, "b")
    Path(disk.folder(bad.id), "checkpoint.json").write_text(spoiled)
    assert disk.all() == [good]
    disk.sweep()
    assert Path(disk.objects, "a").exists()


def test_on_a_disk_that_is_full_nothing_is_saved_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: Any = None
    wanted = sessions.Wanted(session=nobody, runner=nobody, kind="asked")
    there = sessions.Checkpoints(Paths(str(tmp_path / "state"), str(tmp_path / "run")), nobody)
    number = there.disk.begin()
    monkeypatch.setattr(sessions, "_SPARED", 0)
    assert there.content(wanted, number)["total_bytes"] > 0
    monkeypatch.setattr(sessions, "_SPARED", 1 << 62)
    with pytest.raises(UnavailableError, match=r"the disk of .* has .* free"):
        there.content(wanted, number)
