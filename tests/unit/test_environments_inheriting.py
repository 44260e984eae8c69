"""What a kernel that is started again has of the client that asks, and of what it had; and what differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.inheriting import different, inherited, set_by_activation
from kernel_supervisor.environments.model import Environment

CLIENT = {"HOME": "/home/u", "PATH": "/opt/tool:/usr/bin:/bin", "KEY": "old"}


@pytest.fixture
def conda(tmp_path: Path) -> Environment:
    prefix = tmp_path / "envs" / "torch"
    for folder, script in {"activate.d": "export SET=by-script KEPT=$PLACE", "deactivate.d": "unset SET"}.items():
        (prefix / "etc/conda" / folder).mkdir(parents=True)
        (prefix / "etc/conda" / folder / "ours.sh").write_text(script + "\n")
    (prefix / "conda-meta").mkdir()
    return Environment(name="torch", kind="conda", prefix=str(prefix), python=str(prefix / "bin" / "python"))


def test_the_clients_values_win_and_what_it_lacks_stays(conda: Environment) -> None:
    had = activate(conda, {**CLIENT, "ONLY_THERE": "1"})
    again = activate(conda, inherited(had, {"HOME": "/home/u", "PATH": "/usr/bin:/mine", "KEY": "new", "SET": "mine"}))
    assert (again["KEY"], again["ONLY_THERE"], again["SET"]) == ("new", "1", "by-script")
    assert again["PATH"] == f"{conda.prefix}/bin:/usr/bin:/mine:/opt/tool:/bin"
    assert again["CONDA_PREFIX"] == conda.prefix


def test_nothing_is_lost_to_a_client_that_has_nothing(conda: Environment) -> None:
    had = activate(conda, CLIENT)
    assert activate(conda, inherited(had, {})) == had


def test_the_environment_that_is_active_where_the_client_is_does_not_come_along(conda: Environment) -> None:
    had = activate(conda, CLIENT)
    theirs = {**CLIENT, "VIRTUAL_ENV": "/x/.venv", "PATH": f"/x/.venv/bin:{CLIENT['PATH']}"}
    assert activate(conda, inherited(had, theirs)) == had


@pytest.mark.parametrize(
    "name", ["PWD", "_", "SHLVL", "TERMINFO", "SSH_TTY", "CLAUDECODE", "CODEX_X", "DBUS_X", "PATH", "VIRTUAL_ENV"]
)
def test_what_always_differs_is_no_difference(name: str) -> None:
    assert different({name: "1", "KEY": "1"}, {name: "2", "KEY": "2"}) == {"KEY"}


def test_only_what_both_have_can_differ() -> None:
    assert different({"A": "1", "B": "1", "_UNDERSCORE": "1"}, {"B": "1", "C": "1", "_UNDERSCORE": "2"}) == {
        "_UNDERSCORE"
    }


def test_what_an_environment_sets_is_its_own_doing(conda: Environment) -> None:
    assert {"PATH", "SET", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"} <= set_by_activation(conda)
    assert "KEY" not in set_by_activation(conda)
    assert set_by_activation(None) == set()
