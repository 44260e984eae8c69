"""What this machine has to make PDFs with, by the engines' names; `notebooks` runs them, `doctor` names them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

_BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chrome-headless-shell",
    "microsoft-edge",
    *(f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Google Chrome", "Chromium", "Microsoft Edge")),
)


def typst() -> bool:
    """Whether Typst and pandoc are installed beside us."""
    return all(importlib.util.find_spec(module) for module in ("pypandoc", "typst"))


def browser() -> str | None:
    """The path of a Chromium, a Chrome or an Edge, also of one that playwright has fetched."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None) or _playwrights()


def _playwrights() -> str | None:
    default = "Library/Caches" if sys.platform == "darwin" else ".cache"
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / default / "ms-playwright")
    names = ("chrome", "chrome-headless-shell", "headless_shell", "Chromium", "Google Chrome for Testing")
    paths = (path for path in sorted(root.glob("chromium*/**/*"), reverse=True) if path.name in names)
    return next((str(path) for path in paths if path.is_file() and os.access(path, os.X_OK)), None)


def xelatex() -> bool:
    """Whether LaTeX and pandoc are installed."""
    return bool(shutil.which("xelatex") and shutil.which("pandoc"))


FOUND: dict[str, Callable[[], object]] = {"typst": typst, "browser": browser, "xelatex": xelatex}
"""Whether each is there; the first is the first choice."""
