"""Tables, printed text and placeholders in Typst's language, every word of a notebook in them a string literal."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from kernel_supervisor.notebooks.shown.fitting import Part, is_short
from kernel_supervisor.notebooks.shown.heads import Head
from kernel_supervisor.notebooks.shown.printed import PLAIN, Line, Style
from kernel_supervisor.notebooks.shown.tables import Row, Table, TableCell

PREAMBLE = r"""
#let ks-marked(size: 1.0, body) = layout(room => {
  let one = measure(body).height
  let step = one + size * par.leading.to-absolute()
  let number = 1 + int(calc.round((measure(block(width: room.width, body)).height - one) / step))
  block(width: 100%, {
    body
    for line in range(1, calc.max(number, 1)) {
      place(top + left, dx: -9pt, dy: line * step - 1.5pt, text(size: 10pt, fill: luma(120), raw("↳")))
    }
  })
})
#let ks-wrapped(body) = ks-marked(size: 0.8, body)
#let ks-parted(line) = if line.text.find(regex("\\S{60,}")) == none { line.body } else {
  show regex("[,.;:()\\[\\]{}=+/_-]"): it => it + "\u{200b}"
  line.body
}
#let ks-lines(..lines) = {
  set block(spacing: 0.55em)
  set par(justify: false)
  let last = lines.pos().len() - 1
  for (number, line) in lines.pos().enumerate() {
    if number < last and (number < 3 or number > last - 3) { block(sticky: true, line) } else { line }
  }
}
#let ks-line(body) = block(width: 100%, body)
#let ks-printed(ground: none, ..lines) = block(width: 100%, inset: (left: 11pt, right: 6pt, y: 4pt), fill: ground,
  ks-lines(..lines))
#let ks-missing(body) = block(width: 100%, stroke: (dash: "dashed", paint: luma(150), thickness: 0.6pt),
  inset: 7pt, radius: 2pt, text(size: 9pt, fill: luma(90), body))
#let ks-title(caption, part) = block(sticky: true, below: 0.7em, {
  strong(caption)
  if caption != "" and part != "" { h(0.8em) }
  text(fill: luma(100), part)
})
#show raw.where(block: true): it => {
  let lines = it.lines.map(line => {
    if line.text.trim() == "" { ks-line(raw(" ")) }
    else if line.text.clusters().len() > 70 { ks-marked(ks-parted(line)) }
    else { ks-line(line.body) }
  })
  let part(lines, ..how) = block(fill: luma(245), width: 100%, ..how, ks-lines(..lines))
  let kept = if lines.len() > 8 { 4 } else { lines.len() }
  let first = lines.slice(0, lines.len() - kept)
  if first.len() > 0 {
    part(first, radius: (top: 2pt), inset: (left: 11pt, right: 6pt, top: 6pt, bottom: 0.275em), below: 0pt)
  }
  part(lines.slice(first.len()), sticky: true, breakable: false,
    radius: if first.len() > 0 { (bottom: 2pt) } else { 2pt },
    inset: (left: 11pt, right: 6pt, top: if first.len() > 0 { 0.275em } else { 6pt }, bottom: 6pt))
}
#show quote.where(block: true): it => block(width: 100%, stroke: (left: 2pt + luma(190)), inset: (left: 11pt, y: 3pt),
  it.body)
#show link: it => if type(it.dest) == str { text(fill: rgb("#1a55a8"), it) } else { it }
"""
"""What the markup here is made of; a line that is broken has a mark before each that it becomes.

Typst sets raw text, and what lies between its lines, in 0.8 of the size around it.

