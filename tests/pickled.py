"""Writes checkpoints with one interpreter and restores them in another."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from kernel_supervisor.kernels.checkpoints import code

WRITER, READER = (Path(__file__).with_name(f"checkpoint_{name}.py") for name in ("writer", "reader"))


def written(python: str, folder: Path, cells: list[str]) -> Path:
    """A checkpoint of what these cells make, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.json").write_text(json.dumps(cells))
    _run(python, WRITER, *code().values(), folder / "cells.json", folder / "checkpoint")
    return folder / "checkpoint"


def manifest(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    found: dict[str, Any] = json.loads((checkpoint / "manifest.json").read_text())
    return found


def read(python: str, checkpoint: Path, checks: dict[str, Any] | None = None, **content: Any) -> dict[str, Any]:
    """What restoring it in a fresh process of `python` tells ("told"), and which checks fail ("failed")."""
    request, questions, reply = (checkpoint / f"{name}.json" for name in ("request", "checks", "reply"))
    request.write_text(json.dumps({**asked(checkpoint), **content}))
    questions.write_text(json.dumps(checks or {}))
    reply.unlink(missing_ok=True)
    printed = _run(python, READER, request, questions, reply)
    found: dict[str, Any] = {**json.loads(reply.read_text()), "printed": printed}
    return found


def asked(checkpoint: Path) -> dict[str, Any]:
    """What a restore of it asks for."""
    sha256 = hashlib.sha256((checkpoint / "manifest.json").read_bytes()).hexdigest()
    objects = str(checkpoint / "objects")
    return {**code(), "manifest": str(checkpoint / "manifest.json"), "sha256": sha256, "objects": objects}


def _run(python: str, *arguments: Any) -> str:
    done = subprocess.run([python, *map(str, arguments)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
