"""What is found from which files, in prefixes made of nothing but the files that matter."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_supervisor.environments import conda, kernelspecs, prefixes
from kernel_supervisor.environments.discovery import describe, discover
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.prefixes import tool_of

OLD = time.time() - 3600
LINUX = pytest.mark.skipif(sys.platform == "darwin", reason="these tools' folders have other names on macOS")


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that runs the tests is in the way."""
    monkeypatch.setattr(conda, "_SYSTEM", ())
    monkeypatch.setattr(kernelspecs, "_SHARED", ())


@pytest.fixture
def where(tmp_path: Path) -> Where:
    home, project = tmp_path / "home", tmp_path / "work" / "project"
    project.mkdir(parents=True)
    home.mkdir()
    return Where(environ={"PATH": "/nowhere"}, home=home, directory=project, shim_python="")


def interpreter(prefix: Path, version: str = "3.12") -> None:
    library = prefix / "lib" / f"python{version}" / "site-packages"
    library.mkdir(parents=True)
    (prefix / "bin").mkdir(exist_ok=True)
    python = prefix / "bin" / f"python{version}"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (prefix / "bin" / "python").symlink_to(python.name)


def venv(prefix: Path, settings: str = "version = 3.12.1\n", ipykernel: str = "") -> Path:
    interpreter(prefix)
    (prefix / "pyvenv.cfg").write_text(f"home = /nowhere/bin\ninclude-system-site-packages = false\n{settings}")
    if ipykernel:
        packages = prefix / "lib" / "python3.12" / "site-packages"
        (packages / f"ipykernel-{ipykernel}.dist-info").mkdir()
        (packages / "ipykernel_launcher.py").touch()
    return prefix


def conda_env(prefix: Path, version: str = "3.11.4") -> Path:
    interpreter(prefix, version.rpartition(".")[0])
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "history").touch()
    (prefix / "conda-meta" / f"python-{version}-h955ad1f_0_cpython.json").touch()
    return prefix


def pyenv(prefix: Path, version: str = "3.10") -> Path:
    interpreter(prefix, version)
    (prefix / "lib" / f"python{version}" / "os.py").touch()
    return prefix


def kernelspec(folder: Path, **told: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(told))
    return folder


def names(where: Where) -> dict[str, Environment]:
    return {environment.name: environment for environment in discover(where)}


def with_environ(where: Where, **variables: object) -> Where:
    return replace(where, environ={**where.environ, **{name: str(value) for name, value in variables.items()}})


def test_an_empty_machine_has_no_environments(where: Where) -> None:
    assert discover(where) == []


def test_the_projects_venv_is_found_from_below_it_with_what_its_files_say(where: Where) -> None:
    prefix = venv(where.directory / ".venv", "version = 3.12.1\n", ipykernel="6.29.5")
    below = where.directory / "src" / "deep"
    below.mkdir(parents=True)
    (found,) = discover(replace(where, directory=below))
    assert (found.name, found.kind, found.prefix) == ("project", "venv", str(prefix))
    assert (found.python_version, found.ipykernel) == ("3.12.1", "6.29.5")
    assert found.python == str(prefix / "bin" / "python")
    assert ".venv" in found.aliases


def test_an_environment_made_by_uv_says_so_and_goes_by_its_prompt(where: Where) -> None:
    venv(where.directory / ".venv", "uv = 0.9.0\nversion_info = 3.12.1.final.0\nprompt = 'analysis'\n")
    (found,) = discover(where)
    assert (found.name, found.kind, found.python_version) == ("analysis", "uv", "3.12.1")


