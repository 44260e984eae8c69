"""Promise: a plot reaches the agent, whatever matplotlib's backend is and whoever chose it, once as it stands."""

from __future__ import annotations

import base64
import io
from typing import Any

import nbformat
import PIL.Image
import pytest

from tests.support import Home

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
PLOT = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.axhspan(0, 1, color='red'); ax.set_axis_off()"
BACKENDS = {
    "Agg, asked for first": "import matplotlib; matplotlib.use('Agg')\n" + PLOT,
    "Agg, spelled small": "import matplotlib; matplotlib.use('agg')\n" + PLOT,
    "Agg, switched to": "import matplotlib.pyplot as plt\nplt.switch_backend('Agg')\n" + PLOT,
    "Agg, asked for last": PLOT + "\nimport matplotlib; matplotlib.use('Agg', force=True)",
    "Agg, by a module": (
        "open('theirs.py', 'w').write('import matplotlib\\nmatplotlib.use(\"Agg\")\\nimport matplotlib.pyplot')\n"
        "import theirs\n" + PLOT
    ),
    "Agg, by the magic": "%matplotlib agg\n" + PLOT,
    "Agg, by a setting": "import matplotlib; matplotlib.rcParams['backend'] = 'agg'\n" + PLOT,
    "pdf": "import matplotlib; matplotlib.use('pdf')\n" + PLOT,
    "svg": "import matplotlib; matplotlib.use('svg')\n" + PLOT,
    "inline": PLOT,
    "inline, by the magic": "%matplotlib inline\n" + PLOT,
}


def share_of_red(image: Any) -> float:
    """How much of a picture is red."""
    pixels = PIL.Image.open(io.BytesIO(base64.b64decode(image.data))).convert("RGB").tobytes()
    reds: int = sum(
        red > 200 and green < 60 and blue < 60 for red, green, blue in zip(*[iter(pixels)] * 3, strict=True)
    )
    return reds / (len(pixels) // 3)


async def test_a_figure_that_is_left_open_is_seen_once(home: Home) -> None:
    async with home.client() as session:

        async def seen(name: str) -> list[str]:
            """What is wrong with it."""
            own = name.replace(",", "").replace(" ", "-")
            result = await session.run(BACKENDS[name] + "\nNone", session=own)
            after = await session.run("1 + 1", session=own)
            wrong = [f"{name}: {len(result.images)} pictures: {result.text}"] if len(result.images) != 1 else []
            wrong += [f"{name}: it is not red" for image in result.images if share_of_red(image) < 0.5]
            return wrong + [f"{name}: and again: {after.text}"] * len(after.images)

        assert not [each for name in BACKENDS for each in await seen(name)]


async def test_a_clients_environment_takes_no_plot_away(home: Home) -> None:
    async with home.client(env={"MPLBACKEND": "Agg"}) as session:
        first = await session.run(PLOT + "\nplt.show()")
        assert len(first.images) == 1, first.text
        assert "non-interactive" not in first.text
        again = await session.run("plt.show()")
        assert not again.images
        changed = await session.run("ax.axhspan(0, 1, color='blue');")
        assert len(changed.images) == 1
        assert share_of_red(changed.images[0]) < 0.1
        value = await session.run("fig")
        assert len(value.images) == 1, value.text
        closed = await session.run(PLOT + "\nfig.savefig('kept.png'); plt.close('all')")
        assert not closed.images
        history = await session.run("from matplotlib.figure import Figure\nown = Figure(); own.subplots(); own")
        assert len(history.images) == 1


async def test_two_shows_in_a_cell_are_two_pictures_in_their_places(home: Home) -> None:
    async with home.client(env={"MPLBACKEND": "agg"}) as session:
        code = f"{PLOT}\nprint('before'); plt.show(); print('between'); plt.figure(); plt.plot([1]); plt.show()"
        result = await session.run(code + "\nprint('after')")
        await session.call("kernel_save_notebook", path="two.ipynb")
    assert len(result.images) == 2, result.text
    cell = nbformat.read(home.project / "two.ipynb", as_version=4).cells[0]  # type: ignore[no-untyped-call]
    shown = [each["text"].strip() if each.output_type == "stream" else "picture" for each in cell.outputs]
    assert shown == ["before", "picture", "between", "picture", "after"]


async def test_more_figures_than_anybody_looks_at_are_counted(home: Home) -> None:
    async with home.client(env={"MPLBACKEND": "Agg"}) as session:
        result = await session.run(
            "import matplotlib.pyplot as plt\nplt.rcParams['figure.max_open_warning'] = 0\n"
            "for _ in range(25): plt.figure(figsize=(1, 1)); plt.plot([1])"
        )
    assert "5 more figures are open and not shown (21, 22, 23, 24, 25)" in result.text, result.text
