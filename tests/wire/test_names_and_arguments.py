"""Names of kernels, and what a client is told that got an argument wrong."""

from __future__ import annotations

import pytest

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId
from kernel_supervisor.envelope import EnvelopeError, pack, unpack
from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp.registry import TOOLS
from kernel_supervisor.sessions import naming


def test_a_kernel_is_found_by_a_unique_beginning() -> None:
    known = [KernelId("abc1"), KernelId("abd2"), KernelId("abd")]
    assert naming.kernel_id("abc", known) == "abc1"
    assert naming.kernel_id("abd", known) == "abd"
    with pytest.raises(RefusedError, match="several"):
        naming.kernel_id("ab", known)
    with pytest.raises(RefusedError, match="no kernel"):
        naming.kernel_id("", known)


def test_an_unknown_argument_is_named_with_the_allowed_ones() -> None:
    with pytest.raises(RefusedError, match=r"no argument 'cod'.*Did you mean code.*session"):
        a.parse(TOOLS["kernel_exec"].model, {"cod": "1"})


def test_the_arguments_that_there_are_are_told_once() -> None:
    with pytest.raises(RefusedError) as refused:
        a.parse(TOOLS["kernel_inspect"].model, {"name": "x"})
    assert str(refused.value) == (
        "kernel_inspect needs the argument 'var_name'. kernel_inspect has no argument 'name'. Did you mean var_name? "
        "Its arguments are: var_name, detail, session."
    )


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(RefusedError, match="needs the argument 'code'"):
        a.parse(TOOLS["kernel_exec"].model, {})


def test_a_wrong_type_is_named_with_what_was_given() -> None:
    with pytest.raises(RefusedError, match=r"execution_id.*'seven'"):
        a.parse(TOOLS["kernel_output"].model, {"execution_id": "seven"})


def test_strings_for_numbers_and_booleans_are_understood_and_null_is_nothing() -> None:
    parsed = a.parse(TOOLS["kernel_exec"].model, {"code": "1", "wait": "false", "timeout": "2.5", "session": None})
    assert (parsed["wait"], parsed["timeout"], parsed["session"]) == (False, 2.5, "")


@pytest.mark.parametrize("name", TOOLS)
def test_every_schema_is_plain(name: str) -> None:
    schema = a.schema(TOOLS[name].model)
    assert set(schema) <= {"type", "properties", "required"}
    for value in schema["properties"].values():
        assert "type" in value
        assert "anyOf" not in value
        assert "title" not in value


def test_frames_come_back_and_rubbish_is_refused() -> None:
    assert unpack(pack(b"rpc", {"call": 1}, b"{}")) == (b"rpc", {"call": 1}, b"{}")
    for parts in ([], [b"rpc"], [b"rpc", b"[]", b""], [b"rpc", b"{", b""], [b"rpc", b"\xff", b""]):
        with pytest.raises(EnvelopeError):
            unpack(parts)


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("kernel_output", {"execution_id": "seven"}, "execution_id: it has to be a valid integer, not 'seven'."),
        ("kernel_inspect", {"var_name": "x", "detail": "all"}, "detail: it has to be 'source', not 'all'."),
        ("kernel_checkpoint", {"mode": "on"}, "mode: it has to be 'asked', 'auto' or 'off', not 'on'."),
        ("kernel_exec", {"code": 5}, "code: it has to be a valid string, not 5."),
        ("kernel_exec", {"code": ["Ж"]}, 'code: it has to be a valid string, not ["\\u0416"].'),
    ],
)
def test_what_was_given_is_told_as_it_was_given(tool: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(RefusedError) as refused:
        a.parse(TOOLS[tool].model, given)
    assert str(refused.value) == f"{tool}: {said}"


def test_a_part_of_an_arguments_name_is_taken_for_it() -> None:
    with pytest.raises(RefusedError, match=r"no argument 'env'\. Did you mean env_name\?"):
        a.parse(TOOLS["kernel_use_env"].model, {"env": "nope"})
