"""Somebody who sits at an MCP client and is asked."""

from __future__ import annotations

import asyncio
from typing import Any

from mcp_types import ElicitRequestFormParams, ElicitResult


class User:
    """Whoever sits at the client: what was asked, and what comes back."""

    def __init__(self, *answers: str | ElicitResult) -> None:
        self.asked: list[ElicitRequestFormParams] = []
        self._answers = list(answers)
        self.patient = asyncio.Event()
        """Cleared for a user who does not answer yet."""
        self.patient.set()
        self.cancelled = 0
        """Questions that the client was told need no answer any more."""

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        try:
            await self.patient.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self._answers.pop(0)
        return answer if isinstance(answer, ElicitResult) else accepted(answer)


def accepted(text: str) -> ElicitResult:
    """A form that was filled in."""
    return ElicitResult(action="accept", content={"answer": text})
