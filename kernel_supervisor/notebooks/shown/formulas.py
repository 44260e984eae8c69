"""Formulas in TeX as MathML, which browsers set without a script, and their font; what else outputs in LaTeX are.

A browser sets large brackets, sums and roots only from a font that has a table for mathematics.
`stix-two-math.woff2` is STIX Two Math with the signs that formulas have, made by fontTools:
`pyftsubset --unicodes=… --layout-features=ssty,flac,dtls --no-hinting --flavor=woff2`. Its licence is in `OFL.txt`.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

from latex2mathml import converter, exceptions

from kernel_supervisor.notebooks.shown.tables import Row, Table, TableCell

_FONT, _FONT_NAME = Path(__file__).with_name("stix-two-math.woff2"), "STIX Two Math"
_ENVIRONMENTS = r"align|alignat|equation|gather|multline|eqnarray|split|aligned|cases|[bpvV]?matrix|array"
_NUMBERED = re.compile(r"\\(begin|end)\{(align|equation|gather|multline|eqnarray)\}")
_BARE = re.compile(rf"^\\begin\{{({_ENVIRONMENTS})(\*?)\}}.*?\\end\{{\1\2\}}", re.MULTILINE | re.DOTALL)
_FORMULA = re.compile(
    r"\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^$]+)\$|\\\[(?P<display>.+?)\\\]|\\\((?P<round>.+?)\\\)", re.DOTALL
)
_TABULAR = re.compile(r"\\begin\{(tabular|longtable)\}(?:\[\w*\])?\{([^}]*)\}(.*?)\\end\{\1\}", re.DOTALL)
_RULES = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|endhead|endfirsthead|endfoot|endlastfoot|c(?:mid)?(?:rule|line)\S*)"
)
_CAPTION = re.compile(r"\\caption\{([^}]*)\}")
_SIGN = re.compile(r"\\([_%&#${} ])")
_ONE_UPRIGHT = re.compile(r"\\(?:mathrm|rm|text)\s*\{\s*([A-Za-z])\s*\}|\\mathrm\s+([A-Za-z])(?![A-Za-z])")
"""Which the library sets as a variable."""
_SIGNS, _BARS = tuple("−-+±∓¬"), tuple("|∣‖")
_CLOSING = (*")]}!′⟩⌉⌋", *_BARS)
_FAILURES: tuple[type[Exception], ...] = (
    *(each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception)),
    *(LookupError, ValueError, TypeError, AttributeError, RecursionError),
)
"""What the library may raise over what is no TeX."""


@cache
def style() -> str:
    """A style sheet's rules for the formulas of a page, the font in them."""
    source = f"url(data:font/woff2;base64,{b64encode(_FONT.read_bytes()).decode()}) format('woff2')"
    return (
        f"@font-face {{ font-family: '{_FONT_NAME}'; src: {source}; }}\nmath {{ font-family: '{_FONT_NAME}', math; }}\n"
        ".ks-formula { display: block; max-width: 100%; padding: 0.2em 0; overflow: auto hidden; }\n"
    )


def mathml(tex: str, *, is_block: bool) -> str | None:
    """The formula as an element, None for TeX that is not understood."""
    try:
        tex = _ONE_UPRIGHT.sub(r"\\text{\1\2}", _NUMBERED.sub(r"\\\1{\2*}", tex))
        made = converter.convert_to_element(tex, display="block" if is_block else "inline")
    except _FAILURES:
        return None
    for each in made.iter():
        each.text = html.unescape(each.text) if each.text else each.text  # a text of the notebook's is escaped below
    for each in made.iter():
        _as_browsers_have_it(each)
    said = ElementTree.tostring(made, encoding="unicode")
    if ">\\" in said:
        return None  # a command that it does not know stands there by its name
    return f'<span class="ks-formula">{said}</span>' if is_block else said


def _as_browsers_have_it(element: ElementTree.Element) -> None:
    """With what MathML's core (https://www.w3.org/TR/mathml-core/) leaves to style sheets, and signs as such."""
    before, bars = "", 0
    for each in element:
        said = (each.text or "") if each.tag == "mo" else ""
        if said in _SIGNS and before and (before not in _CLOSING or (before in _BARS and bars % 2)):
            each.set("form", "prefix")  # no operand is before it; the first in a row is known to browsers as such
        before, bars = said, bars + (said in _BARS)
    if element.tag == "mtable":
        joined = element.get("columnspacing", "").startswith("0em")  # what stands on both sides of an "="
        for cell in element.iter("mtd"):
            side = cell.get("columnalign", "")
            if side in ("left", "right"):
                cell.set("style", f"text-align:{side}" + (f";padding-{side}:0" * joined))


def latex_as_html(latex: str) -> str | None:
    """An output in LaTeX as HTML, None where some of it is not understood."""
    if not _FORMULA.search(latex):
        return mathml(latex, is_block=True)
    parts, end = [], 0
    for found in _FORMULA.finditer(latex):
        is_block = found.lastgroup in ("block", "display")
        parts += [html.escape(latex[end : found.start()]), mathml(found[found.lastgroup or 0], is_block=is_block)]
        end = found.end()
    parts.append(html.escape(latex[end:]))
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None


def with_formulas_marked(markdown: str) -> str:
    """Markdown whose bare environments are between dollars, as Jupyter takes them."""
    return _BARE.sub(lambda found: found[0] if _is_marked(markdown, found) else f"$$\n{found[0]}\n$$", markdown)


def table_in(latex: str) -> Table | None:
    """The table that an output in LaTeX is, as pandas writes it; None where it is none."""
    found = _TABULAR.search(latex)
    if found is None:
        return None
    sides = [
        {"l": "left", "r": "right", "c": "center"}.get(letter, "left") for letter in re.findall("[lrcp]", found[2])
    ]
    head, rule, body = found[3].partition("\\midrule")
    rows = [_rows(part, sides, is_head=bool(rule) and part is head) for part in ((head, body) if rule else ("", head))]
    columns = max((len(row) for part in rows for row in part), default=0)
    caption = _CAPTION.search(latex)
    said = _SIGN.sub(r"\1", caption[1]) if caption else ""
    return Table(caption=said, head=rows[0], body=rows[1], columns=columns, index=0) if columns else None


def _rows(said: str, sides: list[str], *, is_head: bool) -> tuple[Row, ...]:
    lines = [line.strip() for line in re.split(r"\\\\|\\tabularnewline", _RULES.sub("", said))]
    return tuple(
        tuple(
            TableCell(
                text=_SIGN.sub(r"\1", text.strip()),
                column=column,
                is_head=is_head,
                align=sides[column] if column < len(sides) else "left",
            )
            for column, text in enumerate(re.split(r"(?<!\\)&", line))
        )
        for line in lines
        if line
    )


def _is_marked(markdown: str, found: re.Match[str]) -> bool:
    before = markdown[: found.start()]
    return before.count("$$") % 2 == 1 or before.count("```") % 2 == 1
