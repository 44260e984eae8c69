"""Promise: a notebook becomes HTML and PDF that show what it shows, on what there is on the machine."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.notebooks.convert import WRITERS
from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.notebooks.export import FORMATS, Exported, export
from kernel_supervisor.notebooks.files import fingerprint
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.support import interpreter_with

DEADLINE_S = 90
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
RED = (200, 30, 30)
GREEN = (30, 160, 60)

needs_browser = pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium")
needs_poppler = pytest.mark.skipif(not shutil.which("pdftoppm"), reason="no poppler: apt-get install poppler-utils")


def picture(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(file, "PNG")
    return file.getvalue()


def cell(source: str, *outputs: Any) -> Any:
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=1)


def shown(data: dict[str, Any]) -> Any:
    return v4.new_output("display_data", data)


TABLE = shown({"text/html": "<table><tr><th>head</th></tr><tr><td>tabled</td></tr></table>", "text/plain": "plain"})
FORMULA = v4.new_markdown_cell("# A title\n\nMass: $E = mc^2$ and\n\n$$\\int_0^1 x\\,dx = \\frac{1}{2}$$")
HTML_ONLY = shown({"text/html": "<p>only <b>in HTML</b></p>", "text/plain": "<IPython.core.display.HTML object>"})
PLOT = cell("plot()", shown({"image/png": base64.b64encode(picture(RED)).decode(), "text/plain": "<Figure>"}))


@pytest.fixture
def ipynb(tmp_path: Path) -> Path:
    """A notebook with a plot, a table, a picture by relative path, a traceback and a very long line."""
    (tmp_path / "beside.png").write_bytes(picture(GREEN))
    notebook = v4.new_notebook(
        cells=[
            FORMULA,
            v4.new_markdown_cell("A picture: ![it](beside.png)"),
            PLOT,
            cell("long = '" + "x" * 300 + "END'", TABLE),
            cell(
                "fail()",
                v4.new_output("error", ename="E", evalue="v", traceback=["\x1b[31mTraceback\x1b[0m of the failure"]),
            ),
            cell("data", shown({"application/json": {"key": "jsonvalue"}, "text/plain": "<a.b.JSON object>"})),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}},
    )
    return written(notebook, tmp_path)


def written(notebook: Any, folder: Path) -> Path:
    path = folder / "report.ipynb"
    nbformat.write(notebook, path)
    return path


def to_html(ipynb: Path, **options: Any) -> Exported:
    theme = options.pop("theme", "")
    return asyncio.run(
        export("html", ipynb, ipynb.with_suffix(".html"), theme, **{"deadline_s": DEADLINE_S, **options})
    )


def to_pdf(ipynb: Path, engine: str = "", **options: Any) -> Exported:
    options = {"deadline_s": DEADLINE_S, **options}
    return asyncio.run(export("pdf", ipynb, ipynb.with_suffix(".pdf"), engine, **options))


def near(image: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels of `image` have `colour`, or nearly."""
    colours = image.convert("RGB").getcolors(image.width * image.height) or []
    return sum(
        number
        for number, found in colours
        if isinstance(found, tuple) and all(abs(a - b) < 12 for a, b in zip(found, colour, strict=True))
    )


def screenshot(html: Path) -> Image.Image:
    target = html.with_suffix(".png")
    size = ("--window-size=1000,1600", "--hide-scrollbars", "--virtual-time-budget=2000")
    where = (f"--user-data-dir={html.parent / 'profile'}", f"--screenshot={target}", html.as_uri())
    command = ("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", *size, *where)
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return Image.open(target)


def text_of(pdf: Path) -> str:
    said = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    return said.replace("\u200b", "")


def pages_of(pdf: Path) -> list[Image.Image]:
    subprocess.run(["pdftoppm", "-r", "50", "-png", str(pdf), str(pdf.with_suffix(""))], check=True)
    return [Image.open(page) for page in sorted(pdf.parent.glob(f"{pdf.stem}-*.png"))]


@needs_browser
@pytest.mark.parametrize(("theme", "ground", "lit"), [("light", (255, 255, 255), 1.0), ("dark", (17, 17, 17), 0.84)])
def test_html_shows_plots_tables_and_code(ipynb: Path, theme: Any, ground: tuple[int, int, int], lit: float) -> None:
    """By night figures are lit less, so that their paper does not glare."""
    said: list[str] = []
    exported = to_html(ipynb, theme=theme, progress=said.append)
    assert (exported.engine, said) == ("nbconvert", ["writing HTML"])
    page = exported.path.read_text()
    assert len(re.findall('<img[^>]* src="data:image/png;base64,', page)) == 2
    for text in ("tabled", "fail", "Traceback", "jsonvalue", "xxxxEND"):
        assert text in page
    (ipynb.parent / "beside.png").unlink()
    image = screenshot(exported.path)
    for red, green, blue in (RED, GREEN):
        seen = (round(red * lit), round(green * lit), round(blue * lit))
        assert near(image, seen) >= 59_000, "of 60,000: its corners are rounded"
    assert near(image, ground) > image.width * image.height / 2


