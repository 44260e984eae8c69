"""What MyST adds to Markdown (https://mystmd.org/guide/admonitions), in words that every reader of Markdown sets.

Admonitions become quotations with a title, roles (those of reStructuredText, too) their text, and targets go. Other
directives are code, so that none of their words is lost.
"""

from __future__ import annotations

import re

_KINDS = (
    *("admonition", "attention", "caution", "danger", "error", "hint"),
    *("important", "note", "seealso", "tip", "warning"),
)
_FENCED = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>:{3,}|`{3,}|~{3,})(?P<about>[^`\n]*)\n(?P<body>.*?)^[ \t]*(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_DIRECTIVE = re.compile(r"\{(?P<kind>[\w:-]+)\}[ \t]*(?P<title>.*)\Z")
_CODE = ("code", "code-block", "code-cell", "sourcecode")
_OPTION = re.compile(r"\A(?::[\w-]+:[^\n]*\n)+")
_TARGET = re.compile(r"^\([\w:.-]+\)=[ \t]*(?:\n|\Z)", re.MULTILINE)
_OLDER = "attr|class|const|data|doc|exc|func|meth|mod|obj|ref|term"
_NEWER = (
    rf"(?:{_OLDER})|abbr|any|cite(?::\w+)?|code|command|download|eq|file|guilabel|kbd|math|menuselection|numref|pep|"
    r"program|py:\w+|rfc|samp|sub|subscript|sup|superscript|token|u|underline"
)
_SPAN = re.compile(
    rf"(?<![`\w])(?:\{{(?P<role>{_NEWER})\}}|:(?:py:)?(?P<older>{_OLDER}):)`(?P<text>[^`\n]+)`"
    r"|(?P<ticks>`+)(?!`)(?:(?!\n\n).)*?(?<!`)(?P=ticks)(?!`)",
    re.DOTALL,
)
"""A role that there is, or code, in which none is read."""
_LINKED = re.compile(r"(?P<text>.*?)\s*<[^<>]*>\Z")
_WORDS = ("abbr", "any", "cite", "doc", "eq", "guilabel", "menuselection", "numref", "ref", "term", "u", "underline")
"""Roles whose text is words; that of others is a name in code."""
_TAGS = {"sub": "sub", "subscript": "sub", "sup": "sup", "superscript": "sup"}
_NAMED = {"seealso": "See also", "admonition": ""}


def without_myst(source: str) -> str:
    """Markdown that says the same; code in it is left as it is."""
    parts, end = [], 0
    for block in (*_FENCED.finditer(source), None):
        parts.append(_read(source[end : block.start() if block else None]))
        parts.append(_set(block) if block else "")
        end = block.end() if block else end
    return "".join(parts)


def _read(text: str) -> str:
    return _SPAN.sub(_said, _TARGET.sub("", text))


def _set(block: re.Match[str]) -> str:
    directive = _DIRECTIVE.match(block["about"].strip())
    if directive is None or block["indent"]:
        return block[0]
    kind, title, fence = directive["kind"], directive["title"], block["fence"]
    if kind in _KINDS:
        return _quoted(kind, title, block["body"])
    if kind in _CODE:
        return f"{fence}{title}\n{_OPTION.sub('', block['body'])}{fence}"
    if kind == "math":
        return f"$$\n{_OPTION.sub('', block['body'])}$$"
    return block[0] if fence.startswith(":") else f"{fence}\n{block['about'].strip()}\n{block['body']}{fence}"


def _quoted(kind: str, title: str, body: str) -> str:
    named = title if kind == "admonition" else _NAMED.get(kind, kind.capitalize()) + (f": {title}" if title else "")
    lines = [f"**{named}**", "", *without_myst(_OPTION.sub("", body).strip()).split("\n")]
    return "\n".join(f"> {line}".rstrip() for line in lines)


def _said(found: re.Match[str]) -> str:
    role = found["role"] or found["older"]
    if role is None:
        return found[0]
    if role == "math":
        return f"${found['text']}$"
    if role in _TAGS:
        return f"<{_TAGS[role]}>{found['text']}</{_TAGS[role]}>"
    linked = _LINKED.match(found["text"])
    text = linked["text"] if linked and linked["text"] else found["text"].removeprefix("~")
    return text if role.partition(":")[0] in _WORDS else f"`{text}`"
