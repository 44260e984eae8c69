"""Which environment a project has, and how far up it is looked for."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.environments.defaults import default_environment
from kernel_supervisor.environments.missing import missing_module, where_to_find
from kernel_supervisor.environments.model import Where
from kernel_supervisor.environments.projects import project_environments
from kernel_supervisor.mcp.ways import said
from tests.unit.test_environments_choice import venv


@pytest.fixture
def where(tmp_path: Path) -> Where:
    """A project in a repository in a home directory."""
    home = tmp_path / "home"
    project = home / "work" / "project"
    (project / ".git").mkdir(parents=True)
    return Where(environ={}, home=home, directory=project, shim_python="")


def digest(path: Path) -> str:
    """As poetry, pipenv and hatch name what belongs to a folder; seen with poetry 2, pipenv 2026, hatch 1."""
    return base64.urlsafe_b64encode(hashlib.sha256(str(path).encode()).digest()).decode()[:8]


def found(where: Where) -> list[str]:
    return [prefix for prefix, _ in project_environments(where)]


def _uv(where: Where) -> Path:
    (where.directory / "uv.lock").touch()
    return venv(where.directory / ".venv")


def _pixi(where: Where) -> Path:
    return venv(where.directory / ".pixi" / "envs" / "default")


def _pdm(where: Where) -> Path:
    prefix = venv(where.home / ".local/share/pdm/venvs/project-abcdefgh-3.12")
    (where.directory / ".pdm-python").write_text(f"{prefix}/bin/python")
    return prefix


def _poetry(where: Where) -> Path:
    (where.directory / "pyproject.toml").write_text("[tool.poetry]\nname = 'x'\n")
    place = where.home / ".cache/pypoetry/virtualenvs"
    venv(place / "x-AAAAAAAA-py3.13")
    venv(place / f"x-{digest(where.directory)}-py3.9")
    return venv(place / f"x-{digest(where.directory)}-py3.12")


def _poetry_by_choice(where: Where) -> Path:
    newest = _poetry(where)
    name = f"x-{digest(where.directory)}"
    text = f'[other-AAAAAAAA]\nminor = "3.12"\n\n[{name}]\nminor = "3.9"\npatch = "3.9.1"\n'
    (newest.parent / "envs.toml").write_text(text)
    return newest.parent / f"{name}-py3.9"


def _pipenv(where: Where) -> Path:
    (where.directory / "Pipfile").touch()
    return venv(where.home / ".local/share/virtualenvs" / f"project-{digest(where.directory / 'Pipfile')}")


def _hatch(where: Where) -> Path:
    (where.directory / "pyproject.toml").write_text("[build-system]\nrequires = ['hatchling']\n")
    return venv(where.home / ".local/share/hatch/env/virtual/my-name" / digest(where.directory) / "my-name")


def _plain(where: Where) -> Path:
    return venv(where.directory / "venv")


def _conda(where: Where) -> Path:
    (where.directory / "environment.yml").write_text("channels: []\nname: torch  # mine\n")
    prefix = where.home / "miniconda3" / "envs" / "torch"
    (prefix / "conda-meta").mkdir(parents=True)
    (prefix / "conda-meta" / "history").touch()
    (where.home / ".conda").mkdir()
    (where.home / ".conda" / "environments.txt").write_text(f"{prefix}\n")
    return prefix


@pytest.mark.parametrize("made", [_uv, _pixi, _pdm, _poetry, _poetry_by_choice, _pipenv, _hatch, _plain, _conda])
def test_each_tools_environment_is_found_where_that_tool_puts_it(where: Where, made: Callable[[Where], Path]) -> None:
    prefix = made(where)
    assert found(where)[0] == str(prefix)
    below = where.directory / "src" / "deep"
    below.mkdir(parents=True)
    assert found(replace(where, directory=below))[0] == str(prefix)


def test_the_nearest_folder_comes_first_and_the_repositorys_root_is_the_last(where: Where) -> None:
    inner, outer, beyond = where.directory / "inner", where.directory, where.directory.parent
    prefixes = [venv(folder / ".venv") for folder in (inner, outer, beyond)]
    assert found(replace(where, directory=inner)) == [str(prefixes[0]), str(prefixes[1])]
    assert found(replace(where, directory=beyond)) == [str(prefixes[2])], "no repository: what it is in, below the home"


def test_a_submodule_belongs_to_the_repository_around_it_and_a_worktree_to_itself(where: Where) -> None:
    prefix = venv(where.directory / ".venv")
    for name, pointer, expected in (("sub", "../.git/modules/sub", [str(prefix)]), ("tree", "/x/.git/worktrees/t", [])):
        inner = where.directory / name
        inner.mkdir()
        (inner / ".git").write_text(f"gitdir: {pointer}\n")
        assert found(replace(where, directory=inner)) == expected, name


def test_the_home_directory_is_nobodys_project(where: Where) -> None:
    venv(where.home / ".venv")
    for directory in (where.home, where.home / "work"):
        assert found(replace(where, directory=directory)) == []
    (where.home / ".git").mkdir()  # as people have who keep their dotfiles there
    assert found(replace(where, directory=where.home / "work")) == []


def test_what_anybody_could_have_put_above_a_folder_is_not_its_project(where: Where) -> None:
    shared = where.home.parent / "shared"
    (shared / "mine").mkdir(parents=True)
    venv(shared / ".venv")
    assert len(found(replace(where, directory=shared / "mine"))) == 1
    shared.chmod(0o1777)
    assert found(replace(where, directory=shared / "mine")) == []
    (shared / ".git").mkdir()  # nor does it become one's repository by what anybody could have put there
    assert found(replace(where, directory=shared / "mine")) == []
    (shared / "mine").chmod(0o777)
    assert len(found(replace(where, directory=shared / "mine"))) == 1, "a file system without modes"


def test_a_uv_project_environment_elsewhere_is_the_projects(where: Where) -> None:
    _uv(where)
    elsewhere = venv(where.home / "elsewhere")
    assert found(replace(where, environ={"UV_PROJECT_ENVIRONMENT": str(elsewhere)}))[0] == str(elsewhere)


def test_broken_ones_are_passed_over_in_their_order_with_their_reasons(where: Where) -> None:
    (venv(where.directory / ".venv") / "bin" / "python").unlink()
    (where.directory / ".pixi" / "envs" / "default").mkdir(parents=True)
    good = venv(where.directory / "env")
    environment, why = default_environment(where)
    assert environment.prefix == str(good)
    assert why.index("project's environment env") < why.index(".venv was passed over") < why.index("default was passed")


def test_what_should_have_been_the_environment_is_never_passed_over_without_a_word(where: Where) -> None:
    place = where.directory / ".venv"
    good = venv(where.directory / "env")
    for make, reason in (
        (lambda: place.symlink_to("/no/where"), f"{place} was passed over: it leads nowhere: /no/where"),
        (lambda: place.symlink_to(".venv"), f"{place} was passed over: it leads nowhere"),
        (lambda: place.write_text("analysis\n"), f"{place} was passed over: it is no folder"),
        (lambda: os.mkfifo(place), f"{place} was passed over: it is no folder"),
    ):
        make()
        environment, why = default_environment(where)
        assert environment.prefix == str(good)
        assert reason in why
        place.unlink()
    assert "passed over" not in default_environment(where)[1], "what is not there at all is not spoken of"
    (where.directory / ".pdm-python").write_text("/no/where/bin/python\n")
    assert "/no/where was passed over: it is gone" in default_environment(where)[1]


def test_an_environment_of_another_operating_system_is_passed_over(where: Where) -> None:
    """As in a project that is synchronised between machines, or mounted into a container."""
    python = venv(where.directory / ".venv") / "bin" / "python"
    python.unlink()
    python.write_bytes((b"\x7fELF" if sys.platform == "darwin" else b"\xcf\xfa\xed\xfe") + bytes(100))
    python.chmod(0o755)
    good = venv(where.directory / "env")
    environment, why = default_environment(where)
    assert environment.prefix == str(good)
    assert "made for another operating system" in why


def test_an_active_environment_that_is_spelled_from_the_directory_is_found_there(where: Where) -> None:
    active = venv(where.directory / "mine")
    assert default_environment(replace(where, environ={"VIRTUAL_ENV": "mine"}))[0].prefix == str(active)


ODD_FILES = (".git", ".pdm-python", "pyproject.toml", "environment.yml", ".venv/pyvenv.cfg")


@pytest.mark.parametrize("name", ODD_FILES)
def test_nobody_waits_for_what_a_named_pipe_of_a_project_may_say(where: Where, name: str) -> None:
    where = replace(where, directory=where.directory / "inner")
    good = venv(where.directory / "env")
    (where.directory / name).parent.mkdir(exist_ok=True)
    os.mkfifo(where.directory / name)
    assert default_environment(where)[0].prefix == str(good)


@pytest.mark.parametrize(
    ("name", "value", "module"),
    [
        ("ModuleNotFoundError", "No module named 'pandas'", "pandas"),
        ("ImportError", "No module named pandas", "pandas"),
        ("ModuleNotFoundError", "No module named 'sklearn.linear_model'; 'sklearn' is not a package", ""),
        ("ModuleNotFoundError", "No module named 'scikit-learn'", ""),
        ("ModuleNotFoundError", "No module named 'pandas and numpy'", ""),
        ("ModuleNotFoundError", "No module named '__main__.x'; '__main__' is not a package", ""),
        ("ModuleNotFoundError", "No module named '__mp_main__'", ""),
        ("ModuleNotFoundError", "No module named '_tkinter'", ""),
        ("ImportError", "cannot import name 'x' from 'y'", ""),
        ("ValueError", "No module named 'pandas'", ""),
        ("ModuleNotFoundError", "", ""),
    ],
)
def test_what_is_missing_is_told_from_what_is_wrong_in_other_ways(name: str, value: str, module: str) -> None:
    assert missing_module(name, value) == module


def _told(*where: Any) -> str:
    return said(where_to_find(*where))


def test_a_missing_module_is_found_in_other_environments_and_can_be_installed_here(where: Where) -> None:
    here, there = venv(where.directory / ".venv"), venv(where.home / ".virtualenvs" / "analysis")
    python = str(here / "bin" / "python")
    library = Path("lib") / "python3.12" / "site-packages"
    for name in ("pandas/__init__.py", "six.py", "fast.cpython-312-x86_64-linux-gnu.so"):
        (there / library / name).parent.mkdir(exist_ok=True)
        (there / library / name).touch()
    for module in ("pandas", "six", "fast"):
        line = _told(module, str(here), python, where)
        assert f"{module} is not in this kernel's environment ({here}); it is in analysis ({there})" in line
        assert "kernel_use_env" in line
        assert f" {module}` installs it here" in line
    assert " scikit-learn` installs" in _told("sklearn", str(here), python, where)
    assert "it is in" not in _told("sklearn", str(here), python, where)
    (here / library / "pandas").mkdir()
    assert _told("pandas", str(here), python, where) == "", "it is here: something else is wrong"
    assert os.sep not in _told("six", "/no/environment", "/no/environment/bin/python", where)


def test_a_module_of_the_project_is_pointed_to_and_no_package_of_its_name(where: Where) -> None:
    here = venv(where.directory / ".venv")
    for place in ("helpers.py", "src/models/__init__.py"):
        (where.directory / place).parent.mkdir(parents=True, exist_ok=True)
        (where.directory / place).touch()
    below = replace(where, directory=where.directory / "notebooks")
    below.directory.mkdir()
    for module, folder in (("helpers", where.directory), ("src", where.directory), ("models", where.directory / "src")):
        line = _told(module, str(here), str(here / "bin" / "python"), below)
        assert f"sys.path.append('{folder}')" in line
        assert "install" not in line
    (where.directory / "wandb" / "run-1").mkdir(parents=True)
    assert "wandb` installs it" in _told("wandb", str(here), str(here / "bin" / "python"), below)


def test_a_name_that_many_packages_share_is_installed_by_none(where: Where) -> None:
    here = venv(where.directory / ".venv")
    line = _told("google", str(here), str(here / "bin" / "python"), where)
    assert line == f"google is not in this kernel's environment ({here})."
