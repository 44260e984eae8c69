"""Asks kernels for checkpoints as the daemon does, and looks at what was written."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

from kernel_supervisor.inside import checkpoints
from kernel_supervisor.inside.checkpoints.saving import beside
from kernel_supervisor.inside.door import CHECKPOINT
from tests.process.test_recorder import Recorded
from tests.support import DEADLINE_S, until_now

CODE = Path(checkpoints.__file__).parent
_counter = itertools.count()


class Checkpoint:
    """One that a kernel was asked for."""

    def __init__(self, kernel: Recorded, home: Path, request: str = CHECKPOINT, **content: Any) -> None:
        self.kernel, self.objects = kernel, home / "objects"
        self.into = home / f"checkpoint-{next(_counter)}"
        for folder in (self.objects, self.into):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        asked: dict[str, Any] = {"code": str(CODE), "into": str(self.into), "objects": str(self.objects), "only": None}
        asked |= {"deadline_s": 60.0, "name_s": 5.0, "name_bytes": 1 << 30, "total_bytes": 1 << 32, "threads": True}
        self.reply = ask(kernel, {**asked, "secret_names": [], **content}, request)

    def manifest(self) -> dict[str, Any]:
        """What it says once it stands."""
        path = self.into / "manifest.json"
        until_now(lambda: path.exists() or (self.into / "failed.json").exists(), f"a manifest: {self.reply}")
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def values(self, *names: str) -> dict[str, Any]:
        """The variables as they come back, all or these, in a namespace of their own."""
        manifest = self.manifest()
        whole = {*manifest["names"], *manifest["imports"], *manifest["definitions"]}
        content = {"manifest": str(self.into / "manifest.json"), "objects": str(self.objects), "only": names or None}
        content |= {"sha256": hashlib.sha256((self.into / "manifest.json").read_bytes()).hexdigest()}
        found: dict[str, Any] = {}
        told = beside("restoring").restore(found, content)
        assert told["status"] == "ok", told
        assert set(told["back"]) == set(names or whole), told
        return found


def ask(kernel: Recorded, content: dict[str, Any], request: str) -> dict[str, Any]:
    """Send the request; the content of its reply."""
    message = kernel.client.session.msg(request, content)
    kernel.client.control_channel.send(message)
    end = time.monotonic() + DEADLINE_S
    while True:
        reply = kernel.client.control_channel.get_msg(timeout=end - time.monotonic())
        if reply["parent_header"].get("msg_id") == message["header"]["msg_id"]:
            found: dict[str, Any] = reply["content"]
            return found
