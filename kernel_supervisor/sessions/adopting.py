"""Kernels on record that are not reached yet, or not any more: each is asked on its own until the matter is settled.

Whatever stands on record of one, whatever it does or does not do, is its own trouble: it keeps no other waiting, and
not the daemon. Nothing here knows what a kernel is once it is taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelId, KernelRecord
from kernel_supervisor.kernels.connection import StrandedError
from kernel_supervisor.kernels.keeper import Keeper
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.postmortem import UNWATCHED, explain_unwatched
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.rest import KernelGoneError
from kernel_supervisor.tasks import happens

log = logging.getLogger(__name__)
FIRST_TRY_S, LATER_TRY_S = 5.0, 60.0
"""How long a kernel may take to answer: calls wait for the first try, nobody for later ones."""
PATIENCE_S = FIRST_TRY_S + 3.0
"""How long a call waits for the first try at its session's kernels, whatever that waits for."""
_ASK_AGAIN_S, _ASK_OTHERS_AGAIN_S = 1.0, 30.0
"""How long between two tries; for a kernel that is not here the longest, after growing ones."""
_NOT_YET = "it has not been reached yet."


async def connected(keeper: Keeper, deadline_s: float) -> Kernel:
    """A kernel that answers; one that does not is let go of. Raises as `Kernel.connect`."""
    kernel = Kernel(keeper)
    try:
        await kernel.connect(deadline_s)
    except BaseException:
        await kernel.close()
        raise
    return kernel


class Home(Protocol):
    """Where kernels go that were sought."""

    servers: Servers
    changing: defaultdict[KernelId, asyncio.Lock]
    """Held while a kernel is taken over."""

    async def take_over(self, kernel: Kernel) -> object:
        """Own one that answers."""

    async def settle_gone(self, record: KernelRecord, reason: str) -> None:
        """Have done with one that is gone."""


@dataclass(slots=True, kw_only=True)
class _Sought:
    record: KernelRecord
    why: str = _NOT_YET
    stranded: bool = False
    """Whether nothing leads to it any more."""
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set after the first try."""
    task: asyncio.Task[None] | None = None


class Adoption:
    """Every kernel that is sought; it leaves here when it is reached, or known to be gone."""

    def __init__(self, home: Home) -> None:
        """Seek nothing before `seek`."""
        self._home = home
        self._sought: dict[KernelId, _Sought] = {}

    def __contains__(self, kernel_id: object) -> bool:
        """Whether a kernel is sought."""
        return kernel_id in self._sought

    def why(self, record: KernelRecord) -> str:
        """What was tried to reach it, in words; empty for one that is not sought."""
        return self._sought[record.id].why if record.id in self._sought else ""

    def stranded(self, record: KernelRecord) -> bool:
        """Whether it runs, and trying again is of no use."""
        return record.id in self._sought and self._sought[record.id].stranded

    @property
    def records(self) -> list[KernelRecord]:
        """What is on record of those that are sought."""
        return [each.record for each in self._sought.values()]

    def seek(self, record: KernelRecord) -> None:
        """Try to reach a kernel from now on."""
        sought = self._sought[record.id] = _Sought(record=record)
        sought.task = asyncio.create_task(self._keep_trying(sought), name=f"adoption of {record.id}")

    async def _keep_trying(self, sought: _Sought) -> None:
        deadline_s, pause_s = FIRST_TRY_S, _ASK_AGAIN_S
        while why := await self._try(sought, deadline_s):
            if why != sought.why:
                log.warning("kernel %s lives but cannot be reached: %s", sought.record.id, why)
            sought.why, deadline_s = why, LATER_TRY_S
            sought.tried.set()
            await happens(self._home.servers.news.next, pause_s)
            if sought.stranded or not kind_of(sought.record).here:
                pause_s = min(2 * pause_s, _ASK_OTHERS_AGAIN_S)
        self._sought.pop(sought.record.id, None)
        sought.tried.set()

    async def _try(self, sought: _Sought, deadline_s: float) -> str:
        record, sought.stranded = sought.record, False
        try:
            return await self._attempt(record, deadline_s)
        except StrandedError as error:
            sought.stranded = True
            return str(error)
        except Exception as error:  # whatever stands on record of it
            log.debug("kernel %s", record.id, exc_info=True)
            return f"it cannot be taken over ({type(error).__name__}: {error})."

    async def _attempt(self, record: KernelRecord, deadline_s: float) -> str:
        """One try to take a recorded kernel over; empty where it was, or is gone, else why it cannot be reached."""
        try:
            kernel = await connected(await kind_of(record).adopt(record, self._home.servers), deadline_s)
        except KernelGoneError as error:
            await self._home.settle_gone(record, f"{UNWATCHED}: {error}")
        except ProcessLookupError:
            await self._home.settle_gone(record, await asyncio.to_thread(explain_unwatched, record))
        except StrandedError:
            raise
        except (UnavailableError, OSError, ValueError) as error:
            return str(error)
        else:
            try:
                async with self._home.changing[record.id]:
                    await self._home.take_over(kernel)
            except BaseException:
                await kernel.close()
                raise
        return ""

    def like(self, beginning: str) -> list[KernelId]:
        """Those that are sought whose ids begin so."""
        return [each for each in self._sought if each.startswith(beginning)]

    async def tried(self, kernel_ids: Iterable[KernelId] | None = None, patience_s: float = PATIENCE_S) -> None:
        """Return once each of these, or all, were reached, are gone, or were tried in vain; or when that takes long."""
        wanted = [each for each in (self._sought if kernel_ids is None else kernel_ids) if each in self._sought]
        await asyncio.gather(*(happens(self._sought[each].tried, patience_s) for each in wanted))

    async def give_up(self, kernel_id: KernelId) -> None:
        """Seek a kernel no longer."""
        sought = self._sought.pop(kernel_id, None)
        if sought is not None and sought.task is not None:
            sought.task.cancel()
            await asyncio.gather(sought.task, return_exceptions=True)
            sought.tried.set()

    async def end(self, kernel_id: KernelId, reason: str) -> None:
        """End a kernel that is sought: there is nothing to ask it. Only what is still what it was is signalled.

        Raises UnavailableError for one that is not a process on this machine.
        """
        sought = self._sought.get(kernel_id)
        if sought is None:
            return
        kind = kind_of(sought.record)
        if not kind.here:
            raise UnavailableError(f"kernel {kernel_id} cannot be ended while it is out of reach: {sought.why}")
        await self.give_up(kernel_id)
        with contextlib.suppress(ProcessLookupError):
            keeper = await kind.adopt(sought.record, self._home.servers)
            try:
                await keeper.terminate()
            finally:
                await keeper.close()
        await self._home.settle_gone(sought.record, reason)

    async def end_all(self, reason: str) -> None:
        """End those on this machine."""
        for kernel_id in list(self._sought):
            with contextlib.suppress(UnavailableError):
                await self.end(kernel_id, reason)

    async def close(self) -> None:
        """Seek nothing any more; kernels run on."""
        for kernel_id in list(self._sought):
            await self.give_up(kernel_id)