def test_html_asks_the_network_only_for_what_it_needs(tmp_path: Path) -> None:
    plain = to_html(written(v4.new_notebook(cells=[PLOT]), tmp_path)).path.read_text()
    assert 'src="http' not in plain
    formula = to_html(written(v4.new_notebook(cells=[FORMULA]), tmp_path)).path.read_text()
    assert 'src="http' not in formula
    assert formula.count("<math") == 2
    unknown = v4.new_markdown_cell(r"$\ownmacro{x}$")
    assert "mathjax" in to_html(written(v4.new_notebook(cells=[FORMULA, unknown]), tmp_path)).path.read_text()


def test_html_embeds_pictures_beside_the_notebook_and_no_other_file(tmp_path: Path) -> None:
    (folder := tmp_path / "project").mkdir()
    Image.new("RGB", (2, 2)).save(folder / "plot.png")
    picture = (folder / "plot.png").read_bytes()
    for secret in (folder / ".env", folder / "key.txt", tmp_path / "above.png"):
        secret.write_text("a secret")
    names = ("plot.png", ".env", "key.txt", "../above.png", f"{tmp_path}/above.png")
    forms = [form.format(name) for name in names for form in ("![]({})", "<img alt='x' src='{}'>", '<IMG SRC="{}">')]
    page = to_html(written(v4.new_notebook(cells=[*map(v4.new_markdown_cell, forms)]), folder)).path.read_text()
    assert page.count(base64.b64encode(picture).decode()) == 3
    assert base64.b64encode(b"a secret").decode() not in page


@needs_poppler
@pytest.mark.parametrize(
    "engine",
    [
        "typst",
        pytest.param("browser", marks=needs_browser),
        pytest.param(
            "xelatex",
            marks=pytest.mark.skipif(not shutil.which("xelatex"), reason="no LaTeX: apt-get install texlive-xetex"),
        ),
    ],
)
def test_pdf_shows_plots_and_code(ipynb: Path, engine: str) -> None:
    exported = to_pdf(ipynb, engine)
    assert (exported.engine, exported.path) == (engine, ipynb.with_suffix(".pdf"))
    text, pages = text_of(exported.path), pages_of(exported.path)
    assert 1 <= len(pages) <= 3
    for words in ("A title", "plot()", "Traceback of the failure"):
        assert words in text
    assert sum(near(page, RED) for page in pages) > 3_000
    assert sum(near(page, GREEN) for page in pages) > 3_000
    if engine != "xelatex":
        assert "tabled" in text
        assert "jsonvalue" in text
        assert text.count("x") >= 300, "the long line is broken, not cut"
        assert "END'" in text


def with_widgets(folder: Path) -> Path:
    """A notebook with a bar that is full, an Output widget that has captured a print and a picture, and a slider."""
    png = base64.b64encode(picture(GREEN)).decode()
    captured = [
        {"output_type": "stream", "name": "stdout", "text": "captured text\n"},
        {"output_type": "display_data", "data": {"image/png": png, "text/plain": "<Figure>"}, "metadata": {}},
    ]
    controls = "@jupyter-widgets/controls"
    models = {
        "bar": ("FloatProgressModel", controls, {"min": 0, "max": 20, "value": 20}),
        "right": ("HTMLModel", controls, {"value": " 20/20"}),
        "box": ("HBoxModel", controls, {"children": ["IPY_MODEL_bar", "IPY_MODEL_right"]}),
        "out": ("OutputModel", "@jupyter-widgets/output", {"outputs": captured}),
        "slider": ("IntSliderModel", controls, {"value": 7}),
    }
    state = {
        name: {"model_name": kind, "model_module": module, "model_module_version": "2.0.0", "state": own}
        for name, (kind, module, own) in models.items()
    }
    said = {"box": "  0%| | 0/20", "out": "Output()", "slider": "IntSlider(value=3)"}
    views = [
        cell(name, shown({WIDGET_VIEW: {"model_id": name, "version_major": 2, "version_minor": 0}, "text/plain": text}))
        for name, text in said.items()
    ]
    widgets = {WIDGET_STATE: {"state": state, "version_major": 2, "version_minor": 0}}
    return written(v4.new_notebook(cells=views, metadata={"widgets": widgets}), folder)


def test_html_shows_what_widgets_show_without_their_scripts(tmp_path: Path) -> None:
    page = to_html(with_widgets(tmp_path)).path.read_text()
    for text in ("|██████████| 20/20", "captured text", "data:image/png;base64"):
        assert text in page
    assert "0/20" not in page.replace("20/20", "")
    assert page.count(f'<script type="{WIDGET_VIEW}">') == 1, "the slider is drawn by scripts"


