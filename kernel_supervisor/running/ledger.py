"""Where the owner of a kernel commits what becomes of executions."""

from __future__ import annotations

from typing import Protocol

from kernel_supervisor.core.model import Execution, KernelRecord
from kernel_supervisor.records.beside import Forgotten
from kernel_supervisor.running.ticket import Ticket


class Ledger(Protocol):
    """Where executions are kept."""

    async def save(self, execution: Execution) -> None:
        """Commit what became of one."""

    async def enter(self, execution: Execution, call_key: str) -> Execution:
        """Commit one of another client's as an entry of its session's history, once; the entry as it stands."""

    async def entered(self, kernel: KernelRecord) -> list[Execution]:
        """The entries of other clients' that stand in this kernel's log."""

    async def restore(self, forgotten: Forgotten) -> Execution | None:
        """Commit one of ours that the records have forgotten; None where they have not."""

    async def known(self, msg_id: str) -> Execution | None:
        """The entry that a request was sent for."""

    def went_on(self, execution: Execution, start: int) -> None:
        """Remember to tell that an entry has shown more since it was over, or shows what no cell does."""

    def expect(self, execution: Execution) -> Ticket:
        """The ticket of one that is on its way."""

    def beside(self, ticket: Ticket) -> str:
        """What is to travel beside the request for one, see `records.beside`."""
