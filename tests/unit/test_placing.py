"""Promise: what a kernel needs is found out about the interpreter that runs it, not about one beside it."""

from __future__ import annotations

from pathlib import Path

from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.model import Where
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.placing import environment_of


def interpreter(prefix: Path, version: str) -> Path:
    (prefix / "lib" / version / "site-packages").mkdir(parents=True)
    (prefix / "lib" / version / "os.py").touch()
    (prefix / "bin").mkdir(exist_ok=True)
    path = prefix / "bin" / version
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_of_two_interpreters_in_one_prefix_the_one_that_was_named_is_looked_at(tmp_path: Path) -> None:
    prefix = tmp_path / "usr"
    older, newer = interpreter(prefix, "python3.9"), interpreter(prefix, "python3.12")
    (prefix / "bin" / "python").symlink_to(older)
    packages = prefix / "lib/python3.9/site-packages"
    (packages / "ipykernel-7.4.0.dist-info").mkdir()
    (packages / "ipykernel_launcher.py").touch()
    asker = Asker(
        client_id="c", kind="shim", pid=1, session="", told=False, directory=str(tmp_path), cwd=str(tmp_path),
        python="", version="1",
        shim_python="", surroundings=Surroundings(env={"HOME": str(tmp_path)}),
    )  # fmt: skip
    where = Where(environ={}, home=tmp_path, directory=tmp_path, shim_python="")
    for path, ipykernel in ((older, "7.4.0"), (newer, "")):
        found = environment_of(as_interpreter(resolve(str(path), (), where)), asker)
        assert found is not None
        assert (found.python, found.python_version, found.ipykernel) == (str(path), path.name[6:], ipykernel)
