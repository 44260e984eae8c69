"""What keeps a kernel from starting is named: first what its last words speak of, else what may be it."""

from __future__ import annotations

from pathlib import Path

from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionName
from kernel_supervisor.kernels.hindrances import in_the_way, searched_first


def record(folder: Path, *argv: str, recorded: bool = True) -> KernelRecord:
    interpreter = Interpreter(name="x", kind="venv", argv=("python", *argv))
    return KernelRecord(
        id=KernelId("k"),
        session=SessionName("s"),
        generation=1,
        interpreter=interpreter,
        connection_file="",
        directory=str(folder),
        channel_identity="",
        recorded=recorded,
    )


def test_an_interpreter_looks_first_where_pythonpath_says_from_the_kernels_directory_on(tmp_path: Path) -> None:
    environ = {"PYTHONPATH": ":/a/b/:.:lib"}
    assert searched_first(record(tmp_path), environ) == (str(tmp_path), "/a/b", f"{tmp_path}/lib")
    assert searched_first(record(tmp_path), {}) == ()


def test_a_command_of_a_kernelspec_looks_in_the_kernels_directory(tmp_path: Path) -> None:
    assert searched_first(record(tmp_path, "-m", "k", recorded=False), {}) == (str(tmp_path),)
    assert searched_first(record(tmp_path, "k.py", recorded=False), {}) == ()


def test_files_and_packages_with_modules_names_are_named_and_nothing_else(tmp_path: Path) -> None:
    for name in ("random.py", "mine.py", "email.txt", "token.cpython-311-x86_64-linux-gnu.so"):
        (tmp_path / name).touch()
    (tmp_path / "test").mkdir()
    (tmp_path / "zmq").mkdir()
    (tmp_path / "zmq" / "__init__.py").touch()
    told = in_the_way([str(tmp_path), "/no/such"], "nothing")
    assert told.startswith("\nIn its way may be: ")
    assert all(f"{tmp_path}/{name}" in told for name in ("random.py", "token.c", "zmq"))
    assert not [name for name in ("mine", "email", "test,") if name in told]


def test_what_the_last_words_speak_of_is_named_alone(tmp_path: Path) -> None:
    for name in ("random.py", "socket.py"):
        (tmp_path / name).touch()
    said = f"ImportError: cannot import name 'Random' from 'random' ({tmp_path}/random.py)"
    told = in_the_way([str(tmp_path)], said)
    assert told.startswith(f"\nIn its way: {tmp_path}/random.py: ")
    assert "socket" not in told


def test_nothing_is_said_where_nothing_is_in_the_way(tmp_path: Path) -> None:
    assert in_the_way([str(tmp_path)], "boom") == ""
