"""Promise: only you get in. All on disk is yours alone, whatever the umask; nothing listens on the network."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import Home, Shim

OPEN_HANDED = 'umask 000; ulimit -S -n 700; ulimit -c 0; exec "$@"'
"""A client with the widest umask, and with limits of its own."""
STRANGER = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
outcomes = {}
for path in sys.argv[1:]:
    try:
        if path.endswith("/"):
            os.listdir(path)
        elif "sock" in path or "-ipc-" in path:
            socket.socket(socket.AF_UNIX).connect(path)
        else:
            open(path).close()
        outcomes[path] = "got in"
    except PermissionError:
        outcomes[path] = "kept out"
print(json.dumps(outcomes))
"""


@pytest.fixture
def wide_home(home: Home) -> Home:
    """A home in a folder that is not there yet, below one that anybody may look into."""
    home.path.parent.chmod(0o755)
    return replace(home, path=home.path.parent / "dot/home")


@pytest.fixture
def shim(wide_home: Home) -> Iterator[Shim]:
    command = ["sh", "-c", OPEN_HANDED, "sh", *wide_home.shim_command()]
    shim = Shim(command, cwd=wide_home.project, env=wide_home.env)
    try:
        shim.open()
        yield shim
    finally:
        shim.close()
        wide_home.sweep()


def _modes(home: Home) -> dict[str, int]:
    top = home.path.parent
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in (top, *top.rglob("*"))}


def test_directories_are_0700_and_files_and_the_daemons_socket_0600_whatever_the_umask(
    wide_home: Home, shim: Shim
) -> None:
    shim.run("import os; os.write(2, b'words'); print('x')")
    shim.call("kernel_restart")
    shim.run("print('x')")
    assert wide_home.cli("status").returncode == 0
    modes = _modes(wide_home)
    kernels_own = str(wide_home.path / "run/kernels")
    checked = set()
    for name, mode in modes.items():
        path = Path(name)
        if path.is_symlink():  # it has no mode of its own
            assert str(path.readlink()).startswith(kernels_own)
        elif path.is_dir():
            assert mode & 0o777 == 0o700, f"{name} is {mode:o}"  # Jupyter makes the connection files' sticky
        elif not (path.is_socket() and name.startswith(kernels_own)):  # kernels bind theirs, inside a 0700 directory
            assert mode == 0o600, f"{name} is {mode:o}"
        checked.add(path.name)
    assert {"daemon.sock", "daemon.lock", "daemon.log", "records.sqlite", "logs", "kernels"} <= checked
    assert [name for name in checked if name.endswith(".json")], "a connection file was among them"
    assert [name for name in checked if name.endswith(".messages")], "a message log was among them"


def test_a_folder_that_was_left_open_is_closed(wide_home: Home) -> None:
    for folder in ("run/kernels", "logs"):
        (wide_home.path / folder).mkdir(parents=True, mode=0o777)
    for folder in (".", "run", "run/kernels", "logs"):
        (wide_home.path / folder).chmod(0o777)
    assert wide_home.cli("start").returncode == 0
    for folder in (".", "run", "run/kernels", "logs"):
        assert stat.S_IMODE((wide_home.path / folder).stat().st_mode) == 0o700, folder
    wide_home.sweep()


def test_neither_daemon_nor_kernel_listens_on_the_network(wide_home: Home, shim: Shim) -> None:
    shim.run("x = 41")
    shim.run("x = 42", session="second")
    (daemon,) = wide_home.daemons()
    kernels = wide_home.kernels()
    assert len(kernels) == 2
    for process in (daemon, *kernels, *daemon.children(recursive=True)):
        assert process.net_connections("inet") == [], process.cmdline()
        is_kernel = "--spare" not in process.cmdline()  # what only stands by is reached by nobody
        assert bool(process.net_connections("unix")) is is_kernel, "it is reached by sockets in the file system"


