"""Promise: a plot reaches the agent, whatever matplotlib's backend is and whoever chose it, once as it stands."""

from __future__ import annotations

import base64
import io
from typing import Any

import nbformat
import PIL.Image
import pytest

from tests.support import Home, until

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
    "WebAgg": "import matplotlib; matplotlib.use('WebAgg')\n" + PLOT + "\nplt.show()",
    "nbAgg, by the magic": "%matplotlib notebook\n" + PLOT,
    "inline, after another": f"import matplotlib; matplotlib.use('agg')\n{PLOT}\n%matplotlib inline\nplt.plot([1])",
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


async def test_a_figure_that_is_left_open_is_seen_once(home: Home, era: str) -> None:
    async with home.client(era) as session:

        async def seen(name: str) -> list[str]:
            """What is wrong with it."""
            own = name.replace(",", "").replace(" ", "-")
            result = await session.run(BACKENDS[name] + "\nNone", session=own)
            after = await session.run("1 + 1", session=own)
            wrong = [f"{name}: {len(result.images)} pictures: {result.text}"] if len(result.images) != 1 else []
            wrong += [f"{name}: it is not red" for image in result.images if share_of_red(image) < 0.5]
            return wrong + [f"{name}: and again: {after.text}"] * len(after.images)

        assert not [each for name in BACKENDS for each in await seen(name)]


async def test_a_figure_that_was_drawn_on_and_saved_is_seen_as_it_is_now(home: Home, era: str) -> None:
    saves = (
        "fig.savefig('a.pdf')",
        "fig.savefig('a.png', dpi='figure')",
        "fig.savefig('a.svg', bbox_inches='tight')",
        "fig.canvas.draw()",
    )
    async with home.client(era) as session:
        await session.run(BACKENDS["Agg, asked for first"] + "\nplt.show()")
        for number, save in enumerate(saves):
            changed = await session.run(f"ax.axhspan({number + 1}, {number + 2}, color='blue'); {save}")
            assert len(changed.images) == 1, save
            again = await session.run(save)
            assert not again.images, f"nothing is new: {save}"


async def test_a_clients_environment_takes_no_plot_away(home: Home, era: str) -> None:
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
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


async def test_two_shows_in_a_cell_are_two_pictures_in_their_places(home: Home, era: str) -> None:
    async with home.client(era, env={"MPLBACKEND": "agg"}) as session:
        code = f"{PLOT}\nprint('before'); plt.show(); print('between'); plt.figure(); plt.plot([1]); plt.show()"
        result = await session.run(code + "\nprint('after')")
        await session.call("kernel_save_notebook", path="two.ipynb")
    assert len(result.images) == 2, result.text
    cell = nbformat.read(home.project / "two.ipynb", as_version=4).cells[0]  # type: ignore[no-untyped-call]
    shown = [each["text"].strip() if each.output_type == "stream" else "picture" for each in cell.outputs]
    assert shown == ["before", "picture", "between", "picture", "after"]


async def test_more_figures_than_anybody_looks_at_are_counted(home: Home, era: str) -> None:
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
        result = await session.run(
            "import matplotlib.pyplot as plt\nplt.rcParams['figure.max_open_warning'] = 0\n"
            "for _ in range(25): plt.figure(figsize=(1, 1)); plt.plot([1])"
        )
    assert "5 more figures are open and not shown (21, 22, 23, 24, 25)" in result.text, result.text


async def test_what_is_shown_on_purpose_is_seen_however_much_it_is(home: Home, era: str) -> None:
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
        result = await session.run(
            "import matplotlib.pyplot as plt\n"
            "for n in range(25): plt.figure(figsize=(1, 1)); plt.plot([1]); plt.show(); plt.close()"
        )
        assert result.facts["images"] == 25
        assert "not shown (" not in result.text
        await session.run("for _ in range(25): plt.figure(figsize=(1, 1)); plt.plot([1])")
        assert not (await session.run("1 + 1")).images, "it was told of"
        assert len((await session.run("display(plt.figure(22))")).images) == 1


async def test_a_figure_that_cannot_be_drawn_is_told_of_and_takes_no_other_along(home: Home, era: str) -> None:
    bad = (
        "from matplotlib.lines import Line2D\n"
        "class Bad(Line2D):\n    def draw(self, renderer): raise RuntimeError('no such ink')\n"
        f"{PLOT}\nax.add_line(Bad([0, 1], [0, 1]))\n"
    )
    told = "Figure 1 cannot be drawn: RuntimeError: no such ink"
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
        left = await session.run(f"{bad}{PLOT}\nNone")
        assert told in left.text, left.text
        assert len(left.images) == 1
        after = await session.run("1 + 1")
        assert told not in after.text
        assert not after.images
        asked = await session.run(f"plt.close('all')\n{bad}plt.show(); print('went on')")
    assert told in asked.text
    assert "went on" in asked.text, "matplotlib shows nothing here, and so fails with nothing"
    assert asked.facts["status"] == "ok"


async def test_a_figure_is_seen_without_axes_and_in_any_size(home: Home, era: str) -> None:
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
        for code in (
            "plt.figure().text(0.5, 0.5, 'hello');",
            "plt.figure().subfigures(1, 2)[0].suptitle('half');",
            "plt.figure(figsize=(300, 300)); plt.plot([1]);",
        ):
            result = await session.run(f"import matplotlib.pyplot as plt; plt.close('all'); {code}")
            assert len(result.images) == 1, (code, result.text)
        assert not (await session.run("plt.close('all'); plt.figure();")).images, "nothing is in it"


async def test_who_interrupts_a_drawing_does_not_meet_it_in_the_next_cell(home: Home, era: str) -> None:
    slow = (
        "import pathlib, time\nfrom matplotlib.lines import Line2D\nclass Slow(Line2D):\n"
        "    def draw(self, renderer):\n        pathlib.Path('drawing').touch()\n"
        "        while True: time.sleep(0.01)\n"
        f"{PLOT}\nax.add_line(Slow([0, 1], [0, 1]));"
    )
    async with home.client(era, env={"MPLBACKEND": "Agg"}) as session:
        for code in (slow, slow + "\nplt.show()"):
            number = (await session.run(code, wait=False)).facts["execution_id"]
            await until((home.project / "drawing").exists, "it is being drawn")
            stopped = await session.call("kernel_interrupt", execution_id=number)
            assert stopped.facts["stopped"], stopped.text
            text = (await session.call("kernel_output", execution_id=number)).text
            assert "Error in callback" not in text, text
            assert (await session.run("1 + 1")).facts["status"] == "ok"
            (home.project / "drawing").unlink()
            await session.run("plt.close('all')")


async def test_a_figure_in_a_form_that_is_no_picture_is_said_to_be_there(desk: Home, era: str) -> None:
    code = "%config InlineBackend.figure_format = 'pdf'\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2]);"
    async with desk.client(era) as session:
        result = await session.run(code)
    assert "axes with 1 line" in result.text
    assert "[application/pdf, " in result.text
    assert "%config InlineBackend.figure_format = 'png'" in result.text
