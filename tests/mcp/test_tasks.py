"""Promise: a client that knows tasks gets a handle for a long cell, and through it the whole result in the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim, advertise
from mcp.shared.exceptions import MCPError
from pydantic import ConfigDict

from tests.support import DEADLINE_S, RESULT, Home

pytestmark = pytest.mark.anyio
EXTENSION = "io.modelcontextprotocol/tasks"
ERA = "2026-07-28"


class TaskHandle(types.Result):
    """CreateTaskResult."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int
    ttl_ms: int | None


class TaskParams(types.InputResponseRequestParams):
    task_id: str


class TaskRequest(types.Request[TaskParams, str]):
    params: TaskParams


class AnyResult(types.Result):
    """Whatever comes."""

    model_config = ConfigDict(extra="allow")

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


async def ask(session: Any, method: str, task_id: str, **more: Any) -> dict[str, Any]:
    request = TaskRequest(method=method, params=TaskParams(task_id=task_id, **more))
    result: AnyResult = await session.send_request(request, AnyResult)
    return result.fields


class Tasks(ClientExtension):
    """A client that polls a task to its end; with `acts` it does something for each state it meets."""

    identifier = EXTENSION

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.handles: list[TaskHandle] = []
        self.met = anyio.Event()
        self.answer: dict[str, Any] | None = None

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=TaskHandle, resolve=self._resolve)]

    async def _resolve(self, handle: TaskHandle, ctx: ClaimContext) -> types.CallToolResult:
        self.handles.append(handle)
        self.met.set()
        answered: set[str] = set()
        while True:
            state = await ask(ctx.session, "tasks/get", handle.task_id)
            self.states.append(state)
            if state["status"] == "completed":
                return types.CallToolResult.model_validate(state["result"])
            if state["status"] == "cancelled":
                return types.CallToolResult(content=[], is_error=True)
            for key in set(state.get("inputRequests", {})) - answered:
                answered.add(key)
                await ask(ctx.session, "tasks/update", handle.task_id, input_responses={key: self.answer})
            await anyio.sleep(0.05)


def _waits_for(home: Home) -> str:
    return f"import os, time\nwhile not os.path.exists({str(home.project / 'gate')!r}): time.sleep(0.01)\n"


async def _patient(home: Home, tasks: Tasks, code: str) -> list[Any]:
    """Run code whose call outlasts the server's patience; the results, once `tasks` met a handle."""
    results: list[Any] = []
    async with home.client(ERA, extensions=[tasks]) as session, anyio.create_task_group() as group:

        async def run() -> None:
            results.append(await session.run(code))

        group.start_soon(run)
        with anyio.fail_after(2 * DEADLINE_S):
            await tasks.met.wait()
        assert not results
        (home.project / "gate").touch()
    return results


@pytest.mark.timeout(240)  # the server's own patience is 45 s
async def test_a_long_cell_becomes_a_task_and_its_whole_result_arrives(home: Home) -> None:
    tasks = Tasks()
    tasks.answer = {"action": "accept", "content": {"answer": "blue"}}
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nprint('colour', input('which? '))"
    (result,) = await _patient(home, tasks, _waits_for(home) + plot)
    assert result.facts["status"] == "ok"
    assert "colour blue" in result.text
    assert len(result.images) == 1, "images come with it"
    statuses = [state["status"] for state in tasks.states]
    assert statuses[-1] == "completed"
    assert {"working", "input_required"} <= set(statuses)
    assert tasks.handles[0].ttl_ms is None
    assert tasks.handles[0].task_id.startswith(f"execution-{result.facts['execution_id']}-")
    said = f"kernel_output(execution_id={result.facts['execution_id']}, from_image=1)"
    assert said in result.text, "a client may make files of them"


@pytest.mark.timeout(240)
async def test_a_task_whose_question_nobody_answers_is_over_and_the_question_stays(home: Home) -> None:
    tasks = Tasks()
    tasks.answer = {"action": "cancel"}
    (result,) = await _patient(home, tasks, _waits_for(home) + "input('which? ')")
    number = result.facts["execution_id"]
    async with home.client(ERA) as session:
        done = await session.call("kernel_reply", text="blue")
    assert result.facts["status"] == "waiting for input"
    assert f"kernel_reply(execution_id={number}, text=…)" in result.text
    assert done.text.splitlines()[-1] == "'blue'"


@pytest.mark.timeout(240)
async def test_a_task_outlives_the_daemon_and_can_be_cancelled(home: Home) -> None:
    tasks = Tasks()
    async with home.client(ERA, extensions=[tasks]) as session, anyio.create_task_group() as group:
        results: list[Any] = []
        over = anyio.Event()

        async def run() -> None:
            results.append(await session.call("kernel_exec", code=_waits_for(home)))
            over.set()

        group.start_soon(run)
        with anyio.fail_after(2 * DEADLINE_S):
            await tasks.met.wait()
        task = tasks.handles[0].task_id
        home.kill_daemon()
        assert (await ask(session.client.session, "tasks/get", task))["status"] == "working"
        await ask(session.client.session, "tasks/cancel", task)
        with anyio.fail_after(DEADLINE_S):
            await over.wait()
        assert tasks.states[-1]["status"] == "cancelled"
        assert (await session.run("1 + 1")).text.endswith("2")


async def test_a_timeout_of_its_own_and_short_cells_get_ordinary_results(desk: Home) -> None:
    tasks = Tasks()
    async with desk.client(ERA, extensions=[tasks]) as session:
        assert (await session.run("6 * 7")).text.endswith("42")
        running = await session.run(_waits_for(desk), timeout=0.2)
        assert running.facts["status"] == "running"
        (desk.project / "gate").touch()
        state = await ask(session.client.session, "tasks/get", f"execution-{running.facts['execution_id']}-12000")
        assert state["status"] in ("working", "completed")
    assert not tasks.handles


@pytest.mark.timeout(240)
async def test_a_client_of_the_older_era_which_has_no_tasks_gets_what_there_is_and_how_to_wait(home: Home) -> None:
    tasks = Tasks()
    async with home.client("legacy", extensions=[tasks]) as session:
        running = await session.run("print('begun', flush=True)\n" + _waits_for(home))
        (home.project / "gate").touch()
        number = running.facts["execution_id"]
        done = await session.call("kernel_output", execution_id=number, wait=60)
    assert not tasks.handles
    assert running.facts["status"] == "running"
    assert "begun" in running.text
    assert f"kernel_output(execution_id={number}, wait=60) waits on" in running.text
    assert done.facts["status"] == "ok"


async def test_tasks_are_for_those_who_declare_them(desk: Home) -> None:
    async with desk.client(ERA) as session:
        done = await session.run("1")
        with pytest.raises(MCPError, match="not declared"):
            await ask(session.client.session, "tasks/get", f"{done.facts['execution_id']}-12000")
    async with desk.client(ERA, extensions=[advertise(EXTENSION)]) as session:
        for task_id in ("nonsense", "99999999-12000", "execution-1", "execution-1-2-3", "execution-", ""):
            with pytest.raises(MCPError, match="there is no"):
                await ask(session.client.session, "tasks/get", task_id)
        state = await ask(session.client.session, "tasks/get", f"{done.facts['execution_id']}-12000")
        assert state["result"]["_meta"][RESULT]["status"] == "ok"
