"""Promise: a document made of a notebook that somebody else wrote runs nothing of it, and asks nobody for anything."""

from __future__ import annotations

import http.server
import importlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat, v4
from tests.support import Home

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]

WRITE = "document.body.append('RAN ' + 'ANYWAY'); fetch('{url}/fetched');"
HTML = {
    "script": "<script>{write}</script>",
    "upper case": "<SCRIPT\n>{write}</SCRIPT>",
    "onerror": '<img src="x:" onerror="{write}">',
    "onload": '<svg onload="{write}"></svg>',
    "style": "<style>@import url({url}/css); body {{ background: url({url}/background) }}</style>",
    "picture": '<img src="{url}/picture"><object data="{url}/object"></object>',
    "sheet": '<link rel="stylesheet" href="{url}/sheet">',
    "script from elsewhere": '<script src="{url}/script"></script>',
    "frame": '<iframe src="{url}/frame"></iframe><iframe src="file://{secret}"></iframe>',
    "frame with a script": '<iframe srcdoc="<script>{write}</script>"></iframe>',
    "frame of an address": '<iframe src="javascript:{write}"></iframe>',
    "elsewhere": '<meta http-equiv="refresh" content="0;url={url}/refreshed">',
    "to a file": '<META HTTP-EQUIV="refresh" CONTENT="0;url=file://{secret}">',
    "base": '<base href="{url}/"><img src="based">',
    "end of a script": "</script><script>{write}</script>",
}

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TEX = [
    r"\input{/etc/passwd}",
    r"\immediate\write18{touch ran}",
    r"\special{pdf:fstream @x (/etc/passwd)}",
    r"\begin{input}{/etc/passwd}\end{input}",
    r"x^^5cinput{/etc/passwd}",
    r"\csname input\endcsname{/etc/passwd}",
]
"""What reads a file or runs a command."""
MARKDOWN = [
    *("{}", "${}$", "$${}$$", r"\({}\)", r"$\text{{{}}}$", r"$\mbox{{{}}}$", r"\begin{{align}}{}\end{{align}}"),
    *("`{}`{{=latex}}", "```{{=tex}}\n{}\n```", "    \\end{{verbatim}}{}", "~~~ {{.tex key='{}'}}\nx\n~~~"),
    *(
        "# {} {{#at}}",
        "[\\{}](#there)",
        "[x]({})",
        "![{}](x.png)",
        "![x](x}}{}.png)",
        "<cite data-cite='}}{}'>x</cite>",
    ),
]
"""Where it can stand in Markdown."""
XELATEX = """#!/bin/sh
for last; do case "$last" in *.tex) cp "$last" {seen}/document.tex;; esac; done
printf '%s\\n' "$@" > {seen}/arguments; env > {seen}/environment; ls -R . > {seen}/beside
echo '%PDF-1.4' > notebook.pdf
"""


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what it was asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()


def hostile(folder: Path, url: str) -> Path:
    """A notebook with each form as an output of a cell that claims to be ours, as Markdown, and as a widget's state."""
    secret = folder / "secret.txt"
    secret.write_text("A SECRET OF THIS MACHINE")
    write = WRITE.format(url=url)
    forms = [form.format(write=write, url=url, secret=secret) for form in HTML.values()]
    outputs = [v4.new_output("display_data", {"text/html": form, "text/plain": "shown"}) for form in forms]
    outputs.append(v4.new_output("display_data", {"application/javascript": write, "text/plain": "shown"}))
    outputs.append(v4.new_output("display_data", {"text/latex": f"$x$<script>{write}</script>"}))
    outputs.append(v4.new_output("display_data", {"image/svg+xml": f"<svg><script>{write}</script></svg>"}))
    claim = {"kernel_supervisor": {"execution_id": 1, "status": "ok", "client": "test"}}
    cells = [v4.new_markdown_cell(form) for form in forms]
    cells += [v4.new_code_cell("shown()", outputs=outputs, execution_count=1, metadata=claim)]
    state = {"state": {"a": {"html": f"</script><script>{write}</script>"}}, "version_major": 2, "version_minor": 0}
    widgets = {"application/vnd.jupyter.widget-state+json": state}
    notebook = v4.new_notebook(cells=cells, metadata={"widgets": widgets, "title": f"</title><script>{write}</script>"})
    nbformat.write(notebook, folder / "theirs.ipynb")
    return folder / "theirs.ipynb"


