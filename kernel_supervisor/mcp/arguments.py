"""The tools' arguments: what is allowed, what is understood, and what a client is told that got it wrong."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import ExecutionId
from kernel_supervisor.envelope import LARGEST_CHARS

_ANY_TEXT = ("code", "text", "grep", "filter")
"""The others are names, places and paths."""
_LONGEST = 1 << 14
"""Characters of each of those."""
_QUOTED, _MOST = 80, 100
"""Characters of what was given that are said again; arguments of one call."""


class Arguments(BaseModel):
    """Arguments of one tool. Numbers and booleans sent as strings are understood; what is unknown is refused."""

    model_config = ConfigDict(extra="forbid")


def about(text: str | None = None, *, ge: float | None = None, le: float | None = None) -> Any:
    """What an agent is told of an argument, and between which numbers it is allowed."""
    return Field(description=text, ge=ge, le=le)


_Session = Annotated[str, about("a sub-agent's")]
_SessionOfCode = Annotated[
    str, about("another session of this project: a sub-agent's own, not to share variables; folder/name: of any")
]
"""Told in full where code is run: the first request of a sub-agent has that tool, and no instructions."""
ExecutionNumber = Annotated[ExecutionId, about(ge=1, le=(1 << 53) - 1)]
"""No more than JSON carries exactly, and the database takes."""
MaxChars = Annotated[int, about(ge=500, le=LARGEST_CHARS)]


def as_list(given: Any) -> Any:
    """A list that was sent as its JSON; anything else as it is."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(given)
    return given


@cache
def of(run: Callable[..., Any]) -> type[Arguments]:
    """The arguments of a tool: those of the function that it runs, behind the call. Its session is given by name."""
    _, *given = inspect.signature(run, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        each.name: (each.annotation, ... if each.default is each.empty else each.default) for each in given
    }
    if fields.pop("session", None):
        fields["session"] = (_SessionOfCode if "code" in fields else _Session, "")
    return create_model(run.__name__, __base__=Arguments, **fields)


def parse(model: type[Arguments], given: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments of a call, by name. Raises RefusedError with what is wrong and what is allowed."""
    present = {name: value for name, value in (given or {}).items() if value is not None}
    if len(present) > _MOST:
        allowed = ", ".join(model.model_fields) or "none"
        raise RefusedError(f"{model.__name__} has no {len(present):,} arguments. Its arguments are: {allowed}.")
    for name, value in present.items():
        if not isinstance(value, str) or name in _ANY_TEXT:
            continue
        if "\0" in value:
            raise RefusedError(
                f"{model.__name__}: {name[:_QUOTED]} has a NUL character in it, which nothing that it names can have."
            )
        if len(value) > _LONGEST:
            long = f"longer than the name of anything: {len(value):,} characters"
            raise RefusedError(f"{model.__name__}: {name[:_QUOTED]} is {long}.")
    try:
        return dict(model.model_validate(present))
    except ValidationError as error:
        wrong = error.errors()
        sentences = [_sentence(model, item) for item in wrong]
        if any(item["type"] in ("extra_forbidden", "missing") for item in wrong):
            sentences.append(f"Its arguments are: {', '.join(model.model_fields) or 'none'}.")
        raise RefusedError(" ".join(sentences)) from None


def _sentence(model: type[Arguments], item: Any) -> str:
    tool, name = model.__name__, ".".join(map(str, item["loc"]))[:_QUOTED]
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, 1) or _parts_of(name, model)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{tool} has no argument {name!r}.{hint}"
    if item["type"] == "missing":
        return f"{tool} needs the argument {name!r}."
    wrong = str(item["msg"]).partition(", unable to ")[0].replace("Input should be", "it has to be")
    wrong = re.sub(r"''(,| or) ", "", wrong)  # what is empty is the same as left out
    return f"{tool}: {name}: {wrong}, not {_quoted(item['input'])}."


def _quoted(value: Any) -> str:
    """A value as it was given, a text told from a number."""
    return repr(value[:_QUOTED]) if isinstance(value, str) else json.dumps(value, default=str)[:_QUOTED]


def _parts_of(name: str, model: type[Arguments]) -> list[str]:
    """The argument of which a name is one of the words, where that is one alone."""
    found = [each for each in model.model_fields if name in each.split("_")]
    return found if len(found) == 1 else []


_TOLD = ("type", "description", "enum", "items", "minimum", "maximum", "default")
"""Of a property; together with those below the keywords that every client understands. Gemini refuses others.

That nothing else is taken is not said: some clients refuse `additionalProperties`, and we say it where it matters.
"""


def schema(model: type[Arguments]) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, in keywords that every client understands."""
    full = model.model_json_schema()
    properties = {name: _property(value) for name, value in full["properties"].items()}
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if full.get("required"):
        found["required"] = full["required"]
    return found


_EMPTY: tuple[Any, ...] = ("", None, [])


def _property(value: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in value.get("anyOf", ()) if option.get("type") != "null"]
    merged = {**value, **(options[0] if len(options) == 1 else {})}
    if merged.get("default") in _EMPTY or merged.get("default") is False:  # as everybody takes it to be
        merged.pop("default", None)
    if options:  # what can be left out: how small and large it can be is told to who goes beyond
        merged.pop("maximum", None)
        merged.pop("minimum", None)
    if "enum" in merged:  # what is empty is the same as left out, and Gemini refuses all tools for it
        merged["enum"] = [each for each in merged["enum"] if each != ""]
        if merged.get("default") in merged["enum"][:1]:
            del merged["default"]
    return {keyword: merged[keyword] for keyword in _TOLD if keyword in merged}