@needs_poppler
@pytest.mark.parametrize("engine", ["typst", pytest.param("browser", marks=needs_browser)])
def test_pdf_shows_what_widgets_show_at_last(tmp_path: Path, engine: str) -> None:
    exported = to_pdf(with_widgets(tmp_path), engine)
    text = text_of(exported.path)
    for words in ("20/20", "captured text", "IntSlider(value=7)"):
        assert words in text
    assert "0/20" not in text.replace("20/20", "")
    assert sum(near(page, GREEN) for page in pages_of(exported.path)) > 1_000


@needs_poppler
def test_typst_sets_formulas_without_a_network(ipynb: Path) -> None:
    text = text_of(to_pdf(ipynb, "typst").path)
    assert "∫" in text
    assert "\\int" not in text


def latex(text: str) -> Any:
    return shown({"text/latex": text, "text/plain": "<IPython.core.display.Latex object>"})


TABULAR = r"""\begin{table} \caption{A caption} \begin{tabular}{lrl} \toprule & n\_x & b \\ \midrule 0 & 17 & p\% \\
\bottomrule \end{tabular} \end{table}"""


@needs_poppler
@pytest.mark.parametrize("engine", ["typst", pytest.param("browser", marks=needs_browser)])
def test_formulas_and_tables_in_latex_are_set_in_every_form(tmp_path: Path, engine: str) -> None:
    bare = v4.new_markdown_cell("$$1$$\n\n\\begin{align}\na &= \\mu \\\\\nc &= \\nu\n\\end{align}")
    outputs = [latex(text) for text in (r"words $\lambda$", r"\frac{\pi}{2}", r"$\displaystyle \sigma$", TABULAR)]
    notebook = v4.new_notebook(cells=[bare, cell("latex()", *outputs)])
    exported = to_pdf(written(notebook, tmp_path), engine)
    text = unicodedata.normalize("NFKC", text_of(exported.path))
    for words in (*"μνλπσ", "words", "A caption", "n_x", "17", "p%"):
        assert words in text, words
    assert not re.search(r"\\|\$|tabular|align", text)


@needs_poppler
def test_links_to_headings_are_taken_and_those_that_lead_nowhere_are_text(tmp_path: Path) -> None:
    links = "[first](#A-long-Heading) [second](#a-long-heading) [third](#%C3%9Cber-all) [gone](#nowhere) [odd](<#a(b)>)"
    cells = [v4.new_markdown_cell(text) for text in (links, "# A long Heading", "# Über all")]
    exported = to_pdf(written(v4.new_notebook(cells=cells), tmp_path), "typst")
    assert "first second third gone odd" in text_of(exported.path)
    assert len(re.findall(rb"/Subtype\s*/Link", exported.path.read_bytes())) == 3


@needs_browser
@pytest.mark.parametrize(
    ("cells", "engine"),
    [
        ([PLOT], "typst"),
        ([FORMULA, PLOT], "typst"),
        ([cell("table", TABLE)], "browser"),
        ([FORMULA, cell("html", HTML_ONLY)], "browser"),
    ],
)
def test_engine_that_loses_least_is_chosen(tmp_path: Path, cells: list[Any], engine: str) -> None:
    assert to_pdf(written(v4.new_notebook(cells=cells), tmp_path)).engine == engine


@needs_poppler
def test_html_only_output_is_not_lost_without_a_browser(tmp_path: Path) -> None:
    interactive = shown({"text/html": "<div></div><script>draw()</script>"})
    notebook = v4.new_notebook(cells=[cell("html", HTML_ONLY), cell("live", interactive)])
    text = text_of(to_pdf(written(notebook, tmp_path), "typst").path)
    assert "only in HTML" in text
    assert "Not shown: an interactive output" in text


def test_characters_without_a_font_are_named(tmp_path: Path) -> None:
    notebook = v4.new_notebook(cells=[v4.new_markdown_cell("λ é — \U00012000 \U0001f9ff and \u13a0")])
    exported = to_pdf(written(notebook, tmp_path), "typst")
    assert "\U00012000" in exported.missing
    assert not set("λé—") & set(exported.missing)


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a PDF engine: no command on the path, and the Python packages hidden."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    without = "import sys\nsys.modules.update(typst=None, pypandoc=None)\n"
    monkeypatch.setattr(sys, "executable", interpreter_with(tmp_path / "without", sitecustomize=without))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix, "share/jupyter")))
    monkeypatch.setenv("PATH", str(hidden))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(hidden))
    return hidden


