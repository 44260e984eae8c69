"""How a document is wanted (its page, whether it has the code, what is fetched for it, what makes it), and what is told
of it once it is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from kernel_supervisor.core.errors import RefusedError

PageSize = Literal["a4", "letter"]
WORDS = ("no-code", "page=a4", "page=letter", "fetch-images", "template=NAME", "session-kernel")
"""What `wishes_in` understands."""
BESIDE = "_files"
"""What the folder is called, after the document, that has what is beside it: nbconvert's word."""
_LETTER = ("US", "CA", "MX", "PH", "CL", "CO", "VE", "CR", "GT", "NI", "PA", "PR", "SV", "DO")
"""Territories that print on it, by glibc's locales (LC_PAPER)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Of somebody who wants a document."""

    page: PageSize = "a4"
    with_code: bool = True
    fetch_images: bool = False
    """Whether pictures that Markdown has from the network are fetched; else each has a placeholder."""
    template: str = ""
    """nbconvert's, for HTML: its name, or the folder that it is in; empty for its `lab`, in our dress."""
    session_kernel: bool = False
    """Whether the notebook is opened in its session, by a kernelspec of ours."""
    made_with: str = ""
    """A theme for HTML, an engine for PDF."""
    environment: str = ""
    """The folder of the Python that made the figures."""

    def words(self) -> str:
        """As `from_words` reads them in another process."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What made a document, and what is not in it."""

    engine: str
    missing: str = ""
    """Characters that no font here has, each once."""
    remarks: list[str] = field(default_factory=list)
    """What it does not show, by cell, in words."""


def from_words(said: str) -> Wishes:
    """The wishes that were said so."""
    return Wishes(**json.loads(said))


def wishes_in(options: Sequence[str], env: Mapping[str, str]) -> Wishes:
    """What `options` ask for, on the paper of a place where `env` is the environment if they do not say.

    Raises RefusedError for one that is unknown.
    """
    wishes = Wishes(page=paper_of(env))
    for option in options:
        name, _, value = option.strip().partition("=")
        if option == "no-code":
            wishes = replace(wishes, with_code=False)
        elif name == "page" and value.lower() in ("a4", "letter"):
            wishes = replace(wishes, page="letter" if value.lower() == "letter" else "a4")
        elif option == "fetch-images":
            wishes = replace(wishes, fetch_images=True)
        elif name == "template" and value:
            wishes = replace(wishes, template=value)
        elif option == "session-kernel":
            wishes = replace(wishes, session_kernel=True)
        else:
            raise RefusedError(f"options: there is no {option[:80]!r}; there are {', '.join(WORDS)}")
    return wishes


def paper_of(env: Mapping[str, str]) -> PageSize:
    """The paper that is usual where `env` says that somebody is."""
    locale = next((env[name] for name in ("LC_ALL", "LC_PAPER", "LANG") if env.get(name)), "")
    return "letter" if locale.partition(".")[0].partition("_")[2].partition("@")[0] in _LETTER else "a4"
