"""What makes a call that a client sends again, because a daemon died meanwhile, the same call: it is done once.

For calls that change something but make no entry of a history.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.records.database import Database

_TWICE = "nothing was done, for it could be done twice while nothing can be recorded"
_MAY_BE_DONE = (
    "a daemon had this call that could not record it, and is gone: whether it was done is not known, and it is not "
    "done again"
)
_COLUMNS = "INTO calls (call_key, client_id, tool, intent, at) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """One call of a client, as it stands on record."""

    records: Database
    key: str
    client_id: str
    doubtful: bool = False
    """Whether a daemon had it before that could not record it, should it be unknown."""

    async def known(self) -> dict[str, Any] | None:
        """What it said that it was about to do, if it was made before. Raises UnavailableError."""
        found = await self.records.select("SELECT intent FROM calls WHERE call_key = ?", (self.key,))
        try:
            return dict(json.loads(found[0][0])) if found else None
        except (ValueError, TypeError) as error:
            damaged = "the record of this call is damaged, so whether it was done is not known"
            raise UnavailableError(damaged, WayOn("ask history")) from error

    async def begin(self, what: str, **intent: Any) -> dict[str, Any]:
        """Commit what it is about to do; returns what it said the first time. Raises UnavailableError."""
        await self._commit("INSERT OR IGNORE", what, intent)
        return await self.known() or intent

    async def begin_unless_done(self, what: str, **intent: Any) -> dict[str, Any]:
        """`begin`, for what takes effect on whatever is there now. Raises UnavailableError, also where it may have been
        done before and nothing tells."""
        if self.doubtful and await self.known() is None:
            raise UnavailableError(_MAY_BE_DONE, WayOn("see history"))
        return await self.begin(what, **intent)

    async def begin_durably(self, what: str, **intent: Any) -> dict[str, Any]:
        """`begin`, for what no kernel can refuse the second time. Raises UnavailableError, with the reason, also where
        that is in memory alone: the next daemon, should this one die, would do it again."""
        before = await self.known()
        if before is not None:
            return before
        begun = await self.begin(what, **intent)
        if why := self.records.not_recorded:
            await self.records.write(("DELETE FROM calls WHERE call_key = ?", (self.key,)))
            raise UnavailableError(f"{_TWICE}: {why}. What kernels run goes on, and so does running more")
        return begun

    async def age_s(self) -> float:
        """How long ago it was made for the first time, to whichever daemon, by what it committed; 0 without that."""
        found = await self.records.select("SELECT at FROM calls WHERE call_key = ?", (self.key,))
        return max(0.0, time.time() - float(found[0][0])) if found else 0.0

    async def decide(self, what: str, **decision: Any) -> None:
        """Commit what was decided, in place of what was before."""
        await self._commit("INSERT OR REPLACE", what, decision)

    async def _commit(self, how: str, what: str, intent: dict[str, Any]) -> None:
        values = (self.key, self.client_id, what, json.dumps(intent), time.time())
        await self.records.write((f"{how} {_COLUMNS}", values))
