"""Cells whose outputs every way of running them has to agree on, and why where they do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Outputs = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One cell."""

    name: str
    code: str
    differs: str = ""
    """Why our outputs are not nbclient's; empty where they are."""
    holds: Callable[[Outputs], bool] | None = None
    """What holds for ours where they differ."""


def shows(*texts: str) -> Callable[[Outputs], bool]:
    """Whether the outputs are streams with exactly these texts."""
    return lambda outputs: [output.get("text") for output in outputs] == list(texts)


def marks(line: str) -> Callable[[Outputs], bool]:
    """Whether an error's traceback marks this line, its number before it, as one that raised."""
    return lambda outputs: f"----> {line}\n" in re.sub(r"\x1b\[[\d;]*m", "", "\n".join(outputs[-1]["traceback"]))


MARKED_WRONG = (
    "IPython 9 takes a cell's file for one that is too long to be read and marks the line where a cause's frame was "
    "left; our kernels mark the line that raised"
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

CORPUS = [
    Case(
        name="setup",
        code="""
import json, os, subprocess, sys, threading, time, warnings
os.environ["SOURCE_DATE_EPOCH"] = "0"
%matplotlib inline
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from IPython.display import *
from IPython.display import clear_output, display, update_display
plt.rcParams["svg.hashsalt"] = "corpus"
""",
    ),
    Case(name="nothing", code="x = 41"),
    Case(name="comment only", code="# nothing runs here"),
    Case(name="print", code="print('hello')"),
    Case(name="result", code="x + 1"),
    Case(name="text without a final newline", code="print('no newline', end='')"),
    Case(name="many prints", code="for i in range(300): print(i, flush=i % 50 == 0)"),
    Case(name="stderr", code="print('to stderr', file=sys.stderr)"),
    Case(
        name="interleaved stdout and stderr",
        code="""
for i in range(3):
    print("out", i, flush=True)
    print("err", i, file=sys.stderr, flush=True)
""",
    ),
    Case(
        name="tqdm",
        code="""
from tqdm import tqdm
for _ in tqdm(range(400), bar_format="{l_bar}{bar}|", mininterval=0, ncols=40):
    pass
""",
        differs="nbclient keeps the four hundred drawings of the bar; a terminal shows the last",
        holds=lambda outputs: outputs[0]["text"].startswith("100%|") and outputs[0]["text"].count("\n") == 1,
    ),
    Case(
        name="nested tqdm",
        code="""
for _ in tqdm(range(3), desc="outer", bar_format="{desc} {n_fmt}", mininterval=0, ncols=40):
    for _ in tqdm(range(50), desc="inner", bar_format="{desc} {n_fmt}", mininterval=0, ncols=40, leave=False):
        pass
""",
        differs="as tqdm; the inner bar moves the cursor up to the outer one",
        holds=lambda outputs: outputs[0]["text"].strip() == "outer 3",
    ),
    Case(
        name="carriage return over a longer line",
        code="print('abcdef\\rxy')",
        differs="nbclient keeps both; a terminal writes over the first two characters",
        holds=shows("xycdef\n"),
    ),
    Case(
        name="backspace",
        code="print('12\\b3')",
        differs="nbclient keeps the backspace; a terminal goes back",
        holds=shows("13\n"),
    ),
    Case(
        name="CR LF",
        code="print('a\\r\\nb')",
        differs="nbclient keeps CR LF; on a terminal it is a new line",
        holds=shows("a\nb\n"),
    ),
    Case(
        name="tqdm.notebook",
        code="""
from tqdm.notebook import tqdm as bar
for _ in bar(range(5), bar_format="{l_bar}{bar}"):
    pass
""",
    ),
    Case(
        name="rich text",
        code="from rich import print as rprint\nrprint('[bold red]red[/]')",
    ),
    Case(
        name="rich table",
        code="""
from rich.table import Table
table = Table(title="T")
table.add_column("a"); table.add_row("1")
rprint(table)
""",
    ),
    Case(name="colours", code="print('\\x1b[31mred\\x1b[0m plain \\x1b[1;32mbold green\\x1b[0m')"),
    Case(name="clear_output", code="print('gone')\nclear_output()\nprint('stays')"),
    Case(
        name="clear_output(wait=True)",
        code="""
for i in range(5):
    clear_output(wait=True)
    print(i)
""",
    ),
    Case(name="clear_output(wait=True) with nothing after", code="print('stays')\nclear_output(wait=True)"),
    Case(name="display in a loop", code="for i in range(5): display(i, HTML(f'<b>{i}</b>'))"),
    Case(
        name="update_display",
        code="display('first', display_id='same-cell')\nupdate_display('last', display_id='same-cell')",
    ),
    Case(
        name="display to be updated by a later cell",
        code="handle = display(Markdown('*before*'), display_id=True)",
    ),
    Case(
        name="update of an earlier cell's display",
        code="handle.update(Markdown('*after*'))\nprint('updated')",
    ),
    Case(
        name="display with an id shown twice",
        code="display('one', display_id='twice')\ndisplay('two', display_id='twice')",
    ),
    Case(
        name="update of a cleared display",
        code="""
display('cleared', display_id='cleared')
clear_output()
update_display('nobody sees this', display_id='cleared')
print('end')
""",
    ),
    Case(name="pandas table", code="pd.DataFrame({'a': [1, 2], 'b': ['<x>', None]})"),
    Case(
        name="pandas style",
        code="pd.DataFrame({'a': [1]}).style.set_uuid('corpus')",
    ),
    Case(name="polars table", code="import polars as pl\npl.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"),
    Case(name="matplotlib PNG", code="plt.plot([1, 3, 2]); plt.title('a plot'); plt.show()"),
    Case(
        name="two figures and a result",
        code="plt.figure(); plt.plot([1])\nplt.figure(); plt.plot([2])\n'result'",
    ),
    Case(
        name="matplotlib SVG",
        code="""
%config InlineBackend.figure_formats = ['svg']
plt.plot([1, 2]); plt.show()
%config InlineBackend.figure_formats = ['png']
""",
    ),
    Case(
        name="plotly",
        code="""
import plotly.graph_objects as go
go.Figure(go.Bar(y=[1, 3, 2])).show(renderer="plotly_mimetype+notebook_connected")
""",
    ),
    Case(
        name="altair",
        code="import altair as alt\nalt.Chart(pd.DataFrame({'x': [1, 2]})).mark_point().encode(x='x')",
    ),
    Case(name="LaTeX", code="Latex(r'$\\int_0^1 x^2\\,dx = \\frac{1}{3}$')"),
    Case(name="Math", code="Math(r'E = mc^2')"),
    Case(name="Markdown", code="Markdown('# Title\\n\\n| a | b |\\n|---|---|\\n| 1 | 2 |')"),
    Case(name="HTML", code="HTML('<table><tr><td>cell &amp; text</td></tr></table>')"),
    Case(name="JavaScript", code="Javascript('console.log(1)')"),
    Case(name="JSON", code="JSON({'a': [1, 2.5, None, True, {'ü': '\\u2028'}], 'n': 10**12})"),
    Case(name="audio", code="Audio(data=np.sin(np.arange(800) / 8), rate=8000)"),
    Case(
        name="SVG",
        code='SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>\')',
    ),
    Case(
        name="image with metadata",
        code=f"import base64\nImage(data=base64.b64decode('{PIXEL}'), width=40, height=40)",
    ),
    Case(
        name="many mime types",
        code="""
display({"text/plain": "p", "text/html": "<p>h</p>", "application/x-own": "o", "application/vnd.own+json": {"k": 1},
         "text/x-lines": "one\\ntwo\\n"}, metadata={"text/html": {"isolated": True}}, raw=True)
""",
    ),
    Case(name="widgets", code="import ipywidgets as widgets\nslider = widgets.IntSlider(value=3); slider"),
    Case(name="widget changed by a later cell", code="slider.value = 7"),
    Case(name="widget with buffers", code="widgets.Image(value=b'\\x00\\xff' * 8, format='png')"),
    Case(name="Output widget", code="captured = widgets.Output()\ndisplay(captured)\nwith captured: print('inside')"),
    Case(
        name="Output widget that is cleared",
        code="print('kept')\nwith captured: print('gone')\ncaptured.clear_output()\n"
        "with captured: print('stays', end='')\nprint('outside')",
    ),
    Case(
        name="Output widget that is filled by a later cell",
        code="""
for i in range(3):
    with captured:
        captured.clear_output(wait=True)
        print('turn', i)
print('done')
""",
    ),
    Case(
        name="Output widget that is shown twice",
        code="""
twice = widgets.Output()
display(twice)
with twice:
    print('wrong', file=sys.stderr)
    display(HTML('<b>bold</b>'))
twice
""",
    ),
    Case(
        name="Output widget that captures a function",
        code="caught = widgets.Output()\n\n@caught.capture(clear_output=True, wait=True)\n"
        "def speak(text): print(text)\n\nspeak('first'); speak('last'); print('not captured')\ncaught",
    ),
    Case(name="Output widget that is never shown", code="unseen = widgets.Output()\nwith unseen: print('unseen')"),
    Case(
        name="Output widget to which is appended",
        code="unseen.append_stdout('more'); unseen.append_stderr('wrong')\nunseen",
        differs="nbclient tells the kernel what its widget captured, which is in the widget's repr then; what the "
        "widget shows is the same",
        holds=lambda outputs: "'more'" in outputs[0]["data"]["text/plain"],
    ),
    Case(
        name="Output widgets in each other",
        code="outer, inner = widgets.Output(), widgets.Output()\ndisplay(outer)\nwith outer:\n    print('1')\n"
        "    display(inner)\n    with inner: print('in the inner one')\n    print('2')\nprint('3')",
    ),
    Case(name="error in an Output widget", code="with captured: 1 / 0\nprint('goes on')"),
    Case(
        name="plot in an Output widget",
        code="plotted = widgets.Output()\nwith plotted: plt.plot([1, 2]); plt.show()\nwidgets.VBox([plotted])",
    ),
    Case(
        name="interact",
        code="@widgets.interact(n=(0, 9))\ndef square(n):\n    print('of', n)\n    return n * n",
    ),
    Case(name="interact, its control moved", code="square.widget.children[0].value = 7"),
    Case(
        name="bar of tqdm.auto that is updated by a later cell",
        code="from tqdm.auto import tqdm as automatic\n"
        "steps = automatic(total=10, bar_format='{l_bar}{bar}{n_fmt}/{total_fmt}')\nsteps.update(3)",
    ),
    Case(name="the later cell", code="steps.update(7); steps.close()"),
    Case(
        name="bar of tqdm.auto that is not left",
        code="for _ in automatic(range(3), leave=False, bar_format='{l_bar}{bar}{n_fmt}/{total_fmt}'): pass",
        differs="nbclient keeps the view of a widget that was closed; JupyterLab takes it away",
        holds=shows(),
    ),
    Case(name="error", code="1 / 0"),
    Case(name="error after output", code="print('before')\nraise ValueError('wrong <value>')"),
    Case(
        name="chained errors",
        code="""
def inner(): raise KeyError("k")
def outer():
    try: inner()
    except KeyError as error: raise RuntimeError("outer") from error
outer()
""",
        differs=MARKED_WRONG,
        holds=marks("3     try: inner()"),
    ),
    Case(
        name="error during the handling of another",
        code="try:\n    1 / 0\nexcept ZeroDivisionError:\n    undefined",
        differs=MARKED_WRONG,
        holds=marks("2     1 / 0"),
    ),
    Case(name="long traceback", code="def deep(n): return deep(n - 1) if n else 1 / 0\ndeep(40)"),
    Case(
        name="recursion",
        code="def forever(): return forever()\nforever()",
        differs="IPython 9 takes a cell's file for one that is too long to be read and shows a thousand frames; "
        "our kernels show a recursion as IPython shows one in a file",
        holds=lambda outputs: (
            outputs[0]["ename"] == "RecursionError"
            and any("skipping similar frames: forever at line 1" in line for line in outputs[0]["traceback"])
        ),
    ),
    Case(name="syntax error", code="def f(:\n    pass"),
    Case(name="indentation error", code="if True:\npass"),
    Case(name="exception group", code="raise BaseException('base')"),
    Case(name="SystemExit", code="raise SystemExit(3)"),
    Case(name="KeyboardInterrupt", code="raise KeyboardInterrupt"),
    Case(name="warning", code="warnings.warn('careful')"),
    Case(name="assertion", code="assert x == 0, 'x is not zero'"),
    Case(
        name="help in a pager",
        code="len?",
        differs="nbclient drops what a reply wants paged; JupyterLab shows it, and so do we",
        holds=lambda outputs: "Return the number of items" in outputs[0]["data"]["text/plain"],
    ),
    Case(
        name="shell command",
        code="!printf 'from a shell\\n'",
        differs="IPython runs it on a terminal of its own, which ends lines with CR LF; as CR LF above",
        holds=shows("from a shell\n"),
    ),
    Case(
        name="subprocess",
        code="print(subprocess.run(['printf', 'captured'], capture_output=True, text=True).stdout)",
    ),
    Case(name="cell magic", code="%%capture held\nprint('held back')"),
    Case(name="captured output shown", code="held.show()"),
    Case(
        name="output at file-descriptor level",
        code="""
class Seen:
    def __init__(self): self.event = threading.Event()
    def __call__(self, message):
        if message["msg_type"] == "stream" and "descriptor" in message["content"]["text"]: self.event.set()
        return message
seen = Seen()
sys.stdout.pub_thread  # the kernel copies the descriptor in a thread of its own
sys.stdout.register_hook(seen)
os.write(1, b"from the descriptor\\n")
seen.event.wait(1)
sys.stdout.unregister_hook(seen)
""",
    ),
    Case(
        name="threads that are waited for",
        code="""
workers = [threading.Thread(target=print, args=(f"worker {n}",)) for n in range(4)]
for worker in workers: worker.start(); worker.join()
""",
    ),
    Case(
        name="thread that will print later",
        code="""
go_on = threading.Event()
def later(): go_on.wait(); print("from the thread")
late = threading.Thread(target=later); late.start()
""",
        differs="ipykernel 7 shows what a thread prints in the cell that runs then; it is the work of this one",
        holds=shows("from the thread\n"),
    ),
    Case(
        name="thread that prints in a later cell",
        code="go_on.set(); late.join()",
        differs="as above: the thread is another cell's",
        holds=shows(),
    ),
    Case(
        name="task that prints after its cell",
        code="import asyncio\nprinted = asyncio.Event()\n"
        "async def tell():\n    await started.wait()\n    print('late')\n    printed.set()\n"
        "started = asyncio.Event()\ntask = asyncio.create_task(tell())",
        differs="nbclient stops listening for a cell's outputs at its idle; the text is this cell's all the same",
        holds=shows("late\n"),
    ),
    Case(name="await of the task", code="started.set()\nawait printed.wait()\nawait task"),
    Case(name="bytes", code="print(bytes(range(256)))"),
    Case(
        name="control characters",
        code="print('nul \\x00 bell \\x07 del \\x7f next line \\x85 separator \\u2028')",
    ),
    Case(name="surrogate from a broken file name", code="print('caf\\udce9')"),
    Case(name="emoji and combining characters", code="print('😀 👩‍👩‍👧 e\\u0301 中文 עברית')"),
    Case(name="20 MB of text", code="print(('x' * 99 + '\\n') * 200_000)"),
    Case(name="a line of 3 MB", code="print('y' * 3_000_000)"),
    Case(name="nothing shown by a trailing semicolon", code="x + 1;"),
    Case(
        name="several results",
        code="""
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.ast_node_interactivity = 'all'
""",
    ),
    Case(name="each expression is a result", code="1\n2\n'three'"),
    Case(name="the end", code="InteractiveShell.ast_node_interactivity = 'last_expr'\nprint('end')"),
]
