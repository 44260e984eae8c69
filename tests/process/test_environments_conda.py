"""A real conda prefix: found, activated by its scripts, left by its scripts; and scripts that go wrong."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.choice import resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.model import Environment
from tests.process.test_environments_support import Run, conda_prefix, kernels, seen_from, variables_in

SCRIPTS = {
    "activate.d/a first.sh": """
export FROM_SCRIPT="two\nlines"
unset TO_UNSET
export SAW="$CONDA_PREFIX|$CONDA_SHLVL"
""",
    "activate.d/b.sh": """
echo noise; echo noise >&2; false
export LATER="${FROM_SCRIPT%%l*}Grüße"
local_only=1
""",
    "activate.d/c.csh": "setenv WRONG_SHELL 1\n",
    "deactivate.d/a first.sh": "unset FROM_SCRIPT LATER\nexport TO_UNSET=back\n",
}


@pytest.fixture(scope="module")
def conda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conda_prefix(tmp_path_factory.mktemp("conda"), SCRIPTS, {"OF_STATE": "1"})


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with kernels(tmp_path_factory.getbasetemp() / "overlays") as started:
        yield started


@pytest.fixture
def conda_home(conda: Path, tmp_path: Path) -> Path:
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / "environments.txt").write_text(f"{conda}\n{tmp_path}/vanished\n")
    return tmp_path


def test_a_conda_environment_runs_a_kernel_activated_by_its_scripts(conda: Path, conda_home: Path, run: Run) -> None:
    where = seen_from(conda_home, conda_home, TO_UNSET="here", MINE="kept", VIRTUAL_ENV="/old", BASH_ENV="/no/such")
    found = resolve(conda.name, discover(where), where)
    assert (found.kind, found.prefix, found.python_version) == (
        "conda",
        str(conda),
        platform.python_version(),
    )
    seen = variables_in(run, found, where)
    assert seen["prefix"] == str(conda)
    assert seen["CONDA_PREFIX"] == str(conda)
    assert seen["PATH"].startswith(f"{conda}/bin:")
    assert (seen["MINE"], seen["OF_STATE"], seen["SAW"]) == ("kept", "1", f"{conda}|1")
    assert (seen["FROM_SCRIPT"], seen["LATER"]) == ("two\nlines", "two\nGrüße")
    assert not {"TO_UNSET", "VIRTUAL_ENV", "WRONG_SHELL", "local_only"} & set(seen)
    assert seen["BASH_ENV"] == "/no/such"


def test_leaving_a_conda_environment_runs_its_scripts(conda: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    venv.create(plain, with_pip=False)
    inside = Environment(name="c", kind="conda", prefix=str(conda), python=f"{conda}/bin/python")
    outside = Environment(name="v", kind="venv", prefix=str(plain), python=f"{plain}/bin/python")
    client = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "odd.name": "kept", "TO_UNSET": "mine"}
    active = activate(inside, client)
    assert "TO_UNSET" not in active
    left = activate(outside, active)
    assert left["TO_UNSET"] == "back"
    assert not {"FROM_SCRIPT", "LATER", "CONDA_PREFIX", "OF_STATE"} & set(left)
    assert left["odd.name"] == "kept"
    assert str(conda) not in left["PATH"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "ended the shell with code 3"),
        ("echo 'licence not found' >&2; kill -9 $$", "licence not found"),
        ("exec sleep 1000", "did not end within 0.5 s"),
    ],
)
def test_a_script_that_does_not_come_to_an_end_is_named(tmp_path: Path, script: str, words: str) -> None:
    folder = tmp_path / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    (folder / "bad.sh").write_text(script)
    environment = Environment(name="bad", kind="conda", prefix=str(tmp_path), python="/x")
    with pytest.raises(UnavailableError, match="Stage activation") as failed:
        activate(environment, dict(os.environ), deadline=0.5)
    assert words in str(failed.value)
    assert "bad.sh" in str(failed.value)


def test_what_a_script_leaves_in_the_background_does_not_hold_up(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    (folder / "agent.sh").write_text("sleep 20 & export AGENT=$!\n")
    environment = Environment(name="bg", kind="conda", prefix=str(tmp_path), python="/x")
    seen = activate(environment, dict(os.environ), deadline=10)
    os.kill(int(seen["AGENT"]), signal.SIGKILL)


@pytest.mark.skipif(not shutil.which("bash"), reason="only bash has such a trap")
def test_what_a_script_has_its_shell_go_on_printing_is_no_variable(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    (tmp_path / "conda-meta").mkdir()
    (folder / "traced.sh").write_text("export SEEN=1\ntrap 'echo noise' DEBUG\n")
    environment = Environment(name="traced", kind="conda", prefix=str(tmp_path), python="/x")
    seen = activate(environment, dict(os.environ), deadline=10)
    assert seen["SEEN"] == "1"
    assert not [name for name in seen if "noise" in name]
