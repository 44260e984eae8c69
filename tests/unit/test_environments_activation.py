"""The variables a kernel starts with where no script has a say; and the commands that people are told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.installing import install, install_command, installer_environ
from kernel_supervisor.environments.model import Environment

CLIENT = {"HOME": "/home/u", "LANG": "de_DE.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}


@pytest.fixture
def venv(tmp_path: Path) -> Environment:
    prefix = tmp_path / "a venv"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return Environment(name="a venv", kind="venv", prefix=str(prefix), python=str(prefix / "bin" / "python"))


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    prefix = tmp_path / "conda" / "envs" / "torch"
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "lib" / "python3.12").mkdir(parents=True)
    return Environment(name="torch", kind="conda", prefix=str(prefix), python=str(prefix / "bin" / "python"))


def test_a_venv_is_active_and_the_clients_variables_are_kept(venv: Environment) -> None:
    assert activate(venv, CLIENT) == {
        **CLIENT,
        "PATH": f"{venv.prefix}/bin:{CLIENT['PATH']}",
        "VIRTUAL_ENV": venv.prefix,
        "VIRTUAL_ENV_PROMPT": "a venv",
    }


def test_a_conda_environment_is_active_and_the_venv_before_it_left(conda: Environment) -> None:
    before = {
        **CLIENT,
        "PATH": f"/old/venv/bin:{CLIENT['PATH']}",
        "VIRTUAL_ENV": "/old/venv",
        "VIRTUAL_ENV_PROMPT": "old",
        "_OLD_VIRTUAL_PS1": "$",
        "POETRY_ACTIVE": "1",
    }
    assert activate(conda, before) == {
        **CLIENT,
        "PATH": f"{conda.prefix}/bin:{CLIENT['PATH']}",
        "CONDA_PREFIX": conda.prefix,
        "CONDA_DEFAULT_ENV": "torch",
        "CONDA_SHLVL": "1",
        "CONDA_PROMPT_MODIFIER": "(torch) ",
    }


def test_the_clients_conda_environments_are_left_with_their_variables(venv: Environment, conda: Environment) -> None:
    state = {"env_vars": {"CUDA_HOME": "/theirs", "ONLY_THERE": "1", "TAKEN": "***unset***"}}
    Path(conda.prefix, "conda-meta", "state").write_text(json.dumps(state))
    before = {
        **CLIENT,
        "PATH": f"{conda.prefix}/bin:/root/conda/condabin:/root/conda/bin:{CLIENT['PATH']}",
        "CONDA_EXE": "/root/conda/bin/conda",
        "CONDA_PREFIX": conda.prefix,
        "CONDA_PREFIX_1": "/root/conda",
        "CONDA_SHLVL": "2",
        "CONDA_DEFAULT_ENV": "torch",
        "CONDA_PROMPT_MODIFIER": "(torch) ",
        "CUDA_HOME": "/theirs",
        "ONLY_THERE": "1",
        "__CONDA_SHLVL_1_CUDA_HOME": "/mine",
    }
    assert activate(venv, before) == {
        **CLIENT,
        "PATH": f"{venv.prefix}/bin:/root/conda/condabin:{CLIENT['PATH']}",
        "CONDA_EXE": "/root/conda/bin/conda",
        "CUDA_HOME": "/mine",
        "VIRTUAL_ENV": venv.prefix,
        "VIRTUAL_ENV_PROMPT": "a venv",
    }


def test_variables_of_the_prefix_are_set_and_taken_away(conda: Environment) -> None:
    packages = Path(conda.prefix, "etc", "conda", "env_vars.d")
    packages.mkdir(parents=True)
    (packages / "pkg.json").write_text('{"FROM_PACKAGE": "p", "BOTH": "p"}')
    (packages / "torn.json").write_text('{"FROM')
    state = {"env_vars": {"BOTH": "state", "LANG": "***unset***"}}
    Path(conda.prefix, "conda-meta", "state").write_text(json.dumps(state))
    seen = activate(conda, CLIENT)
    assert (seen["FROM_PACKAGE"], seen["BOTH"]) == ("p", "state")
    assert "LANG" not in seen


def test_base_is_called_base_and_a_pixi_environment_after_its_project(conda: Environment, tmp_path: Path) -> None:
    Path(conda.prefix, "condabin").mkdir()
    Path(tmp_path / "conda" / "miniconda3").symlink_to(conda.prefix)
    base = Environment(name="base", kind="conda", prefix=str(tmp_path / "conda" / "miniconda3"), python="/x")
    assert activate(base, CLIENT)["CONDA_DEFAULT_ENV"] == "base"
    prefix = tmp_path / "proj" / ".pixi" / "envs" / "default"
    (prefix / "conda-meta").mkdir(parents=True)
    seen = activate(Environment(name="proj", kind="pixi", prefix=str(prefix), python="/x"), CLIENT)
    assert (seen["CONDA_DEFAULT_ENV"], seen["PIXI_PROJECT_ROOT"]) == ("proj", str(tmp_path / "proj"))


@pytest.mark.parametrize("name", ["JPY_PARENT_PID", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "__PYVENV_LAUNCHER__"])
def test_what_harms_a_kernel_never_comes_through(venv: Environment, name: str) -> None:
    kernelspec = Environment(name="k", kind="kernelspec", argv=("k",), env={name: "1"})
    assert name not in activate(venv, {**CLIENT, name: "1"})
    assert name not in activate(kernelspec, {**CLIENT, name: "1"})


def test_the_folder_of_a_tool_on_path_is_no_place_for_a_kernel(venv: Environment, tmp_path: Path) -> None:
    tool = tmp_path / "uv" / "archive-v0" / "abc"
    tool.mkdir(parents=True)
    (tool / "pyvenv.cfg").touch()
    seen = activate(venv, {**CLIENT, "PATH": f"{tool}/bin:{CLIENT['PATH']}"})
    assert seen["PATH"] == f"{venv.prefix}/bin:{CLIENT['PATH']}"


def test_what_pyenv_adds_for_one_command_is_left(venv: Environment) -> None:
    root = "/home/u/.pyenv"
    before = {
        "PYENV_ROOT": root,
        "PYENV_VERSION": "3.9.1",
        "PATH": f"{root}/versions/3.9.1/bin:{CLIENT['PATH']}",
    }
    seen = activate(venv, {**CLIENT, **before})
    assert seen["PATH"] == f"{venv.prefix}/bin:{CLIENT['PATH']}"
    assert "PYENV_VERSION" not in seen


def test_a_kernelspec_outside_environments_keeps_the_clients_and_adds_its_own() -> None:
    client = {**CLIENT, "VIRTUAL_ENV": "/v", "PATH": "/v/bin:/usr/bin"}
    spec = Environment(name="ir", kind="kernelspec", argv=("R",), env={"R_LIBS": "${HOME}/R", "X": "$MISSING"})
    assert activate(spec, client) == {**client, "R_LIBS": "/home/u/R", "X": "$MISSING"}


def test_the_systems_interpreter_does_not_reorder_the_clients_path() -> None:
    system = Environment(name="python3.11", kind="python", prefix="/usr", python="/usr/bin/python3")
    assert activate(system, CLIENT)["PATH"] == CLIENT["PATH"]


def test_a_client_without_a_path_gets_one(venv: Environment) -> None:
    assert activate(venv, {})["PATH"] == f"{venv.prefix}/bin:{os.defpath}"


def executable(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def with_pip(environment: Environment) -> Environment:
    Path(environment.prefix, "lib", "python3.12", "site-packages", "pip").mkdir(parents=True)
    return environment


def test_conda_is_told_to_install_by_the_tool_that_made_the_environment(conda: Environment, tmp_path: Path) -> None:
    history = Path(conda.prefix, "conda-meta", "history")
    history.write_text("# cmd: /opt/bin/mamba create -n torch\n")
    assert install_command(conda, {}) == f"mamba install --yes --prefix {conda.prefix} ipykernel"
    beside = executable(tmp_path / "conda" / "condabin" / "conda")
    assert install_command(conda, {}).startswith(f"{beside} install")
    mine = executable(tmp_path / "mine" / "mamba")
    assert install_command(conda, {"PATH": str(tmp_path / "mine")}).startswith(f"{mine} install")
    history.write_text("# cmd: /x/micromamba create\n")
    micro = executable(tmp_path / "micro" / "micromamba")
    assert install_command(conda, {"MAMBA_EXE": micro}).startswith(f"{micro} install --yes --prefix")
    assert "--channel conda-forge" in install_command(conda, {"MAMBA_EXE": micro})


def test_pixi_is_told_the_projects_manifest_and_feature(tmp_path: Path) -> None:
    for name, feature in (("default", ""), ("cuda", "--feature cuda ")):
        prefix = tmp_path / ".pixi" / "envs" / name
        (prefix / "conda-meta").mkdir(parents=True)
        environment = Environment(name=name, kind="pixi", prefix=str(prefix), python=str(prefix / "bin/python"))
        manifest = f"{tmp_path}/pixi.toml"
        assert install_command(environment, {}) == f"pixi add --manifest-path {manifest} {feature}ipykernel"


def test_a_venv_is_told_its_own_pip_or_uv(venv: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "no" / "python"))
    python = f"'{venv.python}'"
    without = f"{python} -m ensurepip && {python} -m pip install ipykernel"
    assert install_command(venv, {"PATH": "/nowhere"}) == without
    uv = executable(tmp_path / "tools" / "uv")
    assert install_command(venv, {"PATH": str(tmp_path / "tools")}) == f"{uv} pip install --python {python} ipykernel"
    assert install_command(with_pip(venv), {"PATH": str(tmp_path / "tools")}) == f"{python} -m pip install ipykernel"


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("pipx/venvs/black", "pipx inject black ipykernel"),
        ("tools/ruff", "uv tool install ruff --with ipykernel"),
    ],
)
def test_tools_are_told_their_own_way(tmp_path: Path, place: str, command: str) -> None:
    prefix = tmp_path / place
    prefix.mkdir(parents=True)
    if place.startswith("tools"):
        (prefix / "uv-receipt.toml").touch()
    environment = Environment(name="t", kind="venv", prefix=str(prefix), python=str(prefix / "bin/python"))
    assert install_command(environment, {}) == command


def test_the_operating_systems_python_is_never_installed_into(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.12").mkdir(parents=True)
    (tmp_path / "lib" / "python3.12" / "EXTERNALLY-MANAGED").touch()
    system = Environment(name="python3.12", kind="python", prefix=str(tmp_path), python=f"{tmp_path}/bin/python3")
    assert install_command(system, {}).startswith(f"{tmp_path}/bin/python3 -m venv .venv && ")
    with pytest.raises(RefusedError, match="operating system"):
        install(system, silent, {})


@pytest.mark.parametrize(
    "unfit",
    [
        Environment(name="ir", kind="kernelspec", language="r", python="/x", argv=("R",)),
        Environment(name="old", kind="venv", prefix="/v", python="/v/bin/python", broken="its interpreter is gone"),
    ],
)
def test_what_cannot_have_an_ipykernel_is_refused(unfit: Environment) -> None:
    with pytest.raises(RefusedError):
        install_command(unfit, {})


def test_installers_see_the_clients_settings_but_not_those_that_lead_them_elsewhere() -> None:
    seen = installer_environ({"PIP_INDEX_URL": "https://x", "PIP_TARGET": "/t", "PYTHONPATH": "/p", "A": "1"})
    assert (seen["PIP_INDEX_URL"], seen["A"], seen["PIP_USER"]) == ("https://x", "1", "0")
    assert not {"PIP_TARGET", "PYTHONPATH"} & set(seen)


def silent(line: str) -> None:
    """Progress that nobody watches."""
