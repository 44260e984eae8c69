"""The kernel provisioner: JupyterLab, nbclient and papermill start, join and end kernels through the daemon.

Who ends a kernel. In a Jupyter server only a person does, with "Shut Down" (DELETE of a kernel or session): the
server's own end, its culling and a change of kernel let go of it. A program that is no server (nbclient, papermill, a
console) ends what it started and lets go of what it joined. In the same way only a person's "Restart" restarts:
jupyter_client's own restarter finds the process that took a restarted one's place, or is told why it died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any, cast

import psutil
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Unicode

from kernel_supervisor.client.connection import CallError, Connection, NoDaemonError
from kernel_supervisor.paths import find

_START_S = 900.0
"""An environment without ipykernel is given one first, which may be a download."""
_LOOK_S = 20.0
_NOT_OURS = (
    "this server only found that kernel: `kernel-supervisor restart` restarts it, and so does a notebook that is "
    "opened with its session's kernelspec"
)
_FACTS = dict[str, Any]


class SupervisedProvisioner(KernelProvisionerBase):
    """One kernel of the daemon, as one of jupyter_client's KernelManagers knows it."""

    session = Unicode("", help="the supervisor's session; empty for the notebook's own", config=True)
    project = Unicode("", help="the directory whose session it is; empty for the notebook's", config=True)
    environment = Unicode("", help="the environment it runs in, as `kernel-supervisor envs` lists it", config=True)

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._facts: _FACTS = {}
        self._process: psutil.Process | None = None
        self._holds = False
        self._place: dict[str, Any] = {}

    # What becomes of it

    @property
    def has_process(self) -> bool:
        """Whether we hold a kernel."""
        return self._holds

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """There is no command: the daemon has one."""
        kwargs.pop("extra_arguments", None)
        return dict(await super().pre_launch(cmd=[], **kwargs))

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start or join a kernel, or have the one that we know restarted; where its sockets are.

        Raises RuntimeError with what the daemon says.
        """
        self._place = {"env": kwargs.get("env"), "cwd": _directory(kwargs.get("cwd"))}
        if not self._facts and os.path.dirname(getattr(self.parent, "ip", "")) == find().links:
            raise RuntimeError(_NOT_OURS)  # a server restarts what it only found, and would fail after it
        if not self._facts:
            facts = await self._start(self._place["env"] or {})
        elif _in_server() and not _person_asks("POST", "/restart"):
            facts = await self._rejoin()
        else:
            assert self.parent is not None
            key = self.parent.session.key.decode()
            facts = await self._ask("restart", link=self._facts["link"], key=key, limit_s=_START_S)
        self._take({**self._facts, **facts})
        if self._facts["advice"]:
            self.log.warning("kernel %s: %s", self._facts["kernel_id"], self._facts["advice"])
        connection = facts["connection"]
        return cast(KernelConnectionInfo, {**connection, "key": connection["key"].encode()})

    async def _start(self, env: dict[str, str]) -> _FACTS:
        notebook = env.get("JPY_SESSION_NAME", "")
        if not self.session and not notebook and "KERNEL_SUPERVISOR_SESSION" not in env:
            self._place["session"] = f"run-{str(self.kernel_id)[:8]}"  # nobody joins a run of nbclient's by chance
        asked = {"notebook": notebook, "environment": self.environment}
        asked |= {"session": self.session, "project": self.project}
        return await asyncio.to_thread(self._request, "start", asked, _START_S)

    async def _rejoin(self) -> _FACTS:
        facts = await self._ask("look_at", link=self._facts["link"])
        if "connection" not in facts:
            restarter = getattr(self.parent, "_restarter", None)
            if restarter is not None:
                restarter._fire_callbacks("dead")  # else its clients wait for the restart that they were told of
            raise RuntimeError(f"{facts.get('ended') or facts['waiting']}. Restart it to have a fresh one.")
        return facts

    def _take(self, facts: _FACTS) -> None:
        self._facts, self._holds, self._process = facts, True, None
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(facts["pid"]) if facts["pid"] is not None else None

    async def poll(self) -> int | None:
        """None while it lives. One whose process is gone may have been restarted by others: it lives, too."""
        if not self._holds:
            return 0
        if _runs(self._process):
            return None
        facts = await self._look()
        if facts is None:
            return 1
        if "connection" in facts:
            self._take({**self._facts, **facts})
        elif "ended" in facts:
            self.log.warning("kernel %s: %s", self._facts["kernel_id"], facts["ended"])
            return 1
        return None

    async def wait(self) -> int | None:
        """Nothing is left to wait for: the daemon ends kernels before it says so."""
        self._holds = False
        return 0

    async def send_signal(self, signum: int) -> None:
        """An interrupt; what jupyter_client sends before it shuts down counts only where that is meant."""
        if signum != signal.SIGINT or not self._holds:
            return
        if not getattr(self.parent, "shutting_down", False):
            await self._ask("interrupt")

    async def shutdown_requested(self, restart: bool = False) -> None:
        """End it where a person means it; else let go."""
        held, self._holds = self._holds, False
        if restart or not held:
            return
        if _person_asks("DELETE", "") if _in_server() else self._facts["started"]:
            await self._ask("end", limit_s=_START_S)
            self._facts = {}

    async def terminate(self, restart: bool = False) -> None:
        """As `shutdown_requested`."""
        await self.shutdown_requested(restart)

    async def kill(self, restart: bool = False) -> None:
        """As `shutdown_requested`; jupyter_client says nothing of a restart here."""
        await self.shutdown_requested(restart or (_in_server() and _person_asks("POST", "/restart")))

    async def cleanup(self, restart: bool = False) -> None:
        """The links to its sockets were removed before: they are made anew where they are still needed."""
        if restart and self._facts:
            await self._look()

    async def _look(self) -> _FACTS | None:
        """What has become of it; None where the daemon cannot tell, which is logged."""
        try:
            return await self._ask("look_at", link=self._facts["link"], start=False)
        except RuntimeError as error:
            self.log.warning("kernel %s: %s", self._facts["kernel_id"], error)
            return None

    # The daemon

    async def _ask(self, what: str, *, start: bool = True, limit_s: float = _LOOK_S, **more: Any) -> _FACTS:
        asked = {"kernelId": self._facts["kernel_id"], **more}
        return await asyncio.to_thread(self._request, what, asked, limit_s, start=start)

    def _request(self, what: str, asked: _FACTS, limit_s: float, *, start: bool = True) -> _FACTS:
        """One request on a connection of its own. Raises RuntimeError."""
        with contextlib.closing(Connection(find(), **self._place)) as connection:
            try:
                connection.open(start=start, deadline_s=min(limit_s, _LOOK_S))
                return connection.request(f"supervisor/{what}_kernel", asked, deadline_s=limit_s)
            except (CallError, NoDaemonError, TimeoutError, OSError) as error:
                raise RuntimeError(f"kernel-supervisor: {error}") from error


def _directory(given: str | None) -> str:
    return os.path.abspath(given or os.getcwd())


def _in_server() -> bool:
    """Whether this process is a Jupyter server, whose end is nobody's wish to end kernels."""
    application = sys.modules.get("jupyter_server.serverapp")
    return application is not None and application.ServerApp.initialized()


def _person_asks(method: str, path_end: str) -> bool:
    """Whether all this happens because of a request that is being answered right now."""
    from jupyter_server import CallContext  # only where it is loaded anyway

    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    if handler is None or getattr(handler, "_finished", False):  # timers inherit the request that began them
        return False
    return bool(handler.request.method == method and handler.request.path.endswith(path_end))


def _runs(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
