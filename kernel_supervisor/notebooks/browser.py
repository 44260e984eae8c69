"""PDF as a browser prints it: the look of a notebook, HTML included; no formulas, whose script is on the network."""

from __future__ import annotations

import copy
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from kernel_supervisor import engines
from kernel_supervisor.notebooks.glyphs import in_a_font
from kernel_supervisor.notebooks.guarded import OFFLINE, guard, new_permit, with_permits
from kernel_supervisor.notebooks.html import write_html

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_SCRIPTS_MS = 10_000
_NO_SANDBOX = re.compile("sandbox|namespace", re.IGNORECASE)
"""What a Chromium says whose sandbox cannot start, as in many containers."""
shows = in_a_font


def write(notebook: Any, ipynb: Path, pdf: Path) -> None:
    """Write `notebook`, which stands at `ipynb`, to `pdf`. Raises OSError or RuntimeError."""
    page, permit = pdf.with_suffix(".print.html"), new_permit()
    write_html(with_permits(_printable(notebook), permit), ipynb, page, "light")
    guard(page, permit)
    for sandbox in ([], ["--no-sandbox"]) if os.geteuid() else (["--no-sandbox"],):  # root's cannot be
        finished = subprocess.run(_command(page, pdf, sandbox), capture_output=True, text=True, check=False)
        if pdf.exists():
            return
        if not _NO_SANDBOX.search(finished.stderr):
            break
    raise RuntimeError(finished.stderr)


def _command(page: Path, pdf: Path, sandbox: list[str]) -> list[str]:
    browser = engines.browser()
    assert browser is not None  # it was found before it was chosen
    return [
        browser,
        "--headless=new",
        *sandbox,
        *OFFLINE,
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-pdf-header-footer",
        f"--user-data-dir={pdf.parent / 'browser'}",
        f"--virtual-time-budget={_SCRIPTS_MS}",
        f"--print-to-pdf={pdf}",
        page.as_uri(),
    ]


def _printable(notebook: Any) -> Any:
    """`notebook` with its widgets as texts: they need scripts that may not be there."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if _WIDGET_VIEW in data and len(data) > 1:
                del data[_WIDGET_VIEW]
    return notebook
