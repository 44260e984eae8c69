"""Having a kernel save its variables, and take them back: what is asked of the code in `inside/checkpoints`."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.environments.commands import capture
from kernel_supervisor.inside import CHECKPOINTS
from kernel_supervisor.inside.door import CHECKPOINT, KEEP
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.kernels.lessons import learn, silent
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.paths import read_regular
from kernel_supervisor.tasks import apart

_ASKED_S = 30.0
"""How long a kernel may take to begin: hooks of the user's run before a fork."""
_ENDS_S = 5.0
_LARGEST = 256 << 20


class BusyError(Exception):
    """A cell runs in it: it is to be asked again once that is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A checkpoint that a kernel has begun: its snapshot writes it now."""

    process: Process | None
    """The snapshot; None where the kernel has written it itself."""
    held_ms: float

    async def over(self, deadline_s: float) -> bool:
        """Whether the snapshot has ended in that time; else it is ended."""
        if self.process is None:
            return True
        with contextlib.closing(self.process):
            if await self.process.wait(deadline_s):
                return True
            with contextlib.suppress(ProcessLookupError):
                self.process.signal(signal.SIGKILL)
            await self.process.wait(_ENDS_S)
            return False


def why_not(kernel: Kernel) -> str:
    """Why the variables of a kernel cannot be saved from here; empty where they can."""
    if kernel.keeper.far:
        return f"kernel {kernel.record.id} does not run on this machine, or where it runs is not known"
    if kernel.language != "python":
        return f"kernel {kernel.record.id} runs {kernel.language or 'another language'}, not Python"
    return ""


def code() -> dict[str, str]:
    """Where what saves variables is, and what that needs: it stands in each request, since kernels outlive versions."""
    found = importlib.util.find_spec("cloudpickle")
    place = Path(found.origin).with_name("cloudpickle.py") if found is not None and found.origin else ""
    return {"code": CHECKPOINTS, "cloudpickle": str(place)}


async def begin(kernel: Kernel, content: dict[str, Any]) -> Begun:
    """Have it begin a checkpoint, `content` as `inside/door` takes it.

    Raises BusyError, RefusedError, UnavailableError.
    """
    reply = await _ask(kernel, CHECKPOINT, content)
    if reply.get("status") == "busy":
        raise BusyError
    if reply.get("status") != "ok":
        why = reply.get("why") or reply.get("evalue") or "it does not say why"
        raise RefusedError(f"the variables of kernel {kernel.record.id} cannot be saved: {why}")
    return Begun(process=_pinned(reply.get("pid")), held_ms=float(reply.get("held_ms") or 0.0))


async def keep_ready(kernel: Kernel, content: dict[str, Any]) -> None:
    """Have it make a checkpoint should others end it by SIGTERM. Raises RefusedError, UnavailableError."""
    reply = await _ask(kernel, KEEP, content)
    if reply.get("status") != "ok":
        raise RefusedError(str(reply.get("why") or "it does not say why"))


async def _ask(kernel: Kernel, what: str, content: dict[str, Any]) -> dict[str, Any]:
    """What the code in `inside/door` answers, which is given to a kernel that has it not. Raises UnavailableError."""
    if not kernel.recorder.get("door"):  # a version before this one started it, or somebody else
        await learn(kernel.channels, "door", _ASKED_S)
    try:
        return await kernel.channels.ask("control", what, {**code(), **content}, _ASKED_S)
    except TimeoutError:
        raise UnavailableError(f"kernel {kernel.record.id} did not answer within {_ASKED_S:g} s") from None


async def ended(pid: int, within_s: float) -> bool:
    """Whether a snapshot that a kernel had begun before it ended itself has ended, or does in that time."""
    process = _pinned(pid)
    if process is None:
        return True
    with contextlib.closing(process):
        return await process.wait(within_s)


def _pinned(pid: Any) -> Process | None:
    """The process, unless it has ended already."""
    identity = identify(pid) if isinstance(pid, int) and pid > 1 else None
    with contextlib.suppress(ProcessLookupError):
        return Process(identity) if identity is not None else None
    return None


async def bring_back(kernel: Kernel, content: dict[str, Any], reply_path: str, deadline_s: float) -> dict[str, Any]:
    """What a fresh kernel says that takes variables back, `content` as `inside/checkpoints/restoring` takes it; what it
    has said at `reply_path` before, if it has.

    Raises UnavailableError where it does not come to an end, or the kernel ended by it.
    """
    text = _RESTORES.format(script=_RESTORING, content=json.dumps({**code(), **content}), reply=reply_path)
    cell = f"exec({text!r}, {{'get_ipython': get_ipython}})"
    try:
        await kernel.channels.ask("shell", "execute_request", silent(cell), deadline_s)
    except TimeoutError:
        raise UnavailableError(f"the variables were not back within {deadline_s:g} s") from None
    try:
        return dict(json.loads(await apart("documents", read_regular, reply_path, _LARGEST)))
    except (OSError, ValueError, RecursionError) as error:
        raise UnavailableError(f"the kernel does not say what it took back: {error}") from None


def rehearse(
    argv: Sequence[str], env: Mapping[str, str], content: dict[str, Any], reply_path: str, deadline_s: float
) -> dict[str, Any] | None:
    """What a process of that interpreter says that takes variables as a kernel would; None where it ended by it.

    Blocks. Raises UnavailableError where there is no such process, or no end of it.
    """
    request = Path(f"{reply_path}.asked")
    request.write_text(json.dumps({**code(), **content}))
    try:
        ended = capture([*argv, "-I", _RESTORING, str(request), reply_path], env, deadline=deadline_s)
    except OSError as error:
        raise UnavailableError(f"{argv[0]} cannot be started: {error.strerror}") from None
    if ended.code is None:
        raise UnavailableError(f"it took longer than {deadline_s:g} s to try the variables in {argv[0]}")
    try:
        return dict(json.loads(read_regular(reply_path, _LARGEST)))
    except (OSError, ValueError, RecursionError):
        return None


_RESTORING = os.path.join(CHECKPOINTS, "restoring.py")
_RESTORES = """
import importlib.util, json
spec = importlib.util.spec_from_file_location("_kernel_supervisor_restoring", {script!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.answer(get_ipython().user_ns, json.loads({content!r}), {reply!r})
"""