def test_machine_without_an_engine_gives_the_command_to_install_one(ipynb: Path, bare_machine: Path) -> None:
    before = fingerprint(ipynb)
    with pytest.raises(RefusedError, match=r"-m pip install 'kernel-supervisor\[pdf\]'"):
        to_pdf(ipynb)
    with pytest.raises(RefusedError, match="no Chromium or Chrome was found"):
        to_pdf(ipynb, "browser")
    assert fingerprint(ipynb) == before
    assert to_html(ipynb).path.exists()


NOISE = """
import atexit, sys
print('{"engine": "of mine"}')
print("x" * 3_000_000, end="")
sys.stdout.flush()
atexit.register(print, '{"refused": "goodbye"}')
"""


def test_what_an_interpreter_prints_around_the_export_is_passed_over(
    ipynb: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", interpreter_with(tmp_path / "loud", sitecustomize=NOISE))
    monkeypatch.setenv("JUPYTER_PATH", str(Path(sys.prefix, "share/jupyter")))
    said: list[str] = []
    assert to_html(ipynb, progress=said.append).engine == "nbconvert"
    assert said == ["writing HTML"]


def test_unknown_engine_is_refused(ipynb: Path) -> None:
    with pytest.raises(RefusedError, match="choose one of typst, browser, xelatex"):
        to_pdf(ipynb, "word")


def test_deadline_ends_the_export_and_all_it_started(
    ipynb: Path, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = ipynb.parent / "pid"
    browser = bare_machine / "chromium"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec /bin/sleep 600\n")
    browser.chmod(0o755)
    (ipynb.parent / "report.pdf").write_text("old")
    with pytest.raises(UnavailableError, match="took more than 15 s and was stopped"):
        to_pdf(ipynb, "browser", deadline_s=15)  # long enough for the browser to have begun
    assert (ipynb.parent / "report.pdf").read_text() == "old"
    with pytest.raises(ProcessLookupError):
        _wait_for_end(int(pid.read_text()))


def _wait_for_end(pid: int) -> None:
    """Return when `pid`, somebody else's child, is a zombie; raise ProcessLookupError when it is gone."""
    while True:
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            raise ProcessLookupError(pid)


def test_failing_engine_gives_way_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ipynb = written(v4.new_notebook(cells=[cell("table", TABLE)]), tmp_path)
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "chromium").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (broken / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken}:{os.environ['PATH']}")
    said: list[str] = []
    assert to_pdf(ipynb, progress=said.append).engine == "typst"
    assert said == ["writing PDF with browser", "writing PDF with typst"]
    with pytest.raises(UnavailableError, match="browser: broken"):
        to_pdf(ipynb, "browser")


def test_export_that_crashes_is_told(ipynb: Path) -> None:
    ipynb.write_text("no notebook")
    with pytest.raises(RefusedError, match="is not a notebook"):
        to_html(ipynb)
    assert not ipynb.with_suffix(".html").exists()


def test_cancelled_export_leaves_nothing(ipynb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = ipynb.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    async def cancel_when_begun() -> None:
        begun = asyncio.Event()
        html = ipynb.with_suffix(".html")
        task = asyncio.create_task(
            export("html", ipynb, html, deadline_s=DEADLINE_S, progress=lambda words: begun.set()), name="export"
        )
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_when_begun())
    assert os.listdir(scratch) == []
    assert not ipynb.with_suffix(".html").exists()


def test_every_format_has_a_writer() -> None:
    assert set(WRITERS) == set(FORMATS)


def test_nbconvert_is_not_imported_here() -> None:
    code = (
        "import sys, kernel_supervisor.notebooks.document, kernel_supervisor.notebooks.export\n"
        "import kernel_supervisor.notebooks.loading\n"
        "sys.exit('nbconvert' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_markdown_has_pictures_beside_it_and_a_script_its_code_alone(ipynb: Path) -> None:
    def to(form: str) -> str:
        exported = asyncio.run(export(form, ipynb, ipynb.with_suffix(f".{form}"), deadline_s=DEADLINE_S))
        assert exported.path == ipynb.with_suffix(f".{form}")
        return exported.path.read_text()

    text = to("md")
    pictures = re.findall(r"!\[png\]\((report_files/[^)]+)\)", text)
    assert [near(Image.open(ipynb.parent / picture), RED) for picture in pictures] == [300 * 200]
    for words in ("# A title", "plot()", "plain", "jsonvalue", "Traceback of the failure"):
        assert words in text
    assert "base64" not in text
    notebook = nbformat.read(ipynb, 4)
    notebook.cells += [v4.new_code_cell("%matplotlib inline\nx = 5 % 2\n!ls"), v4.new_code_cell("%%bash\nls")]
    nbformat.write(notebook, ipynb)
    code = to("py")
    compile(code, "report.py", "exec")
    assert "# %% [markdown]\n# # A title\n" in code
    assert "# %%\n# %matplotlib inline\nx = 5 % 2\n# !ls\n" in code
    assert "# %%\n# %%bash\n# ls\n" in code
