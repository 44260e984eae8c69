"""Asks kernels for checkpoints as the daemon does, and looks at what was written."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from kernel_supervisor.inside.checkpoints.saving import beside
from kernel_supervisor.inside.door import CHECKPOINT
from kernel_supervisor.kernels.checkpoints import code
from tests.ipykernels import built
from tests.process.test_recorder import Recorded, interpreters, recorded
from tests.support import DEADLINE_S, until_now

_counter = itertools.count()
IPYKERNELS = {11: "ipykernel<7", 13: "ipykernel>=7"}
PAIRS = {f"3.{minor}": (path, IPYKERNELS[minor]) for minor, path in interpreters().items() if minor in IPYKERNELS}


@pytest.fixture(params=list(PAIRS.values()), ids=list(PAIRS))
def saved_kernel(short: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Recorded]:
    """One with ipykernel 6 and Python 3.11, one with 7 and 3.13, both with numpy; `short` is the neighbours'."""
    python = str(built(*request.param, "numpy>=2") / "bin/python")
    with recorded(short(f"saved{abs(hash(request.node.name)) % 10**8}"), python) as running:
        yield running


def left_of(kernel: Recorded) -> list[psutil.Process]:
    """Processes that a checkpoint has left: what a kernel has begotten, and orphans with its command line."""
    mine, found = psutil.Process(kernel.pid), []
    command, children = mine.cmdline(), {each.pid for each in mine.children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_copy = process.pid != kernel.pid and process.cmdline() == command
            if is_copy or (process.pid in children and process.name() != "sleep"):
                found.append(process)
    return found


class Checkpoint:
    """One that a kernel was asked for."""

    def __init__(self, kernel: Recorded, home: Path, request: str = CHECKPOINT, **content: Any) -> None:
        self.kernel, self.objects = kernel, home / "objects"
        self.into = home / f"checkpoint-{next(_counter)}"
        for folder in (self.objects, self.into):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        asked: dict[str, Any] = {**code(), "into": str(self.into), "objects": str(self.objects), "only": None}
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
        content |= {**code(), "sha256": hashlib.sha256((self.into / "manifest.json").read_bytes()).hexdigest()}
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
