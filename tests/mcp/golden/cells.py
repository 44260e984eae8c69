"""The cells: each is run, and read on in where it says so, in the order they stand here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHOWN = Path(__file__).parents[2] / "unit/bokeh_3_9_shown.json"
"""What bokeh 3.9.2 published for figures that were shown in a notebook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell, and the calls that follow it."""

    name: str
    code: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """Of its kernel_exec."""
    reads: tuple[dict[str, Any], ...] = ()
    """The arguments of each kernel_output that follows, besides the execution."""


_IMAGE = "from PIL import Image as _I\nimport io\nfrom IPython.display import display, Image\n"


def _picture(kind: str, size: str, mode: str = "RGB") -> str:
    return (
        f"{_IMAGE}_b = io.BytesIO()\n_I.effect_noise({size}, 60).convert({mode!r}).save(_b, {kind!r})\n"
        f"display({{'image/{kind.lower()}': __import__('base64').b64encode(_b.getvalue()).decode()}}, raw=True)"
    )


CELLS = [
    # Text
    Cell(name="nothing", code="x = 41"),
    Cell(name="only-a-comment", code="# nothing runs here"),
    Cell(name="print", code="print('hello')"),
    Cell(name="value", code="x + 1"),
    Cell(name="value-hidden", code="x + 1;"),
    Cell(name="none", code="None"),
    Cell(name="print-and-value", code="print('first')\n'then the value'"),
    Cell(name="text-without-newline", code="print('no newline', end='')"),
    Cell(name="two-streams", code="import sys\nprint('out')\nprint('err', file=sys.stderr)\nprint('out again')"),
    Cell(name="colours", code=r"print('\x1b[31mred\x1b[0m and \x1b[1;4mbold\x1b[0m', '\x1b]0;title\x07after')"),
    Cell(name="carriage-return", code=r"print('loading 10%\rloading 99%\rdone       ')"),
    Cell(name="backspace", code=r"print('helpp\b\b \blo')"),
    Cell(name="cursor-up", code=r"print('first\nsecond'); print('\x1b[2A\x1b[2Kchanged\x1b[2B', end='')"),
    Cell(name="nul-and-surrogate", code=r"print('a\x00b', '\ud800', 'caf\u00e9 \U0001f600')"),
    Cell(
        name="progress-bar",
        code="from tqdm import tqdm\n"
        "for _ in tqdm(range(3), desc='steps', bar_format='{desc}: {percentage:.0f}%'): pass",
    ),
    Cell(
        name="many-lines",
        code="for i in range(3000): print('line', i)",
        arguments={"max_chars": 600},
        reads=(
            {"from_line": 1500, "max_chars": 500},
            {"tail": 2},
            {"grep": "line 29.7$"},
            {"grep": "nothing like it"},
        ),
    ),
    Cell(name="one-long-line", code="print('abc' * 5000)", arguments={"max_chars": 600}),
    Cell(
        name="a-flood-does-not-hide-the-rest",
        code="for i in range(4000): print('noise', i)\nimport sys; sys.stdout.flush()\n"
        "print('look here', file=sys.stderr)\n'the value'",
        arguments={"max_chars": 700},
    ),
    Cell(name="long-value", code="'word ' * 4000", arguments={"max_chars": 600}),
    Cell(name="subprocess", code="!echo from the shell"),
    Cell(name="cell-magic", code="%%bash\necho one\necho two >&2"),
    Cell(name="logging", code="import logging\nlogging.getLogger('app').warning('disk almost full')"),
    Cell(name="warning", code="import warnings\nwarnings.warn('this is old', DeprecationWarning, stacklevel=1)"),
    Cell(
        name="thread",
        code="import threading\nt = threading.Thread(target=lambda: print('from a thread'))\nt.start(); t.join()",
    ),
    Cell(name="async", code="import asyncio\nawait asyncio.sleep(0)\nprint('awaited')"),
    # Displays
    Cell(
        name="clear-output",
        code="from IPython.display import clear_output\nprint('old')\nclear_output()\nprint('new')",
    ),
    Cell(
        name="updated-display",
        code="from IPython.display import display\nh = display('step 1', display_id=True)\nh.update('step 2')",
    ),
    Cell(name="markdown", code="from IPython.display import Markdown\nMarkdown('# Title\\n\\n*text*')"),
    Cell(name="latex", code="from IPython.display import Latex\nLatex('$e^{i\\\\pi} = -1$')"),
    Cell(name="html-only", code="display({'text/html': '<table><tr><td>a</td><td>1</td></tr></table>'}, raw=True)"),
    Cell(name="json", code="from IPython.display import JSON\nJSON({'a': [1, 2], 'b': None})"),
    Cell(name="javascript", code="from IPython.display import Javascript\nJavascript('alert(1)')"),
    Cell(name="several-displays-in-order", code="display(1)\nprint('between')\ndisplay('two')\n3"),
    Cell(name="own-form-for-models", code="class A:\n    def _repr_llm_(self): return 'A, in brief'\nA()"),
    Cell(
        name="markdown-of-an-object",
        code="class B:\n    def _repr_markdown_(self): return '**B**'\n    def __repr__(self): return 'plain B'\nB()",
    ),
    Cell(name="repr-that-raises", code="class C:\n    def __repr__(self):\n        raise ValueError('no words')\nC()"),
    # Images
    Cell(name="plot", code="import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);"),
    Cell(name="plot-between-text", code="print('before')\nplt.plot([1, 2])\nplt.show()\nprint('after')"),
    Cell(
        name="many-figures",
        code="for i in range(14):\n    plt.figure(figsize=(2, 1)); plt.plot([i, 1]); plt.show()",
        reads=({"from_image": 11},),
    ),
    Cell(name="png", code=_picture("PNG", "(300, 200)")),
    Cell(name="png-too-large", code=_picture("PNG", "(3000, 1500)", "1")),
    Cell(name="jpeg", code=_picture("JPEG", "(300, 200)")),
    Cell(name="gif", code=_picture("GIF", "(120, 80)", "L")),
    Cell(name="webp", code=_picture("WEBP", "(300, 200)")),
    Cell(name="bmp", code=_picture("BMP", "(64, 64)")),
    Cell(name="tiff", code=_picture("TIFF", "(64, 64)")),
    Cell(name="broken-image", code="display({'image/png': 'bm90IGFuIGltYWdl'}, raw=True)"),
    Cell(
        name="svg",
        code="from IPython.display import SVG\n"
        'SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><circle r="9"/></svg>\')',
    ),
    # Tables and objects
    Cell(name="frame", code="import pandas as pd\npd.DataFrame({'fruit': ['fig', 'plum'], 'n': [1, 2]})"),
    Cell(
        name="frame-that-is-large",
        code="import numpy as np\npd.DataFrame({'n': np.arange(100_000), 'kind': np.arange(100_000) % 3, "
        "'gap': np.where(np.arange(100_000) % 10, 1.5, np.nan)})",
    ),
    Cell(name="series", code="pd.Series(range(10_000), name='steps')"),
    Cell(
        name="polars",
        code="import polars as pl\npl.DataFrame({'n': range(50_000), 'even': [i % 2 == 0 for i in range(50_000)]})",
    ),
    Cell(name="array", code="np.arange(6).reshape(2, 3)"),
    Cell(name="array-that-is-large", code="np.arange(1_000_000, dtype='float64').reshape(1000, 1000)"),
    Cell(name="dictionary-that-is-large", code="{f'key {i}': i * i for i in range(100_000)}"),
    Cell(name="list-that-is-large", code="list(range(100_000))"),
    Cell(name="arrow", code="import pyarrow as pa\npa.table({'n': list(range(5000))})"),
    Cell(name="xarray", code="import xarray as xr\nxr.DataArray(np.zeros((3, 4)), dims=('y', 'x'))"),
    Cell(name="plotly", code="import plotly.graph_objects as go\ngo.Figure(go.Bar(x=['a', 'b'], y=[1, 2]))"),
    Cell(
        name="altair",
        code="import altair as alt\nalt.Chart(pd.DataFrame({'a': [1], 'b': [2]})).mark_bar().encode(x='a', y='b')",
    ),
    Cell(
        name="model",
        code="from sklearn.dummy import DummyRegressor\nDummyRegressor().fit([[1], [2]], [2, 4])",
    ),
    # Errors
    Cell(name="error", code="def divide(a, b):\n    return a / b\n\ndivide(1, 0)"),
    Cell(name="error-in-an-earlier-cell", code="divide(2, 0)"),
    Cell(
        name="error-through-a-library",
        code="import json\njson.loads('{\"a\": nope}')",
    ),
    Cell(
        name="error-that-was-caused",
        code="try:\n    {}['key']\nexcept KeyError as e:\n    raise RuntimeError('no settings') from e",
    ),
    Cell(name="error-while-handling", code="try:\n    1 / 0\nexcept ZeroDivisionError:\n    int('x')"),
    Cell(name="syntax-error", code="def f(:\n    pass"),
    Cell(name="indentation-error", code="if True:\nprint(1)"),
    Cell(name="error-with-output-before", code="print('so far')\nraise ValueError('then this')"),
    Cell(name="recursion", code="def deeper(n):\n    return deeper(n - 1) if n else 1 / 0\n\ndeeper(8)"),
    Cell(name="assertion", code="assert 1 + 1 == 3, 'arithmetic'"),
    Cell(name="name-error", code="undefined_name"),
    Cell(name="raised-interrupt", code="raise KeyboardInterrupt"),
    Cell(name="exit", code="import sys\nsys.exit('enough')"),
    Cell(name="long-message", code="raise ValueError('word ' * 3000)", arguments={"max_chars": 800}),
    # More of all of these
    Cell(
        name="error-caused-in-a-function",
        code="def settings(d):\n    try:\n        return d['key']\n    except KeyError as e:\n"
        "        raise RuntimeError('no settings') from e\n\nsettings({})",
    ),
    Cell(name="recursion-without-end", code="def down(n):\n    return down(n + 1)\n\ndown(0)"),
    Cell(name="error-through-compiled-code", code="pd.DataFrame({'a': [1]})['b']"),
    Cell(name="error-in-code-from-a-string", code="exec('def f():\\n    return 1 / 0\\nf()')"),
    Cell(
        name="error-that-a-magic-shows",
        code="from pathlib import Path\nPath('failing.py').write_text('1 / 0')\n%run failing.py",
    ),
    Cell(
        name="progress-bar-as-a-widget",
        code="from tqdm.notebook import tqdm as bar\n"
        "for _ in bar(range(4), desc='steps', bar_format='{desc}: {percentage:.0f}%{bar}'): pass",
    ),
    Cell(
        name="progress-bar-that-is-over",
        code="for _ in bar(range(2), leave=False): pass\n"
        "display({'text/plain': '', 'text/html': '<pre></pre>'}, raw=True)",
    ),
    Cell(
        name="pipeline-that-is-fitted",
        code="from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n"
        "p = make_pipeline(StandardScaler(), DummyRegressor())\ndisplay(p)\np.fit([[1], [2]], [2, 4])",
    ),
    Cell(name="styled-frame-that-is-large", code="pd.DataFrame({'n': range(2000)}).style.highlight_max()"),
    Cell(
        name="polars-lists",
        code="pl.DataFrame({'list': [[1, 2, 3, 4, 5]] * 40, 'pair': [{'a': 1, 'b': 'x'}] * 40})",
    ),
    Cell(
        name="array-of-records",
        code="np.array([(1, 'fig', 2.5), (2, 'plum', 3.5)] * 500, dtype=[('id', 'i4'), ('name', 'U8'), ('kg', 'f8')])",
    ),
    # Plots and pages
    Cell(
        name="plotly-in-groups",
        code="import plotly.express as px\nkg = pd.DataFrame({'day': pd.date_range('2024-01-01', periods=6), "
        "'kg': [1, 5, 2, 3, 8, 4], 'fruit': ['fig'] * 3 + ['plum'] * 3})\n"
        "px.line(kg, x='day', y='kg', color='fruit', title='Crop')",
    ),
    Cell(
        name="altair-in-layers",
        code="c = alt.Chart(kg, title='Crop').encode(x='day', y=alt.Y('mean(kg)', title='weight'))\n"
        "c.mark_line().encode(color='fruit') + c.mark_rule().encode(x='min(day)')",
    ),
    Cell(
        name="bokeh",
        code=f"import json\ndisplay(json.load(open({str(SHOWN)!r})), raw=True)  # as bokeh's own show() does",
    ),
    Cell(
        name="folium",
        code="import folium\nm = folium.Map([48, 11], zoom_start=6)\n"
        "towns = folium.FeatureGroup('towns').add_to(m)\n"
        "folium.Marker([48.1, 11.5], popup='Munich').add_to(towns)\n"
        "folium.Marker([50, 8.7], popup='Frankfurt').add_to(towns)\n"
        "folium.PolyLine([(48.1, 11.5), (50, 8.7)], tooltip='a way').add_to(m)\nm",
    ),
    Cell(
        name="animation",
        code="import matplotlib.animation as ma\nfig, ax = plt.subplots(figsize=(2, 1)); line, = ax.plot([1, 2]); "
        "ax.set_title('Wave')\nma.FuncAnimation(fig, lambda n: line.set_ydata([n, 2]), frames=12, interval=80)",
    ),
    Cell(
        name="animation-as-a-page",
        code="from IPython.display import HTML\n"
        "wave = ma.FuncAnimation(fig, lambda n: [line.set_ydata([n, 2])] and [line], frames=5, interval=80)\n"
        "plt.close(fig)\nHTML(wave.to_jshtml())",
    ),
    Cell(
        name="styled-frame",
        code="pd.DataFrame({'fruit': ['fig', 'plum'] * 12, 'kg': range(24)}).style.set_caption('Crop').highlight_max()",
    ),
    Cell(
        name="page-that-is-long",
        code="HTML('<html><head><title>Yearly report</title><style>p { color: red }</style></head><body>' + "
        "'<h1>Crop</h1><p>It rained.</p>' + kg.sample(2000, replace=True, random_state=1).to_html() + '<h2>Outlook</h2>"
        "<script>let x = 1</script><p>Dry.</p></body></html>')",
    ),
    Cell(
        name="picture-in-a-page",
        code="_b = io.BytesIO(); _I.new('RGB', (60, 40)).save(_b, 'PNG')\nfrom base64 import b64encode\n"
        "HTML(f'<h3>Map</h3><img src=\"data:image/png;base64,{b64encode(_b.getvalue()).decode()}\">')",
    ),
    Cell(
        name="frame-of-another-page", code="from IPython.display import IFrame\nIFrame('http://localhost/x', 100, 50)"
    ),
    Cell(
        name="page-that-a-script-draws",
        code="import plotly.graph_objects as go\n"
        "HTML(go.Figure(go.Bar(x=['a', 'b'], y=[1, 2])).to_html(include_plotlyjs='cdn'))",
    ),
    Cell(
        name="few-long-lines",
        code="for i in range(4): print(f'row {i}: begins', 'abc' * 1500, f'ends {i}')\nprint('done')",
        arguments={"max_chars": 2000},
    ),
    # Time
    Cell(
        name="still-running",
        code="import time, os\nprint('begun', flush=True)\n"
        "while not os.path.exists('gate'): time.sleep(0.01)\nprint('over')",
        arguments={"timeout": 1},
    ),
    Cell(name="queued-behind-it", code="print('my turn')", arguments={"wait": False}, reads=({"wait": 60},)),
    Cell(name="death", code="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"),
    Cell(name="after-the-death", code="1 + 1"),
]
