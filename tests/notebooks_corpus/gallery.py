"""Cells that are hard to show, as people write them, run in a real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nbclient import NotebookClient

from tests.notebooks_corpus.nbf import nbformat, v4

_DEADLINE_S = 100
UNKNOWN = "{'application/x-unknown+json': {'secretkey': [1, 2]}, 'text/llm+plain': 'Three unknown values'}"
CODE = {
    "frame": "import pandas as pd, numpy as np\nrng = np.random.default_rng(0)\n"
    "pd.DataFrame({'name': ['anna', 'bob'], 'n': [1, 2], 'x': [1.5, 2.25]})",
    "wide": "pd.set_option('display.max_columns', 100)\n"
    "pd.DataFrame(rng.integers(0, 10**6, size=(6, 60)), columns=[f'measure_{i:02d}' for i in range(60)])",
    "long": "pd.set_option('display.max_rows', 200)\n"
    "pd.DataFrame({'tally': range(120), 'word': [f'word number {i}' for i in range(120)]})",
    "levels": "rows = pd.MultiIndex.from_product([['alpha', 'beta'], ['one', 'two']], names=['greek', 'number'])\n"
    "columns = pd.MultiIndex.from_product([['left', 'right'], ['p', 'q']])\n"
    "pd.DataFrame(rng.normal(size=(4, 4)).round(3), index=rows, columns=columns)",
    "styled": "pd.DataFrame({'a': [1.0, 2.0], 'b': [3.0, 4.0]}).style.highlight_max(color='#ff8800')"
    ".set_caption('A styled caption').format('{:.2f}')",
    "long cells": "pd.set_option('display.max_colwidth', None)\n"
    "pd.DataFrame({'id': [1, 2], 'text': ['several words ' * 40, 'x' * 300]})",
    "polars": "import polars as pl\npl.DataFrame({'city': ['Rome', 'Oslo'], 'value': [1, 2]})",
    "printed": "for i in range(600): print('line', i)",
    "coloured": "print('\\x1b[31mred\\x1b[0m and \\x1b[1;32mbold green\\x1b[0m')\nprint('y' * 500 + 'END')",
    "long code": "long_name = 'a string ' + '" + "and on " * 25 + "'  # CODE-END",
    "unbroken code": "s = ['" + "z" * 150 + "',(1,2),{3:4}]" + "+[(5,6)]" * 20,
    "error": "def f(n): return 1 / n\nf(0)",
    "plotly": "import plotly.express as px\npx.scatter(x=[1, 2, 3], y=[3, 1, 2], title='A plotly title')",
    "altair": "import altair as alt\nalt.Chart(pd.DataFrame({'a': list('ABC'), 'b': [28, 55, 43]})).mark_bar()"
    ".encode(x='a', y='b')",
    "bokeh": "from bokeh.plotting import figure, show\nfrom bokeh.io import output_notebook\noutput_notebook()\n"
    "p = figure(width=400, height=250, title='A bokeh title')\np.line([1, 2, 3], [3, 1, 2])\nshow(p)",
    "folium": "import folium\nfolium.Map(location=[48, 11], zoom_start=5)",
    "pipeline": "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n"
    "make_pipeline(StandardScaler(), StandardScaler()).fit([[0], [1]])",
    "bar": "from tqdm.auto import tqdm\nfor i in tqdm(range(20)): pass",
    "plot": "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()",
    "json": "from IPython.display import HTML, JSON, Audio, Markdown, display\nJSON({'a': {'b': [1, 2, 3]}})",
    "unknown": f"display({UNKNOWN}, raw=True)",
    "raw bytes": "display({'application/x-raw': 'QUJD' * 500}, raw=True)",
    "sound": "Audio(np.sin(np.linspace(0, 3000, 4000)), rate=8000)",
    "script": 'HTML(\'<p id=drawn></p><script>document.getElementById("drawn").textContent = "drawn here"</script>\')',
    "series": "pd.Series([1.5, 2.5], index=['first', 'second'], name='a series')",
    "warned": "import warnings\nwarnings.warn('a warning of many words ' * 12)",
    "nested error": "def outer(): f(0)\ntry: outer()\nexcept ZeroDivisionError as e: raise ValueError('nested') from e",
    "wide plot": "fig, axes = plt.subplots(1, 4, figsize=(20, 3))\nfor a in axes: a.hist([1, 2])\nplt.show()",
    "vectors": 'from IPython.display import SVG\nSVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="60">'
    '<rect width="120" height="60" fill="teal"/></svg>\')',
    "formula": "from IPython.display import Latex, Math\ndisplay(Math(r'\\int_0^1 x^2\\,dx = \\frac{1}{3}'))\n"
    "Latex(r'with $\\mu$ and $\\sigma$')",
    "latex table": "Latex(r'\\begin{tabular}{lr} name & value \\\\ pear & 3 \\\\ \\end{tabular}')",
    "xarray": "import xarray as xr\nxr.DataArray(np.arange(4.0).reshape(2, 2), dims=('y', 'x'), name='heights')",
    "object": "{f'key {i}': [list(range(8))] * 2 for i in range(12)}",
    "scripts": "print('中文, עברית, αβγ, Ж, ─┼│')",
    "slider": "import ipywidgets\nipywidgets.IntSlider(value=7, description='A slider')",
    "captured": "out = ipywidgets.Output()\nwith out: print('captured words')\nout",
    "no value": "None",
    "image": "from PIL import Image as Pillow\nPillow.new('RGB', (90, 40), 'navy')",
    "counted": "pd.crosstab(['a', 'b', 'a'], ['x', 'x', 'y'], rownames=['row'], colnames=['column'])",
    "markdown": "Markdown('**bold** and\\n\\n- one\\n- two')",
}

_TEXT = """\
# A gallery

Text with a note,[^1] a formula $e^{i\\pi} = -1$, `code`, a [link](https://example.org) and a list:

- one
- two

| a | b |
|---|---|
| cell | 1 |

[^1]: The words of the note.
"""


def gallery(folder: Path) -> Path:
    """A notebook with all of them, as we would have saved it; the cells' executions have the numbers of their order."""
    cells = [
        v4.new_markdown_cell(_TEXT),
        *map(v4.new_code_cell, CODE.values()),
    ]
    spec = {"name": "python3", "display_name": "Python 3"}
    notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": spec, "language_info": {"name": "python"}})
    NotebookClient(notebook, timeout=_DEADLINE_S, allow_errors=True).execute()
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.metadata["kernel_supervisor"] = {"status": "ok", "execution_id": number}
    nbformat.write(notebook, folder / "gallery.ipynb")
    return folder / "gallery.ipynb"


def execution_of(name: str) -> str:
    """How answers call the cell."""
    return f"execution {list(CODE).index(name) + 1}"


def outputs_of(notebook: Path, name: str) -> Any:
    """What the cell showed."""
    return nbformat.read(notebook, 4).cells[list(CODE).index(name) + 1].outputs
