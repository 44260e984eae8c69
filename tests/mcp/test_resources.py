"""Promise: a session's notebook, executions and variables can be mentioned, read and watched; prompts pick work up."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from tests.notebooks_corpus.nbf import nbformat
from tests.support import DEADLINE_S, Home, Session

pytestmark = pytest.mark.anyio
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nprint('drawn')"


def _name(home: Home) -> str:
    return quote(home.project.name, safe="")


async def _read(session: Session, uri: str) -> list[Any]:
    return list((await session.client.read_resource(uri)).contents)


async def test_resources_are_listed_and_read(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        shown = await session.run(PLOT)
        number = shown.facts["execution_id"]
        await session.run("answer = 42")
        listed = {each.uri: each for each in (await session.client.list_resources()).resources}
        name = _name(desk)
        assert {f"kernel://{name}/notebook", f"kernel://{name}/variables"} <= set(listed)
        execution = listed[f"kernel://{name}/executions/{number}"]
        assert "import matplotlib" in (execution.description or "")

        text, image, where = await _read(session, execution.uri)
        assert "drawn" in text.text
        assert image.mime_type == "image/png"
        assert f"kernel_output(execution_id={number})" in where.text, "a mention shows texts alone"
        (variables,) = await _read(session, f"kernel://{name}/variables")
        assert "answer" in variables.text
        assert "42" in variables.text
        (notebook,) = await _read(session, f"kernel://{name}/notebook")
        document = nbformat.reads(notebook.text, as_version=4)
        nbformat.validate(document)
        assert [cell.source for cell in document.cells] == [PLOT, "answer = 42"]
    assert not list(desk.project.iterdir()), "reading writes nothing"


async def test_the_notebook_of_a_foreign_session_with_an_odd_name_can_be_read(desk: Home, era: str) -> None:
    odd = f"über {desk.project.name} +1"
    async with desk.client(era) as session:
        await session.run("x = 1", session=odd)
        (notebook,) = await _read(session, f"kernel://{quote(f'{desk.project.name}/{odd}', safe='')}/notebook")
        assert "x = 1" in notebook.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("kernel://nobody/notebook", "no session"),
        ("kernel://{name}/executions/99999999", "no execution"),
        ("kernel://{name}/elsewhere", "no such resource"),
        ("file:///etc/passwd", "no such resource"),
    ],
)
async def test_what_is_not_there_is_an_error_that_says_so(desk: Home, era: str, uri: str, words: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        with pytest.raises(MCPError, match=words):
            await session.client.read_resource(uri.format(name=_name(desk)))


async def test_a_notebook_is_abridged_to_what_fits_into_a_conversation(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        plot = (await session.run(PLOT)).facts["execution_id"]
        long = (await session.run("print('x\\n' * 4_500_000)")).facts["execution_id"]
        for number in range(120):
            await session.run(f"{number}  # {'и' * 300}", wait=False)
        last = (await session.run("print('the end')")).facts["execution_id"]
        (notebook,) = await _read(session, f"kernel://{_name(desk)}/notebook")
    assert len(notebook.text) <= 40_000
    assert len(notebook.text) > 20_000, "what fits is shown"
    document = nbformat.reads(notebook.text, as_version=4)
    nbformat.validate(document)
    assert "kernel_save_notebook" in document.metadata.kernel_supervisor.remark
    first, second, *_, end = document.cells
    assert (first.source, end.source) == (PLOT, "print('the end')")
    assert f"kernel_output(execution_id={plot}) shows it" in str(first.outputs), "the picture is named"
    assert "iVBOR" not in notebook.text
    assert f"kernel_output(execution_id={long})" in str(second.outputs)
    assert f"execution-{last}" == end.id
    (gap,) = [cell.source for cell in document.cells if cell.cell_type == "markdown"]
    assert "cells are left out" in gap


async def test_the_session_of_the_client_comes_first_in_the_list(desk: Home, era: str) -> None:
    elsewhere = desk.project / "000"
    elsewhere.mkdir()
    async with desk.client(era, cwd=elsewhere) as other, desk.client(era) as session:
        await other.run("theirs = 1")
        await session.run("another = 1", session="aaa")
        await session.run("mine = 1")
        listed = [str(each.uri) for each in (await session.client.list_resources()).resources]
    name = _name(desk)
    assert listed[:2] == [f"kernel://{name}/notebook", f"kernel://{name}/variables"]
    assert listed.index(f"kernel://{quote(f'{desk.project.name}/aaa', safe='')}/notebook") < listed.index(
        "kernel://000/notebook"
    )


async def test_templates_name_what_can_be_read(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        templates = (await session.client.list_resource_templates()).resource_templates
    assert {each.uri_template for each in templates} == {
        "kernel://{session}/notebook",
        "kernel://{session}/executions/{id}",
        "kernel://{session}/variables",
    }


async def test_news_reach_a_client_of_the_handshake(home: Home) -> None:
    heard: list[Any] = []
    both = anyio.Event()
    uri = f"kernel://{_name(home)}/notebook"

    async def hear(message: Any) -> None:
        heard.append(message)
        if any(isinstance(each, types.ResourceListChangedNotification) for each in heard) and _updates(heard):
            both.set()

    async with home.client("legacy", message_handler=hear) as session:
        await session.run("x = 1")
        with pytest.warns(MCPDeprecationWarning):  # it is the older era's
            await session.client.subscribe_resource(uri)
        home.kill_daemon()
        heard.clear()
        await session.run("x = 2")
        with anyio.fail_after(DEADLINE_S):
            await both.wait()
        assert set(_updates(heard)) == {uri}, "only what was subscribed to"


def _updates(messages: list[Any]) -> list[str]:
    return [str(each.params.uri) for each in messages if isinstance(each, types.ResourceUpdatedNotification)]


async def test_news_reach_a_client_that_listens_also_after_the_daemon_died(home: Home) -> None:
    name = _name(home)
    wanted = [f"kernel://{name}/notebook", f"kernel://{name}/variables"]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(home.client("2026-07-28"))
        news = await stack.enter_async_context(
            session.client.listen(resources_list_changed=True, resource_subscriptions=wanted)
        )
        await session.run("x = 1")
        await _hear(news, 3)
        home.kill_daemon()
        await session.run("x = 2")
        await _hear(news, 3)
        (variables,) = await _read(session, wanted[1])
        assert "2" in variables.text
    assert home.cli("stop", "--kernels").returncode == 0, "a subscription does not keep the daemon"


async def _hear(news: Any, kinds: int) -> None:
    """Wait until so many different events came."""
    seen = set()
    with anyio.fail_after(DEADLINE_S):
        async for event in news:
            seen.add(event)
            if len(seen) == kinds:
                return


async def test_prompts_hold_what_the_session_holds(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        prompts = {each.name for each in (await session.client.list_prompts()).prompts}
        assert prompts == {"resume", "report"}
        empty = await session.client.get_prompt("resume")
        assert "no kernel yet" in _text(empty).lower()
        await session.run("total = 6 * 7")
        resumed = _text(await session.client.get_prompt("resume"))
        assert "total" in resumed
        assert "42" in resumed
        assert "total = 6 * 7" in _text(await session.client.get_prompt("report"))
        other = _text(await session.client.get_prompt("resume", {"session": "another"}))
        assert "total" not in other
        with pytest.raises(MCPError, match="resume, report"):
            await session.client.get_prompt("sing")


def _text(prompt: Any) -> str:
    (message,) = prompt.messages
    return str(message.content.text)