def test_conda_is_found_through_every_file_and_variable_that_names_it(where: Where, tmp_path: Path) -> None:
    root = conda_env(where.home / "miniconda3")
    (root / "condabin").mkdir()
    listed, by_rc, flow, by_variable = (
        conda_env(tmp_path / place / name)
        for place, name in (("a", "listed"), ("b", "rc"), ("c d", "flow"), ("e", "variable"))
    )
    conda_env(root / "envs" / "torch")
    conda_env(where.home / "mamba root" / "envs" / "mm")
    (where.home / ".conda").mkdir()
    (where.home / ".conda" / "environments.txt").write_text(f"{root}\n{listed}\n\n/vanished/env\nnot a path\n")
    (where.home / ".condarc").write_text(f"channels:\n  - x\nenvs_dirs:  # mine\n- {by_rc.parent}\nauto: true\n")
    (root / ".condarc").write_text(f'envs_dirs: ["{flow.parent}", ~/no]\n')
    seen = names(with_environ(where, CONDA_ENVS_DIRS=by_variable.parent, MAMBA_ROOT_PREFIX=where.home / "mamba root"))
    assert set(seen) == {"base", "torch", "listed", "rc", "flow", "variable", "mm"}
    assert {environment.kind for environment in seen.values()} == {"conda"}
    assert seen["torch"].python_version == "3.11.4"
    assert "miniconda3" in seen["base"].aliases


def test_conda_is_found_beside_conda_exe_and_where_it_is_active(where: Where, tmp_path: Path) -> None:
    root, active = conda_env(tmp_path / "odd place"), conda_env(tmp_path / "active one")
    (root / "condabin").mkdir()
    seen = names(with_environ(where, CONDA_EXE=root / "bin" / "conda", CONDA_PREFIX=active))
    assert set(seen) == {"base", "active one"}


def test_pixi_environments_are_called_after_their_project(where: Where) -> None:
    conda_env(where.directory / ".pixi" / "envs" / "default")
    conda_env(where.directory / ".pixi" / "envs" / "cuda")
    (where.home / ".pixi" / "envs" / "no-python" / "conda-meta").mkdir(parents=True)
    seen = names(where)
    assert set(seen) == {"project", "project:cuda"}
    assert {environment.kind for environment in seen.values()} == {"pixi"}


@LINUX
def test_the_folders_of_other_tools_are_looked_through(where: Where) -> None:
    share = where.home / ".local" / "share"
    venv(where.home / ".virtualenvs" / "wrapped")
    pyenv(where.home / ".pyenv" / "versions" / "3.10.13")
    venv(where.home / ".cache" / "pypoetry" / "virtualenvs" / "poems-AbCdEf12-py3.12")
    venv(share / "hatch" / "env" / "virtual" / "egg" / "x1Y2" / "egg")
    venv(share / "hatch" / "env" / "virtual" / "egg" / "x1Y2" / "docs")
    venv(share / "pipx" / "venvs" / "black")
    venv(share / "uv" / "tools" / "ruff")
    pyenv(share / "uv" / "python" / "cpython-3.13.0-linux-x86_64-gnu", "3.13")
    seen = names(where)
    assert {name: environment.kind for name, environment in seen.items()} == {
        "wrapped": "venv",
        "3.10.13": "pyenv",
        "poems-AbCdEf12-py3.12": "poetry",
        "egg": "hatch",
        "egg:docs": "hatch",
        "black": "pipx",
        "ruff": "uv-tool",
        "cpython-3.13.0-linux-x86_64-gnu": "python",
    }
    assert "poems" in seen["poems-AbCdEf12-py3.12"].aliases


def test_interpreters_on_the_clients_path_are_found_and_scripts_that_stand_for_them_are_not(
    where: Where, tmp_path: Path
) -> None:
    pyenv(tmp_path / "opt", "3.9")
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "python3").write_text("#!/bin/sh\nexec pyenv exec python3\n")
    seen = names(with_environ(where, PATH=f"{shims}:{tmp_path / 'opt' / 'bin'}:relative:"))
    assert {name: environment.prefix for name, environment in seen.items()} == {"python3.9": str(tmp_path / "opt")}


def test_a_prefix_reached_by_several_ways_is_listed_once(where: Where, tmp_path: Path) -> None:
    prefix = venv(where.home / ".virtualenvs" / "once")
    (where.directory / ".venv").symlink_to(prefix)
    found = discover(with_environ(where, VIRTUAL_ENV=prefix))
    assert len(found) == 1
    assert {"once", ".venv"} <= {found[0].name, *found[0].aliases}


