"""What the other modules here pass to each other: where to look, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

EnvironmentKind = Literal[
    "conda", "pixi", "venv", "uv", "pyenv", "poetry", "hatch", "pipx", "uv-tool", "python", "kernelspec"
]
"""`conda` is mamba's and micromamba's too; `uv` a virtual environment that uv made; `uv-tool` one that
`uv tool install` made; `python` an interpreter outside any environment."""

OLDEST_PYTHON = (3, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """From whose point of view environments are looked for."""

    environ: Mapping[str, str]
    """The *client's* environment variables."""
    home: Path
    """What `~` means in the files that are read: the client's home."""
    directory: Path
    """The session's directory, from which projects are looked for upwards."""
    shim_python: str
    """The interpreter that runs the shim; empty where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """One place that a kernel can run in."""

    name: str
    kind: EnvironmentKind
    prefix: str = ""
    """The environment's folder as it was found, links unresolved; empty where it has none."""
    python: str = ""
    """Path of its interpreter, empty where it has none."""
    python_version: str = ""
    """`3.12.1`, or as far as files tell it (`3.12`); empty where nothing does."""
    ipykernel: str = ""
    """Version of the ipykernel that its interpreter would import; empty where there is none."""
    language: str = "python"
    aliases: tuple[str, ...] = ()
    """Further names by which it is found."""
    broken: str = ""
    """Why it cannot be used, in words; empty where nothing speaks against it."""
    argv: tuple[str, ...] = ()
    """A kernel's whole command, with `{connection_file}` in it, a bare `python` resolved; this and the fields below are
    empty for everything but kernelspecs."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of the kernelspec, `${NAME}` in them not yet replaced."""
    provisioned: bool = False
    """Whether a kernel provisioner, not this machine, decides where the kernel runs."""
    resource_dir: str = ""
    """The kernelspec's folder: what `{resource_dir}` stands for."""