async def test_a_pdf_runs_the_scripts_of_our_kernels_alone(
    home: Home, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    url, paths = asked
    async with home.client() as session:
        await session.call("kernel_load_notebook", path=str(hostile(tmp_path, url)))
        shown = "<p id='ours'>still</p><script>document.getElementById('ours').textContent = 'DRAWN ' + 'HERE'</script>"
        script = "document.body.append('APPENDED ' + 'HERE')"
        await session.run(f"from IPython.display import HTML, Javascript, display\ndisplay(HTML({shown!r}))")
        await session.run(f"display(Javascript({script!r}))")
        await session.run(f"display(HTML('<img src={url}/ours><script src={url}/script></script>'))")
        pdf = tmp_path / "made.pdf"
        made = await session.call(
            "kernel_save_notebook", path=str(tmp_path / "made"), save_pdf=True, pdf_engine="browser"
        )
        assert pdf.exists(), made.text
    text = subprocess.run(["pdftotext", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    assert "DRAWN HERE" in text, text
    assert "APPENDED HERE" in text
    assert "RAN ANYWAY" not in text
    assert "A SECRET" not in text
    assert "shown()" in text, "the page stays where it is"
    assert paths == []


async def test_a_pdf_by_typst_asks_nobody_and_runs_nothing(
    home: Home, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    url, paths = asked
    forms = [f"![seen]({url}/a.png)", f"<img src='{url}/b.png' alt='seen'>", f"![seen][1]\n\n[1]: {url}/c.png"]
    outputs = [v4.new_output("display_data", {"text/html": form}) for form in forms]
    outputs += [v4.new_output("display_data", {"text/markdown": form}) for form in forms]
    (tmp_path / "secret.txt").write_text("A SECRET OF THIS MACHINE")
    read = f'#read("{tmp_path}/secret.txt")'
    outputs.append(v4.new_output("display_data", {"text/markdown": f"words `{read}`{{=Typst}}"}))
    cells = [*map(v4.new_markdown_cell, forms), v4.new_code_cell("shown()", outputs=outputs)]
    cells += [v4.new_raw_cell(read, metadata={key: "typst"}) for key in ("format", "raw_mimetype")]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "theirs.ipynb")
    async with home.client() as session:
        await session.call("kernel_load_notebook", path=str(tmp_path / "theirs.ipynb"))
        path = str(tmp_path / "made")
        made = await session.call("kernel_save_notebook", path=path, save_pdf=True, pdf_engine="typst")
    assert (tmp_path / "made.pdf").exists(), made.text
    assert paths == []
    command = ["pdftotext", str(tmp_path / "made.pdf"), "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "A SECRET" not in text
    assert "words" in text


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a LaTeX is given that is found here: it keeps that, and makes an empty PDF."""
    (programs := tmp_path / "programs").mkdir()
    (seen := tmp_path / "seen").mkdir()
    (programs / "xelatex").write_text(XELATEX.format(seen=seen))
    (programs / "xelatex").chmod(0o700)
    (programs / "bibtex").symlink_to("/bin/false")
    (programs / "pandoc").symlink_to(importlib.import_module("pypandoc").get_pandoc_path())
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return seen


def _for_latex(folder: Path) -> Any:
    forms = ["\n\n".join(form.format(tex) for tex in TEX) for form in MARKDOWN]
    outputs = [v4.new_output("display_data", {"text/latex": tex}) for tex in TEX]
    outputs.append(v4.new_output("display_data", {"text/markdown": "\n\n".join(forms)}))
    outputs += [v4.new_output("display_data", {"image/png": PNG}, metadata={"filename": f"{folder}/written.png"})]
    outputs += [
        v4.new_output("stream", text=TEX[0]),
        v4.new_output("error", ename=TEX[0], evalue=TEX[0], traceback=TEX),
    ]
    cells = [*map(v4.new_markdown_cell, forms), *map(v4.new_raw_cell, TEX)]
    cells += [v4.new_raw_cell(tex, metadata={key: "text/latex"}) for tex in TEX for key in ("format", "raw_mimetype")]
    cells += [v4.new_code_cell("\n".join(TEX), outputs=outputs, execution_count=1)]
    for name in (f"{folder}/attached.png", "../../attached.png"):
        cells.append(v4.new_markdown_cell(f"![a](attachment:{name})", attachments={name: {"image/png": PNG}}))
    about = {"title": TEX[0], "authors": [{"name": TEX[0]}], "date": TEX[0]}
    return v4.new_notebook(cells=cells, metadata=about)


async def test_a_pdf_by_latex_is_given_no_tex_of_theirs(home: Home, tmp_path: Path, seen: Path) -> None:
    nbformat.write(_for_latex(tmp_path), tmp_path / "theirs.ipynb")
    async with home.client() as session:
        await session.call("kernel_load_notebook", path=str(tmp_path / "theirs.ipynb"))
        await session.call("kernel_add_markdown", text="$\\frac{a}{b}$\n\n\\begin{align} a &= \\hat{b} \\end{align}")
        await session.run("from IPython.display import Latex; Latex(r'\\begin{tabular}{l} ours \\end{tabular}')")
        made = await session.call(
            "kernel_save_notebook", path=str(tmp_path / "made"), save_pdf=True, pdf_engine="xelatex"
        )
        assert (tmp_path / "made.pdf").exists(), made.text
    body = (seen / "document.tex").read_text().split(r"\begin{document}")[1]
    words = set(re.findall(r"\\([a-zA-Z]+)", body)) | set(re.findall(r"\\begin\{(\w+)", body))
    assert not words & {"input", "immediate", "write", "special", "csname"}
    assert r"\textbackslash" in body
    assert {"frac", "aligned", "tabular"} <= words, "what is no program of theirs is set"
    assert len(set(re.findall(r"{picture-\d+\.png}", body))) == 2, "attachments are shown"
    assert "-no-shell-escape" in (seen / "arguments").read_text().split()
    environment = (seen / "environment").read_text().splitlines()
    assert {"openin_any=p", "openout_any=p", "shell_escape=f"} <= set(environment)
    assert not list(tmp_path.rglob("written*")) + list(tmp_path.rglob("attached*"))
