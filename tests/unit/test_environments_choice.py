"""Which environment a name or a path means, and which one is the default."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.environments import conda, kernelspecs
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.defaults import default, default_environment
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.mcp.ways import said


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that runs the tests is in the way."""
    monkeypatch.setattr(conda, "_SYSTEM", ())
    monkeypatch.setattr(kernelspecs, "_SHARED", ())


@pytest.fixture
def where(tmp_path: Path) -> Where:
    (tmp_path / "home" / "project").mkdir(parents=True)
    return Where(
        environ={"PATH": "/nowhere"},
        home=tmp_path / "home",
        directory=tmp_path / "home" / "project",
        shim_python="",
    )


def venv(prefix: Path) -> Path:
    (prefix / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").write_text("#!/bin/sh\n")
    (prefix / "bin" / "python").chmod(0o755)
    (prefix / "pyvenv.cfg").write_text("home = /nowhere/bin\nversion = 3.12.1\n")
    return prefix


def environment(name: str, prefix: str = "", **more: object) -> Environment:
    prefix = prefix or f"/envs/{name}"
    made = Environment(name=name, kind="conda", prefix=prefix, python=f"{prefix}/bin/python", python_version="3.12.1")
    return replace(made, **more)  # type: ignore[arg-type]  # mypy cannot check replace() with a mapping


def refusal(wanted: str, environments: list[Environment], where: Where) -> str:
    with pytest.raises(RefusedError) as refused:
        resolve(wanted, environments, where)
    return said(refused.value.words)


def test_a_name_wins_over_an_alias_and_case_is_the_last_resort(where: Where) -> None:
    torch, other = environment("torch"), environment("other", aliases=("torch", "Base"))
    assert resolve("torch", [torch, other], where) == torch
    assert resolve("base", [torch, other], where) == other
    assert resolve(" TORCH ", [torch, other], where) == torch


def test_an_ambiguous_name_lists_its_candidates_by_path(where: Where) -> None:
    text = refusal("torch", [environment("torch", "/a/torch"), environment("torch", "/b/torch")], where)
    assert "2 environments" in text
    assert "/a/torch" in text
    assert "/b/torch" in text


def test_of_two_of_a_name_the_one_that_works_is_meant(where: Where) -> None:
    broken, whole = environment("torch", "/a", broken="its interpreter is gone"), environment("torch", "/b")
    assert resolve("torch", [broken, whole], where) == whole


def test_a_near_miss_suggests(where: Where) -> None:
    known = [environment("pytorch-gpu"), environment("base"), environment("R4")]
    assert "Did you mean pytorch-gpu" in refusal("pytroch-gpu", known, where)
    assert "Did you mean pytorch-gpu" in refusal("torch", known, where)
    assert "kernel_list_envs()" in refusal("zzz", known, where)
    assert "empty" in refusal("  ", known, where)


def test_what_is_broken_is_refused_with_the_reason(where: Where) -> None:
    text = refusal("torch", [environment("torch", broken="its interpreter is gone: /x")], where)
    assert "its interpreter is gone: /x" in text


def test_paths_name_a_prefix_an_interpreter_or_a_project(where: Where) -> None:
    prefix = venv(where.directory / ".venv")
    known = discover(where)
    python = str(prefix / "bin" / "python")
    for wanted in (
        str(prefix),
        python,
        "./.venv",
        ".venv/bin/python",
        "~/project/.venv",
        ".",
        "~/project/",
        ".venv",
    ):
        found = resolve(wanted, known, where)
        assert (found.prefix, found.python) == (str(prefix), python), wanted
        assert resolve(wanted, (), where).python == python, wanted


def test_a_path_through_a_link_means_the_environment_that_is_known(where: Where, tmp_path: Path) -> None:
    prefix = venv(where.home / ".virtualenvs" / "real")
    (tmp_path / "link").symlink_to(prefix)
    assert resolve(str(tmp_path / "link"), discover(where), where).name == "real"


def test_a_path_names_a_kernelspec(where: Where) -> None:
    folder = where.directory / "kernels" / "ir"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["/bin/sh", "{connection_file}"], "language": "R"}))
    for wanted in ("kernels/ir", str(folder / "kernel.json")):
        assert resolve(wanted, (), where).argv == ("/bin/sh", "{connection_file}")


def test_an_interpreter_outside_any_environment_is_taken_as_it_is(where: Where) -> None:
    wrapper = where.directory / "my-python"
    wrapper.write_text('#!/bin/sh\nexec python3 "$@"\n')
    assert "cannot be run" in refusal(str(wrapper), [], where)
    wrapper.chmod(0o755)
    found = resolve("./my-python", [], where)
    assert (found.python, found.prefix) == (str(wrapper), "")


