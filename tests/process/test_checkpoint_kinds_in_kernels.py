"""Promise: what holds of values of every kind holds in kernels: from one that works on to a fresh one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_supervisor.kernels.checkpoints import code
from tests.checkpoint_kinds import KINDS, REFUSED
from tests.checkpoint_support import Checkpoint
from tests.process.test_recorder import Recorded, recorded, short

__all__ = ["short"]
pytestmark = pytest.mark.timeout(400)
RESTORE = """
import importlib.util, json
spec = importlib.util.spec_from_file_location("_kernel_supervisor_restoring", {code!r} + "/restoring.py")
restoring = importlib.util.module_from_spec(spec)
spec.loader.exec_module(restoring)
told = restoring.restore(get_ipython().user_ns, json.loads({content!r}))
json.dump(told, open({reply!r}, "w"))
"""
CHECK = """
import sys, json
sys.path.insert(0, {tests!r})
from checkpoint_reader import check
kinds = json.load(open({kinds!r}))
json.dump(check(globals(), kinds), open({reply!r}, "w"))
"""


def _run(kernel: Recorded, text: str, **values: str) -> None:
    kernel.run(text.format(**values))
    assert kernel.reply["content"]["status"] == "ok", "\n".join(kernel.reply["content"].get("traceback", []))


def test_a_fresh_kernel_has_what_another_had(short: Callable[[str], Path], tmp_path: Path) -> None:
    with recorded(short("had")) as kernel:
        for cell in [cell for cell, _ in [*KINDS.values(), *REFUSED.values()]]:
            _run(kernel, "{cell}", cell=cell)
        checkpoint = Checkpoint(kernel, tmp_path, name_s=20.0, deadline_s=200.0)
        manifest = checkpoint.into / "manifest.json"
        saved = checkpoint.manifest()
    asked = {"manifest": str(manifest), "sha256": hashlib.sha256(manifest.read_bytes()).hexdigest()}
    content = json.dumps({**code(), **asked, "objects": str(checkpoint.objects)})
    told, failed = tmp_path / "told.json", tmp_path / "failed.json"
    (tmp_path / "kinds.json").write_text(json.dumps(KINDS))
    with recorded(short("has")) as fresh:
        _run(fresh, RESTORE, code=code()["code"], content=content, reply=str(told))
        tests = str(Path(__file__).parents[1])
        _run(fresh, CHECK, tests=tests, kinds=str(tmp_path / "kinds.json"), reply=str(failed))
    missing = json.loads(told.read_text())["missing"]
    assert {kind: said for kind, said in json.loads(failed.read_text()).items() if said} == {}
    assert set(KINDS) & set(missing) == set()
    assert set(REFUSED) - set(saved["missing"]) <= {"a_secret"}, "they are named when they are saved"
    wrong = {kind: missing.get(kind) for kind in REFUSED if not re.search(REFUSED[kind][1], missing.get(kind, ""))}
    assert set(wrong) <= {"a_secret"}, wrong  # that one is the doubles' own
    assert saved["names"]["mapped_array"]["copies"]
