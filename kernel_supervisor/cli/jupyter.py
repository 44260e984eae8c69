"""jupyterlab, kernelspec: Jupyter's programs over the supervisor's kernels."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from kernel_supervisor.cli.codes import DONE, FAILED, failed
from kernel_supervisor.cli.session import Command
from kernel_supervisor.installer import command_for
from kernel_supervisor.isolation import isolated
from kernel_supervisor.kernelspecs import KERNELSPEC, called, titled
from kernel_supervisor.paths import HOME_VARIABLE, prepare, put

_PROVISIONER = "kernel-supervisor-provisioner"


def jupyterlab(command: Command) -> int:
    """Become JupyterLab, with kernelspecs for the default environment and for each session that has a kernel."""
    prepare(command.paths)
    folder = Path(command.paths.state, "jupyter")
    _refresh(command, folder / "kernels")
    paths = os.pathsep.join(filter(None, (str(folder), os.environ.get("JUPYTER_PATH", ""))))
    line = [
        *isolated("jupyterlab"),
        "--ServerApp.allow_external_kernels=True",
        f"--ServerApp.external_connection_dir={command.paths.shared}",
        *command.options.arguments,
    ]
    if command.options.only_print:
        variables = {"JUPYTER_PATH": paths}
        if os.environ.get(HOME_VARIABLE):
            variables[HOME_VARIABLE] = command.paths.state
        print(shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), *line]))
        return DONE
    if importlib.util.find_spec("jupyterlab") is None:
        return failed(
            "kernel-supervisor jupyterlab needs JupyterLab. Install it beside kernel-supervisor:\n"
            f"    {command_for('jupyterlab')}\n"
            "A JupyterLab of another environment shows the kernels that run already with the last two options of\n"
            "    kernel-supervisor jupyterlab --print"
        )
    command.close()
    os.environ["JUPYTER_PATH"] = paths
    os.execv(line[0], line)
    return FAILED  # it cannot get here


def _refresh(command: Command, folder: Path) -> None:
    """Kernelspecs as sessions are now. Those of sessions that have no kernel any more go."""
    kernels: list[dict[str, Any]] = command.tool("kernel_list_running", start=True)[1]["kernels"]
    wanted = {KERNELSPEC: _spec("supervised Python", {})}
    for session, old_name in sorted({(each["session"], each["old_name"]) for each in kernels if each["owned"]}):
        spec = _spec(titled(session), {"session": session})
        wanted[_free(folder, called(f"session-{session}"), session, wanted)] = spec
        if old_name and (folder / called(f"session-{old_name}")).exists():
            wanted[called(f"session-{old_name}")] = spec  # notebooks name it that a version before this one made
    for name in installed(folder):
        if name not in wanted:
            shutil.rmtree(folder / name, ignore_errors=True)
    for name, spec in wanted.items():
        write(folder / name, spec)


def install(command: Command) -> int:
    """A kernelspec in the user's Jupyter folder."""
    options = command.options
    session, config = "", {"environment": options.env}
    if options.session:
        place = command.say_where(start=True)
        session = place["session"]
        config |= {"session": session, "project": place["directory"]}
    name = called(options.name or (f"session-{session}" if session else options.env))
    if not options.name:
        name = _free(users_folder(), name, session)
    title = options.name or " ".join(filter(None, ("supervised", options.env or "Python", session)))
    folder = users_folder() / name
    write(folder, _spec(title, config))
    print(f"kernelspec {name} is in {folder}")
    return DONE


def uninstall(command: Command) -> int:
    """Some of ours, or all."""
    found = installed(users_folder())
    for name in command.options.name or found:
        if name not in found:
            return failed(f"kernel-supervisor: {name} is no kernelspec of ours in {users_folder()}")
        shutil.rmtree(users_folder() / name)
        print(f"kernelspec {name} is gone")
    return DONE


def list_specs(command: Command) -> int:
    """Ours, with their titles."""
    found = installed(users_folder())
    if not found:
        print(f"none of ours is in {users_folder()}; `kernel-supervisor kernelspec install` adds one", file=sys.stderr)
    for name in found:
        print(f"{name}  {read(users_folder() / name).get('display_name', '')}  {users_folder() / name}")
    return DONE


def _free(folder: Path, name: str, session: str, taken: Collection[str] = ()) -> str:
    """That name, apart from those of other sessions, which may differ in what Jupyter does not allow alone."""
    while name in taken or (_provisioner_of(folder / name).get("config") or {}).get("session", session) != session:
        name += "-"
    return name


def command() -> list[str]:
    """For programs that know no provisioners, VS Code's own starter among them: it says what to do instead."""
    return isolated("kernel_supervisor.provisioner", "{connection_file}")


def _spec(title: str, config: dict[str, str]) -> dict[str, Any]:
    return {
        "argv": command(),
        "display_name": title,
        "language": "python",
        "metadata": {
            "debugger": True,
            "kernel_provisioner": {
                "provisioner_name": _PROVISIONER,
                "config": {key: value for key, value in config.items() if value},
            },
        },
    }


def users_folder() -> Path:
    """Where Jupyter looks for the user's kernelspecs."""
    from jupyter_core.paths import jupyter_data_dir  # 0.1 s, and only where kernelspecs are installed

    return Path(jupyter_data_dir(), "kernels")


def installed(folder: Path) -> list[str]:
    """The names of the kernelspecs of ours in a folder."""
    specs = sorted(path.name for path in folder.glob("*/"))
    return [name for name in specs if _provisioner_of(folder / name).get("provisioner_name") == _PROVISIONER]


def _provisioner_of(folder: Path) -> dict[str, Any]:
    return (read(folder).get("metadata") or {}).get("kernel_provisioner") or {}


def read(folder: Path) -> dict[str, Any]:
    """A kernelspec; empty where there is none that can be read."""
    try:
        return dict(json.loads((folder / "kernel.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def write(folder: Path, spec: dict[str, Any]) -> None:
    """Put a kernelspec there, at one stroke. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    put(str(folder / "kernel.json"), json.dumps(spec, indent=1), 0o666)
