"""What MyST adds to Markdown (https://mystmd.org/guide/admonitions), in words that every reader of Markdown sets.

Admonitions become quotations with a title, roles (those of reStructuredText, too) their text, and targets go.
"""

from __future__ import annotations

import re

_KINDS = "admonition|attention|caution|danger|error|hint|important|note|seealso|tip|warning"
_ADMONITION = re.compile(
    rf"^(?P<fence>:{{3,}}|`{{3,}})\{{(?P<kind>{_KINDS})\}}[ \t]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_OPTION = re.compile(r"\A(?::[\w-]+:[^\n]*\n)+")
_TARGET = re.compile(r"^\([\w:.-]+\)=[ \t]*(?:\n|\Z)", re.MULTILINE)
_OLDER = "attr|class|const|data|doc|exc|func|meth|mod|obj|ref|term"
_ROLES = (
    f"{_OLDER}|abbr|button|cite|code|command|del|download|eq|file|guilabel|index|kbd|keyword|math|menuselection|numref|"
)
_ROLES += "option|pep|program|regexp|rfc|samp|smallcaps|strike|sub|sup|token|underline"
_ROLE = re.compile(
    r"(?<!`)(?P<code>``)(?!`)[^\n]*?(?<!`)``(?!`)"
    rf"|(?<![`\w{{])(?:\{{(?:[a-z]+:)?(?P<role>{_ROLES})(?::[a-z]+)?\}}|:(?:py:)?(?P<older>{_OLDER}):)`(?P<text>[^`\n]+)`"
)
"""With code between double backquotes, which is left."""
_LINKED = re.compile(r"(?P<text>.*?)\s*<[^<>]*>\Z")
_WORDS = ("abbr", "cite", "doc", "numref", "ref", "term")
"""Roles whose text is words; that of others is a name in code."""
_NAMED = {"seealso": "See also", "admonition": ""}
_FENCED = re.compile(r"^(```+|~~~+)(?!\{).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


def without_myst(source: str) -> str:
    """Markdown that says the same; code in it is left as it is."""
    parts, end = [], 0
    for code in (*_FENCED.finditer(source), None):
        parts.append(_read(source[end : code.start() if code else None]))
        parts.append(code[0] if code else "")
        end = code.end() if code else end
    return "".join(parts)


def _read(text: str) -> str:
    return _ROLE.sub(_said, _ADMONITION.sub(_quoted, _TARGET.sub("", text)))


def _quoted(found: re.Match[str]) -> str:
    kind, title = found["kind"], found["title"].strip()
    named = title if kind == "admonition" else _NAMED.get(kind, kind.capitalize()) + (f": {title}" if title else "")
    lines = [f"**{named}**", "", *_OPTION.sub("", found["body"]).strip().split("\n")]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _said(found: re.Match[str]) -> str:
    if found["code"]:
        return found[0]
    if found["role"] == "math":
        return f"${found['text']}$"
    linked = _LINKED.match(found["text"])
    text = linked["text"] if linked and linked["text"] else found["text"].removeprefix("~")
    return text if (found["role"] or found["older"]) in _WORDS else f"`{text}`"
