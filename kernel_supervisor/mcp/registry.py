"""The tools by name: what each is called, says of itself, takes and does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import mcp_types as types

from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp import tools_interrupt as interrupt
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool."""

    title: str
    description: str
    model: type[a.Arguments]
    run: Callable[[Call, Any], Coroutine[Any, Any, Answer]]
    annotations: types.ToolAnnotations
    core: bool = False
    """Whether clients that load tools on demand should have it from the start."""
    waits: bool = False
    """Whether it mostly waits for a cell, and is let go of when its client goes. All others are carried through."""


def _reads() -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    )


def _changes(*, destructive: bool = False, idempotent: bool = False, open_world: bool = False) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=False,
        destructive_hint=destructive,
        idempotent_hint=idempotent,
        open_world_hint=open_world,
    )


TOOLS: dict[str, Tool] = {
    "kernel_exec": Tool(
        title="Run Python",
        description="Run Python in this project's persistent session. Shows output, the last value, plots as images, "
        "errors. After the timeout the cell runs on; the result then says how to wait.",
        model=a.Exec,
        run=work.kernel_exec,
        waits=True,
        annotations=_changes(destructive=True, open_world=True),
        core=True,
    ),
    "kernel_output": Tool(
        title="Read output",
        description="Wait for an execution, or read on in its output by lines, tail, grep or image.",
        model=a.Output,
        run=work.kernel_output,
        waits=True,
        annotations=_reads(),
        core=True,
    ),
    "kernel_reply": Tool(
        title="Answer input()",
        description="Answer a cell that waits for input, as its result says; then shows what came of it.",
        model=a.Reply,
        run=work.kernel_reply,
        waits=True,
        annotations=_changes(open_world=True),
    ),
    "kernel_list_vars": Tool(
        title="List variables",
        description="Variables of the session: name, type, shape, size, short value. Runs no code.",
        model=a.ListVars,
        run=look.kernel_list_vars,
        annotations=_reads(),
        core=True,
    ),
    "kernel_inspect": Tool(
        title="Inspect a variable",
        description="One variable, attribute or item: type, shape, value; signature and docstring of functions.",
        model=a.Inspect,
        run=look.kernel_inspect,
        annotations=_reads(),
        core=True,
    ),
    "kernel_status": Tool(
        title="Kernel status",
        description="The session's kernel: interpreter, directory, state, execution count, uptime, memory.",
        model=a.NoArguments,
        run=kernels.kernel_status,
        annotations=_reads(),
    ),
    "kernel_history": Tool(
        title="History",
        description="What was run in this session, by any client, with status and execution ids.",
        model=a.History,
        run=work.kernel_history,
        annotations=_reads(),
    ),
    "kernel_interrupt": Tool(
        title="Interrupt",
        description="Stop the running cell (KeyboardInterrupt) and say whether it stopped. Variables stay.",
        model=a.Interrupt,
        run=interrupt.kernel_interrupt,
        annotations=_changes(destructive=True, idempotent=True),
    ),
    "kernel_restart": Tool(
        title="Restart the kernel",
        description="A fresh process for the session's kernel: all variables are lost, history and notebook go on.",
        model=a.Restart,
        run=kernels.kernel_restart,
        annotations=_changes(destructive=True),
    ),
    "kernel_shutdown": Tool(
        title="End a kernel",
        description="End a kernel and its variables. The next kernel_exec of its session starts a fresh one.",
        model=a.Shutdown,
        run=kernels.kernel_shutdown,
        annotations=_changes(destructive=True, idempotent=True),
    ),
    "kernel_add_markdown": Tool(
        title="Add markdown",
        description="Add a markdown cell to the session's notebook, at its end or beside an execution.",
        model=a.AddMarkdown,
        run=notebook.kernel_add_markdown,
        annotations=_changes(),
    ),
    "kernel_save_notebook": Tool(
        title="Save the notebook",
        description="Write the session (code, markdown, outputs, plots) as .ipynb, and as HTML or PDF if asked; once, "
        "or kept up to date.",
        model=a.SaveNotebook,
        run=notebook.kernel_save_notebook,
        annotations=_changes(idempotent=True),
    ),
    "kernel_load_notebook": Tool(
        title="Load a notebook",
        description="Take the cells of an .ipynb, with their outputs, into the session's history, to go on from there; "
        "run=true runs them up to the first error.",
        model=a.LoadNotebook,
        run=notebook.kernel_load_notebook,
        annotations=_changes(destructive=True, open_world=True),
    ),
    "kernel_list_envs": Tool(
        title="List environments",
        description="Environments that a kernel can run in: conda, venv, uv, pyenv, kernelspecs and others.",
        model=a.NoArguments,
        run=kernels.kernel_list_envs,
        annotations=_reads(),
    ),
    "kernel_use_env": Tool(
        title="Use an environment",
        description="Go on in another environment's kernel. The present one runs on with its variables; come back by "
        'its name, or "default".',
        model=a.UseEnv,
        run=kernels.kernel_use_env,
        annotations=_changes(idempotent=True),
    ),
    "kernel_list_running": Tool(
        title="List running kernels",
        description="Living kernels: of all sessions, and those that Jupyter started for people.",
        model=a.NoArguments,
        run=kernels.kernel_list_running,
        annotations=_reads(),
    ),
    "kernel_attach": Tool(
        title="Attach to a kernel",
        description="Work in a kernel that runs already, of another session or of Jupyter.",
        model=a.Attach,
        run=kernels.kernel_attach,
        annotations=_changes(idempotent=True),
    ),
    "kernel_detach": Tool(
        title="Detach",
        description="Return to the session's default kernel. The one left runs on.",
        model=a.NoArguments,
        run=kernels.kernel_detach,
        annotations=_changes(idempotent=True),
    ),
}


def listed() -> list[types.Tool]:
    """The tools as `tools/list` gives them."""
    return [
        types.Tool(
            name=name,
            title=tool.title,
            description=tool.description,
            input_schema=a.schema(tool.model),
            annotations=tool.annotations,
            _meta={"anthropic/alwaysLoad": True} if tool.core else None,
        )
        for name, tool in TOOLS.items()
    ]
