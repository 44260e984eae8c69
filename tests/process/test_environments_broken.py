"""What is broken on the machine: listed with the reason, refused with it, and in the way of nothing else."""

from __future__ import annotations

import json
import os
import sys
import venv
from pathlib import Path

import pytest

from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SHELL = {"argv": ["/bin/sh", "{connection_file}"], "language": "sh"}
SPECS = {
    "not-json": ("{", "cannot be read"),
    "no-object": ("[1]", "names no command"),
    "no-command": ('{"display_name": "x"}', "names no command"),
    "null-command": ('{"argv": [null, "{connection_file}"]}', "has the wrong type"),
    "text-command": ('{"argv": "python {connection_file}"}', "has the wrong type"),
    "no-file": ('{"argv": ["/bin/echo", "hi"], "language": "echo"}', "takes no {connection_file}"),
    "gone-command": ('{"argv": ["/no/such", "{connection_file}"]}', "its command is gone"),
    "odd-provisioner": (json.dumps({**SHELL, "metadata": {"kernel_provisioner": "x"}}), "has the wrong type"),
    "no-kernel": (json.dumps({"argv": ["/bin/sh", "-c", "echo boom >&2; exit 3", "{connection_file}"]}), "boom"),
    "odd-variable": (json.dumps({**SHELL, "env": {"A=B": "1"}}), "could not be started"),
}


def vanished(prefix: Path) -> None:
    venv.create(prefix, with_pip=False)
    (prefix / "bin/python").unlink()
    (prefix / "bin/python").symlink_to("/nowhere/python3")


def looped(prefix: Path) -> None:
    vanished(prefix)
    (prefix / "bin/python").unlink()
    (prefix / "bin/python").symlink_to(prefix / "bin/python")


def not_to_be_run(prefix: Path) -> None:
    vanished(prefix)
    (prefix / "bin/python").unlink()
    (prefix / "bin/python").write_text("no program")


def broken_machine(home: Path) -> None:
    """A home folder in which nothing is as it should be."""
    folder = home / ".virtualenvs"
    vanished(folder / "vanished")
    looped(folder / "looped")
    not_to_be_run(folder / "not-to-be-run")
    (folder / "itself").symlink_to(folder / "itself")
    (folder / "above").symlink_to(folder)
    (folder / "settings" / "pyvenv.cfg").mkdir(parents=True)
    (home / ".condarc").write_text("envs_dirs: {[&*! \0\n\t- ]\n: :\n  - ~/x\n")
    (home / ".conda").mkdir()
    (home / ".conda/environments.txt").write_text("\n".join(f"/nothing/{number}" for number in range(50_000)))
    specs = home / "jupyter" / "kernels"
    for name, (text, _) in SPECS.items():
        (specs / name).mkdir(parents=True)
        (specs / name / "kernel.json").write_text(text)
    (specs / "pipe").mkdir()
    os.mkfifo(specs / "pipe" / "kernel.json")


async def test_what_is_broken_is_listed_and_refused_with_the_reason(home: Home) -> None:
    place = home.project / "home"
    broken_machine(place)
    reasons = {
        "vanished": "its interpreter is gone: /nowhere/python3",
        "looped": "its interpreter cannot be reached",
        "not-to-be-run": "its interpreter cannot be run",
        **{name: reason for name, (_, reason) in SPECS.items()},
    }
    env = {"HOME": str(place), "JUPYTER_PATH": str(place / "jupyter")}
    async with home.client(env=env) as session:
        await session.run("x = 41")
        listed = await session.call("kernel_list_envs")
        rows = {each["name"]: each for each in listed.facts["environments"]}
        for name, reason in reasons.items():
            assert name in rows, listed.text
            if rows[name]["broken"]:
                assert f"broken: {rows[name]['broken']}" in listed.text
            used = await session.call("kernel_use_env", env_name=name)
            assert used.is_error, name
            assert reason in used.text, used.text
            assert "failed inside the supervisor" not in used.text
        assert (await session.run("x")).text.endswith("41")
    assert len(home.kernels()) == 1


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems know no case")
async def test_names_with_all_that_names_can_have_are_used(home: Home) -> None:
    folder = home.project / "home" / ".virtualenvs"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = next(entry for entry in sys.path if entry.endswith(f"{version}/site-packages"))
    names = ("with space", "qu'ote\"d $HOME `x`", "new\nline", "ünïcode数据", "-rf", "Case", "case")
    for name in names:
        venv.create(folder / name, with_pip=False)
        own = folder / name / "lib" / version / "site-packages"
        (own / "shared.pth").write_text(f"{packages}\n")
        for part in Path(packages).glob("ipykernel*"):
            (own / part.name).symlink_to(part)
    async with home.client(env={"HOME": str(home.project / "home")}) as session:
        listed = await session.call("kernel_list_envs")
        assert "new\\nline" in listed.text, "one environment is one line"
        for name in names:
            used = await session.call("kernel_use_env", env_name=name)
            assert not used.is_error, used.text
            assert (await session.run("import sys; sys.prefix")).text.endswith(repr(str(folder / name)))
            await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])
        ambiguous = await session.call("kernel_use_env", env_name="CASE")
        assert str(folder / "Case") in ambiguous.text
        assert str(folder / "case") in ambiguous.text
