"""Who asks: a client as its hello describes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.environments.model import Where
from kernel_supervisor.kernels.keeper import Surroundings

_TEXTS = ("cwd", "project", "session", "python", "shim_python")
_LONGEST_NAME, _LONGEST_PATH = 200, 1 << 14
_UNLIMITED = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """One connected client, and what its user code is to see of the place that it was started in."""

    client_id: str
    kind: str
    """`shim` or `cli`."""
    pid: int
    session: str
    """The session it was told to use, empty for the directory's own."""
    directory: str
    """Its project's directory, by its real path."""
    told: bool
    """Whether somebody said which project or session it is for; else its working directory has to tell."""
    cwd: str
    """Its working directory: relative paths start here."""
    python: str
    """The interpreter it was configured with, empty for the default."""
    shim_python: str
    surroundings: Surroundings
    version: str
    """Of its package."""
    ways: Mapping[str, str] | None = None
    """Its own words for ways on, where it is no agent."""

    @property
    def where(self) -> Where:
        """Its point of view for finding environments."""
        env = self.surroundings.env
        return Where(
            environ=env,
            home=Path(env.get("HOME") or os.path.expanduser("~")),
            directory=Path(self.directory),
            shim_python=self.shim_python,
        )


def from_hello(header: Mapping[str, Any]) -> Asker:
    """The client that said this hello. Raises RefusedError for one that is not complete, or asks for what no system
    can give its kernels."""
    try:
        texts = {name: _path(header[name]) for name in _TEXTS}
        _path(header["env"].get("HOME", ""))
        session, project = texts["session"], texts.pop("project")
        return Asker(
            **texts,
            client_id=_name(header["client_id"]),
            kind=_name(header["kind"]),
            version=_name(header["version"]),
            pid=_within(header["pid"], 0, _UNLIMITED),
            directory=os.path.realpath(project or texts["cwd"]),
            told=bool(project or (session and header["kind"] != "cli")),
            ways={_name(name): _text(text) for name, text in (header.get("ways") or {}).items()} or None,
            surroundings=Surroundings(
                env={_variable(name): _text(value) for name, value in header["env"].items()},
                umask=_within(header["umask"], 0, 0o777),
                limits={_name(name): _limit(*pair) for name, pair in header["limits"].items()},
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"the hello of this client is not complete: {error!r}") from None


def _text(value: str) -> str:
    """`value`, if it can be a path, an argument, a variable. Raises TypeError and ValueError."""
    if b"\0" in os.fsencode(value):
        raise ValueError("a text has a NUL in it")
    return value


def _path(value: str) -> str:
    """A text that is looked for among files: what is far longer than any path takes for ever there."""
    if len(value) > _LONGEST_PATH:
        raise ValueError("a path is longer than any can be")
    return _text(value)


def _name(value: str) -> str:
    if not value.isprintable() or len(value) > _LONGEST_NAME:
        raise ValueError("a name is not printable, or too long")
    return value


def _variable(name: str) -> str:
    if "=" in name:
        raise ValueError("a variable has no name that it can have")
    return _text(name)


def _limit(soft: int, hard: int) -> tuple[int, int]:
    return _within(soft, -1, _UNLIMITED), _within(hard, -1, _UNLIMITED)


def _within(value: int, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError("a number is not one that it can be")
    return value
