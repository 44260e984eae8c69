"""The kernels of all sessions: starting, adopting, restarting and ending them, each with its runner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionName
from kernel_supervisor.environments.activation import activate
from kernel_supervisor.environments.discovery import describe, discover
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.overlay import ensure_overlay
from kernel_supervisor.kernels.kernel import READY_DEADLINE_S, Kernel
from kernel_supervisor.kernels.launch import Surroundings, last_words, remove_connection
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Database
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.runner import Runner

log = logging.getLogger(__name__)
_ASK_AGAIN_S = 1.0
ADOPTION_DEADLINE_S = 5.0
"""How long the start of a daemon waits for a kernel that does not answer."""


class Kernels:
    """Every kernel that this daemon holds, by id."""

    def __init__(self, paths: Paths, records: Database) -> None:
        self._paths, self._records = paths, records
        self.runners: dict[KernelId, Runner] = {}
        self.ended: dict[KernelId, str] = {}
        """Why a kernel is gone, for as long as this daemon lives."""
        self.unreachable: dict[KernelId, str] = {}
        """Recorded kernels whose process lives and does not answer, with what was tried."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, session: SessionName, interpreter: Interpreter, asker: Asker, directory: str) -> Runner:
        """Start a kernel for a session and wait until it is ready. Raises UnavailableError."""
        kernel_id = KernelId(secrets.token_hex(6))
        place = await asyncio.to_thread(self._furnished, interpreter, asker)
        record = self._record(kernel_id, session, place.interpreter, directory, generation=1)
        return await self._launch(replace(record, overlay=place.overlay), place.surroundings)

    def _furnished(self, interpreter: Interpreter, asker: Asker) -> _Place:
        """The client's surroundings with the interpreter's environment activated in them, and an overlay where
        it has no ipykernel. Blocks: files, activation scripts, and once per kind of Python a download."""
        environment = _environment_of(interpreter, asker)
        if environment is None:
            return _Place(interpreter=interpreter, surroundings=asker.surroundings)
        argv = tuple(part.replace("{resource_dir}", environment.resource_dir) for part in interpreter.argv)
        overlay = ""
        if not environment.argv and environment.language == "python" and not environment.ipykernel:
            env = asker.surroundings.env
            cache = Path(self._paths.cache)
            overlay = str(ensure_overlay(environment, cache, lambda line: log.info("overlay: %s", line), env))
        surroundings = replace(asker.surroundings, env=activate(environment, asker.surroundings.env))
        return _Place(interpreter=replace(interpreter, argv=argv), surroundings=surroundings, overlay=overlay)

    def _record(
        self,
        kernel_id: KernelId,
        session: SessionName,
        interpreter: Interpreter,
        directory: str,
        generation: int,
    ) -> KernelRecord:
        log_base = os.path.join(self._paths.logs, f"{kernel_id}-{generation}")
        return KernelRecord(
            id=kernel_id,
            session=session,
            generation=generation,
            interpreter=interpreter,
            connection_file=os.path.join(self._paths.connections, f"{kernel_id}.json"),
            directory=directory if os.path.isdir(directory) else os.path.expanduser("~"),
            channel_identity=secrets.token_hex(16),
            recorded="{connection_file}" not in " ".join(interpreter.argv),
            message_log=log_base + ".messages",
            standard_error=log_base + ".stderr",
            started_at=time.time(),
        )

    async def attach(self, record: KernelRecord) -> Runner:
        """Connect to a kernel that somebody else started. Raises UnavailableError where it does not answer."""
        for runner in self.runners.values():
            if runner.kernel.record.connection_file == record.connection_file:
                return runner
        kernel = Kernel.adopt(record)
        try:
            await kernel.connect(ADOPTION_DEADLINE_S)
        except BaseException:
            await kernel.close()
            raise
        await self._records.save_kernel(kernel.record)
        runner = self._own(kernel)
        if kernel.info.get("language_info", {}).get("name") == "python":
            self._hold(kernel.teach(), f"what kernel {record.id} is taught")
        return runner

    async def _launch(self, record: KernelRecord, surroundings: Surroundings) -> Runner:
        """Commit, launch, commit the process, connect: a next daemon finds the kernel whatever line was the last."""
        await self._records.save_kernel(record)
        try:
            kernel = await Kernel.start(record, surroundings)
        except UnavailableError as error:
            await self._mark_ended(record, str(error))
            raise
        await self._records.save_kernel(kernel.record)
        try:
            await kernel.connect()
        except BaseException as error:
            await asyncio.shield(self._give_up(kernel, f"it did not start: {error}"))
            raise
        await self._records.save_kernel(kernel.record)
        log.info("session %s: kernel %s started, pid %s", record.session, record.id, _pid(kernel.record))
        return self._own(kernel)

    async def _give_up(self, kernel: Kernel, reason: str) -> None:
        kernel.on_death = lambda: None
        await kernel.shutdown()
        await self._mark_ended(kernel.record, reason)

    def _own(self, kernel: Kernel) -> Runner:
        runner = Runner(kernel, self._records.save_execution, self._lost)
        self.runners[kernel.record.id] = runner
        return runner

    def _lost(self, runner: Runner) -> None:
        """A kernel ended on its own account: its record says why, its sockets go."""
        record = runner.kernel.record
        log.warning("session %s: kernel %s: %s", record.session, record.id, runner.dead_because.partition("\n")[0])
        self._hold(self._bury(runner), f"burial of kernel {record.id}")

    def _hold(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _bury(self, runner: Runner) -> None:
        await runner.close()
        if self.runners.get(runner.kernel.record.id) is not runner:
            return  # it was restarted meanwhile: the connection file is the new process's
        remove_connection(runner.kernel.record)
        await self._mark_ended(runner.kernel.record, runner.dead_because)
        if self.runners.get(runner.kernel.record.id) is runner:
            del self.runners[runner.kernel.record.id]
        runner.gone.set()

    async def _mark_ended(self, record: KernelRecord, reason: str) -> None:
        self.ended[record.id] = reason
        await self._records.save_kernel(replace(record, ended_at=time.time(), end_reason=reason))

    async def end(self, runner: Runner, reason: str) -> None:
        """End a kernel on request, politely first. Its running execution is told `reason`."""
        record = runner.kernel.record
        runner.doom(reason)
        await runner.kernel.shutdown()
        await runner.bury()
        self.runners.pop(record.id, None)
        await runner.close()
        await self._mark_ended(record, reason)
        runner.gone.set()
        log.info("session %s: kernel %s ended: %s", record.session, record.id, reason)

    async def restart(self, record: KernelRecord, asker: Asker) -> Runner:
        """A fresh process for a kernel, living or dead, under the same id. Raises UnavailableError.

        It gets what the living one was started with, else what the client has that asks.
        """
        runner = self.runners.get(record.id)
        surroundings = None
        if runner is not None:
            surroundings = await asyncio.to_thread(runner.kernel.read_surroundings)
            await self.end(runner, "the kernel was restarted on request")
        fresh = self._record(
            record.id, record.session, record.interpreter, record.directory, generation=record.generation + 1
        )
        if surroundings is None:
            surroundings = (await asyncio.to_thread(self._furnished, fresh.interpreter, asker)).surroundings
        return await self._launch(replace(fresh, overlay=record.overlay), surroundings)

    # Adoption

    async def adopt_all(self) -> None:
        """Take over every recorded kernel that lives; say of the others that they are gone.

        One that lives and does not answer (it may be stopped) is `unreachable` and asked again from time to time.
        """
        records = await self._records.living_kernels()
        reached = await asyncio.gather(*(self._adopt(record, ADOPTION_DEADLINE_S) for record in records))
        for record, done in zip(records, reached, strict=True):
            if not done:
                self._hold(self._keep_asking(record), f"adoption of kernel {record.id}")

    async def _keep_asking(self, record: KernelRecord) -> None:
        while not await self._adopt(record, READY_DEADLINE_S):  # noqa: ASYNC110 - no event: somebody has to ask
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _adopt(self, record: KernelRecord, deadline_s: float) -> bool:
        """Whether the matter is settled: it was adopted, or it is gone."""
        try:
            kernel = Kernel.adopt(await asyncio.to_thread(_with_process, record))
        except ProcessLookupError:
            self.unreachable.pop(record.id, None)
            remove_connection(record)
            words = await asyncio.to_thread(last_words, record)
            await self._mark_ended(record, f"the kernel ended while no daemon watched it; how is not known{words}")
            return True
        try:
            await kernel.connect(deadline_s)
        except (UnavailableError, OSError, ValueError) as error:
            log.error("kernel %s lives but cannot be reached: %s", record.id, error)
            self.unreachable[record.id] = str(error)
            await kernel.close()
            return False
        self.unreachable.pop(record.id, None)
        await self._records.save_kernel(kernel.record)
        self._own(kernel).mark_gap(f"no daemon listened until {time.strftime('%Y-%m-%d %H:%M:%S')}")
        log.info("session %s: kernel %s adopted, pid %s", record.session, record.id, _pid(record))
        return True

    async def end_unreachable(self, reason: str) -> None:
        """End those that live and do not answer: there is nothing to ask them. Only what is still what it was."""
        for kernel_id in list(self.unreachable):
            record = await self._records.kernel(kernel_id)
            if record is None or record.process is None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process = Process(record.process)
                process.signal_group(signal.SIGKILL)
                await process.wait(_ASK_AGAIN_S)
                process.close()
            remove_connection(record)
            await self._mark_ended(record, reason)

    async def close(self) -> None:
        """Let go of all kernels; they run on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(runner.close() for runner in self.runners.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    interpreter: Interpreter
    surroundings: Surroundings
    overlay: str = ""


def _environment_of(interpreter: Interpreter, asker: Asker) -> Environment | None:
    if "{connection_file}" in " ".join(interpreter.argv):
        specs = [each for each in discover(asker.where) if each.argv and each.name == interpreter.name]
        return specs[0] if specs else None
    return describe(interpreter.prefix, asker.where) if interpreter.prefix else None


def _pid(record: KernelRecord) -> str:
    return str(record.process.pid) if record.process is not None else "not known"


def _with_process(record: KernelRecord) -> KernelRecord:
    """A record that was committed just before its kernel's process: that process, if there is one.

    Raises ProcessLookupError where there is none.
    """
    if record.process is not None or not record.owned:
        return record
    for process in psutil.process_iter(["cmdline"]):
        if record.connection_file in (process.info["cmdline"] or ()):
            return replace(record, process=identify(process.pid))
    raise ProcessLookupError(record.connection_file)
