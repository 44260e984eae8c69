"""Has kernels make checkpoints, and restore them, without a daemon."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from executions import execute, kernel
from jupyter_client.blocking.client import BlockingKernelClient

import kernel_supervisor
from kernel_supervisor.inside.door import CHECKPOINT
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.kernels.checkpoints import code

_INSIDE = Path(kernel_supervisor.__file__).parent / "inside"
_ASKED = {"only": None, "deadline_s": 120.0, "name_s": 30.0, "name_bytes": 16 << 30, "total_bytes": 64 << 30}
_count = itertools.count()
_RESTORE = """
import importlib.util as _util, json as _json
_spec = _util.spec_from_file_location("_kernel_supervisor_restoring", {code!r})
_restoring = _util.module_from_spec(_spec)
_spec.loader.exec_module(_restoring)
_told = _restoring.restore(get_ipython().user_ns, _json.loads({content!r}))
assert _told["status"] == "ok" and not _told["missing"], _told
"""


@contextmanager
def recorded(folder: Path) -> Iterator[tuple[BlockingKernelClient, Path]]:
    """A kernel that records as all do, and a home of its own in `folder`."""
    home = folder / str(next(_count))
    home.mkdir()
    arguments = (str(_INSIDE / "recorder.py"), "--log", str(home / "log"), "--limit", str(RECORDED_BYTES))
    with kernel(*arguments) as client:
        yield client, home


class Asked:
    """A checkpoint that a kernel was asked for."""

    def __init__(self, client: BlockingKernelClient, home: Path, **content: Any) -> None:
        self.into, self.objects = home / str(time.time_ns()), home / "objects"
        self.into.mkdir(mode=0o700)
        self.objects.mkdir(mode=0o700, exist_ok=True)
        folders = {**code(), "into": str(self.into), "objects": str(self.objects)}
        client.control_channel.send(client.session.msg(CHECKPOINT, {**_ASKED, **folders, **content}))
        while (reply := client.control_channel.get_msg(timeout=60))["msg_type"] != "supervisor_checkpoint_reply":
            pass
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"])
        self.pid = reply["content"]["pid"]

    @property
    def stands(self) -> bool:
        """Whether it is there. Raises RuntimeError where it never will be."""
        manifest, failed = self.into / "manifest.json", self.into / "failed.json"
        if not manifest.exists() and (failed.exists() or not os.path.exists(f"/proc/{self.pid}")):
            if manifest.exists():  # just then
                return True
            raise RuntimeError("no checkpoint")
        return manifest.exists()

    def manifest(self) -> dict[str, Any]:
        """What it says, once it stands."""
        while not self.stands:
            time.sleep(0.001)
        found: dict[str, Any] = json.loads((self.into / "manifest.json").read_bytes())
        return found

    def restore(self, client: BlockingKernelClient) -> None:
        """Have all of it back in a kernel."""
        manifest = self.into / "manifest.json"
        asked = {"manifest": str(manifest), "sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}
        content = json.dumps({**code(), **asked, "objects": str(self.objects)})
        execute(client, _RESTORE.format(code=str(_INSIDE / "checkpoints/restoring.py"), content=content))
