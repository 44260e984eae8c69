"""Ways on: each is worded for agents, who have tools, and for people, who have commands; nothing below knows either."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import string
from pathlib import Path
from typing import get_args

import pytest

from kernel_supervisor.cli.commands import all_commands
from kernel_supervisor.cli.ways import COMMANDS
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import SessionName
from kernel_supervisor.core.ways import Name, WayOn, Words
from kernel_supervisor.mcp.registry import TOOLS
from kernel_supervisor.mcp.ways import TOOLS as SAID
from kernel_supervisor.mcp.ways import in_session, of_session, said, sent

PACKAGE = Path(__file__).parents[2] / "kernel_supervisor"
NAMES = {name for names in get_args(Name) for name in (get_args(names) or (names,))}


def _fields(words: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(words) if field}


def test_every_way_on_is_worded_for_both_of_what_it_is_about() -> None:
    assert set(SAID) == NAMES
    assert set(COMMANDS) == NAMES
    for name, words in SAID.items():
        assert _fields(COMMANDS[name]) - {"session", "option"} <= _fields(words), name


def test_agents_are_told_of_tools_that_there_are_and_people_of_commands_that_there_are() -> None:
    for words in SAID.values():
        assert set(re.findall(r"\bkernel_\w+", words)) <= set(TOOLS), words
    subparsers = next(each for each in all_commands()._actions if isinstance(each, argparse._SubParsersAction))
    for words in COMMANDS.values():
        assert set(re.findall(r"`kernel-supervisor (\w+)", words)) <= set(subparsers.choices), words
        assert "kernel_" not in words


def test_no_tool_is_named_below_the_room_that_has_them() -> None:
    tool = re.compile(rf"\b(?:{'|'.join(TOOLS)})\b")
    rooms = [path for path in PACKAGE.iterdir() if path.name not in ("mcp", "cli", "demo")]
    files = [file for room in rooms for file in ([room] if room.suffix == ".py" else room.rglob("*.py"))]
    assert [f"{file}: {found[0]}" for file in files if (found := tool.search(file.read_text("utf-8")))] == []


_FOR_AGENTS = ("ways.py", "registry.py", "prompts.py", "resources.py", "abridging.py", "arrangement.py", "asking.py")
"""What people never read: tools' own words, what clients ask for beside them, lines that results of theirs lack."""


def test_what_a_tool_says_to_people_too_names_no_tool() -> None:
    """But for what it is called, as its calls have it on record, and how an agent reads its arguments."""
    tool = re.compile(rf"\b(?:{'|'.join(TOOLS)})\b")
    found = []
    for file in sorted((PACKAGE / "mcp").glob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        exempt = {
            id(part)
            for node in nodes
            if isinstance(node, ast.Expr) or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "about")
            for part in ast.walk(node)
        }
        texts = [(id(node), node.value) for node in nodes if isinstance(node, ast.Constant)]
        said_so = [text for at, text in texts if isinstance(text, str) and at not in exempt and text not in TOOLS]
        found += [f"{file.name}: {text}" for text in said_so if file.name not in _FOR_AGENTS and tool.search(text)]
    assert found == []


def test_a_call_that_is_about_another_session_names_it() -> None:
    told = of_session(SessionName("p/sub"))
    assert told["first exec"] == ': the first kernel_exec(session="p/sub") starts one'
    assert told["see variables"] == '; kernel_list_vars(session="p/sub") lists them'
    assert told["write notebook"] == ': kernel_save_notebook(session="p/sub") writes it to a file'
    assert told["use other"] == ', which kernel_use_env(session="p/sub") changes to'
    assert told["replay"].startswith('; kernel_restart(replay=true, session="p/sub") runs again')
    for name, text in told.items():
        for call in re.findall(r"\b(kernel_\w+)\b(?:\(([^)]*)\))?", text):
            takes = TOOLS[call[0]].model.model_fields
            is_of_one = "session" in takes and "execution_id" not in takes and call[0] != "kernel_list_running"
            assert not is_of_one or 'session="p/sub"' in call[1], f"{name}: {text}"


@pytest.mark.parametrize(
    ("words", "agents", "people"),
    [
        ("plain", "plain", "plain"),
        (("no execution 7", WayOn("see executions")), "no execution 7; kernel_history lists them",
         "no execution 7; `kernel-supervisor history` lists them"),
        (("late", WayOn("read", (7,)), "."), "late: kernel_output(execution_id=7).",
         "late: `kernel-supervisor output 7`."),
        ((WayOn("wait on", (7,)),), "Still running: kernel_output(execution_id=7, wait=60) waits on, "
         "kernel_interrupt(execution_id=7) stops it.", "Still running: `kernel-supervisor output --follow 7` waits on, "
         "`kernel-supervisor interrupt 'my work/'` stops it."),
    ],
)  # fmt: skip
def test_words_reach_both_of_them_as_they_are_meant(words: Words, agents: str, people: str) -> None:
    assert said(words) == agents
    own = in_session(COMMANDS, "my work/", here=True)
    assert said(words, own) == people
    assert sent({"notices": [words]}, None) == {"notices": [agents]}
    assert sent({"notices": [words]}, own) == {"notices": [people]}


def test_what_is_about_no_session_names_none() -> None:
    assert said((WayOn("end kernel"),), in_session(COMMANDS, "")).startswith("`kernel-supervisor restart` ends it")
    assert not any("{session}" in text or "{option}" in text for text in in_session(COMMANDS, "").values())


def test_another_session_is_an_option_and_the_one_here_is_not() -> None:
    words = (WayOn("see what ran"),)
    assert (
        said(words, in_session(COMMANDS, "p/my work"))
        == "; `kernel-supervisor history -s 'p/my work'` shows what was run."
    )
    assert said(words, in_session(COMMANDS, "p/", here=True)) == "; `kernel-supervisor history` shows what was run."


def test_an_error_has_its_prose_for_the_log_and_its_words_for_who_asked() -> None:
    error = RefusedError("there is no kernel 'k'", WayOn("see kernels"), "; a server does not answer")
    assert str(error) == "there is no kernel 'k'; a server does not answer"
    assert said(error.words) == "there is no kernel 'k'; kernel_list_running lists them; a server does not answer"


def test_a_way_on_that_a_command_line_does_not_know_yet_is_left_out() -> None:
    older = {name: words for name, words in COMMANDS.items() if name != "kill"}
    assert said(("it is gone", WayOn("kill", (7,)), "."), older) == "it is gone."


def test_a_name_of_any_kind_stays_one_word_and_one_text() -> None:
    name = """it's "q" \\ $HOME `id`; exit"""
    command, call = (said((WayOn("bring back", (name,)),), ways) for ways in (in_session(COMMANDS, "p/"), None))
    assert shlex.split(command[1:].rpartition("` brings")[0])[1:] == ["restart", "p/", "--restore", name]
    assert ast.literal_eval(call.partition("restore=")[2].rpartition(")")[0]) == name
