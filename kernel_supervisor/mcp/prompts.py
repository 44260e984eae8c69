"""Prompts: what a person can ask for by name, with what the session holds written into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import mcp_types as types
from mcp.shared.exceptions import MCPError

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.mcp import tools_kernels as kernels
from kernel_supervisor.mcp import tools_look as look
from kernel_supervisor.mcp import tools_work as work
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.carried import refused
from kernel_supervisor.mcp.ways import said

_LAST = 30


@dataclass(frozen=True, slots=True)
class _Prompt:
    title: str
    description: str
    task: str
    """What the model is to do with `parts` of the session, which stand below."""
    parts: tuple[Callable[[Call, SessionRecord], Awaitable[str]], ...]


async def _status(call: Call, session: SessionRecord) -> str:
    return said((await kernels.kernel_status(call, session)).text)


async def _variables(call: Call, session: SessionRecord) -> str:
    try:
        return "Variables:\n" + said((await look.kernel_list_vars(call, session)).text)
    except SupervisorError as error:
        return f"Variables: {said(error.words)}"


async def _done(call: Call, session: SessionRecord) -> str:
    return "What was run:\n" + said((await work.kernel_history(call, session, last=_LAST)).text)


_PROMPTS = {
    "resume": _Prompt(
        "Resume the session",
        "What is in this kernel and what was done last, to go on from there",
        "Go on with the work in this Python session. This is how it stands; nothing has to be run again to have "
        "these variables. Say in a few sentences what was done and what is at hand, then ask what comes next.",
        (_status, _variables, _done),
    ),
    "report": _Prompt(
        "Write the session up",
        "Turn the session into a notebook that explains itself",
        "Write this Python session up as a notebook that a colleague can read without having been there. Put "
        "headings and explanations between the cells with kernel_add_markdown (before= and after= name the "
        "execution): the question, the data, each step and what it showed, the findings with their figures. Take "
        "numbers from the outputs (kernel_output), never from memory. Failed cells stay out with "
        'kernel_save_notebook(only="ok", save_html=true). Then say where the files are.',
        (_done,),
    ),
}


def listed() -> list[types.Prompt]:
    """The prompts as `prompts/list` gives them."""
    text = "default: your project's own; a name of another of its sessions; folder/name for another project's"
    session = types.PromptArgument(name="session", description=text, required=False)
    return [
        types.Prompt(name=name, title=prompt.title, description=prompt.description, arguments=[session])
        for name, prompt in _PROMPTS.items()
    ]


async def get(call: Call, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """A prompt, written. Raises MCPError where there is none of that name, or an argument makes no sense."""
    name, arguments = params.name, params.arguments or {}
    prompt = _PROMPTS.get(name)
    if prompt is None:
        raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name!r}; the prompts are {', '.join(_PROMPTS)}")
    if unknown := ", ".join(sorted(set(arguments) - {"session"})):
        raise MCPError(types.INVALID_PARAMS, f"{name} has no argument {unknown}; its one argument is session")
    try:
        session = await call.session(arguments.get("session", ""))
        parts = [await part(call, session) for part in prompt.parts]
    except SupervisorError as error:
        raise refused(call, error) from None
    text = types.TextContent(type="text", text="\n\n".join([prompt.task, *parts]))
    message = types.PromptMessage(role="user", content=text)
    return types.GetPromptResult(description=prompt.description, messages=[message])