def test_user_code_sees_the_umask_and_the_limits_of_its_client(wide_home: Home, shim: Shim) -> None:
    look = (
        "import os, resource\nseen = os.umask(0)\nos.umask(seen)\n"
        "print(seen, *resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    soft, hard, core = 700, _hard_limit_of_files(), 0
    assert shim.run(look)["text"].splitlines()[-1] == f"0 {soft} {hard} {core}"
    shim.run("open('mine', 'w').close()")
    assert stat.S_IMODE((wide_home.project / "mine").stat().st_mode) == 0o666
    with wide_home.shim("--session", "careful", umask=0o027) as careful:
        careful.open()
        assert careful.run(look)["text"].splitlines()[-1].split()[0] == str(0o027)
    shim.call("kernel_restart")
    assert shim.run(look)["text"].splitlines()[-1] == f"0 {soft} {hard} {core}", "and so after a restart"


def _hard_limit_of_files() -> int:
    done = subprocess.run(["sh", "-c", "ulimit -H -n"], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_user_code_sees_the_environment_of_its_client_and_the_disk_does_not(wide_home: Home) -> None:
    secret = "a-secret-that-nobody-writes-down"
    with wide_home.shim(env={**wide_home.env, "MY_TOKEN": secret}) as shim:
        shim.open()
        assert shim.run("import os; os.environ['MY_TOKEN'][:8]")["text"].splitlines()[-1] == "'a-secret'"
        shim.call("kernel_restart")
        assert shim.run("import os; os.environ['MY_TOKEN'][:8]")["text"].splitlines()[-1] == "'a-secret'"
        files = [path for path in wide_home.path.rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert secret.encode() not in path.read_bytes(), path
    wide_home.sweep()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect_look_or_read(wide_home: Home, shim: Shim) -> None:
    shim.run("x = 41")
    run = wide_home.path / "run"
    sockets = [str(path) for path in run.rglob("*") if path.is_socket()]
    files = [str(path) for path in wide_home.path.rglob("*") if path.is_file()]
    folders = [f"{wide_home.path}/", f"{run}/", f"{run}/kernels/", f"{wide_home.path}/logs/"]
    assert len(sockets) > 1
    allowed = wide_home.project / "allowed"
    allowed.touch(mode=0o644)
    outcomes = _as_a_stranger([*sockets, *files, *folders])
    assert set(outcomes.values()) == {"kept out"}, outcomes
    assert len(outcomes) == len(sockets) + len(files) + len(folders)
    assert _as_a_stranger([str(allowed)]) == {str(allowed): "got in"}, "what he may read, he can"


def _as_a_stranger(paths: list[str]) -> Any:
    done = subprocess.run([sys.executable, "-c", STRANGER, *paths], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_elses_is_refused_in_words(wide_home: Home) -> None:
    wide_home.path.mkdir(parents=True)
    os.chown(wide_home.path, 65534, 65534)
    started = wide_home.cli("start")
    assert started.returncode == 1
    assert str(wide_home.path) in started.stderr
    assert "not a folder of yours" in started.stderr
    assert "Traceback" not in started.stderr
    assert not wide_home.daemons()


def test_a_kernels_command_line_tells_nobody_the_key(wide_home: Home, shim: Shim) -> None:
    """Any user can read the command lines of all processes."""
    shim.run("x = 41")
    (file,) = (wide_home.path / "run/kernels").glob("*.json")
    key = json.loads(file.read_text())["key"]
    assert key
    assert json.loads(file.read_text())["transport"] == "ipc"
    for process in psutil.process_iter(["cmdline"]):
        assert key not in " ".join(process.info["cmdline"] or ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody without a name")
@pytest.mark.parametrize("home", ["", "here"], ids=["without a home", "with one"])
def test_a_user_who_has_a_number_alone_has_a_place_of_their_own(tmp_path: Path, home: str) -> None:
    """As containers run things that are given no user."""
    uid = 54321
    env = {"PATH": os.environ["PATH"], **({"HOME": str(tmp_path)} if home else {})}
    code = (
        f"import binascii, os; from kernel_supervisor.paths import find; find(); os.setuid({uid}); print(find().state)"
    )
    found = subprocess.run([sys.executable, "-c", code], env=env, cwd="/", capture_output=True, text=True, check=False)
    place = str(tmp_path) if home else f"/var/tmp/kernel-supervisor-{uid}"
    assert found.stdout.startswith(place + "/"), found


def test_a_folder_with_other_files_is_left_as_it_is(home: Home) -> None:
    home.path.mkdir(mode=0o755)
    (home.path / "thesis.tex").write_text("mine")
    refused = home.cli("start")
    assert refused.returncode != 0
    assert "other files than a supervisor's: name an empty one" in refused.stderr
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o755
    assert sorted(os.listdir(home.path)) == ["thesis.tex"]


def test_a_home_that_is_a_link_is_the_folder_that_it_leads_to(home: Home) -> None:
    link = replace(home, path=home.path.with_name("link"))
    home.path.mkdir()
    link.path.symlink_to(home.path)
    assert link.cli("exec", "x = 41").returncode == 0
    assert home.cli("exec", "print(x + 1)").stdout.splitlines()[-1:] == ["42"]
    assert link.cli("stop", "--kernels").returncode == 0


def test_a_home_that_is_in_use_stays_one_whatever_others_put_beside_it(home: Home) -> None:
    assert home.cli("exec", "x = 41").returncode == 0
    assert home.cli("stop", "--kernels").returncode == 0
    (home.path / "notes.txt").write_text("mine")
    shutil.rmtree(home.path / "run")
    assert home.cli("start").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for somebody else")
@pytest.mark.parametrize("squatted", ["folder", "file", "link"])
def test_a_name_that_somebody_else_took_in_a_shared_folder_costs_nothing(home: Home, squatted: str) -> None:
    far = replace(home, path=home.path.parent / ("far" * 40))
    usual = Path(find_in(far))
    victim = home.path.parent / "victim"
    victim.mkdir()
    taking: dict[str, Callable[[], None]] = {
        "folder": usual.mkdir, "file": usual.touch, "link": lambda: usual.symlink_to(victim)
    }  # fmt: skip
    taking[squatted]()
    os.chown(usual, 65534, 65534, follow_symlinks=False)
    try:
        assert far.cli("exec", "x = 41").returncode == 0
        assert far.cli("exec", "print(x + 1)").stdout.splitlines()[-1:] == ["42"]
        assert find_in(far) == f"{usual}-1"
        assert os.listdir(victim) == []
        assert far.cli("stop", "--kernels").returncode == 0
    finally:
        far.sweep()
        shutil.rmtree(f"{usual}-1", ignore_errors=True)
        shutil.rmtree(usual) if squatted == "folder" else usual.unlink()


def find_in(home: Home) -> str:
    """Where its sockets are."""
    code = "from kernel_supervisor.paths import find; print(find().run)"
    told = subprocess.run([sys.executable, "-c", code], env=home.env, capture_output=True, text=True, check=True)
    return told.stdout.strip()
