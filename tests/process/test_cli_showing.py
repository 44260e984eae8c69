"""Promise: `exec` shows a person what an agent gets: Markdown set, pictures in place or kept, what waits for what."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import subprocess
from pathlib import Path

import pexpect
import pytest
from PIL import Image

from tests.support import DEADLINE_S, Home, until_now

PICTURE = """
from IPython.display import Image, display
import base64
display(Image(base64.b64decode('{}')))
"""


def _png() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (20, 13), "red").save(made, "PNG")
    return made.getvalue()


def _code() -> str:
    return PICTURE.format(base64.b64encode(_png()).decode())


def _at_terminal(home: Home, *arguments: str, **env: str) -> pexpect.spawn:
    command, *rest = home.cli_command(*arguments)
    own = {"TERM": "xterm", "COLUMNS": "80"}
    dropped = ("TMUX", "STY", "LC_TERMINAL", "TERM_PROGRAM", "KITTY_WINDOW_ID", "NO_COLOR")
    whole = {name: value for name, value in home.env.items() if name not in dropped}
    where = {"cwd": str(home.project), "env": {**whole, **own, **env}, "timeout": DEADLINE_S}
    return pexpect.spawn(command, rest, dimensions=(40, 80), **where)


def _seen(terminal: pexpect.spawn) -> bytes:
    terminal.expect(pexpect.EOF)
    terminal.close()
    return bytes(terminal.before)


@pytest.fixture(scope="module")
def at_work(standing_home: Home) -> Home:
    """A home with a kernel."""
    assert standing_home.cli("exec", "x = 41").returncode == 0
    return standing_home


def test_markdown_and_html_are_text(at_work: Home) -> None:
    code = "from IPython.display import HTML, Markdown, display\ndisplay(Markdown('# Title\\n\\n**strong** words'))\n"
    code += "display(HTML('<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>'))"
    piped = at_work.cli("exec", code).stdout
    assert "# Title" in piped
    assert "**strong** words" in piped
    assert "<td>" not in piped
    assert re.search(r"^1\W+2\b", piped, re.MULTILINE)
    seen = _seen(_at_terminal(at_work, "exec", code))
    assert b"Title" in seen
    assert b"**" not in seen
    assert b"\x1b[1mstrong\x1b[0m words" in seen


def test_a_picture_that_cannot_be_seen_here_is_a_file_that_is_named(at_work: Home) -> None:
    shown = at_work.cli("exec", _code()).stdout
    found = re.fullmatch(r"\[image/png: (.+)\]\n", shown)
    assert found is not None, shown
    assert Path(found[1]).read_bytes() == _png()
    assert Path(found[1]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("env", "beginning"),
    [
        ({"KITTY_WINDOW_ID": "1"}, b"\x1b_Ga=T,f=100,m=0;" + base64.b64encode(_png())),
        ({"LC_TERMINAL": "iTerm2"}, b"\x1b]1337;File=inline=1;size=%d:" % len(_png()) + base64.b64encode(_png())),
    ],
    ids=["kitty", "iTerm2"],
)
def test_a_picture_is_in_place_where_the_terminal_can(at_work: Home, env: dict[str, str], beginning: bytes) -> None:
    seen = _seen(_at_terminal(at_work, "exec", _code(), **env))
    assert beginning in seen
    assert b"image/png:" not in seen


@pytest.mark.parametrize(
    ("answer", "shown"), [(b"\x1b[?62;4;6c", b'\x1bPq"1;1;20;13#'), (b"\x1b[?62;6c", b"[image/png: ")]
)
def test_a_terminal_that_says_it_has_sixels_gets_them(at_work: Home, answer: bytes, shown: bytes) -> None:
    terminal = _at_terminal(at_work, "exec", _code())
    terminal.expect_exact(b"\x1b[c")
    terminal.send(answer)
    assert shown in _seen(terminal)


def test_a_dumb_terminal_gets_text_alone(at_work: Home) -> None:
    seen = _seen(_at_terminal(at_work, "exec", _code() + "\n1/0", TERM="dumb"))
    assert b"\x1b" not in seen
    assert b"[image/png: " in seen


def test_the_docstring_of_a_name_is_shown(at_work: Home) -> None:
    at_work.cli("exec", "def documented():\n    'What it does.'")
    assert "What it does." in at_work.cli("exec", "documented?").stdout


def test_a_display_that_changes_is_shown_as_it_stands_in_the_end(at_work: Home) -> None:
    code = "from IPython.display import display\nhandle = display('begun', display_id='one')\n"
    code += "for step in range(3): handle.update(f'step {step}')"
    assert at_work.cli("exec", code).stdout == "'begun'\n'step 2'\n"


def test_json_has_each_kind_of_output_apart(at_work: Home) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\n" + _code() + "display('shown')\n42"
    outcome = json.loads(at_work.cli("exec", "--json", code).stdout)
    assert (outcome["stdout"], outcome["stderr"], outcome["result"]) == ("out\n", "err\n", "42")
    assert outcome["display"] == ["'shown'"]
    assert [(each["mime"], base64.b64decode(each["data"])) for each in outcome["images"]] == [("image/png", _png())]
    again = json.loads(at_work.cli("output", "--follow", "--json", str(outcome["execution_id"])).stdout)
    assert {name: again[name] for name in ("stdout", "stderr", "result", "display", "images")} == {
        name: outcome[name] for name in ("stdout", "stderr", "result", "display", "images")
    }


def test_what_is_queued_is_said_to_be_and_behind_what(at_work: Home) -> None:
    gate = at_work.project / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    first = json.loads(at_work.cli("exec", "--json", "--no-wait", code).stdout)["execution_id"]
    command = at_work.cli_command("exec", "'over'")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=at_work.project, env=at_work.env, **pipes) as waiting:  # type: ignore[call-overload]
        assert waiting.stderr.readline() == f"kernel-supervisor: execution {first + 1} is queued behind {first}\n"
        gate.touch()
        assert waiting.stdout.read() == "'over'\n"


def test_the_second_ctrl_c_leaves_and_says_that_it_runs_on(at_work: Home) -> None:
    begun, gate = at_work.project / "begun", at_work.project / "open"
    code = f"import os, time\nopen({str(begun)!r}, 'w').close()\nwhile not os.path.exists({str(gate)!r}):\n"
    code += "    try: time.sleep(0.01)\n    except KeyboardInterrupt: print('not now', flush=True)"
    command = at_work.cli_command("exec", code)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=at_work.project, env=at_work.env, **pipes) as running:  # type: ignore[call-overload]
        until_now(begun.exists, "the cell runs")
        running.send_signal(signal.SIGINT)
        until_now(lambda: "not now" in at_work.cli("output", _latest(at_work)).stdout, "it has taken the interrupt")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=DEADLINE_S)
    number = _latest(at_work)
    gate.touch()
    assert running.returncode == 130
    assert f"execution {number} runs on; `kernel-supervisor output --follow {number}`" in said
    assert at_work.cli("output", "--follow", number).returncode == 0


def _latest(home: Home) -> str:
    return str(json.loads(home.cli("history", "--json").stdout)["entries"][-1]["execution_id"])
