"""The kernels of all sessions: starting, adopting, restarting and ending them, each with its runner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from kernel_supervisor.amounts import several
from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Execution, Interpreter, KernelId, KernelRecord, SessionName
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.commands import Progress, silent
from kernel_supervisor.kernels import lessons, links
from kernel_supervisor.kernels.connection import key_of, remove_connection
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.kernel import READY_DEADLINE_S, Kernel
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.local import surroundings_of
from kernel_supervisor.kernels.process import descriptors_left
from kernel_supervisor.kernels.spares import remove_log
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Database
from kernel_supervisor.running.ledger import Ledger
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.rest import KernelGoneError
from kernel_supervisor.sessions.adopting import FIRST_TRY_S, Adoption, connected
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.placing import Furnished, furnished, no_place, place_of
from kernel_supervisor.sessions.spares import Spares
from kernel_supervisor.tasks import News, Tasks, apart

log = logging.getLogger(__name__)
_TRIES_AFTER_RESTART = 12
_LESSONS_S = 1.0
"""How long is waited for what a kernel is taught: an idle one has it in 30 ms, a busy one when its cell is over."""
_ROOM = 40
"""File descriptors that must be left for one more kernel, which takes 14: libzmq ends a process that has none."""
_RESTARTED = "the kernel was restarted on request"


class Kernels:
    """Every kernel that this daemon holds, by id."""

    def __init__(self, paths: Paths, records: Database) -> None:
        self._paths, self._records = paths, records
        self.runners: dict[KernelId, Runner] = {}
        self.ended: dict[KernelId, str] = {}
        """Why a kernel is gone, for as long as this daemon lives."""
        self.servers = Servers(paths.servers)
        self.adoption = Adoption(self)
        """Recorded kernels that are not reached (yet)."""
        self.ledger: Ledger
        """Where the owners of kernels commit what they run."""
        self.take_up: Callable[[Runner], Awaitable[None]]
        """Awaited for each kernel that a predecessor had: what was left there is taken up before it can be used."""
        self.leave: Callable[[KernelId, str], None]
        """Called with each kernel that a predecessor had and that is gone, and why."""
        self.changing: defaultdict[KernelId, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a kernel is ended, restarted or buried: they share its record and its files."""
        self.had: dict[KernelId, Surroundings] = {}
        """What kernels were started with, also of some that are dead: in memory alone."""
        self.starting: dict[KernelId, KernelRecord] = {}
        """Those whose process was begun, or is about to be, and that cannot be used yet."""
        self.spares = Spares(paths, records)
        """What stands by to become a kernel."""
        self.endings = News()
        """Told of each kernel that has ended."""
        self._tasks = Tasks()

    async def start(
        self, session: SessionName, interpreter: Interpreter, asker: Asker, directory: str, tell: Progress = silent
    ) -> Runner:
        """Start a kernel for a session and wait until it is ready. Raises UnavailableError.

        `tell` hears, from another thread, what takes its time.
        """
        _check_room()
        kernel_id = KernelId(secrets.token_hex(6))
        place = await apart("environments", furnished, interpreter, asker, self._paths.cache, tell)
        return await self._launch(self._record(kernel_id, session, place, directory, generation=1), place.surroundings)

    def _record(
        self, kernel_id: KernelId, session: SessionName, place: Furnished, directory: str, generation: int
    ) -> KernelRecord:
        log_base = os.path.join(self._paths.logs, f"{kernel_id}-{generation}")
        record = KernelRecord(
            id=kernel_id,
            session=session,
            generation=generation,
            interpreter=place.interpreter,
            connection_file=os.path.join(self._paths.connections, f"{kernel_id}.json"),
            directory=os.path.expanduser("~") if no_place(directory) else directory,
            missing=directory if no_place(directory) else "",
            channel_identity=secrets.token_hex(16),
            overlay=place.overlay,
            message_log=log_base + ".messages",
            standard_error=log_base + ".stderr",
            started_at=time.time(),
        )
        return kind_of(record).prepared(record)

    def that_ran(self, execution: Execution) -> Runner | None:
        """The kernel that an execution ran on, if it lives; maybe as another process by now."""
        return self.runners.get(execution.kernel_id) if execution.kernel_id is not None else None

    def pids(self) -> list[int]:
        """The processes of the kernels that are held here or sought."""
        records = [*(runner.kernel.record for runner in self.runners.values()), *self.adoption.records]
        return [record.pid for record in records if record.pid is not None]

    async def attach(self, record: KernelRecord) -> Runner:
        """Connect to a kernel that somebody else started. Raises UnavailableError where it does not answer."""
        await self.adoption.tried(each.id for each in self.adoption.records if place_of(each) == place_of(record))
        for runner in self.runners.values():
            if runner.kernel.alive and place_of(runner.kernel.record) == place_of(record):
                return runner
        _check_room()
        keeper = await kind_of(record).adopt(record, self.servers)
        return await self._take_in(await connected(keeper, FIRST_TRY_S))

    async def _take_in(self, kernel: Kernel) -> Runner:
        """Own a connected kernel that is new here."""
        await self._records.save_kernel(kernel.record)
        await self._publish(kernel.record)
        runner = self.runners[kernel.record.id] = self._watched(kernel)
        taught = self._teach(kernel)
        if taught is not None:
            await asyncio.wait({taught}, timeout=_LESSONS_S)
        return runner

    def _teach(self, kernel: Kernel) -> asyncio.Task[None] | None:
        """What our recorder starts needs no lessons."""
        if kernel.record.recorded or kernel.language != "python":
            return None
        return self._tasks.begin(self._taught(kernel), f"what kernel {kernel.record.id} is taught")

    async def _taught(self, kernel: Kernel) -> None:
        version = await lessons.teach(kernel.channels)
        if version and kernel.alive:
            kernel.note(ipykernel=version)
            await self._records.save_kernel(kernel.record)

    async def _launch(self, record: KernelRecord, surroundings: Surroundings, key: str = "") -> Runner:
        self.starting[record.id] = record
        self.spares.stir()
        try:
            return await self._launched(record, surroundings, key)
        finally:
            del self.starting[record.id]

    async def _launched(self, record: KernelRecord, surroundings: Surroundings, key: str) -> Runner:
        """Commit, launch, commit the process, connect: a next daemon finds the kernel whatever line was the last."""
        await self._records.save_kernel(record)
        kernel = await self._taken(record, surroundings, key) or await self._started(record, surroundings, key)
        kernel.note(recorded=kernel.record.recorded and bool(kernel.recorder))
        if kind_of(record).inherits:
            self.had[record.id] = surroundings
        self.spares.note(record, surroundings)
        log.info("session %s: kernel %s started, pid %s", record.session, record.id, kernel.record.pid or "not known")
        return await self._take_in(kernel)

    async def _taken(self, record: KernelRecord, surroundings: Surroundings, key: str) -> Kernel | None:
        """The kernel that a process has become which stood by; None where there is none, or it could not: nothing was
        run in it, and the start is cold."""
        spare = await self.spares.take(record, surroundings)
        if spare is None:
            return None
        try:
            return await self.spares.hand_over(spare, record, surroundings, key)
        except UnavailableError as error:
            log.warning("session %s: kernel %s starts cold: %s", record.session, record.id, error)
        await asyncio.to_thread(remove_log, record)
        await self._records.save_kernel(record)
        return None

    async def _started(self, record: KernelRecord, surroundings: Surroundings, key: str) -> Kernel:
        """A kernel in a process of its own. Raises UnavailableError."""
        try:
            keeper = await kind_of(record).launch(record, self.servers, surroundings, key)
        except UnavailableError as error:
            await self._mark_ended(record, str(error))
            raise
        kernel = Kernel(keeper)
        await self._records.save_kernel(kernel.record)
        try:
            await kernel.connect()
        except BaseException as error:
            await asyncio.shield(self._give_up(kernel, f"it did not start: {error}"))
            raise
        return kernel

    async def _publish(self, record: KernelRecord) -> None:
        """Show it to Jupyter servers; where that does not work, they do not see it."""
        if record.owned and record.connection_file:
            try:
                await asyncio.to_thread(links.publish, record, self._paths)
            except (OSError, ValueError, KeyError) as error:
                log.warning("kernel %s could not be shown to Jupyter servers: %s", record.id, error)

    async def _give_up(self, kernel: Kernel, reason: str) -> None:
        with contextlib.suppress(UnavailableError):
            await kernel.shutdown()
        await kernel.close()
        await self._mark_ended(kernel.record, reason)

    def _watched(self, kernel: Kernel, gap: str = "") -> Runner:
        return Runner(kernel, self.ledger, self._lost, self._restarted_there, gap=gap)

    def _lost(self, runner: Runner) -> None:
        """A kernel ended on its own account: its record says why, its sockets go."""
        record = runner.kernel.record
        log.warning("session %s: kernel %s: %s", record.session, record.id, runner.dead_because.partition("\n")[0])
        self._tasks.begin(self._bury(runner), f"burial of kernel {record.id}")

    def _restarted_there(self, runner: Runner) -> None:
        """Somebody else restarted a kernel: it is another generation, and has to be taught again."""
        kernel = runner.kernel
        kernel.note(generation=kernel.record.generation + 1)
        log.info("session %s: kernel %s was restarted by others", kernel.record.session, kernel.record.id)
        self._tasks.begin(self._take_restart_in(kernel), f"restart of kernel {kernel.record.id}")

    async def _take_restart_in(self, kernel: Kernel) -> None:
        await self._records.save_kernel(kernel.record)
        for _ in range(_TRIES_AFTER_RESTART):  # a question may go down with the process before
            with contextlib.suppress(TimeoutError, UnavailableError):
                await kernel.channels.ask("shell", "kernel_info_request", {}, FIRST_TRY_S)
                self._teach(kernel)
                return

    async def _bury(self, runner: Runner) -> None:
        await runner.close()
        record = runner.kernel.record
        async with self.changing[record.id]:
            if self.runners.get(record.id) is not runner:
                return  # it was restarted meanwhile: the connection file is the new process's
            remove_connection(record)
            await self._mark_ended(record, runner.dead_because)
            del self.runners[record.id]
            runner.gone.set()

    async def _mark_ended(self, record: KernelRecord, reason: str, *, returns: bool = False) -> None:
        if not returns:
            await asyncio.to_thread(links.withdraw, self._paths)
        self.ended[record.id] = reason
        await self._records.save_kernel(replace(record, ended_at=time.time(), end_reason=reason))
        self.endings.tell()

    async def end(self, kernel_id: KernelId, reason: str) -> None:
        """End a kernel on request, politely first. Its running execution is told `reason`.

        Where that is under way already, it is waited for.
        """
        async with self.changing[kernel_id]:
            await self.adoption.end(kernel_id, reason)
            runner = self.runners.get(kernel_id)
            if runner is not None:
                await self._end(runner, reason)
            self.had.pop(kernel_id, None)

    async def _end(self, runner: Runner, reason: str, *, returns: bool = False) -> None:
        """One that `returns` at once is still there for Jupyter's programs."""
        record = runner.kernel.record
        with contextlib.suppress(KernelGoneError):
            await runner.kernel.keeper.reach()  # before anything is given up
        runner.doom(reason)
        await runner.kernel.shutdown()
        await self._let_go(runner)
        await self._mark_ended(record, reason, returns=returns)
        runner.gone.set()
        log.info("session %s: kernel %s ended: %s", record.session, record.id, reason)

    async def _let_go(self, runner: Runner) -> None:
        await runner.bury()
        self.runners.pop(runner.kernel.record.id, None)
        await runner.close()

    async def restart(self, record: KernelRecord, asker: Asker, key: str = "") -> Runner:
        """A fresh process for a kernel, living or dead, under the same id. Raises UnavailableError.

        It gets the variables of the client that asks, and keeps what that lacks. Whoever else is connected to it stays
        so: it keeps its sockets' paths and its key (`key`, where it is dead).
        """
        async with self.changing[record.id]:
            runner = self.runners.get(record.id)
            latest = runner.kernel.record if runner is not None else await self._records.kernel(record.id)
            return await self._restart(latest or record, runner, asker, key)

    async def _restart(self, record: KernelRecord, runner: Runner | None, asker: Asker, key: str) -> Runner:
        await self._remember(record)  # before anything is given up: its process tells it while it lives
        had = self.had.get(record.id)
        place = await apart("environments", furnished, record.interpreter, asker, self._paths.cache, silent, had)
        await self.adoption.end(record.id, _RESTARTED)
        if runner is not None and kind_of(record).restarts:
            return await self._restart_in_place(runner, place.surroundings)
        if runner is not None:
            key = await asyncio.to_thread(key_of, record) or key
            await self._end(runner, _RESTARTED, returns=True)
        directory = record.missing or record.directory  # also where nothing could work in that the last time
        fresh = self._record(record.id, record.session, place, directory, record.generation + 1)
        return await self._launch(fresh, place.surroundings, key)

    async def _remember(self, record: KernelRecord) -> None:
        """Take in what a kernel's process was started with, while it lives."""
        if surroundings := await asyncio.to_thread(surroundings_of, record.process):
            self.had[record.id] = surroundings

    async def _restart_in_place(self, runner: Runner, surroundings: Surroundings) -> Runner:
        """A fresh process where the kernel is, under its id there. The new generation is committed first."""
        record = replace(runner.kernel.record, generation=runner.kernel.record.generation + 1, started_at=time.time())
        await runner.kernel.keeper.reach()  # before anything is given up
        runner.doom(_RESTARTED)
        await self._records.save_kernel(record)
        try:
            try:
                keeper = await kind_of(record).launch(record, self.servers, surroundings, "")
            finally:
                await self._let_go(runner)
                runner.gone.set()
            kernel = await connected(keeper, READY_DEADLINE_S)
        except (UnavailableError, OSError, ValueError) as error:
            self.adoption.seek(record)
            raise UnavailableError(f"kernel {record.id} is to restart and does not answer yet: {error}") from error
        fresh = await self.take_over(kernel)
        self._teach(kernel)
        return fresh

    # What is found again, or known to be gone: `adopting.Home`

    async def take_over(self, kernel: Kernel) -> Runner:
        """Own a kernel that a predecessor had. It can be used only once everything that was left there is taken up."""
        record = kernel.record
        await self._records.save_kernel(record)
        runner = self._watched(kernel, gap=f"no daemon listened until {time.strftime('%Y-%m-%d %H:%M:%S')}")
        try:
            await self._remember(record)
            if record.id in self.had:
                self.spares.note(record, self.had[record.id])
            await self._publish(record)
            await self.take_up(runner)
        except BaseException:
            await runner.close()
            raise
        self.runners[record.id] = runner
        log.info("session %s: kernel %s adopted, pid %s", record.session, record.id, record.pid or "not known")
        return runner

    async def settle_gone(self, record: KernelRecord, reason: str) -> None:
        """Have done with a kernel that a predecessor had, and with what was left there."""
        remove_connection(record)
        await self._mark_ended(record, reason)
        self.leave(record.id, reason)

    async def close(self) -> None:
        """Let go of all kernels; they run on. What only stands by ends."""
        await self.adoption.close()
        await self.spares.close()
        await self._tasks.close()
        await asyncio.gather(*(runner.close() for runner in self.runners.values()))


def _check_room() -> None:
    """Raises UnavailableError where the daemon cannot have one more kernel."""
    left = descriptors_left()
    if left < _ROOM:
        few = (
            f"the daemon has only {several(left, 'file descriptor')} left, too few for one more kernel: end one that "
            "nobody needs"
        )
        raise UnavailableError(f"{few}, or raise the limit (ulimit -Hn) and restart the daemon", WayOn("see kernels"))
