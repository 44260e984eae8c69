"""Asks kernels for checkpoints as the daemon does, and looks at what was written."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

from kernel_supervisor.inside import checkpoints
from tests.process.test_recorder import Recorded
from tests.support import until_now

CODE = Path(checkpoints.__file__).parent
CHECKPOINT = "supervisor_checkpoint_request"
SIMPLE = Path(__file__).with_name("simple_pickling.py")
_counter = itertools.count()


def simple_code(folder: Path) -> Path:
    """The product's code, with a pickling that knows nothing but pickle's own protocol."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in CODE.glob("*.py"):
        shutil.copy(path, folder)
    shutil.copy(SIMPLE, folder / "pickling.py")
    return folder


class Checkpoint:
    """One that a kernel was asked for."""

    def __init__(self, kernel: Recorded, home: Path, code: Path = CODE, **content: Any) -> None:
        self.kernel, self.objects = kernel, home / "objects"
        self.into = home / f"checkpoint-{next(_counter)}"
        for folder in (self.objects, self.into):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        asked: dict[str, Any] = {"code": str(code), "into": str(self.into), "objects": str(self.objects), "only": None}
        asked |= {"deadline_s": 60.0, "name_s": 5.0, "name_bytes": 1 << 30, "total_bytes": 1 << 32, "threads": True}
        self.reply = ask(kernel, {**asked, "secret_names": [], **content})

    def manifest(self) -> dict[str, Any]:
        """What it says once it stands."""
        path = self.into / "manifest.json"
        until_now(lambda: path.exists() or (self.into / "failed.json").exists(), f"a manifest: {self.reply}")
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def values(self, prefix: str = "") -> dict[str, Any]:
        """What the units hold of names that begin so, read by plain pickle."""
        found: dict[str, Any] = {}
        for unit in self.manifest()["units"]:
            if not all(name.startswith(prefix) for name in unit["names"]):
                continue
            buffers = [self.object(each["object"]) for each in unit["buffers"]]
            found |= pickle.loads(self.object(unit["stream"]), buffers=buffers)
        return found

    def object(self, name: str) -> bytes:
        """What is in an object."""
        return (self.objects / name).read_bytes()


def ask(kernel: Recorded, content: dict[str, Any], deadline_s: float = 60) -> dict[str, Any]:
    """Send the request; the content of its reply."""
    message = kernel.client.session.msg(CHECKPOINT, content)
    kernel.client.control_channel.send(message)
    end = time.monotonic() + deadline_s
    while True:
        reply = kernel.client.control_channel.get_msg(timeout=end - time.monotonic())
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            found: dict[str, Any] = reply["content"]
            return found
