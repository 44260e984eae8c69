"""Promise: a kernel of ours is one row, one kernel and one name, however many of Jupyter's programs know it, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.jupyter_support import jupyter
from tests.support import Home, until_now


def _listed(home: Home, env: dict[str, str]) -> dict[str, Any]:
    return dict(json.loads(home.cli("list", "--json", env=env).stdout))


def test_a_kernel_that_jupyter_knows_too_is_one_row_and_is_attached_and_ended_by_its_id_there(home: Home) -> None:
    home.cli("exec", "x = 41")
    (kernel,) = _listed(home, home.env)["kernels"]
    with jupyter(home) as server:
        env = {**home.env, "JUPYTER_RUNTIME_DIR": str(server.runtime)}
        until_now(server.kernels, "the server has found it")
        opened = server.open_notebook("work.ipynb")
        found = _listed(home, env)
        assert found["others"] == []
        assert len(found["kernels"]) == 2, "that of the session, and that of the notebook"
        (theirs,) = [each for each in found["kernels"] if each["kernel_id"] != kernel["kernel_id"]]
        there = opened["kernel"]["id"]
        assert theirs["known_as"] == [there]
        assert theirs["notebook"].endswith("work.ipynb")
        attached = home.cli("attach", "--session", "beside", there[:8], env=env)
        assert theirs["kernel_id"] in attached.stdout, attached.stderr
        again = _listed(home, env)
        assert len(again["kernels"]) == 2, "no second record of the same kernel"
        done = home.cli("kill", there[:8], env=env)
        assert (done.returncode, theirs["kernel_id"] in done.stdout) == (0, True), done.stderr
        (left,) = _listed(home, env)["kernels"]
        assert left["kernel_id"] == kernel["kernel_id"]


def test_a_connection_file_of_ours_is_our_kernel(home: Home) -> None:
    home.cli("exec", "x = 41")
    (kernel,) = _listed(home, home.env)["kernels"]
    copied = Path(home.project, "kernel-copy.json")
    copied.write_text(Path(kernel["connection_file"]).read_text())
    env = {**home.env, "JUPYTER_RUNTIME_DIR": str(home.project)}
    found = _listed(home, env)
    assert (len(found["kernels"]), found["others"]) == (1, [])
    attached = home.cli("attach", "--session", "beside", str(copied), env=env)
    assert kernel["kernel_id"] in attached.stdout, attached.stderr
    assert len(_listed(home, env)["kernels"]) == 1
    assert home.cli("exec", "--session", "beside", "x", env=env).stdout == "41\n"
