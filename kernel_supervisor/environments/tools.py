"""Whether an environment was made for a tool of its own, so that no person works in it, and by whom."""

from __future__ import annotations

import os
from pathlib import Path


def tool_of(prefix: str) -> str:
    """What keeps `prefix` for one tool, in words (`pipx`, `uv tool`, `uvx`, …); empty where nothing does.

    Seen in what these tools write: pipx keeps `pipx_metadata.json` in `…/pipx/venvs/NAME` and runs
    uninstalled tools from `…/pipx/HASH`; `uv tool install` leaves `uv-receipt.toml`; uvx, `uv run --with`
    and `uv run SCRIPT` use folders of uv's cache (`archive-v0`, `builds-v0`, `environments-v2`); pixi
    installs global tools under `.pixi/envs` beside `.pixi/manifests` and runs others from `cached-envs-v0`.
    """
    folder = Path(os.path.abspath(prefix))
    signs = {
        "pipx": os.path.isfile(folder / "pipx_metadata.json") or _under(folder, "pipx", "venvs"),
        "pipx run": folder.parent.name == "pipx" or _under(folder, "pipx", ".cache"),
        "uv tool": os.path.isfile(folder / "uv-receipt.toml"),
        "uvx": folder.parent.name.startswith(("archive-v", "builds-v", "environments-v")),
        "pixi global": folder.parent.name == "envs" and os.path.isdir(folder.parent.parent / "manifests"),
        "pixi exec": folder.parent.name.startswith("cached-envs-v"),
    }
    return next((tool for tool, seen in signs.items() if seen), "")


def _under(folder: Path, *parents: str) -> bool:
    return folder.parts[-len(parents) - 1 : -1] == parents
