"""Promise: a notebook is on the disk whole or not at all, and nobody's file is lost for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Execution, ExecutionId, Message, SessionName
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.notebooks.document import About, Written, write_notebook
from kernel_supervisor.notebooks.files import beside, fingerprint, is_ours
from kernel_supervisor.notebooks.history import Entry
from tests.notebooks_corpus.nbf import nbformat

ABOUT = About(session="s")


def entry(text: str = "shown\n") -> Entry:
    execution = Execution(id=ExecutionId(1), session=SessionName("s"), kind="code", source="print()", status="ok")
    stream = Message(
        channel="iopub",
        msg_type="stream",
        msg_id="m",
        parent_id="r",
        date="",
        username="",
        content={"name": "stdout", "text": text},
    )
    return Entry(execution=execution, messages=lambda: [stream])


def write(path: Path, *, known: str | None = None, overwrite: bool = False, text: str = "shown\n") -> Written:
    return write_notebook(path, [entry(text)], about=ABOUT, known=known, overwrite=overwrite)


def test_extension_and_folders_are_added(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "folder" / "report.v2")
    assert written.path == tmp_path / "new" / "folder" / "report.v2.ipynb"
    assert written.cells == len(nbformat.read(written.path, as_version=4).cells) == 1
    assert written.fingerprint == fingerprint(written.path)
    assert os.listdir(written.path.parent) == ["report.v2.ipynb"]


def test_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a").fingerprint == write(tmp_path / "b").fingerprint


def test_own_notebook_is_written_again(tmp_path: Path) -> None:
    first = write(tmp_path / "n")
    os.chmod(first.path, 0o640)
    second = write(tmp_path / "n", known=first.fingerprint, text="more\n")
    assert second.fingerprint != first.fingerprint
    assert second.path.stat().st_mode & 0o777 == 0o640


def test_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "n.ipynb"
    foreign.write_text("precious")
    with pytest.raises(RefusedError, match="was not written by this session; ") as refused:
        write(foreign)
    assert WayOn("overwrite") in refused.value.words
    assert foreign.read_text() == "precious"
    assert write(foreign, overwrite=True).cells == 1


def test_notebook_that_was_changed_since_is_left_alone(tmp_path: Path) -> None:
    ours = write(tmp_path / "n")
    ours.path.write_text(ours.path.read_text() + " ")
    assert not is_ours(ours.path, ours.fingerprint)
    with pytest.raises(RefusedError, match="was changed by someone else"):
        write(ours.path, known=ours.fingerprint)
    assert beside(ours.path) == tmp_path / "n-1.ipynb"
    write(beside(ours.path))
    assert beside(ours.path) == tmp_path / "n-2.ipynb"


def test_file_that_appears_while_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    honest = entry()

    def messages() -> list[Message]:
        path.write_text("precious")
        return list(honest.messages())  # type: ignore[arg-type]  # there are no marks among them

    with pytest.raises(RefusedError, match="was not written by this session"):
        write_notebook(path, [Entry(execution=honest.execution, messages=messages)], about=ABOUT)
    assert os.listdir(tmp_path) == ["n.ipynb"]
    assert path.read_text() == "precious"


def test_link_stays_a_link(tmp_path: Path) -> None:
    first = write(tmp_path / "real")
    link = tmp_path / "link.ipynb"
    link.symlink_to(first.path)
    written = write(link, known=first.fingerprint, text="through the link\n")
    assert written.path == first.path
    assert link.is_symlink()
    assert "through the link" in first.path.read_text()


def test_leftover_of_a_killed_writer_is_removed_in_time(tmp_path: Path) -> None:
    written = write(tmp_path / "n")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from kernel_supervisor.notebooks.files import write_aside\n"
        "write_aside(Path(sys.argv[1]), lambda write: os.kill(0, signal.SIGKILL), approve=lambda: None)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(written.path)], start_new_session=True, check=False)
    assert killed.returncode == -9
    (leftover,) = (path for path in tmp_path.iterdir() if path != written.path)
    assert is_ours(written.path, written.fingerprint)
    write(written.path, known=written.fingerprint)
    assert leftover.exists(), "another writer may be at it"
    os.utime(leftover, (0, 0))
    write(written.path, known=written.fingerprint)
    assert os.listdir(tmp_path) == ["n.ipynb"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "is a folder; name a file in it"),
        ("file/n.ipynb", "is a file, not a folder"),
        ("x" * 300, "cannot be a file's name"),
    ],
)
def test_path_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RefusedError, match=words):
        write(tmp_path / name)
    assert (tmp_path / "file").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_folder_with_the_full_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "n.ipynb").mkdir()
    with pytest.raises(RefusedError, match="is a folder; choose another name"):
        write(tmp_path / "n")


def test_relative_path_is_refused() -> None:
    with pytest.raises(RefusedError, match="relative"):
        write(Path("n.ipynb"))


def test_folder_that_vanishes_while_writing_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    honest = entry()

    def messages() -> list[Message]:
        shutil.rmtree(folder, ignore_errors=True)
        return list(honest.messages())  # type: ignore[arg-type]  # there are no marks among them

    with pytest.raises(UnavailableError, match="the folder has vanished"):
        write_notebook(folder / "n", [Entry(execution=honest.execution, messages=messages)], about=ABOUT)


_IN_A_MOUNT = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from kernel_supervisor.core.errors import SupervisorError
from tests.process.test_notebook_files import write
folder = Path(sys.argv[1])
first = write(folder / "n")
{then}
try:
    write(folder / "n", known=first.fingerprint, text="x" * 99 + "\\n" + "line\\n" * 1_000_000)
except SupervisorError as error:
    print(type(error).__name__, error)
from kernel_supervisor.notebooks.files import is_ours
print("intact" if is_ours(first.path, first.fingerprint) else "spoilt", os.listdir(folder))
"""


def _in_a_mount(folder: Path, then: str) -> str:
    """What happens in a small file system of its own, mounted where nobody else sees it."""
    code = _IN_A_MOUNT.format(then=then)
    inside = f'mount -t tmpfs -o size=2m none {folder} && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    root = str(Path(__file__).parents[2])
    finished = subprocess.run(
        ["unshare", *user, "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", code, str(folder), root],
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="private mounts are Linux's")


@linux_only
def test_full_disk_is_told_and_the_old_file_intact(tmp_path: Path) -> None:
    said = _in_a_mount(tmp_path, "")
    assert "UnavailableError" in said
    assert "No space left on device; free some room" in said
    assert "intact ['n.ipynb']" in said


@linux_only
def test_read_only_folder_is_told_and_the_old_file_intact(tmp_path: Path) -> None:
    said = _in_a_mount(tmp_path, "import subprocess; subprocess.run(['mount', '-o', 'remount,ro', folder], check=True)")
    assert "UnavailableError" in said
    assert "Read-only file system; the file system is read-only" in said
    assert "intact ['n.ipynb']" in said
