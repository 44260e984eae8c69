"""Promise: a client gets of a result what it can take, and is made to wait no longer than it waits."""

from __future__ import annotations

import pytest

from kernel_supervisor.core.model import Execution, ExecutionId, SessionName
from kernel_supervisor.mcp.clients import MAX_BYTES, MAX_CHARS, Client
from kernel_supervisor.mcp.content import render
from kernel_supervisor.mcp.view import Reading, ResultView
from kernel_supervisor.outputs.folding import Folded

CODEX, CLAUDE, UNKNOWN = (
    Client(name="codex-mcp-client", version="0.169.0"),
    Client(name="claude-code"),
    Client(name="x"),
)
TEXTS = {
    "ASCII": "line of text\n" * 5000,
    "one line": "x" * 60_000,
    "Cyrillic": "строка текста\n" * 5000,
    "CJK": "文字列\n" * 9000,
    "emoji": "📈📉 " * 9000,
    "mixed": "a" * 8000 + "文" * 30_000,
    "surrogates": "\ud800 and so on\n" * 3000,
}


def shown(text: str, client: Client, max_chars: int = MAX_CHARS) -> str:
    """The text of a result for that client."""
    execution = Execution(
        id=ExecutionId(7), session=SessionName("work/"), kind="code", source="", status="ok", execution_count=3
    )
    folded = Folded(outputs=[{"output_type": "stream", "name": "stdout", "text": text}])
    view = ResultView(execution=execution, folded=folded, duration_s=0.1)
    rendered = render(view, Reading(max_chars=max_chars, max_bytes=client.max_bytes(max_chars)))
    return "\n".join(each for each in rendered.content if isinstance(each, str))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("max_chars", [500, MAX_CHARS, 400_000])
def test_a_result_for_codex_is_never_cut_by_it(text: str, max_chars: int) -> None:
    result = shown(text, CODEX, max_chars)
    assert len(result.encode("utf-8", "replace")) <= MAX_BYTES
    assert len(result) <= max_chars
    assert len(result.encode("utf-8", "replace")) > min(max_chars, MAX_BYTES) * 0.7, "what it can take it gets"


@pytest.mark.parametrize("text", [TEXTS["ASCII"], TEXTS["Cyrillic"], TEXTS["CJK"]])
def test_the_way_to_what_was_left_out_stands_at_the_end_too(text: str) -> None:
    for client in (CODEX, CLAUDE, UNKNOWN):
        last = shown(text, client).rstrip().splitlines()[-1]
        assert last.startswith("[… left out above: kernel_output(execution_id=7, from_line="), last
    assert "left out" not in shown("short", CODEX)


def test_claude_code_gets_as_many_characters_as_it_asks_for() -> None:
    assert len(shown(TEXTS["CJK"], CLAUDE)) > MAX_CHARS * 0.9
    assert shown(TEXTS["CJK"], CLAUDE, 400_000).count("文字列") == 9000
    assert shown(TEXTS["CJK"], UNKNOWN, 400_000).count("文字列") == 9000, "it was asked for"


def test_nobody_waits_longer_than_its_client_does() -> None:
    assert [client.patience_s for client in (CODEX, CLAUDE, UNKNOWN)] == [240, 90, 45]
    older = ["0.168.9", "0.9.0", "", "new", "0.x"]
    assert {Client(name="codex-mcp-client", version=version).patience_s for version in older} == {45}
