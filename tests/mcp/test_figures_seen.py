"""Promise: a figure that a library's script draws is a picture to the agent, and never costs it the result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp.test_plots import share_of_red
from tests.support import DEADLINE_S, Home, Result, Session, fresh_home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium")
BARE = "plot_bgcolor='red', paper_bgcolor='red'"
FIGURES = {
    "plotly": f"import plotly.graph_objects as go\nred = go.Figure(go.Bar(y=[1, 3]), dict({BARE}, title='Crop'))\nred",
    "a page of plotly's": "from IPython.display import HTML\nHTML(red.to_html(include_plotlyjs='cdn'))",
    "altair": "import altair as alt, pandas as pd\nalt.Chart(pd.DataFrame({'x': [0], 'y': [0]}), title='Crop')"
    ".mark_square(size=90_000, color='red', opacity=1).encode(x='x', y='y').properties(width=300, height=300)",
    "bokeh": "from bokeh.plotting import figure, show\nfrom bokeh.io import output_notebook\noutput_notebook()"
    "\np = figure(width=300, height=300, title='Crop')\np.block([0], [0], width=9, height=9, color='red')\n"
    "p.background_fill_color = 'red'\nshow(p)",
}


async def once_drawn(session: Session, number: int, first: int) -> Result:
    """A result whose figures are there: drawing them may take longer than a call waits."""
    end = time.monotonic() + DEADLINE_S
    while True:
        result = await session.call("kernel_output", execution_id=number, from_image=first)
        if "still being drawn" not in result.text or time.monotonic() > end:
            return result


@needs_browser
async def test_figures_are_pictures_beside_their_summaries(desk: Home, era: str) -> None:
    async with desk.client(era=era) as session:
        for name, code in FIGURES.items():
            number = (await session.run(code)).facts["execution_id"]
            result = await once_drawn(session, number, 1)
            assert len(result.images) == 1, f"{name}: {result.text}"
            assert share_of_red(result.images[0]) > 0.3, name
            assert "Crop" in result.text or name == "a page of plotly's", "the summary stays"
            assert "[image 1: " in result.text
            again = await session.call("kernel_output", execution_id=number)
            assert [each.data for each in again.images] == [each.data for each in result.images], "kept"


@needs_browser
async def test_each_picture_keeps_its_number_whatever_makes_it(desk: Home, era: str) -> None:
    several = (
        "import plotly.graph_objects as go, matplotlib.pyplot as plt\n"
        "plt.axhspan(0, 1, color='red'); plt.show()\n"
        f"for height in range(9): display(go.Figure(go.Bar(y=[height]), dict({BARE})))\n"
        "plt.axhspan(0, 1, color='red'); plt.show()"
    )
    async with desk.client(era) as session:
        first = await session.run(several)
        assert first.facts["images"] == 11
        number = first.facts["execution_id"]
        result = await once_drawn(session, number, 1)
        assert len(result.images) == 8
        assert "from_image=9" in result.text
        rest = await once_drawn(session, number, 9)
        assert [share_of_red(each) > 0.3 for each in rest.images] == [True] * 3, rest.text


@needs_browser
async def test_what_cannot_be_drawn_says_so_in_a_line(desk: Home, era: str) -> None:
    broken = "display({'application/vnd.vegalite.v5+json': {'mark': 7}, 'text/plain': 'seven'}, raw=True)\nprint('on')"
    async with desk.client(era) as session:
        result = await session.run(broken)
        assert not result.images
        assert result.text.endswith("\non"), "what comes after it is there"
        assert "[image 1: vega figure: it could not be drawn here]" in result.text
        plain = await session.run("import folium\nfolium.Map(location=[48, 11])")
        assert not plain.images, "what needs the network is left to its summary"
        assert "folium map" in plain.text
        assert "image" not in plain.text


@pytest.fixture
def bare_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Home]:
    """Where no browser is found."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if not Path("/bin/chromium").exists() else str(tmp_path))
    with fresh_home() as home:
        yield home


async def test_without_a_browser_a_figure_is_its_summary_and_no_more(bare_home: Home) -> None:
    async with bare_home.client() as session:
        result = await session.run(FIGURES["plotly"])
        assert not result.images
        assert result.text.splitlines()[-1].startswith("plotly figure 'Crop'"), result.text
        assert "image" not in result.text
