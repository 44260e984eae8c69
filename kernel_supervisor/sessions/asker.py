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
    """The client that said this hello. Raises RefusedError for one that is not complete."""
    try:
        cwd = str(header["cwd"])
        return Asker(
            client_id=str(header["client_id"]),
            kind=str(header["kind"]),
            pid=int(header["pid"]),
            session=str(header["session"]),
            directory=os.path.realpath(str(header["project"]) or cwd),
            told=bool(header["project"] or (header["session"] and header["kind"] != "cli")),
            cwd=cwd,
            python=str(header["python"]),
            shim_python=str(header["shim_python"]),
            ways=dict(header["ways"]) if header.get("ways") else None,
            surroundings=Surroundings(
                env={str(name): str(value) for name, value in header["env"].items()},
                umask=int(header["umask"]),
                limits={str(name): (int(soft), int(hard)) for name, (soft, hard) in header["limits"].items()},
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(f"the hello of this client is not complete: {error!r}") from None
