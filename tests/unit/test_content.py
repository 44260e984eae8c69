"""`mcp.content`: a result tells what happened, in order, within its limits, and what can be done next."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, ExecutionId, KernelId, Mark, Message, Question, SessionName
from kernel_supervisor.mcp import content
from kernel_supervisor.mcp.content import machine
from kernel_supervisor.mcp.images import Image
from kernel_supervisor.mcp.view import Reading, Rendered, ResultView
from kernel_supervisor.outputs.area import Output
from kernel_supervisor.outputs.folding import Folded, Folder, fold

NAME = Question(id="q", prompt="Name? ", password=False)
TOP = "ok · In [3] · execution 17 · 0.2 s"
CALL = "kernel_output(execution_id=17"


def picture(size: tuple[int, int] = (8, 6)) -> str:
    out = io.BytesIO()
    Pillow.new("RGB", size, "red").save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


PNG = picture()
FIGURE = {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": PNG}


def stream(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def display(data: dict[str, Any]) -> Output:
    return {"output_type": "display_data", "data": data, "metadata": {}, "transient": {}}


def result(text: str, **data: Any) -> Output:
    return {**display({"text/plain": text, **data}), "output_type": "execute_result", "execution_count": 3}


def error(name: str = "ValueError", value: str = "bad", *frames: str) -> Output:
    title = f"{name}                Traceback (most recent call last)"
    cell = "Cell In[3], line 1\n----> 1 f()\n"
    lines = ["-" * 75, title, cell, *frames, f"{name}: {value}"]
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": lines}


def view(*outputs: Output, marks: Sequence[Mark] = (), reply: dict[str, Any] | None = None, **facts: Any) -> ResultView:
    of_execution = ("status", "execution_count", "reason")
    execution = Execution(
        id=ExecutionId(17),
        session=SessionName("project"),
        kind="code",
        source="…",
        kernel_id=KernelId("k1"),
        **{"status": "ok", "execution_count": 3, **{key: facts.pop(key) for key in of_execution if key in facts}},
    )
    folded = Folded(outputs=list(outputs), marks=list(marks), reply=reply, execution_count=execution.execution_count)
    return ResultView(execution=execution, folded=folded, **{"duration_s": 0.2, **facts})


def render(view: ResultView, reading: Reading | None = None) -> Rendered:
    return content.render(view, reading or Reading())


def blocks(rendered: Rendered) -> list[str]:
    return [block if isinstance(block, str) else f"<{block.mime}>" for block in rendered.content]


def text_of(found: ResultView, **reading: Any) -> str:
    (text,) = blocks(render(found, Reading(**reading)))
    return text


# --- the status line -------------------------------------------------------------------------------------------


def test_a_value_stands_under_the_status_line() -> None:
    assert text_of(view(result("2"))) == f"{TOP}\n2"


def test_a_cell_without_output_says_so() -> None:
    assert text_of(view()) == f"{TOP} · no output"


@pytest.mark.parametrize(
    ("duration", "told"),
    [(0.006, "6 ms"), (0.25, "0.2 s"), (9.94, "9.9 s"), (92.4, "92 s"), (312.0, "5 min 12 s"), (7500.0, "2 h 5 min")],
)
def test_durations_are_told_as_people_tell_them(duration: float, told: str) -> None:
    assert text_of(view(duration_s=duration)).startswith(f"ok · In [3] · execution 17 · {told} ·")


def test_a_kernel_that_is_not_the_usual_one_is_named() -> None:
    assert text_of(view(result("2"), kernel="gpu-box")) == f"{TOP} · kernel gpu-box\n2"


def test_a_running_cell_says_how_to_wait_and_how_to_stop() -> None:
    assert text_of(view(stream("step 1\n"), status="running", duration_s=92.4)) == (
        "running · In [3] · execution 17 · 92 s so far\nstep 1\n"
        f"Still running: {CALL}, wait=60) waits on, kernel_interrupt(execution_id=17) stops it."
    )


def test_a_queued_cell_says_behind_what_it_waits() -> None:
    text = text_of(view(status="queued", execution_count=None, duration_s=None, behind=(12, 15), ahead=2))
    assert text.startswith("queued · execution 17 · behind executions 12, 15\nNot begun yet: ")
    assert "kernel_interrupt(execution_id=17)" in text


@pytest.mark.parametrize("status", ["aborted", "lost", "dead"])
def test_an_end_that_needs_a_reason_gives_it(status: str) -> None:
    text = text_of(view(stream("last words\n"), status=status, reason="The kernel was killed by signal 9."))
    assert text == f"{status} · In [3] · execution 17 · 0.2 s\nThe kernel was killed by signal 9.\nlast words"


def test_notices_come_before_the_outputs() -> None:
    text = text_of(view(result("2"), notices=("The daemon was restarted; all variables are there.",)))
    assert text == f"{TOP}\nnote: The daemon was restarted; all variables are there.\n2"


def test_a_question_is_told_with_the_way_to_answer_it() -> None:
    asked = view(stream("hello\n"), status="running", question=NAME)
    assert text_of(asked).startswith("waiting for input · In [3] · execution 17 · ")
    assert text_of(asked).endswith(
        "\nThe cell asks for a line of input: Name? · answer: kernel_reply(execution_id=17, text=…) · "
        "kernel_interrupt(execution_id=17) stops it."
    )
    assert machine(asked, render(asked))["status"] == "waiting for input"


def test_a_question_without_words_is_one_too() -> None:
    asked = view(status="running", question=replace(NAME, prompt=""))
    assert "The cell asks for a line of input. · answer" in text_of(asked)


def test_a_password_can_be_typed_where_no_agent_sees_it() -> None:
    asked = view(status="running", question=replace(NAME, prompt="Key: ", password=True))
    assert "asks for a password: Key: · answer" in text_of(asked)
    assert "`kernel-supervisor reply 17` in a terminal" in text_of(asked)
    assert machine(asked, render(asked))["password"] is True


def test_advice_comes_last() -> None:
    assert text_of(view(result("2"), advice=("Try this.",))).endswith("2\nTry this.")


@pytest.mark.parametrize(
    ("kind", "told"),
    [("hole", "could not be recorded"), ("limit", "reached"), ("gap", "nobody was listening"), ("later", "reached")],
)
def test_what_the_record_misses_is_told(kind: Any, told: str) -> None:
    text = text_of(view(result("2"), marks=[Mark(kind=kind, parent_id="m", detail="reached 5 MB")]))
    assert text.split("\n")[2].startswith("note: ")
    assert told in text


# --- text ------------------------------------------------------------------------------------------------------


def test_stdout_and_stderr_are_told_apart() -> None:
    found = view(stream("out\n"), stream("warn\n", "stderr"), stream("more\n"), result("42"))
    assert text_of(found) == f"{TOP}\nout\n[stderr]\nwarn\n[stdout]\nmore\nOut[3]: 42"


def test_a_table_behind_a_print_begins_on_its_own_line() -> None:
    assert text_of(view(stream("out\n"), result("   a\n0  1"))) == f"{TOP}\nout\nOut[3]:\n   a\n0  1"


def test_terminal_controls_are_folded() -> None:
    assert text_of(view(stream("\r 0%|\r100%|\x1b[32m done\x1b[0m\n\x00\ud800"))) == f"{TOP}\n100%| done\n�"


def test_a_bar_that_is_drawn_between_prints_is_shown_once() -> None:
    steps = [part for step in range(5) for part in (stream(f"\r{step}|", "stderr"), stream(f"loss {step}\n"))]
    assert text_of(view(*steps, stream("\r5|\n", "stderr"))) == (
        f"{TOP}\nloss 0\nloss 1\nloss 2\nloss 3\nloss 4\n[stderr]\n5|"
    )


def test_a_bar_that_was_folded_before_is_shown_once_too() -> None:
    bars = [(f"fit: {step}%|#| {step}/9", f"loss {step}\n") for step in range(4)]
    steps = [part for bar, loss in bars for part in (stream(bar, "stderr"), stream(loss))]
    assert text_of(view(*steps)) == (f"{TOP}\nloss 0\nloss 1\nloss 2\n[stderr]\nfit: 3%|#| 3/9\n[stdout]\nloss 3")


def test_different_bars_and_ordinary_lines_stay() -> None:
    parts = [
        stream("a: 9%|#", "stderr"),
        stream("x\n"),
        stream("b: 5%|#", "stderr"),
        stream("y\n"),
        stream("z", "stderr"),
    ]
    assert text_of(view(*parts)) == (
        f"{TOP}\n[stderr]\na: 9%|#\n[stdout]\nx\n[stderr]\nb: 5%|#\n[stdout]\ny\n[stderr]\nz"
    )


def test_a_flood_on_one_stream_leaves_the_others_whole() -> None:
    flood = "".join(f"line {number}\n" for number in range(100_000))
    text = text_of(view(stream(flood), stream("a warning\n", "stderr"), result("'the value'"), error()))
    assert len(text) <= 12_000
    assert "[stderr]\na warning\n" in text
    assert "Out[3]: 'the value'" in text
    assert "ValueError: bad\n" in text
    assert "line 0\n" in text
    assert "line 99999\n" in text


def test_many_outputs_share_the_room_from_both_ends() -> None:
    parts = [
        part for step in range(500) for part in (stream(f"out {step}\n" * 9), stream(f"err {step}\n" * 9, "stderr"))
    ]
    text = text_of(view(*parts, display({"text/plain": "a display"}), *parts, error()), max_chars=4000)
    assert len(text) <= 4000
    assert "out 0\n" in text
    assert "a display" in text
    assert "ValueError: bad" in text


def test_what_is_left_out_can_be_read_with_the_call_that_is_named() -> None:
    found = view(stream("".join(f"line {number}\n" for number in range(1, 5001))))
    text = text_of(found, max_chars=1000)
    number = int(text.split("from_line=")[1].split(")")[0])
    assert f"line {number - 1}\n[… " in text
    title, first = text_of(found, from_line=number, max_chars=1000).split("\n")[1:3]
    assert title.startswith(f"Lines {number} to ")
    assert first == f"line {number}"


def test_lines_are_numbered_through_all_outputs() -> None:
    found = view(stream("a\nb\n"), display(FIGURE), stream("warn\n", "stderr"), result("9"))
    assert text_of(found, grep="warn") == f"{TOP}\n1 of 1 matching line, of 6 lines:\n5: warn"
    assert text_of(found, tail=2) == f"{TOP}\nLines 5 to 6 of 6:\nwarn\nOut[3]: 9"
    assert "3: [image 1: image/png, not shown here]" in text_of(found, grep="image")
    assert render(found).lines == 6


def test_a_line_that_counts_as_several_is_not_taken_for_several_lines() -> None:
    found = view(stream(f"short\n{'x' * 2500}\n"))
    assert "Lines 2 to 4 of 4 (one longer than 1,000 characters counts as several):" in text_of(found, from_line=2)
    assert "Lines 1 to 2 of 2:" in text_of(view(stream("a\nb\n")), from_line=1)


def test_lines_beyond_the_end_are_told() -> None:
    found = view(stream("a\n"), status="running")
    assert "Nothing from line 2 on: there is 1 line." in text_of(found, from_line=2)
    assert "No line matches (1 line)." in text_of(found, grep="zzz")


def test_matches_that_do_not_fit_can_be_read_on() -> None:
    found = view(stream("".join(f"line {number}\n" for number in range(1, 5001))))
    text = text_of(found, grep="line", max_chars=600)
    assert len(text) <= 600
    last = int(text.rsplit(": line ", 1)[1].split("\n")[0])
    assert text.endswith(f"[… more: {CALL}, from_line={last + 1}, grep='line') …]")
    text = text_of(found, tail=2000, max_chars=600)
    assert f"[… left out before this: {CALL}, from_line=3001) …]" in text
    assert text.endswith("line 5000")


def test_a_pattern_that_is_wrong_is_the_callers_to_mend() -> None:
    with pytest.raises(RefusedError, match="grep"):
        render(view(stream("a\n")), Reading(grep="("))


# --- what is not plain text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"text/plain": "   a\n0  1", "text/html": "<table>…</table>"}, "   a\n0  1"),
        ({"text/llm+plain": "frame, 9 rows", "text/plain": "   a\n0  1", "text/markdown": "x"}, "frame, 9 rows"),
        ({"text/markdown": "# Title", "text/plain": "<IPython.core.display.Markdown object>"}, "# Title"),
        ({"text/latex": "$x^2$", "text/plain": "<IPython.core.display.Math object>"}, "$x^2$"),
        ({"text/latex": "$x^2$", "text/plain": "x**2"}, "x**2"),
        (
            {"application/json": {"a": [1]}, "text/plain": "<IPython.core.display.JSON object>"},
            '{\n "a": [\n  1\n ]\n}',
        ),
        ({"text/plain": "<object at 0x7f>"}, "<object at 0x7f>"),
        (
            {"text/html": "<b>bold</b> &amp; <a href='u'>link</a><script>no()</script>", "text/plain": "<HTML object>"},
            "bold & link",
        ),
        (
            {"text/html": "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"},
            "a | b\n1 | 2",
        ),
        ({"text/html": "<ul><li>one</li><li>two</li></ul><pre>x  y\n z</pre>"}, "- one\n- two\nx  y\n z"),
        ({"text/html": '<img src="http://x/y.png"/><img alt="A plot">'}, "[image: http://x/y.png][image: A plot]"),
        (
            {"text/html": f'<audio><source src="data:audio/wav;base64,{"A" * 4000}"></audio>'},
            "[audio][source: data:audio/wav (3 kB)]",
        ),
        ({"text/html": '<img src="data:image/png;base64,AAAA">'}, "[image: data:image/png]"),
        (
            {"text/html": "<script>Plotly.newPlot('a', [])</script>", "text/plain": "<HTML object>"},
            "HTML, 40 bytes: drawn by a script (plotly), no text",
        ),
        ({"text/markdown": f"![x](data:image/png;base64,{'A' * 4000})"}, "![x](data:image/png (3 kB))"),
        (
            {"application/vnd.plotly.v1+json": {}, "text/html": "<script>x</script>"},
            "[application/vnd.plotly.v1+json, 2 bytes; text/html, 18 bytes: no text comes with it; "
            "print() in a cell what it is to say]",
        ),
        ({"text/plain": "IntSlider(value=3)", "application/vnd.jupyter.widget-view+json": {}}, "IntSlider(value=3)"),
        (
            {"text/html": f"<style>{'#r1 { color: red } ' * 9000}</style><table><tr><td>a</td><td>1</td></tr></table>"},
            "a | 1",
        ),
    ],
)
def test_displays_are_shown_in_their_most_readable_form(data: dict[str, Any], shown: str) -> None:
    assert text_of(view(display(data))) == f"{TOP}\n{shown}"


def test_a_display_that_says_in_each_form_that_there_is_nothing_is_nothing() -> None:
    assert text_of(view(display({"text/plain": "", "text/html": "<pre></pre>\n"}))) == f"{TOP} · no output"


def test_an_error_that_was_shown_by_a_cell_that_succeeded_is_not_overlooked() -> None:
    shown = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
    assert text_of(view(shown)) == f"{TOP} · an error was shown\nValueError: no"


def test_a_cell_that_ends_its_kernel_says_so() -> None:
    found = view()
    found.folded.reply = {"status": "ok", "payload": [{"source": "ask_exit", "keepkernel": False}]}
    assert "The cell told its kernel to exit: it ends now" in text_of(found)


def test_advice_to_exit_is_not_passed_on() -> None:
    advice = "/x/IPython/core/interactiveshell.py:3831: UserWarning: To exit: use 'exit', 'quit', or Ctrl-D.\n"
    found = view(stream(f"own\n{advice}  warn(\"To exit: use 'exit', 'quit', or Ctrl-D.\", stacklevel=1)\n", "stderr"))
    assert text_of(found) == f"{TOP}\n[stderr]\nown"


def test_a_figure_is_an_image_without_its_repr() -> None:
    assert blocks(render(view(display(FIGURE)))) == [f"{TOP}\n[image 1: 8×6]", "<image/png>"]


def test_a_picture_in_a_page_is_seen() -> None:
    page = f'<h1>Map</h1><img src="data:image/png;base64,{picture((40, 30))}">'
    assert blocks(render(view(display({"text/html": page, "text/plain": "<HTML>"}))))[1:] == ["<image/png>"]
    assert content.blocks(view(display({"text/html": page})).folded)
    beside = blocks(render(view(display({"text/html": page, "text/plain": "an object that says what it is"}))))
    assert beside[1:] == [], "it is an ornament"
    several = blocks(render(view(display({"text/html": page * 2}))))
    assert several[1:] == [], "which of them is meant nobody knows"


def test_an_animation_in_a_page_is_its_first_frame_and_a_word() -> None:
    first, second = picture((8, 6)), picture((9, 7))
    page = "\n".join(
        [
            "<script>function Animation(frames) {}",
            f'  frames[0] = "data:image/png;base64,{first[:40]}\\\n{first[40:]}\\\n"',
            f'  frames[1] = "data:image/png;base64,{second}\\\n"',
            "  anim = new Animation(frames, img_id, slider_id, 40.0, loop_select_id);</script>",
            '<button title="Next">Once Loop Reflect</button>',
        ]
    )
    shown = blocks(render(view(display({"text/html": page, "text/plain": "<HTML>"}))))
    assert shown[1:] == ["<image/png>"]
    assert shown[0].startswith(f"{TOP}\nHTML, ")
    assert "animation of 2 frames, 40 ms apart, its first frame\n[image 1: 8×6]" in shown[0]
    assert "Loop" not in shown[0]


def test_the_place_where_bokeh_is_to_draw_is_nothing_to_see() -> None:
    place = '\n  <div id="fb9" data-root-id="p1006" style="display: contents;"></div>\n'
    assert text_of(view(display({"text/html": place}))) == f"{TOP} · no output"


def test_a_figure_keeps_what_is_said_about_it() -> None:
    found = view(display({**FIGURE, "text/llm+plain": "a line plot"}))
    assert blocks(render(found)) == [f"{TOP}\na line plot\n[image 1: 8×6]", "<image/png>"]


def test_images_stand_where_they_appeared() -> None:
    found = view(stream("before\n"), display(FIGURE), stream("between\n"), display(FIGURE), result("9"))
    assert blocks(render(found)) == [
        f"{TOP}\nbefore\n[image 1: 8×6]",
        "<image/png>",
        "[stdout]\nbetween\n[image 2: 8×6]",
        "<image/png>",
        "Out[3]: 9",
    ]


def test_images_beyond_the_first_ones_are_named_with_the_call_that_shows_them() -> None:
    found = view(*[display(FIGURE)] * 11)
    shown = blocks(render(found))
    assert shown.count("<image/png>") == 8
    assert "[image 11: image/png, not shown here]" in shown[-1]
    assert shown[-1].endswith(f"Images 9 to 11 are not shown here: {CALL}, from_image=9)")
    later = blocks(render(found, Reading(from_image=9)))
    assert later.count("<image/png>") == 3
    assert later[0] == f"{TOP}\n[image 9: 8×6]"
    assert render(found, Reading(from_image=9)).images == 11


def test_a_scaled_image_says_so() -> None:
    text, _image = blocks(render(view(display({"image/png": picture((3136, 10))}))))
    assert text == f"{TOP}\n[image 1: 1568×5, scaled from 3136×10]"


def test_an_image_that_cannot_be_shown_is_named() -> None:
    assert "[image 1: image/png" in text_of(view(display({"image/png": "AAAA", "text/plain": "<Figure>"})))


def test_images_and_long_texts_are_for_a_thread() -> None:
    assert content.blocks(view(display(FIGURE)).folded)
    assert content.blocks(Folded(display_updates=[display(FIGURE)]))
    assert content.blocks(view(stream("line\n" * 300_000)).folded)
    assert content.blocks(view(result("x" * 1_100_000)).folded)
    assert not content.blocks(view(stream("line\n"), result("2"), error()).folded)


def test_updates_of_earlier_displays_and_suggested_input_are_shown() -> None:
    update = {**display({"text/plain": "new state"}), "transient": {"display_id": "d"}}
    folded = Folded(
        display_updates=[display({"text/plain": "old"}) | {"transient": {"display_id": "d"}}, update],
        reply={"status": "ok", "payload": [{"source": "set_next_input", "text": "x = 1"}]},
    )
    text = text_of(ResultView(execution=view().execution, folded=folded, duration_s=0.2))
    assert text == f"{TOP}\nnew state\n(suggested as the next input)\nx = 1"


def test_what_a_reply_wants_paged_is_shown_once() -> None:
    page = {"source": "page", "data": {"text/plain": "\x1b[31mDocstring:\x1b[0m help"}}
    reply = Message(
        channel="shell",
        msg_type="execute_reply",
        msg_id="1",
        parent_id="p",
        date="",
        username="",
        content={"status": "ok", "payload": [page]},
    )
    found = ResultView(execution=view().execution, folded=fold([reply]), duration_s=0.2)
    assert text_of(found) == f"{TOP}\nDocstring: help"


def test_an_error_that_is_only_in_the_reply_is_shown() -> None:
    reply = {"status": "error", "ename": "KernelError", "evalue": "no", "traceback": []}
    found = view(status="error", reply=reply)
    assert text_of(found) == "error · In [3] · execution 17 · 0.2 s\nKernelError: no"
    assert machine(found, render(found))["error"] == {"ename": "KernelError", "evalue": "no"}


@pytest.mark.parametrize(("printed", "said"), [("KernelError: no\n", 1), ("KernelError: no\nmore\n", 2), ("", 1)])
def test_an_error_that_is_only_in_the_reply_and_was_just_printed_is_not_said_again(printed: str, said: int) -> None:
    reply = {"status": "error", "ename": "KernelError", "evalue": "no", "traceback": []}
    found = view(*([stream(printed, "stderr")] if printed else ()), status="error", reply=reply)
    assert text_of(found).count("KernelError: no") == said
    assert machine(found, render(found))["error"] == {"ename": "KernelError", "evalue": "no"}


# --- errors ----------------------------------------------------------------------------------------------------


def test_an_error_tells_the_exception_first() -> None:
    assert text_of(view(error(), status="error")) == (
        "error · In [3] · execution 17 · 0.2 s\nValueError: bad\n\nCell In[3], line 1\n----> 1 f()"
    )


def test_folded_library_code_can_be_read() -> None:
    library = "File /usr/lib/python3.12/json/decoder.py:353, in raw_decode(s)\n--> 353     obj = scan(s)\n"
    found = view(error("ValueError", "bad", library), status="error")
    assert "  json/decoder.py:353 in raw_decode: obj = scan(s)" in text_of(found)
    assert text_of(found).endswith(f"Library code in the traceback is folded: {CALL}, full_traceback=true)")
    assert text_of(found, full_traceback=True).endswith("--> 353     obj = scan(s)")


def test_code_of_an_earlier_execution_names_it() -> None:
    earlier = "Cell In[2], line 4, in f()\n----> 4     raise ValueError('bad')\n"
    found = view(error("ValueError", "bad", earlier), status="error", cells={2: 16})
    assert "Cell In[2], line 4 (execution 16), in f()" in text_of(found)


# --- the machine-readable part ---------------------------------------------------------------------------------


def test_machine_readable_part_has_its_documented_keys() -> None:
    found = view(error(), display(FIGURE), status="error", duration_s=0.12345)
    assert machine(found, render(found)) == {
        "execution_id": 17,
        "status": "error",
        "execution_count": 3,
        "session": "project",
        "kernel_id": "k1",
        "duration_s": 0.123,
        "truncated": False,
        "lines": 5,
        "images": 1,
        "notices": [],
        "advice": [],
        "error": {"ename": "ValueError", "evalue": "bad"},
    }


def test_truncation_is_told_to_machines() -> None:
    found = view(stream("x\n" * 50_000))
    assert machine(found, render(found))["truncated"] is True


# --- whatever comes --------------------------------------------------------------------------------------------

ANY_TEXT = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["x" * 3000, "line\n" * 3000, "\r 5%|#", "\x1b[A\x1b[2K", "\ud800", "\x00", "<Figure size 1x1>"]),
)
DATA = st.dictionaries(
    st.sampled_from(["text/plain", "text/html", "text/markdown", "text/llm+plain", "text/latex", "image/svg+xml"]),
    ANY_TEXT,
    max_size=3,
) | st.sampled_from([FIGURE, {"image/png": "not base64 ä"}, {"application/json": {"a": None}}, {}])
CONTENTS = st.one_of(
    st.tuples(
        st.just("stream"), st.fixed_dictionaries({"name": st.sampled_from(["stdout", "stderr"]), "text": ANY_TEXT})
    ),
    st.tuples(st.just("display_data"), st.fixed_dictionaries({"data": DATA})),
    st.tuples(st.just("execute_result"), st.fixed_dictionaries({"data": DATA, "execution_count": st.integers(1, 9)})),
    st.tuples(
        st.just("update_display_data"),
        st.fixed_dictionaries({"data": DATA, "transient": st.just({"display_id": "d"})}),
    ),
    st.tuples(
        st.just("error"),
        st.fixed_dictionaries({"ename": ANY_TEXT, "evalue": ANY_TEXT, "traceback": st.lists(ANY_TEXT, max_size=4)}),
    ),
    st.tuples(st.just("clear_output"), st.fixed_dictionaries({"wait": st.booleans()})),
    st.tuples(st.just("no_such_type"), st.just({})),
)
READINGS = st.builds(
    Reading,
    max_chars=st.sampled_from([1, 50, 500, 2000, 12_000]),
    max_images=st.integers(0, 3),
    from_image=st.integers(1, 4),
    from_line=st.none() | st.integers(1, 400),
    tail=st.none() | st.integers(0, 400),
    grep=st.none() | st.sampled_from(["line", "x+", "$"]),
    full_traceback=st.booleans(),
)


def messages(contents: Sequence[tuple[str, dict[str, Any]]]) -> list[Message | Mark]:
    found: list[Message | Mark] = [
        Message(
            channel="iopub", msg_type=kind, msg_id=str(number), parent_id="p", date="", username="", content=content
        )
        for number, (kind, content) in enumerate(contents)
    ]
    return [*found, Mark(kind="gap", parent_id="p", detail="\x1b[31m" + "d" * 2000)]


@settings(deadline=None)
@given(
    st.lists(CONTENTS, max_size=40), READINGS, st.sampled_from(["ok", "error", "running", "queued", "dead"]), ANY_TEXT
)
def test_any_stream_of_messages_stays_within_its_limits(
    contents: list[tuple[str, dict[str, Any]]], reading: Reading, status: str, words: str
) -> None:
    facts = view(status=status, reason=words)
    found = ResultView(
        execution=facts.execution,
        folded=fold(messages(contents)),
        notices=(words,),
        advice=(words,),
        question=Question(id="q", prompt=words, password=False) if status == "running" else None,
    )
    rendered = render(found, reading)
    texts = [block for block in rendered.content if isinstance(block, str)]
    assert sum(map(len, texts)) <= reading.max_chars
    assert sum(isinstance(block, Image) for block in rendered.content) <= reading.max_images
    assert "".join(texts).encode("utf-8")
    assert machine(found, rendered)["lines"] >= 0


@settings(deadline=None)
@given(st.lists(CONTENTS, max_size=30), st.integers(0, 30))
def test_reading_in_between_changes_nothing_of_the_end(contents: list[tuple[str, dict[str, Any]]], pause: int) -> None:
    folder = Folder()
    for number, message in enumerate(messages(contents)):
        if number == pause:
            render(ResultView(execution=view().execution, folded=folder.result()))
        folder.feed(message)
    in_pieces = ResultView(execution=view().execution, folded=folder.result())
    at_once = ResultView(execution=view().execution, folded=fold(messages(contents)))
    assert blocks(render(in_pieces)) == blocks(render(at_once))
