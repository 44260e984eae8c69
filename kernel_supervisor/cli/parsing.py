"""How arguments are parsed: what is said of wrong ones, what was perhaps meant by them, and how help is wrapped."""

from __future__ import annotations

import argparse
import difflib
import re
from typing import NoReturn

_CHOICES = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


_FEW = 8
"""As many choices as are named where none of them is near."""
_NEAR = 0.65
"""How like each other what was typed and what was meant are."""


class Parser(argparse.ArgumentParser):
    """One that says what was perhaps meant, and where help is."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong with the arguments; exit code 2."""
        if found := _CHOICES.search(message):
            there = re.findall(r"[\w-]+", found[2])
            few = f"; there is {', '.join(there)}" if len(there) <= _FEW else ""
            message = f"there is no {found[1]!r} here{meant(found[1], there) or few}"
        elif unknown := re.match(r"unrecognized arguments: (--[\w-]+)", message):
            message += meant(unknown[1], re.findall(r"--[\w-]+", self.format_help()))
        words = self.prog.split(" ")
        more = " ".join([words[0], "help", *words[1:]])
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\n`{more}` says more\n")


def meant(word: str, there: list[str]) -> str:
    """What may be meant by a word that is none of those there are, as the end of a sentence; empty for nothing."""
    near = list(dict.fromkeys(difflib.get_close_matches(word, there, 3, _NEAR)))
    return f"; did you mean {' or '.join(f'`{each}`' for each in near)}?" if near else ""


class Wrapped(argparse.HelpFormatter):
    """Wraps paragraph by paragraph, as they stand; a line that is indented is to be pasted, and stays whole."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.split("\n")
        return "\n".join(
            line if line.startswith("  ") else super(Wrapped, self)._fill_text(line, width, indent) for line in lines
        )
