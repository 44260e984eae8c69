"""Promise: the tools say honestly and briefly what they are; results have the form that clients show whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import mcp_types as types
import pytest

from tests.support import RESULT, Home

pytestmark = pytest.mark.anyio

TOOLS = {
    "kernel_exec": ["code"],
    "kernel_inspect": ["var_name"],
    "kernel_list_vars": [],
    "kernel_status": [],
    "kernel_restart": [],
    "kernel_add_markdown": ["text"],
    "kernel_save_notebook": [],
    "kernel_list_envs": [],
    "kernel_use_env": ["env_name"],
    "kernel_list_running": [],
    "kernel_attach": ["kernel_id"],
    "kernel_detach": [],
    "kernel_output": ["execution_id"],
    "kernel_interrupt": [],
    "kernel_shutdown": ["kernel_id"],
    "kernel_history": [],
}
CORE = {"kernel_exec", "kernel_output", "kernel_list_vars", "kernel_inspect"}
NAMED_IN_RESULTS = {"kernel_interrupt", "kernel_history"}
READ_ONLY = {
    "kernel_inspect",
    "kernel_list_vars",
    "kernel_status",
    "kernel_list_envs",
    "kernel_list_running",
    "kernel_output",
    "kernel_history",
}
DESTRUCTIVE = {"kernel_exec", "kernel_restart", "kernel_shutdown", "kernel_interrupt"}


async def _listed(home: Home, era: str) -> dict[str, Any]:
    async with home.client(era) as session:
        return {tool.name: tool for tool in (await session.client.list_tools()).tools}


async def test_every_promised_tool_is_there_with_its_required_arguments(desk: Home, era: str) -> None:
    listed = await _listed(desk, era)
    assert set(TOOLS) <= set(listed)
    for name, required in TOOLS.items():
        assert listed[name].input_schema.get("required", []) == required, name


async def test_every_tool_has_a_title_a_description_and_a_schema_that_is_one(desk: Home, era: str) -> None:
    for name, tool in (await _listed(desk, era)).items():
        assert tool.title, name
        assert tool.description, name
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        assert "session" in tool.input_schema["properties"] or name in ("kernel_output", "kernel_shutdown"), name


KEYWORDS = {"type", "properties", "required", "description", "enum", "items", "minimum", "maximum", "default"}
"""What everybody takes. Gemini refuses `exclusiveMaximum`, and an `enum` that is empty or has an empty word; some
clients refuse `anyOf`, `$ref`, `additionalProperties` and others."""


def _schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, and all that it is made of."""
    yield schema
    for part in (*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])):
        yield from _schemas(part)


async def test_schemas_use_only_keywords_that_every_client_understands(desk: Home, era: str) -> None:
    for name, tool in (await _listed(desk, era)).items():
        for schema in _schemas(tool.input_schema):
            assert set(schema) <= KEYWORDS, (name, schema)
            assert isinstance(schema["type"], str), (name, schema)
            assert schema.get("enum") != [], (name, schema)
            assert all(isinstance(each, str) and each for each in schema.get("enum", ())), (name, schema)


@pytest.mark.parametrize(("number", "taken"), [(10**9, True), (2**53 - 1, True), (0, False), (2**53, False)])
async def test_the_largest_number_that_the_schema_allows_is_the_largest_that_is_taken(
    desk: Home, number: int, taken: bool
) -> None:
    async with desk.client() as session:
        tools = {tool.name: tool for tool in (await session.client.list_tools()).tools}
        told = tools["kernel_output"].input_schema["properties"]["execution_id"]
        assert (told["minimum"] <= number <= told["maximum"]) is taken
        answer = await session.call("kernel_output", execution_id=number)
    assert ("there is no execution" in answer.text) is taken
    assert taken or ("kernel_output: execution_id" in answer.text and str(number) in answer.text)


async def test_annotations_say_what_a_tool_may_do(desk: Home, era: str) -> None:
    listed = await _listed(desk, era)
    for name in TOOLS:
        notes = listed[name].annotations
        hints = (notes.read_only_hint, notes.destructive_hint, notes.idempotent_hint, notes.open_world_hint)
        assert None not in hints, f"{name} leaves a hint to its default"
    assert {name for name in TOOLS if listed[name].annotations.read_only_hint} == READ_ONLY
    assert {name for name in TOOLS if listed[name].annotations.destructive_hint} == DESTRUCTIVE
    assert {name for name in TOOLS if listed[name].annotations.open_world_hint} == {"kernel_exec"}
    assert not listed["kernel_exec"].annotations.idempotent_hint
    assert not listed["kernel_restart"].annotations.idempotent_hint


async def test_the_core_four_and_what_results_name_are_loaded_at_once(desk: Home, era: str) -> None:
    listed = await _listed(desk, era)
    at_once = {name for name, tool in listed.items() if (tool.meta or {}).get("anthropic/alwaysLoad")}
    assert at_once == CORE | NAMED_IN_RESULTS


async def test_a_sub_agent_learns_from_the_schemas_alone_how_to_have_variables_of_its_own(desk: Home, era: str) -> None:
    listed = await _listed(desk, era)
    properties = {name: tool.input_schema["properties"] for name, tool in listed.items()}
    told = {name: each["session"]["description"] for name, each in properties.items() if "session" in each}
    assert all("sub-agent" in each for each in told.values()), told
    assert "not to share variables" in told["kernel_exec"]
    assert "folder/name" in told["kernel_exec"]


@pytest.mark.parametrize("opening", ["legacy", "auto"])
async def test_descriptions_and_instructions_are_short(desk: Home, opening: str) -> None:
    async with desk.client(opening) as session:
        tools = (await session.client.list_tools()).tools
        instructions = session.client.instructions
    words = [f"{tool.title}{tool.description}" for tool in tools]
    words += [each.get("description", "") for tool in tools for each in tool.input_schema["properties"].values()]
    assert len("".join(words).encode()) < 6_000
    sent = types.ListToolsResult(tools=tools).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert len(json.dumps(sent).encode()) < 12_000, "it stands in the context of every conversation"
    assert instructions
    assert "kernel_exec" in instructions
    assert len(instructions.encode()) <= 2_048, "older clients cut them there"


async def test_no_result_has_structured_content_and_every_result_has_the_machine_readable_part(
    desk: Home, era: str
) -> None:
    async with desk.client(era) as session:
        tools = (await session.client.list_tools()).tools
        assert all(tool.output_schema is None for tool in tools)
        kernel_id = (await session.run("x = 41")).facts["kernel_id"]
        calls: dict[str, dict[str, Any]] = {
            "kernel_exec": {"code": "x"},
            "kernel_inspect": {"var_name": "x"},
            "kernel_add_markdown": {"text": "words"},
            "kernel_save_notebook": {"path": "x.ipynb"},
            "kernel_use_env": {"env_name": "default"},
            "kernel_attach": {"kernel_id": kernel_id},
            "kernel_output": {"execution_id": 1},
            "kernel_restart": {},
            "kernel_shutdown": {"kernel_id": kernel_id},
        }
        for name in sorted(TOOLS, key=lambda name: name in ("kernel_restart", "kernel_shutdown")):
            result = (await session.call(name, **calls.get(name, {}))).raw
            assert not result.is_error, (name, result)
            assert result.structured_content is None, name
            assert RESULT in (result.meta or {}), name
            assert result.content[0].type == "text", name
            assert result.content[0].text, name
        wrong = (await session.call("kernel_exec")).raw
    assert wrong.is_error
    assert wrong.structured_content is None
    assert RESULT in wrong.meta
