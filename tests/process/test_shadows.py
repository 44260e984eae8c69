"""Promise: whatever a project's files are called, and whatever PYTHON* variables say, none of it runs in what is ours.

Each file notes down who runs it. Kernels may: they have the client's environment as it is.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
import zmq

from kernel_supervisor.cli.service import filled
from kernel_supervisor.client.autostart import listening
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import Paths
from tests.shadows import BEFORE_US, MODULES, PACKAGES, Shadows, registered, script
from tests.support import DEADLINE_S, Home, Shim, fresh_home, until_now

pytestmark = pytest.mark.timeout(180)
ALL = (*MODULES, *PACKAGES)
EXCEPTED = {"PYTHONHOME"}
"""What cannot be had for a script that is typed by hand: with it, its interpreter does not start."""


@pytest.fixture
def shadows(home: Home) -> Shadows:
    return Shadows(home.project, home.project.parent / "ran")


@contextmanager
def _shim(command: list[str], home: Home, **env: str) -> Iterator[Shim]:
    shim = Shim(command, cwd=home.project, env={**home.env, **env})
    try:
        yield shim
    finally:
        shim.close()


def _typeable(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in EXCEPTED}


def test_a_project_full_of_module_names_is_worked_in_and_saved_and_survives_the_daemon(
    home: Home, shadows: Shadows
) -> None:
    command = registered(home)
    home.kill_daemon()
    shadows.lay(*ALL)
    with _shim(command, home) as shim:
        shim.open()
        assert shim.run("x = 41\nx + 1")["text"].endswith("42"), "a kernel starts there, too"
        (home.project / "mine.py").write_text("y = 7")
        assert shim.run("import mine\nmine.y")["text"].endswith("7"), "the project's own modules are found"
        for engine in ("typst", *(["browser"] if shutil.which("chromium") else [])):
            path = f"by-{engine}"
            saved = shim.call("kernel_save_notebook", path=path, save_html=True, save_pdf=True, pdf_engine=engine)
            made = [home.project / f"{path}.{ending}" for ending in ("ipynb", "html", "pdf")]
            assert all(file.exists() for file in made), saved
        home.kill_daemon()
        assert shim.run("x")["text"].endswith("41"), "the shim has started another"
    assert shadows.run_outside_kernels() == []


@pytest.mark.parametrize("by", ["registered", "typed"])
def test_clients_with_every_variable_set_start_and_restart_a_daemon_that_runs_none_of_it(
    home: Home, shadows: Shadows, by: str
) -> None:
    command = registered(home)
    with _shim(command, home) as shim:
        shim.open()
        shim.run("x = 41")
    home.kill_daemon()
    shadows.lay(*(name for name in ALL if by == "registered" or name not in BEFORE_US))
    variables = shadows.variables()
    if by == "typed":
        command, variables = [script("kernel-supervisor-mcp")], _typeable(variables)
    with _shim(command, home, **variables) as shim:
        shim.open()
        assert shim.run("x")["text"].endswith("41")
        home.kill_daemon()
        assert shim.run("x + 1")["text"].endswith("42")
        saved = shim.call("kernel_save_notebook", path="saved", save_html=True)
        assert not saved["isError"], saved
        assert (home.project / "saved.html").exists()
        text = shim.call("kernel_status")["content"][0]["text"]
        assert "idle" in text
    assert shadows.run_outside_kernels() == []


@pytest.fixture(scope="module")
def standing() -> Iterator[Home]:
    """A home with a daemon that nobody kills."""
    with fresh_home() as place:
        assert place.cli("start").returncode == 0
        yield place


@pytest.mark.parametrize("names", [MODULES, PACKAGES], ids=["modules", "packages"])
def test_the_registered_command_answers_beside_each_such_file_alone(
    standing: Home, tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        shadows = Shadows(tmp_path / name, tmp_path / "ran")
        shadows.folder.mkdir()
        shadows.lay(name)
        env = {**standing.env, "PYTHONPATH": str(shadows.folder)}
        shim = Shim(isolated("mcp_shim"), cwd=shadows.folder, env=env)
        try:
            shim.open()
        finally:
            shim.close()
        assert shadows.run_outside_kernels() == [], name


@pytest.mark.parametrize("name", ["random", "secrets", "email", "token", "types", "logging", "mcp", "zmq", "pydantic"])
def test_the_daemon_starts_beside_each_such_file_alone(home: Home, shadows: Shadows, name: str) -> None:
    shadows.lay(name)
    variables = {} if name in BEFORE_US else {"PYTHONPATH": str(shadows.folder)}
    done = _command(home, "start", **variables)
    assert done.returncode == 0, done.stderr
    assert shadows.run_outside_kernels() == []


def _command(home: Home, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line as a person types it in the project."""
    command = [script("kernel-supervisor"), *arguments]
    return subprocess.run(
        command, cwd=home.project, env={**home.env, **env}, capture_output=True, text=True, timeout=DEADLINE_S
    )


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONWARNINGS"])
def test_each_variable_alone_is_no_hindrance_to_the_command_line(home: Home, shadows: Shadows, variable: str) -> None:
    shadows.lay(*(name for name in ALL if name not in BEFORE_US))
    done = _command(home, "status", **{variable: shadows.variables()[variable]})
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.startswith("no daemon is running")
    assert shadows.run_outside_kernels() == []