def test_the_shims_own_environment_is_found(where: Where, tmp_path: Path) -> None:
    prefix = venv(tmp_path / "shims own")
    (found,) = discover(replace(where, shim_python=str(prefix / "bin" / "python")))
    assert found.prefix == str(prefix)


def test_what_is_broken_is_listed_with_the_reason(where: Where) -> None:
    kept = where.home / ".virtualenvs"
    for name in ("dangling", "empty", "locked", "gone"):
        venv(kept / name)
    for name in ("dangling", "gone"):
        (kept / name / "bin" / "python3.12").unlink()
    (kept / "gone" / "bin" / "python").unlink()
    (kept / "empty" / "bin" / "python3.12").write_text("")
    (kept / "locked" / "bin" / "python3.12").chmod(0o644)
    pyenv(where.home / ".pyenv" / "versions" / "3.6.15", "3.6")
    reasons = {name: environment.broken for name, environment in names(where).items()}
    assert "is gone" in reasons["dangling"]
    assert "cannot be run" in reasons["empty"]
    assert "cannot be run" in reasons["locked"]
    assert "no Python" in reasons["gone"]
    assert "too old" in reasons["3.6.15"]


def test_unreadable_and_rubbish_files_are_passed_over(where: Where) -> None:
    (where.home / ".conda" / "environments.txt").mkdir(parents=True)
    (where.home / ".condarc").write_bytes(b"envs_dirs:\n- \xff\xfe\x00\n- ${NOWHERE}\n- [nested\n")
    (where.home / ".virtualenvs").write_text("not a folder")
    loop = where.directory / ".venv"
    loop.symlink_to(loop)
    kernels = where.home / ".local" / "share" / "jupyter" / "kernels"
    kernelspec(kernels / "list", argv={})
    for name, text in (
        ("torn", b'{"argv": ['),
        ("binary", b"\xff\x00"),
        ("number", b"7"),
        ("deep", b"[" * 99999),
    ):
        (kernels / name).mkdir()
        (kernels / name / "kernel.json").write_bytes(text)
    seen = names(with_environ(where, JUPYTER_PATH=where.home / ".local" / "share" / "jupyter", CONDA_PREFIX="a\0b"))
    assert set(seen) == {"list", "torn", "binary", "number", "deep"}
    assert all(environment.broken for environment in seen.values())


def test_odd_and_very_long_paths_are_paths_like_others(where: Where) -> None:
    deep = where.home / "with space" / "Prüfung 数据 \N{SNOWMAN}" / "'quoted' \"$HOME\" `x`"
    for _ in range(6):
        deep = deep / ("long" * 40)
    prefix = venv(deep / "env")
    assert len(str(prefix)) > 1000
    found = names(with_environ(where, WORKON_HOME=deep))["env"]
    assert (found.prefix, found.broken) == (str(prefix), "")


def test_kernelspecs_of_other_languages_are_listed_with_their_command(where: Where, tmp_path: Path) -> None:
    command = tmp_path / "ark"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    folder = kernelspec(
        tmp_path / "jupyter" / "kernels" / "ir",
        argv=[str(command), "--file", "{connection_file}"],
        display_name="R 4.4",
        language="R",
        env={"R_LIBS": "${HOME}/R"},
        interrupt_mode="message",
    )
    kernelspec(tmp_path / "jupyter" / "kernels" / "gone", argv=["/no/julia", "{connection_file}"], language="julia")
    seen = names(with_environ(where, JUPYTER_PATH=tmp_path / "jupyter"))
    ir = seen["ir"]
    assert (ir.kind, ir.language) == ("kernelspec", "r")
    assert ir.argv == (str(command), "--file", "{connection_file}")
    assert (ir.env, ir.resource_dir, ir.broken) == ({"R_LIBS": "${HOME}/R"}, str(folder), "")
    assert "/no/julia" in seen["gone"].broken


