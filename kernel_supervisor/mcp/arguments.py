"""The tools' arguments: what is allowed, what is understood, and what a client is told that got it wrong."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import ExecutionId
from kernel_supervisor.mcp.view import MAX_CHARS

_A = TypeVar("_A", bound="Arguments")
_ANY_TEXT = ("code", "text", "grep", "filter")
"""The others are names, places and paths."""


class Arguments(BaseModel):
    """Arguments of one tool. Numbers and booleans sent as strings are understood; what is unknown is refused."""

    model_config = ConfigDict(extra="forbid")


Session = Annotated[str, Field(description="another session of this project; folder/name: of any")]
Code = Annotated[str, Field(description="Python code; the last expression's value is shown")]
ExecutionNumber = Annotated[ExecutionId, Field(ge=1, le=(1 << 53) - 1)]
"""No more than JSON carries exactly, and the database takes."""
OneExecution = Annotated[ExecutionNumber, Field(description="only this one; without it, whatever runs")]
MaxChars = Annotated[int, Field(ge=500, le=400_000, description=f"text limit, {MAX_CHARS} by default")]


class NoArguments(Arguments):
    """Only the session."""

    session: Session = ""


class Exec(Arguments):
    """kernel_exec."""

    code: Code
    timeout: (
        Annotated[float, Field(ge=0, le=86_400, description="seconds to wait; the cell runs on after that")] | None
    ) = None
    wait: Annotated[bool, Field(description="false: return at once")] = True
    max_chars: MaxChars = MAX_CHARS
    session: Session = ""


class Output(Arguments):
    """kernel_output."""

    execution_id: ExecutionNumber
    wait: Annotated[float, Field(ge=0, le=86_400, description="seconds to wait for its end")] = 0
    from_line: Annotated[int, Field(ge=1, description="read on from this line")] | None = None
    tail: Annotated[int, Field(ge=1, description="only the last lines")] | None = None
    grep: Annotated[str, Field(description="only lines that match this regular expression")] | None = None
    from_image: Annotated[int, Field(ge=1, description="images from this one on")] = 1
    full_traceback: bool = False
    max_chars: MaxChars = MAX_CHARS


class Reply(Arguments):
    """kernel_reply."""

    text: Annotated[str, Field(description="the line that input() returns")]
    execution_id: Annotated[ExecutionNumber, Field(description="default: what runs in the session")] | None = None
    timeout: Annotated[float, Field(ge=0, le=86_400, description="seconds to wait then")] | None = None
    max_chars: MaxChars = MAX_CHARS
    session: Session = ""


class Inspect(Arguments):
    """kernel_inspect."""

    var_name: Annotated[str, Field(description="a name, attribute or item: df, df.columns, model.layers[0]")]
    detail: Annotated[Literal["", "source"], Field(description='"source" for source code')] = ""
    session: Session = ""


class ListVars(Arguments):
    """kernel_list_vars."""

    filter: Annotated[str, Field(description="part of the name")] = ""
    type: Annotated[str, Field(description="part of the type's name")] = ""
    session: Session = ""


class AddMarkdown(Arguments):
    """kernel_add_markdown."""

    text: str
    before: Annotated[ExecutionNumber, Field(description="put it before this entry")] | None = None
    after: Annotated[ExecutionNumber, Field(description="put it after this entry")] | None = None
    session: Session = ""


class SaveNotebook(Arguments):
    """kernel_save_notebook."""

    path: Annotated[str, Field(description="relative to your directory; default: the session's name in its")] = ""
    save_html: bool = False
    save_pdf: bool = False
    overwrite: Annotated[bool, Field(description="replace a file that this session did not write")] = False
    only: Annotated[Literal["all", "ok"], Field(description='"ok" leaves out failed cells')] = "all"
    first: Annotated[ExecutionNumber, Field(description="from this entry on")] | None = None
    last: Annotated[ExecutionNumber, Field(description="up to this entry")] | None = None
    theme: Annotated[Literal["light", "dark"], Field(description="of the HTML")] = "light"
    pdf_engine: (
        Annotated[Literal["typst", "browser", "xelatex"], Field(description="default: what loses least")] | None
    ) = None
    autosave: Annotated[bool, Field(description="true: keep this notebook up to date; false: no longer")] | None = None
    session: Session = ""


class LoadNotebook(Arguments):
    """kernel_load_notebook."""

    path: Annotated[str, Field(description="an .ipynb, relative to your directory")]
    run: Annotated[bool, Field(description="run its code cells, up to the first error")] = False
    session: Session = ""


class Restart(Arguments):
    """kernel_restart."""

    replay: Annotated[bool, Field(description="then run the cells that succeeded again, up to the first error")] = False
    force: Annotated[bool, Field(description="also a kernel that somebody else started on a server")] = False
    session: Session = ""


class UseEnv(Arguments):
    """kernel_use_env."""

    env_name: Annotated[str, Field(description="name, prefix or interpreter, see kernel_list_envs; SERVER:SPEC")]
    fresh: Annotated[bool, Field(description="a new kernel even if one runs there already")] = False
    install_ipykernel: Annotated[bool, Field(description="if it has none, install it there with its own tool")] = False
    session: Session = ""


class Attach(Arguments):
    """kernel_attach."""

    kernel_id: Annotated[str, Field(description="id or its beginning, notebook, connection file or server URL")]
    session: Session = ""


class Shutdown(Arguments):
    """kernel_shutdown."""

    kernel_id: Annotated[str, Field(description="id or its beginning")]
    force: Annotated[bool, Field(description="also a kernel that somebody else started")] = False


class Interrupt(Arguments):
    """kernel_interrupt."""

    execution_id: OneExecution | None = None
    session: Session = ""


class History(Arguments):
    """kernel_history."""

    last: Annotated[int, Field(ge=1, le=500)] = 20
    filter: Annotated[str, Field(description="part of the code")] = ""
    session: Session = ""


def parse(model: type[_A], tool: str, given: dict[str, Any] | None) -> _A:
    """The arguments of a call. Raises RefusedError with what is wrong and what is allowed."""
    present = {name: value for name, value in (given or {}).items() if value is not None}
    for name, value in present.items():
        if isinstance(value, str) and "\0" in value and name not in _ANY_TEXT:
            raise RefusedError(f"{tool}: {name} has a NUL character in it, which nothing that it names can have.")
    try:
        return model.model_validate(present)
    except ValidationError as error:
        raise RefusedError(" ".join(_sentence(model, tool, item) for item in error.errors())) from None


def _sentence(model: type[Arguments], tool: str, item: Any) -> str:
    name = ".".join(map(str, item["loc"]))
    allowed = ", ".join(model.model_fields) or "none"
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{tool} has no argument {name!r}.{hint} Its arguments are: {allowed}."
    if item["type"] == "missing":
        return f"{tool} needs the argument {name!r}. Its arguments are: {allowed}."
    return f"{tool}: {name}: {item['msg']}, not {str(item['input'])[:80]!r}."


_TOLD = ("type", "description", "enum", "items", "minimum", "maximum", "default")
"""Of a property; together with those below the keywords that every client understands. Gemini refuses others."""


def schema(model: type[Arguments]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, in keywords that every client understands."""
    full = model.model_json_schema()
    properties = {name: _property(value) for name, value in full["properties"].items()}
    found: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if full.get("required"):
        found["required"] = full["required"]
    return found


def _property(value: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in value.get("anyOf", ()) if option.get("type") != "null"]
    merged = {**value, **(options[0] if len(options) == 1 else {})}
    if merged.get("default") in ("", None):
        merged.pop("default", None)
    if "enum" in merged:  # what is empty is the same as left out, and Gemini refuses all tools for it
        merged["enum"] = [each for each in merged["enum"] if each != ""]
    return {keyword: merged[keyword] for keyword in _TOLD if keyword in merged}