@pytest.mark.parametrize("name", ["kernel-supervisor", "kernel-supervisor-mcp"])
def test_no_bytecode_is_taken_from_where_a_variable_says(home: Home, name: str) -> None:
    """A project may bring files that claim to be compiled from those of any installation."""
    assert zmq.__file__
    marker, folder = home.project / "ran", home.project / "cache" / os.path.relpath(os.path.dirname(zmq.__file__), "/")
    folder.mkdir(parents=True)
    code = compile(f"open({str(marker)!r}, 'w')", zmq.__file__, "exec")
    unchecked = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)  # PEP 552
    compiled = os.path.basename(importlib.util.cache_from_source(zmq.__file__))
    (folder / compiled).write_bytes(unchecked + marshal.dumps(code))
    env = {**home.env, "PYTHONPYCACHEPREFIX": str(home.project / "cache")}
    subprocess.run(
        [script(name), "--session=x" if name.endswith("mcp") else "status"], env=env, stdin=subprocess.DEVNULL
    )
    assert not marker.exists()


def test_a_command_that_is_told_to_inspect_ends_all_the_same(home: Home) -> None:
    done = subprocess.run(
        [script("kernel-supervisor"), "--version"],
        env={**home.env, "PYTHONINSPECT": "1"},
        input="print('a prompt')\n",
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("kernel-supervisor ")
    assert "a prompt" not in done.stdout


def test_the_service_starts_where_every_variable_is_set(home: Home, shadows: Shadows) -> None:
    shadows.lay(*ALL)
    unit = filled(mac=False, python=sys.executable)
    (line,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    command = shlex.split(line.partition("=")[2])
    assert plistlib.loads(filled(mac=True, python=sys.executable).encode())["ProgramArguments"] == command
    with subprocess.Popen(command, cwd=home.project, env={**home.env, **shadows.variables()}) as service:
        until_now(lambda: listening(Paths(str(home.path), str(home.path / "run"))), "the daemon listens")
        service.terminate()
        assert service.wait(DEADLINE_S) == 0
    assert shadows.run_outside_kernels() == []


def test_jupyters_programs_and_kernelspecs_run_none_of_it(home: Home, shadows: Shadows, tmp_path: Path) -> None:
    home.cli("start")
    data = {"JUPYTER_DATA_DIR": str(tmp_path / "data")}
    assert home.cli("kernelspec", "install", env={**home.env, **data}).returncode == 0
    shadows.lay(*ALL)
    variables = shadows.variables()
    line = _command(home, "jupyterlab", "--print", "--", "--version").stdout
    spec = Path(data["JUPYTER_DATA_DIR"], "kernels/supervised/kernel.json").read_text()
    for command, code in ((shlex.split(line), 0), (_argv(spec), 1)):
        # without JupyterLab's own search for a node, which may be a program in Python
        where: dict[str, Any] = {"cwd": home.project, "env": {**home.env, **variables, "PATH": "/usr/bin:/bin"}}
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, **where)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
    assert shadows.run_outside_kernels() == []


def _argv(spec: str) -> list[str]:
    return [str(word) for word in json.loads(spec)["argv"]]


def test_a_console_opens_in_a_project_full_of_module_names(home: Home, shadows: Shadows) -> None:
    home.cli("exec", "x = 41")
    shadows.lay(*(name for name in ALL if name not in BEFORE_US))
    variables = _typeable(shadows.variables())
    del variables["PYTHONINSPECT"]  # at a terminal the interpreter itself imports readline for it, before us
    env = {**home.env, **variables, "TERM": "dumb", "IPYTHONDIR": str(home.project / "ipython")}
    terminal = pexpect.spawn(
        script("kernel-supervisor"), ["console"], cwd=str(home.project), env=env, timeout=60, encoding="utf-8"
    )
    try:
        terminal.expect(r"In \[\d+\]")
        terminal.send("print(f'<{x + 1}>')\r")
        terminal.expect("<42>")
    finally:
        terminal.close(force=True)
    assert shadows.run_outside_kernels() == []


def test_a_kernel_has_its_clients_pythonpath_and_names_a_file_there_that_hinders_it(home: Home) -> None:
    folder = home.project / "on the path"
    folder.mkdir()
    (folder / "random.py").write_text("")
    (folder / "mine.py").write_text("y = 7\n")
    with _shim([script("kernel-supervisor-mcp")], home, PYTHONPATH=str(folder)) as shim:
        shim.open()
        refused = shim.call("kernel_exec", code="1 + 1")
        assert f"In its way: {folder / 'random.py'}:" in refused["content"][0]["text"]
        (folder / "random.py").unlink()
        (folder / "socket.py").write_text("import os; os._exit(3)\n")
        refused = shim.call("kernel_exec", code="1 + 1")
        assert f"In its way may be: {folder / 'socket.py'}:" in refused["content"][0]["text"]
        (folder / "socket.py").unlink()
        assert shim.run("import mine, os\nos.environ['PYTHONPATH'], mine.y")["text"].endswith(f"('{folder}', 7)")


def test_where_we_are_installed_for_one_user_the_daemon_starts_and_no_variable_leads_it(
    home: Home, shadows: Shadows
) -> None:
    """As `pip install --user` leaves it: an interpreter that finds us in the user's site alone."""
    python = os.path.realpath(sys.executable)
    where = "import site; print(site.getusersitepackages())"
    own = {"HOME": str(home.project.parent / "user")}
    told = subprocess.run([python, "-c", where], env={**home.env, **own}, capture_output=True, text=True, check=True)
    site = Path(told.stdout.strip())
    site.mkdir(parents=True)
    packages = {path for path in sys.path if path.endswith("site-packages")}
    (site / "all.pth").write_text("".join(f"import site; site.addsitedir({each!r})\n" for each in packages))
    written = [python, "-c", "import kernel_supervisor.isolation as i; print(*i.isolated('mcp_shim'), sep=chr(1))"]
    told = subprocess.run(written, env={**home.env, **own}, cwd="/", capture_output=True, text=True, check=True)
    command = told.stdout.strip().split("\1")
    shadows.lay(*ALL)
    with _shim([*command, "--python", sys.executable], home, **{**own, **shadows.variables()}) as shim:
        shim.open()
        daemon = home.daemon()
        assert daemon is not None
        assert daemon.exe() == python
        home.kill_daemon()
        shim.request("tools/list")
    assert shadows.run_outside_kernels() == []
