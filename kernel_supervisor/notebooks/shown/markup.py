"""Tables, printed text and code in HTML that prints as it should, every word of a notebook in them escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from kernel_supervisor.notebooks.shown.fitting import Part, is_short
from kernel_supervisor.notebooks.shown.printed import PLAIN, Line, Style
from kernel_supervisor.notebooks.shown.tables import Row, Table, TableCell

_CODE = re.compile(r'(<div class="[^"]*\bhighlight\b[^"]*"><pre>)((?:(?!</pre>).)*)</pre>', re.DOTALL)
_MARK = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 10 10'%3E%3Cpath d='M2 1v4h6M6 3l2 2"
    "-2 2' fill='none' stroke='%23999'/%3E%3C/svg%3E"
)
MISSING_STYLE = """
.ks-missing { border: 1px dashed #999; border-radius: 3px; padding: 0.6em 0.8em; color: #767676; font-size: 0.9em; }
"""
STYLE = f"""
.ks-line {{ display: block; position: relative; padding-left: 1.2em; min-height: 1lh; white-space: pre-wrap;
  overflow-wrap: anywhere; }}
.ks-line::before {{ content: ""; position: absolute; left: 0; top: 1lh; bottom: 0; width: 1em;
  background: url("{_MARK}") repeat-y; background-size: 1em 1lh; print-color-adjust: exact; }}
.jp-RenderedHTMLCommon pre.ks-error {{ background: #fdf0ef; print-color-adjust: exact; }}
.ks-part {{ break-inside: auto; margin: 0.4em 0; }}
.ks-part + .ks-part {{ margin-top: 1em; }}
.ks-short {{ break-inside: avoid; }}
.ks-across {{ page: ks-across; }}
.jp-RenderedHTMLCommon table.ks-table {{ table-layout: fixed; border-collapse: collapse; margin: 0; display: table;
  font-family: Arial, 'Liberation Sans', Helvetica, sans-serif;
  border-top: 0.8pt solid black; border-bottom: 0.8pt solid black; }}
table.ks-table thead {{ border-bottom: 0.6pt solid black; display: table-header-group; }}
.jp-RenderedHTMLCommon table.ks-table :is(td, th) {{ padding: 2pt 3.5pt; vertical-align: top; max-width: none;
  white-space: pre-line; overflow-wrap: anywhere; word-break: normal; }}
.ks-title {{ font: bold 8pt Arial, 'Liberation Sans', Helvetica, sans-serif; margin-bottom: 3pt; break-after: avoid; }}
.ks-of {{ font-weight: normal; color: #666; }}
"""
"""Of all of them; a line that is broken has a mark at the beginning of each that it becomes."""


def printed(lines: Iterable[Line], *, is_error: bool = False) -> str:
    """Printed text, its colours kept."""
    return f'<pre class="ks-printed{" ks-error" if is_error else ""}">{"".join(map(_line, lines))}</pre>'


def with_code_marked(page: str) -> str:
    """`page` whose code, as a highlighter has made it, is in lines that are marked where they are broken."""
    return _CODE.sub(lambda code: f"{code[1]}{_code_lines(code[2])}</pre>", page)


def table(parts: Iterable[Part]) -> str:
    """A table in its parts, each on pages laid as it says; a browser repeats its head on each page."""
    return "".join(map(_part, parts))


def plain_table(whole: Table) -> str:
    """A table for a page that scrolls."""
    head = f"<thead>{_rows(whole, whole.head)}</thead>" if whole.head else ""
    caption = f"<caption>{html.escape(whole.caption)}</caption>" if whole.caption else ""
    return f'<table class="dataframe">{caption}{head}<tbody>{_rows(whole, whole.body)}</tbody></table>'


def folded(first: str, rest: str, number: int) -> str:
    """Printed text as HTML of which a reader opens all but the first lines, `number` of them."""
    how = f"<summary>{number:,} more lines</summary>"
    return f'<pre>{first}</pre><details class="ks-more">{how}<pre>{rest}</pre></details>'


def _code_lines(code: str) -> str:
    return "".join(f'<span class="ks-line">{line}</span>' for line in code.rstrip("\n").split("\n"))


def _line(line: Line) -> str:
    return f'<span class="ks-line">{"".join(map(_piece, line))}</span>'


def _piece(piece: tuple[str, Style]) -> str:
    text, style = piece
    if style == PLAIN:
        return html.escape(text)
    how = [f"color:{style.ink}"] if style.ink else []
    how += [f"background:{style.ground}"] if style.ground else []
    how += ["font-weight:bold"] if style.is_bold else []
    how += ["font-style:italic"] if style.is_italic else []
    how += ["text-decoration:underline"] if style.is_underlined else []
    return f'<span style="{";".join(how)}">{html.escape(text)}</span>'


def _part(part: Part) -> str:
    whole = part.table
    of = f'<span class="ks-of">{html.escape(part.of)}</span>' if part.of else ""
    title = "&emsp;".join(filter(None, (html.escape(whole.caption), of)))
    title = f'<div class="ks-title">{title}</div>' if title else ""
    widths = "".join(f'<col style="width:{width}pt">' for width in part.widths)
    head = f"<thead>{_rows(whole, whole.head)}</thead>" if whole.head else ""
    size = f"font-size:{part.size}pt;width:{sum(part.widths):.1f}pt"
    inner = f"<colgroup>{widths}</colgroup>{head}<tbody>{_rows(whole, whole.body)}</tbody>"
    body = f'<table class="ks-table" style="{size}">{inner}</table>'
    after = f"<div>{html.escape(whole.after)}</div>" if whole.after else ""
    how = (" ks-across" if part.is_across else "") + (" ks-short" if is_short(whole) else "")
    return f'<div class="ks-part{how}">{title}{body}{after}</div>'


def _rows(whole: Table, rows: Iterable[Row]) -> str:
    return "".join(f"<tr>{''.join(_cell(whole, cell) for cell in row)}</tr>" for row in rows)


def _cell(whole: Table, cell: TableCell) -> str:
    name = "th" if cell.is_head else "td"
    spans = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    spans += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    how = f"text-align:{whole.aligned(cell)}"
    how += f";background:{cell.ground}" if cell.ground else ""
    how += f";color:{cell.ink}" if cell.ink else ""
    return f'<{name}{spans} style="{how}">{html.escape(cell.text)}</{name}>'
