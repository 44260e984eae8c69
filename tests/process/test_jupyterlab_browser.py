"""Promise: a person sees in JupyterLab what the agent made, and the agent sees what the person did there."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.browser_support import chromium
from tests.jupyter_support import jupyter
from tests.support import Home, until_now

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on this machine")
SHOWN = "[...document.querySelectorAll('.jp-OutputArea-output')].map(each => each.innerText).join('\\n')"

CELL = ".jp-NotebookPanel .jp-Cell .cm-content"


def there(selector: str) -> str:
    return f"document.querySelector({selector!r})"


def history(home: Home) -> list[dict[str, Any]]:
    return list(json.loads(home.cli("history", "--session", "model", "--json").stdout)["entries"])


def test_the_same_session_in_jupyterlab(home: Home) -> None:
    assert home.cli("exec", "--session", "model", "x = 'set by the agent'").returncode == 0
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "one",
        "source": "x",
        "metadata": {},
        "outputs": [],
        "execution_count": None,
    }
    spec = {"name": "supervised-session-project-model", "display_name": "model", "language": "python"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    (home.project / "view.ipynb").write_text(json.dumps(notebook))
    with jupyter(home, module="jupyterlab") as server:
        with chromium(CHROMIUM, f"{server.url}lab/tree/view.ipynb?token={server.token}") as page:
            page.until(f"{there(CELL)}?.innerText === 'x'", "the notebook is open")
            page.until(
                there(".jp-KernelName") + "?.innerText.includes('session project/model')",
                "the session's kernel is there",
            )
            page.until(there(".jp-Notebook-ExecutionIndicator[data-status=idle]") + " !== null", "it is idle")
            page.click(CELL)
            page.shift_enter()
            page.until(f"{SHOWN}.includes('set by the agent')", "the agent's variable is shown")
            page.type("y = 'set in the browser'; print(len(y))")
            page.shift_enter()
            page.until(f"{SHOWN}.includes('18')", "the second cell's output is shown")
        until_now(lambda: len([each for each in history(home) if each["status"] == "ok"]) == 3, "both are on record")
        server.end()
    assert [each["code"] for each in history(home)][1:] == ["x", "y = 'set in the browser'; print(len(y))"]
    assert home.cli("exec", "--session", "model", "y").stdout.strip() == "'set in the browser'"
