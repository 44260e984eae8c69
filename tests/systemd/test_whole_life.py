"""Promise: `doctor` tells the truth about the service and mends its unit; `uninstall` leaves nothing of it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.systemd.machine import Machine, User

UNIT = ".config/systemd/user/kernel-supervisor.service"


@pytest.fixture
def user(machine: Machine) -> Iterator[User]:
    """Somebody who is logged in and has installed the service, for which lingering was enabled."""
    user = machine.user()
    with user.logged_in():
        assert user.cli("service", "install").returncode == 0
        yield user
        user.cli("stop", "--kernels")


def _troubles(user: User, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(user.cli("doctor", "--json", *options).stdout)["findings"]
    return [each for each in found if each["state"] == "trouble"]


def test_what_the_service_lacks_is_said_and_a_unit_of_another_version_is_mended(user: User) -> None:
    assert _troubles(user) == []
    user.machine.root("sed", "-i", "s/^RestartSec=.*/RestartSec=9s/", f"/home/{user.name}/{UNIT}")
    user.machine.root("loginctl", "disable-linger", user.name)
    unit, linger = _troubles(user)
    assert "not as this version writes it" in unit["words"]
    assert "loginctl enable-linger" in linger["mend"]
    daemons = user.daemons()
    assert [each["mended"] for each in _troubles(user, "--fix")] == [True, False]
    assert "RestartSec=100ms" in user.machine.root("cat", f"/home/{user.name}/{UNIT}")
    assert user.unit("RestartUSec") == ["100ms"]
    assert user.daemons() == daemons, "what runs goes on"


def test_uninstalling_takes_service_lingering_and_kernels_with_it(user: User) -> None:
    assert user.cli("exec", "x = 41").returncode == 0
    assert (user.lingering(), len(user.kernels())) == ("yes", 1)
    done = user.cli("uninstall", "-y")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert user.lingering() == "no"
    assert user.kernels() | user.daemons() == set()
    assert not user.has(UNIT)
    assert not user.has(".kernel-supervisor")
    assert user.unit("LoadState") == ["not-found"]


def test_lingering_that_somebody_enabled_before_stays(machine: Machine) -> None:
    user = machine.user()
    machine.root("loginctl", "enable-linger", user.name)
    with user.logged_in():
        assert user.cli("service", "install").returncode == 0
        assert user.cli("uninstall", "-y").returncode == 0
        assert user.lingering() == "yes"
    machine.root("loginctl", "disable-linger", user.name)
