"""What the tests of environments share: a launcher for kernels in them, and a conda prefix made offline."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import shutil
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import rattler
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.overlay import ensure_overlay

Run = Callable[[Environment, str, Where], str]
"""Starts a kernel in an environment, runs one cell, and gives what it printed."""
READY_SECONDS = 60.0
OVERLAID = """
import sys
sys.path.append(sys.argv.pop(1))
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""
REPORT = """
import json, os, sys
print(json.dumps({**os.environ, "prefix": sys.prefix, "executable": sys.executable, "version": sys.version}))
"""


def silent(line: str) -> None:
    """Progress that nobody watches."""


def seen_from(directory: Path, home: Path, **variables: str) -> Where:
    environ = {**os.environ, "HOME": str(home), **variables}
    return Where(environ=environ, home=home, directory=directory, shim_python=sys.executable)


def variables_in(run: Run, environment: Environment, where: Where) -> dict[str, str]:
    told: dict[str, str] = json.loads(run(environment, REPORT, where))
    return told


@contextlib.contextmanager
def kernels(overlays: Path) -> Iterator[Run]:
    folder = tempfile.mkdtemp(prefix="ks")  # short: sockets lie in it
    started: list[tuple[KernelManager, BlockingKernelClient]] = []

    def run(environment: Environment, code: str, where: Where) -> str:
        manager = KernelManager(transport="ipc", connection_file=os.path.join(folder, f"{len(started)}.json"))
        manager._kernel_spec = KernelSpec(argv=command(environment, overlays, where))
        manager.start_kernel(env=activate(environment, where.environ), cwd=folder)
        client = manager.blocking_client()
        started.append((manager, client))
        client.start_channels()
        client.wait_for_ready(timeout=READY_SECONDS)
        return printed(client, code)

    yield run
    for manager, client in started:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    shutil.rmtree(folder)


def command(environment: Environment, overlays: Path, where: Where) -> list[str]:
    if environment.kind == "kernelspec":
        return list(environment.argv)
    if environment.ipykernel:
        return [environment.python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    overlay = ensure_overlay(environment, overlays, silent, where.environ)
    return [environment.python, "-c", OVERLAID, str(overlay), "-f", "{connection_file}"]


def printed(client: BlockingKernelClient, code: str) -> str:
    said: list[str] = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        said.append(content.get("text") or "\n".join(content.get("traceback", ())))

    client.execute_interactive(code, output_hook=hear, timeout=READY_SECONDS, store_history=False)
    return "".join(said)


def pack(channel: Path, name: str, version: str, files: dict[str, Path | str], folders: Sequence[Path] = ()) -> None:
    """A conda package: https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html."""
    work = channel / "work" / name
    for target, source in files.items():
        (work / target).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copy2(source, work / target)
        else:
            (work / target).write_text(source)
    for folder in folders:
        unwanted = shutil.ignore_patterns("test", "tests", "site-packages", "dist-packages", "*.a", "__pycache__")
        shutil.copytree(folder, work / "lib" / folder.name, ignore=unwanted, dirs_exist_ok=True, symlinks=True)
    packed = sorted(str(path.relative_to(work)) for path in work.rglob("*") if not path.is_dir())
    subdir = str(rattler.Subdir.current())
    index = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": subdir,
    }
    paths = [{"_path": path, "path_type": "hardlink"} for path in packed]
    (work / "info").mkdir()
    (work / "info" / "index.json").write_text(json.dumps(index))
    (work / "info" / "paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    (channel / subdir).mkdir(exist_ok=True)
    with tarfile.open(channel / subdir / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as archive:
        archive.add(work, arcname="")


def pack_python(channel: Path) -> None:
    minor = f"python{sysconfig.get_python_version()}"
    binary = Path(os.path.realpath(sys.executable))
    files: dict[str, Path | str] = {f"bin/{name}": binary for name in (minor, "python3", "python")}
    shared = Path(sysconfig.get_config_var("LIBDIR") or "/", sysconfig.get_config_var("INSTSONAME") or "")
    if shared.suffix != ".a" and shared.is_file():
        files[f"lib/{shared.name}"] = shared
    pack(channel, "python", platform.python_version(), files, [Path(sysconfig.get_path("stdlib"))])


def conda_prefix(top: Path, scripts: dict[str, str], variables: dict[str, str]) -> Path:
    """A prefix that rattler solved and installed offline: a Python, and `scripts` under `etc/conda`."""
    channel, prefix = top / "channel", top / "my envs" / "Prüfung 数据"
    (channel / "noarch").mkdir(parents=True)
    pack_python(channel)
    pack(channel, "scripts", "1.0", {f"etc/conda/{name}": text for name, text in scripts.items()})

    async def make() -> None:
        await rattler.index.index_fs(channel)
        platforms = [rattler.Subdir.current(), rattler.Subdir("noarch")]
        local = [rattler.Channel(channel.as_uri())]
        records = await rattler.solve(local, ["python", "scripts"], platforms=platforms)
        await rattler.install(records, prefix, cache_dir=top / "cache", show_progress=False)

    asyncio.run(make())
    (prefix / "conda-meta" / "state").write_text(json.dumps({"version": 1, "env_vars": variables}))
    return prefix