def test_paths_that_lead_nowhere_are_refused_in_words(where: Where) -> None:
    (where.directory / "dangling").symlink_to("/vanished/env")
    (where.directory / "src").mkdir()
    assert "/vanished/env is gone" in refusal("./dangling", [], where)
    assert "nothing at /vanished/env" in refusal("/vanished/env", [], where)
    assert "/dev/null is neither a file nor a folder" in refusal("/dev/null", [], where)
    assert "no environment" in refusal("./src", [], where)


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        ((), ("/envs/e/bin/python",)),
        (
            ("/p/python", "-X", "dev", "-m", "ipykernel_launcher", "-f", "{connection_file}"),
            ("/p/python", "-X", "dev"),
        ),
        (("/p/python", "-m", "bash_kernel", "-f", "{connection_file}"),) * 2,
        (("/opt/ark", "{connection_file}"),) * 2,
    ],
)
def test_what_starts_a_kernel_ends_before_the_ipykernel_module(argv: tuple[str, ...], start: tuple[str, ...]) -> None:
    assert as_interpreter(environment("e", argv=argv)).argv == start


def test_where_nothing_else_is_found_the_default_is_the_shims_own_environment(where: Where, tmp_path: Path) -> None:
    python = str(venv(tmp_path / "own") / "bin" / "python")
    chosen = default(replace(where, shim_python=python))
    assert (chosen.name, chosen.kind, chosen.argv) == ("default", "default", (python,))
    assert "installed in it" in chosen.why
    assert "neither the project" in chosen.why


def test_a_configured_interpreter_comes_first_by_path_command_or_name(where: Where, tmp_path: Path) -> None:
    prefix = venv(where.home / ".virtualenvs" / "named")
    with_path = replace(where, environ={"PATH": str(prefix / "bin")})
    own = str(venv(tmp_path / "own") / "bin" / "python")
    for configured, seen in ((str(prefix), where), ("named", where), ("python", with_path)):
        chosen = default(replace(seen, shim_python=own), configured)
        assert chosen.prefix == str(prefix), configured
        assert "--python" in chosen.why
    with pytest.raises(RefusedError):
        default(where, "unheard-of")


@pytest.fixture(params=["an environment", "a tool"])
def installed(request: pytest.FixtureRequest, where: Where, tmp_path: Path) -> Where:
    """As `pip install` into an environment leaves it, and as `uv tool install` does."""
    prefix = venv(tmp_path / "tools" / "kernel-supervisor")
    if request.param == "a tool":
        (prefix / "uv-receipt.toml").touch()
    return replace(where, shim_python=str(prefix / "bin" / "python"))


def test_the_projects_environment_comes_before_the_active_one_and_the_shims_own(
    installed: Where, tmp_path: Path
) -> None:
    prefix, active = venv(installed.directory / ".venv"), venv(tmp_path / "active")
    below = installed.directory / "src"
    below.mkdir()
    chosen = default(replace(installed, directory=below, environ={"VIRTUAL_ENV": str(active)}))
    assert chosen.prefix == str(prefix)
    assert "project's .venv" in chosen.why


def test_then_comes_the_clients_active_environment_that_its_path_finds_first(installed: Where, tmp_path: Path) -> None:
    one, two = venv(tmp_path / "one"), venv(tmp_path / "two")
    environ = {"VIRTUAL_ENV": str(one), "CONDA_PREFIX": str(two), "PATH": f"{two}/bin:{one}/bin"}
    assert default(replace(installed, environ=environ)).prefix == str(two)
    chosen = default(replace(installed, environ={**environ, "PATH": f"{one}/bin:{two}/bin"}))
    assert chosen.prefix == str(one)
    assert "VIRTUAL_ENV" in chosen.why


def test_what_is_broken_is_passed_over_and_said(installed: Where) -> None:
    (venv(installed.directory / ".venv") / "bin" / "python").unlink()
    environment, why = default_environment(replace(installed, environ={"CONDA_PREFIX": "/not/there"}))
    assert environment.python == installed.shim_python
    assert f"{installed.directory}/.venv was passed over: there is no Python in it" in why
    assert "/not/there was passed over: it is gone" in why


def test_an_active_environment_that_a_tool_keeps_does_not_count(where: Where, tmp_path: Path) -> None:
    own, active = venv(tmp_path / "own"), venv(tmp_path / "active")
    (active / "uv-receipt.toml").touch()
    python = str(own / "bin" / "python")
    assert default(replace(where, shim_python=python, environ={"VIRTUAL_ENV": str(active)})).prefix == str(own)


def test_where_there_is_nothing_the_text_says_what_to_give(where: Where) -> None:
    with pytest.raises(RefusedError, match="--python"):
        default(where)
