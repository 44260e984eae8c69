"""How more is installed beside kernel-supervisor: with the tool that installed it."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys

_NAME = "kernel-supervisor"
_REQUIREMENT = re.compile(r'\{ name = "([^"]+)"[^}]*\}')
_FOLDER = re.compile(r'(?:directory|editable|path) = "([^"]+)"')


def command_for(what: str, prefix: str = "") -> str:
    """The command that adds a package, or ours with an extra, to the environment that we are in."""
    prefix = prefix or sys.prefix
    receipt = os.path.join(prefix, "uv-receipt.toml")
    if os.path.exists(receipt):
        return shlex.join(["uv", "tool", "install", *_as_before(receipt, what)])
    if os.path.exists(os.path.join(prefix, "pipx_metadata.json")):
        return shlex.join(["pipx", "inject", _NAME, what])
    if importlib.util.find_spec("pip") is None:
        return shlex.join(["uv", "pip", "install", "--python", sys.executable, what])
    return shlex.join([sys.executable, "-m", "pip", "install", what])


def _as_before(receipt: str, what: str) -> list[str]:
    """What the tool is installed from, and with: uv forgets what it is not told again."""
    text = ""
    if os.path.isfile(receipt):
        with open(receipt, encoding="utf-8", errors="replace") as file:
            text = file.read()
    ours, beside = _NAME, list[str]()
    for found in _REQUIREMENT.finditer(text):
        folder = _FOLDER.search(found[0])
        if found[1] == _NAME:
            ours = folder[1] if folder else _NAME
        else:
            beside.append(folder[1] if folder else found[1])
    extra = what.removeprefix(_NAME) if what.startswith(f"{_NAME}[") else ""
    beside += [] if extra or what in beside else [what]
    return [*(word for each in beside for word in ("--with", each)), f"{ours}{extra}"]
