"""The tools by name: what each is called, says of itself, takes and does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from kernel_supervisor.envelope import LARGEST_CHARS
from kernel_supervisor.mcp import arguments
from kernel_supervisor.mcp import tools_checkpoints as checkpoints
from kernel_supervisor.mcp import tools_environments as environments
from kernel_supervisor.mcp import tools_interrupt as interrupt
from kernel_supervisor.mcp import tools_joining as joining
from kernel_supervisor.mcp import tools_kernels as kernels
from kernel_supervisor.mcp import tools_look as look
from kernel_supervisor.mcp import tools_notebook as notebook
from kernel_supervisor.mcp import tools_work as work
from kernel_supervisor.mcp.call import Answer, Call

INSTRUCTIONS = """\
A persistent Python session: variables, imports and figures stay between calls, between conversations and through \
restarts of this client. Start with kernel_history or kernel_list_vars to see what is there already.
- kernel_exec runs code and shows what a notebook cell would show, plots as images. A long cell is not stopped: the \
call returns what there is and an execution_id; kernel_output(execution_id, wait=60) waits on.
- kernel_list_vars and kernel_inspect look without running anything, also while a cell runs.
- Long output is cut in the middle; kernel_output(execution_id, from_line=…, tail=…, grep=…) reads the rest.
- kernel_list_envs and kernel_use_env change the environment; kernel_list_running and kernel_attach join a kernel that \
runs already, such as a notebook's.
- kernel_save_notebook writes the session as .ipynb, HTML or PDF; kernel_add_markdown adds text to it; \
kernel_load_notebook goes on from an .ipynb.
- Sub-agents that should not share variables pass session="a-name-of-their-own": a session of this project. Results \
spell it folder/name (folder/ is the project's own); spelled so, a session is the same one from every project.
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. Its name and its description are those of what it runs."""

    title: str
    run: Callable[..., Coroutine[Any, Any, Answer]]
    annotations: types.ToolAnnotations
    core: bool = False
    """Whether clients that load tools on demand should have it from the start, as what a result names."""
    waits: bool = False
    """Whether it mostly waits for a cell, and is let go of when its client goes. All others are carried through."""

    @property
    def model(self) -> type[arguments.Arguments]:
        """What it takes."""
        return arguments.of(self.run)

    async def __call__(self, call: Call, given: dict[str, Any]) -> Answer:
        """Run it, in the session that was named where it is about one."""
        if "session" in given:
            given["session"] = await call.session(given["session"])
        return await self.run(call, **given)


_READS = types.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def _changes(*, destructive: bool = False, idempotent: bool = False, open_world: bool = False) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=False, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=open_world
    )


_ALL = (
    Tool("Run Python", work.kernel_exec, _changes(destructive=True, open_world=True), core=True, waits=True),
    Tool("Read output", work.kernel_output, _READS, core=True, waits=True),
    Tool("Answer input()", work.kernel_reply, _changes(open_world=True), waits=True),
    Tool("List variables", look.kernel_list_vars, _READS, core=True),
    Tool("Inspect", look.kernel_inspect, _READS, core=True),
    Tool("Kernel status", kernels.kernel_status, _READS),
    Tool("History", work.kernel_history, _READS, core=True),
    Tool("Interrupt", interrupt.kernel_interrupt, _changes(destructive=True, idempotent=True), core=True),
    Tool("Restart", checkpoints.kernel_restart, _changes(destructive=True)),
    Tool("Save variables", checkpoints.kernel_checkpoint, _changes()),
    Tool("End a kernel", kernels.kernel_shutdown, _changes(destructive=True, idempotent=True)),
    Tool("Add markdown", notebook.kernel_add_markdown, _changes()),
    Tool("Save notebook", notebook.kernel_save_notebook, _changes(idempotent=True)),
    Tool("Load notebook", notebook.kernel_load_notebook, _changes(destructive=True, open_world=True)),
    Tool("List environments", environments.kernel_list_envs, _READS),
    Tool("Use environment", environments.kernel_use_env, _changes(idempotent=True)),
    Tool("Running kernels", joining.kernel_list_running, _READS),
    Tool("Attach", joining.kernel_attach, _changes(idempotent=True)),
    Tool("Detach", joining.kernel_detach, _changes(idempotent=True)),
)
TOOLS = {tool.run.__name__: tool for tool in _ALL}


def _told_to_claude(tool: Tool) -> dict[str, Any] | None:
    """What Claude Code reads of a tool's definition: it is there at once, and its results are taken whole."""
    told: dict[str, Any] = {"anthropic/alwaysLoad": True} if tool.core else {}
    if tool.core and "max_chars" in tool.model.model_fields:
        told["anthropic/maxResultSizeChars"] = LARGEST_CHARS
    return told or None


def listed() -> list[types.Tool]:
    """The tools as `tools/list` gives them."""
    return [
        types.Tool(
            name=name,
            title=tool.title,
            description=" ".join((tool.run.__doc__ or "").split()),
            input_schema=arguments.schema(tool.model),
            annotations=tool.annotations,
            _meta=_told_to_claude(tool),
        )
        for name, tool in TOOLS.items()
    ]