def test_a_kernelspec_that_only_names_an_interpreter_is_another_name_for_its_environment(
    where: Where,
) -> None:
    prefix = venv(where.home / ".virtualenvs" / "torch")
    kernels = where.home / "jupyter" / "kernels"
    plain = [str(prefix / "bin" / "python3.12"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernelspec(kernels / "my-torch", argv=plain, language="python")
    kernelspec(kernels / "with-env", argv=plain, language="python", env={"CUDA": "1"})
    seen = names(with_environ(where, JUPYTER_PATH=where.home / "jupyter"))
    assert set(seen) == {"torch", "with-env"}
    assert "my-torch" in seen["torch"].aliases
    assert (seen["with-env"].prefix, seen["with-env"].python_version) == (str(prefix), "3.12.1")


def test_an_environments_own_kernelspec_starts_its_own_python(where: Where) -> None:
    prefix = venv(where.home / ".virtualenvs" / "shells")
    own = prefix / "share" / "jupyter" / "kernels"
    kernelspec(
        own / "python3",
        argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        language="python",
    )
    kernelspec(own / "bash", argv=["python", "-m", "bash_kernel", "-f", "{connection_file}"], language="bash")
    seen = names(where)
    assert set(seen) == {"shells", "bash"}
    assert (seen["bash"].argv[0], seen["bash"].prefix) == (str(prefix / "bin" / "python"), str(prefix))


def test_a_kernelspec_with_a_provisioner_is_not_judged_by_this_machines_files(where: Where) -> None:
    kernelspec(
        where.home / "jupyter" / "kernels" / "far",
        argv=["/only/there/python"],
        language="python",
        metadata={"kernel_provisioner": {"provisioner_name": "sshpyk"}},
    )
    far = names(with_environ(where, JUPYTER_PATH=where.home / "jupyter"))["far"]
    assert far.provisioned
    assert not far.broken


def test_what_was_read_is_kept_until_a_file_changes(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = venv(where.home / ".virtualenvs" / "kept")
    packages = prefix / "lib" / "python3.12" / "site-packages"
    for path in (prefix, *prefix.rglob("*")):
        os.utime(path, (OLD, OLD), follow_symlinks=False)
    reading = counted(monkeypatch, prefixes, "_read")
    for _ in range(3):
        assert describe(str(prefix), where) is not None
    assert len(reading) == 1
    (packages / "ipykernel-7.0.1.dist-info").mkdir()
    (packages / "ipykernel_launcher.py").touch()
    seen = describe(str(prefix), where)
    assert seen is not None
    assert seen.ipykernel == "7.0.1"


def test_what_changed_a_moment_ago_is_read_again_even_at_the_same_time_stamp(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = venv(where.home / ".virtualenvs" / "fresh")
    reading = counted(monkeypatch, prefixes, "_read")
    describe(str(prefix), where)
    describe(str(prefix), where)
    assert len(reading) == 2


def counted(monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> list[object]:
    calls: list[object] = []
    original: Callable[..., object] = getattr(module, name)

    def recorded(*arguments: object) -> object:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(module, name, recorded)
    return calls


PLACES = [
    ("pipx/venvs/black", "pipx"),
    ("cache/pipx/0a1b2c", "pipx run"),
    ("cache/uv/archive-v0/sc0Igqge", "uvx"),
    ("cache/uv/builds-v0/.tmpAb", "uvx"),
    ("rattler/cache/cached-envs-v0/tool-1", "pixi exec"),
    ("project/.venv", ""),
    ("miniconda3/envs/torch", ""),
]


@pytest.mark.parametrize(("prefix", "tool"), PLACES)
def test_environments_of_single_tools_are_told_by_their_place(prefix: str, tool: str) -> None:
    assert tool_of(f"/home/u/{prefix}") == tool


def test_environments_of_single_tools_are_told_by_their_receipts(tmp_path: Path) -> None:
    for name, file in (("a", "uv-receipt.toml"), ("b", "pipx_metadata.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    (tmp_path / "manifests").mkdir()
    assert tool_of(str(tmp_path / "a")) == "uv tool"
    assert tool_of(str(tmp_path / "b")) == "pipx"
    assert tool_of(str(tmp_path / "envs" / "rg")) == "pixi global"
