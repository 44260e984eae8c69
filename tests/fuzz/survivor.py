"""A daemon that is bombarded, and a client that sees that it lives and serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support import Home, Shim, fresh_home

OURS = "failed inside the supervisor"


@dataclass(frozen=True)
class Survivor:
    """A daemon by its pid, and a bystander."""

    home: Home
    bystander: Shim
    pid: int

    def check(self) -> None:
        """It is the same daemon, and serves its other client."""
        assert self.bystander.request("ping") == {}
        daemon = self.home.daemon()
        assert daemon is not None, "the daemon is gone"
        assert daemon.pid == self.pid, "the daemon ended; another one serves"
        assert OURS not in self.log(), self.log()[-3000:]

    def log(self) -> str:
        """What the daemon has written to its log."""
        return (self.home.path / "daemon.log").read_text()


@contextmanager
def surviving() -> Iterator[Survivor]:
    """A daemon of its own."""
    with fresh_home() as home, home.shim() as bystander:
        bystander.open()
        daemon = home.daemon()
        assert daemon is not None
        yield Survivor(home, bystander, int(daemon.pid))
