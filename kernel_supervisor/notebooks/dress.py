"""How our pages of HTML look: a column that a phone has room for, dark where a reader's system is, fit for paper."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernel_supervisor.notebooks.shown.heads import Head
from kernel_supervisor.notebooks.shown.legible import DARK, LIGHT, legible
from kernel_supervisor.notebooks.shown.printed import COLOURS
from kernel_supervisor.notebooks.shown.spans import NAMES
from kernel_supervisor.notebooks.wishes import PageSize

_DARK = re.compile(r":root\s*\{")
_PAPER = (
    "--jp-layout-color0: white; --jp-layout-color1: white; --jp-border-color1: #bdbdbd; --jp-border-color2: #e0e0e0;"
    " --jp-content-font-color0: black; --jp-content-font-color1: rgba(0, 0, 0, 0.87); --jp-ui-font-color0: black;"
    " --jp-ui-font-color1: rgba(0, 0, 0, 0.87); --jp-rendermime-table-row-background: #f5f5f5;"
    " --jp-rendermime-table-row-hover-background: #e1f5fe; --jp-content-link-color: #0d47a1"
)
"""The variables of the light theme."""
SCREEN = """
body.jp-Notebook { max-width: 60rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; box-sizing: border-box;
  --jp-cell-prompt-width: 5.6rem; --jp-rendermime-error-background: #fdf0ef; --jp-cell-prompt-not-active-opacity: 1;
  --jp-mirror-editor-comment-color: #356a6a; --jp-mirror-editor-number-color: #007400;
  --jp-mirror-editor-operator-color: #8713d6; --jp-content-font-color2: rgba(0, 0, 0, 0.62); }
body.jp-Notebook, .jp-RenderedHTMLCommon { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "Noto Sans", "DejaVu Sans", sans-serif; }
.jp-RenderedHTMLCommon { line-height: 1.6; overflow-wrap: break-word; }
.jp-RenderedHTMLCommon :is(h1, h2, h3) { line-height: 1.25; letter-spacing: -0.01em; }
.jp-RenderedHTMLCommon h2 { border-bottom: 1px solid var(--jp-border-color2); padding-bottom: 0.25em; }
.jp-RenderedHTMLCommon :is(img, svg[viewBox][width]), :is(.jp-RenderedImage, .jp-RenderedSVG) > :is(img, svg) {
  max-width: 100%; }
.jp-RenderedHTMLCommon :is(img[width], img:not([height]), svg[viewBox][width]),
:is(.jp-RenderedImage, .jp-RenderedSVG) > :is(img, svg) { height: auto; }
.jp-RenderedHTMLCommon :is(img, svg)[style*="width"] { height: auto !important; }
.jp-RenderedHTMLCommon :is(div, p, section, figure, img, video, iframe)[style*="width"]:not(.ks-paper) {
  max-width: 100% !important; box-sizing: border-box; }
.jp-RenderedHTMLCommon blockquote { margin: 1em 0; padding: 0.1em 1em; border-left: 4px solid var(--jp-border-color1);
  color: inherit; background: none; }
.jp-RenderedHTMLCommon blockquote > :last-child { margin-bottom: 0.4em; }
.jp-InputArea, .jp-OutputArea-child { display: flex; width: auto; }
:is(.jp-InputPrompt, .jp-OutputPrompt) { display: block; flex: 0 0 var(--jp-cell-prompt-width);
  box-sizing: border-box; }
:is(.jp-InputArea-editor, .jp-OutputArea-output, .jp-InputArea > .jp-RenderedMarkdown) { flex: 1 1 0; display: block; }
.jp-InputArea, .jp-InputArea-editor, .jp-OutputArea, .jp-OutputArea-child, .jp-OutputArea-output, .jp-RenderedMarkdown {
  min-width: 0; }
.jp-OutputArea-output, .jp-Notebook .highlight pre, .jp-RenderedMarkdown, .jp-RenderedMarkdown pre { overflow-x: auto; }
.jp-OutputArea-output pre { font-family: var(--jp-code-font-family); font-size: var(--jp-code-font-size);
  line-height: var(--jp-code-line-height); word-break: normal; overflow-wrap: anywhere; }
.jp-InputArea-editor { border-radius: 4px; }
.jp-RenderedHTMLCommon .alert { color: #1f2328; --jp-content-link-color: #0d47a1; }
.jp-RenderedHTMLCommon .footnotes { border-top: 1px solid var(--jp-border-color2); font-size: 0.9em; }
.ks-head { margin: 0 0 1.2rem var(--jp-cell-prompt-width); padding: 0 10px; }
.ks-head h1 { margin: 0 0 0.3rem; font-size: 2rem; line-height: 1.2; font-weight: 600;
  color: var(--jp-content-font-color1); }
.ks-head p { margin: 0; color: var(--jp-content-font-color2); font-size: 0.9rem; }
.ks-paper { width: fit-content; max-width: 100%; box-sizing: border-box; overflow-x: auto; }
.ks-paper:has(.ks-wide, .plotly-graph-div) { width: auto; }
.jp-OutputArea-output.jp-RenderedHTMLCommon { padding-right: 0; }
.jp-OutputArea-child + .jp-OutputArea-child, .jp-Cell-outputWrapper { margin-top: 0.5rem; }
.jp-OutputArea-output:is(.jp-RenderedText, [data-mime-type*="stderr"]) pre { padding-block: 2px 6px; }
.jp-RenderedHTMLCommon thead th[colspan]:not([colspan="1"]) { text-align: center; }
.jp-RenderedHTMLCommon :is(td, th) { max-width: min(32rem, 65vw); overflow-wrap: break-word; }
.ks-more summary { cursor: pointer; opacity: 0.8; font-size: 0.9em; }
.sk-top-container { overflow: visible !important; }
[id^=sk-container-id] { --sklearn-color-fitted-level-3: #2f62c4 !important; }
@media (max-width: 640px) {
  body.jp-Notebook { padding: 1rem 0.6rem 3rem; --jp-cell-prompt-width: 0px; --jp-notebook-padding: 0px; }
  .jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser { display: none !important; }
  .jp-Cell { padding-left: 0 !important; padding-right: 0 !important; }
  .ks-head { padding: 0 5px; }
  .ks-head h1, .jp-RenderedHTMLCommon h1 { font-size: 1.6rem; }
  .jp-RenderedHTMLCommon { padding-right: 0 !important; }
}
@media print {
  body.jp-Notebook { max-width: none; padding: 0; }
  .jp-InputArea, .jp-InputArea-editor, .jp-OutputArea-output { overflow: visible !important; }
  .jp-Notebook pre { white-space: pre-wrap !important; overflow-wrap: anywhere !important; }
  .jp-OutputArea-child { break-inside: auto !important; }
  .jp-Notebook img, .jp-Notebook svg { max-width: 100%; break-inside: avoid; }
  .jp-Notebook tr { break-inside: avoid; }
  .jp-CodeCell .jp-InputArea pre { orphans: 4; widows: 4; }
  .jp-RenderedHTMLCommon :is(h1, h2, h3, h4) { break-after: avoid; }
  .ks-more:not([open]) > summary::after { content: " (folded)"; }
}
"""
_BRIGHT = ("#9aa0a6", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#c9d1d9")
"""Of a terminal's first eight, light enough to be read in the dark."""


def _inks(colours: Sequence[str], ground: str) -> str:
    """Rules for a terminal's sixteen colours, read on that ground."""
    return "".join(
        f".jp-OutputArea-output pre .ansi-{name}-fg {{ color: {legible(colour, ground)}; }}\n"
        for name, colour in zip(NAMES, colours, strict=True)
    )


_DIMMED = "brightness(0.84)"
"""How white paper is lit by night: figures keep their colours, and the page does not glare."""
_ON_LIGHT = _inks(COLOURS, LIGHT)
_ON_DARK = f"""
body.jp-Notebook {{ color-scheme: dark; --jp-rendermime-error-background: {DARK};
  --jp-mirror-editor-comment-color: #7fb0b0; --jp-mirror-editor-operator-color: #c792f5;
  --jp-mirror-editor-number-color: #66bb6a; --jp-content-font-color2: rgba(255, 255, 255, 0.7);
  --jp-cell-inprompt-font-color: #6db3f2;
  --jp-cell-outprompt-font-color: #e08f75; }}
:is(.jp-RenderedImage, .jp-RenderedSVG) > :is(img, svg), .jp-RenderedMarkdown img {{ background: white;
  border-radius: 5px; filter: {_DIMMED}; }}
:is(.jp-RenderedImage, .jp-RenderedSVG) > :is(img, svg), .ks-paper {{ padding: 8px; box-sizing: border-box; }}
.ks-paper {{ background: white; color: black; color-scheme: light; border-radius: 5px; filter: {_DIMMED}; {_PAPER}; }}
.ks-more summary, .jp-OutputArea-output .ks-missing {{ color: #b4b4b4; }}
{_inks((*_BRIGHT, *_BRIGHT), DARK)}"""


def head_as_html(head: Head) -> str:
    """What stands above the first cell."""
    title = "" if head.is_in_text else f"<h1>{html.escape(head.title)}</h1>"
    return f'<header class="ks-head">{title}<p>{html.escape(head.about)}</p></header>'


def dressed(page: str, theme: str, dark: str, head: Head) -> str:
    """A page of nbconvert's `lab`, in our dress. `dark` is the style sheet of its dark theme."""
    if theme == "auto":
        style = f'<style media="screen and (prefers-color-scheme: dark)">{dark}{_ON_DARK}</style>'
        style = f'<meta name="color-scheme" content="light dark">{style}'
    else:
        style = f"<style>{_ON_DARK}</style>" if theme == "dark" else ""
    page = page.replace("</head>", f"<style>{SCREEN}{_ON_LIGHT}</style>{style}</head>", 1)
    return page.replace("<main>", f"<main>{head_as_html(head)}", 1)


def paper(size: PageSize, head: Head) -> str:
    """A style sheet's rules for pages of that size, numbered, under the title."""
    name = {"a4": "A4", "letter": "letter"}[size]
    said = "font: 8pt system-ui, 'DejaVu Sans', sans-serif; color: #666;"
    number = f'@bottom-center {{ content: counter(page) " / " counter(pages); {said} }}'
    title = f"@top-left {{ content: {_string(head.title)}; {said} }}"
    about = f"@top-right {{ content: {_string(head.about)}; {said} }}"
    none = "@top-left { content: none } @top-right { content: none }"
    return (
        f"@page {{ size: {name}; margin: 1.9cm 1.7cm; {title} {about} {number} }}\n@page :first {{ {none} }}\n"
        f"@page ks-across {{ size: {name} landscape; }}\n"
    )


def _string(text: str) -> str:
    """`text` as a string of a style sheet's, whatever is in it."""
    kept = "".join(f"\\{ord(each):x} " if each in '"\\<>&\n\r' or each < " " else each for each in text)
    return f'"{kept}"'


def dark_theme(templates: Any) -> str:
    """The variables of the dark theme of nbconvert's `lab`; nothing where its files are not as we know them."""
    for folder in templates:
        sheet = Path(folder, "static", "theme-dark.css")
        if sheet.is_file() and _DARK.search(text := sheet.read_text(encoding="utf-8")):
            return text
    return ""