The end of code stays with the beginning of what it showed.
"""
_HEAD = """
#show heading: set block(above: 1.5em, below: 0.9em)
#set page(
  header: context if here().page() > 1 {{ text(size: 8pt, fill: luma(110), [#{title} #h(1fr) #{about}]) }},
  footer: context align(center, text(size: 8pt, fill: luma(110), counter(page).display("1 / 1", both: true))),
)
"""
_ERROR_GROUND = 'rgb("#fdf0ef")'
_BROKEN = 70
"""Lines of so many characters may be longer than a page is wide."""
_JOINED = 12
"""Longer words in tables may be broken anywhere."""


def paged(head: Head) -> str:
    """What has pages numbered, and the later ones say of what they are."""
    return _HEAD.format(title=literal(head.title), about=literal(head.about))


def opening(head: Head) -> str:
    """What stands above the first cell."""
    title = "" if head.is_in_text else f"#block(below: 0.6em, text(size: 20pt, weight: 600, {literal(head.title)}))\n"
    return f"{title}#block(below: 1.6em, text(size: 9pt, fill: luma(110), {literal(head.about)}))\n"


def printed(lines: Iterable[Line], *, is_error: bool = False) -> str:
    """Printed text, its colours kept."""
    ground = f"ground: {_ERROR_GROUND}, " if is_error else ""
    return f"#ks-printed({ground}{', '.join(map(_line, lines))})\n"


def placeholder(words: str) -> str:
    """What stands for an output that cannot be shown."""
    return f"#ks-missing({literal(words)})\n"


def table(parts: Iterable[Part]) -> str:
    """A table in its parts, each on pages laid as it says, its head repeated on each page."""
    return "".join(
        f"#page(flipped: true)[\n{markup}]\n" if across else markup
        for across, markup in (
            (across, "".join(map(_part, group))) for across, group in groupby(parts, key=lambda part: part.is_across)
        )
    )


def literal(text: str) -> str:
    """`text` as a string of Typst's."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "") + '"'


def _line(line: Line) -> str:
    words = "".join(map(_piece, line)) or '#raw(" ")'
    marked = sum(len(text) for text, _ in line) > _BROKEN
    return f"{'ks-wrapped' if marked else 'ks-line'}[{words}]"


def _piece(piece: tuple[str, Style]) -> str:
    text, style = piece
    words = f"#raw({literal(text)})"
    if style == PLAIN:
        return words
    how = [f'fill: rgb("{style.ink}")'] if style.ink else []
    how += ['weight: "bold"'] if style.is_bold else []
    how += ['style: "italic"'] if style.is_italic else []
    words = f"#text({', '.join(how)})[{words}]"
    words = f"#underline[{words}]" if style.is_underlined else words
    return f'#highlight(fill: rgb("{style.ground}"))[{words}]' if style.ground else words


def _part(part: Part) -> str:
    titles = (part.table.caption, part.of)
    caption = f"#ks-title({', '.join(map(literal, titles))})\n" if any(titles) else ""
    after = f"#block({literal(part.table.after)})\n" if part.table.after else ""
    widths = ", ".join(f"{width}pt" for width in part.widths)
    columns = f"({widths},)"
    rows = len(part.table.head)
    under = f"table.hline(y: {rows - 1}, position: bottom, stroke: 0.6pt)"
    head = f"table.header({_rows(part.table, part.table.head)} {under},)," if rows else ""
    last = f"table.hline(y: {rows + len(part.table.body)}, stroke: 0.8pt)"
    body = _rows(part.table, part.table.body)
    return (
        f"#block(width: 100%, breakable: {str(not is_short(part.table)).lower()})[\n"
        f"#set text(size: {part.size}pt)\n#set par(justify: false, leading: 0.45em)\n{caption}"
        f"#table(columns: {columns}, inset: (x: 3.5pt, y: 2.8pt), stroke: none, "
        f"fill: (x, y) => if calc.even(y) {{ luma(248) }}, table.hline(y: 0, stroke: 0.8pt), {head}{body}"
        f"{last})\n{after}]\n"
    )


def _rows(whole: Table, rows: Iterable[Row]) -> str:
    return "".join(_cell(whole, cell) for row in rows for cell in row)


def _cell(whole: Table, cell: TableCell) -> str:
    how = [f"align: {whole.aligned(cell)} + top", f"x: {cell.column}"]
    how += [f"colspan: {cell.columns}"] if cell.columns > 1 else []
    how += [f"rowspan: {cell.rows}"] if cell.rows > 1 else []
    how += [f'fill: rgb("{cell.ground}")'] if cell.ground else []
    ink = f'fill: rgb("{cell.ink}")' if cell.ink else ""
    words = literal(_breakable(cell.text))
    words = f"text({ink}, {words})" if ink else words
    return f"table.cell({', '.join(how)}, {f'strong({words})' if cell.is_head else words}), "


def _breakable(text: str) -> str:
    """`text` with places in its long words where a line may end."""
    return " ".join("\u200b".join(word) if len(word) > _JOINED else word for word in text.split(" "))
