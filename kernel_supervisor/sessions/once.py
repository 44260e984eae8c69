"""What makes a call that a client sends again, because a daemon died meanwhile, the same call: it is done once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernel_supervisor.records.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One call of a client, as it stands on record."""

    records: Database
    key: str
    client_id: str

    async def known(self) -> dict[str, Any] | None:
        """What it said that it was about to do, if it was made before. Raises UnavailableError."""
        return await self.records.intent_of(self.key)

    async def begin(self, what: str, **intent: Any) -> dict[str, Any]:
        """Commit what it is about to do; returns what it said the first time. Raises UnavailableError."""
        return await self.records.begin_call(self.key, self.client_id, what, intent)

    async def decide(self, what: str, **decision: Any) -> None:
        """Commit what was decided, in place of what was before."""
        await self.records.note_call(self.key, self.client_id, what, decision)
