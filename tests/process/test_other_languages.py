"""A kernel of another language goes through everything; what only Python has is refused in words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def kernelspec(folder: Path, name: str, module: str, language: str) -> dict[str, str]:
    """A kernelspec that the client finds; the client's variables."""
    spec = folder / "kernels" / name
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", module, "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": language}))
    return {"JUPYTER_PATH": str(folder)}


async def test_bash_from_output_to_notebook(home: Home) -> None:
    started = home.project / "started"
    async with home.client(env=kernelspec(home.project / "jupyter", "shellish", "bash_kernel", "bash")) as session:
        used = await session.call("kernel_use_env", env_name="shellish")
        assert not used.is_error, used.text
        assert (await session.run("x=6; echo $((x * 7))")).text.splitlines()[-1] == "42"
        failed = await session.run("ls /nowhere-at-all")
        assert failed.facts["status"] == "error", failed.text
        assert "nowhere-at-all" in failed.text
        begun = await session.call("kernel_exec", code=f"touch {started}; sleep 600", wait=False)
        await until(started.exists, "it sleeps")
        busy = await session.call("kernel_inspect", var_name="x")
        assert busy.is_error
        assert "busy" in busy.text
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert ended.facts["status"] != "ok", ended.text
        assert (await session.run("echo still $x")).text.splitlines()[-1] == "still 6"
        for tool, arguments in (("kernel_list_vars", {}), ("kernel_inspect", {"var_name": "x"})):
            refused = await session.call(tool, **arguments)
            assert refused.is_error
            assert "bash" in refused.text
            assert "kernel_exec" in refused.text
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        assert (await session.run("echo $x")).text.splitlines()[-1] == "6"
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("echo [$x]")).text.splitlines()[-1] == "[]"
        saved = await session.call("kernel_save_notebook", path="shell", save_html=True)
        assert not saved.is_error, saved.text
    notebook = nbformat.read(home.project / "shell.ipynb", as_version=4)  # type: ignore[no-untyped-call]  # theirs
    assert notebook.metadata.language_info.name == "bash"
    assert "still 6" in json.dumps(notebook)


async def test_a_checkpoint_that_cannot_be_brought_back_there_costs_no_variable(home: Home) -> None:
    async with home.client(env=kernelspec(home.project / "jupyter", "shellish", "bash_kernel", "bash")) as session:
        await session.run("x = 41")
        assert not (await session.call("kernel_checkpoint")).is_error
        assert not (await session.call("kernel_use_env", env_name="shellish")).is_error
        await session.run("y=6")
        refused = await session.call("kernel_restart", restore="last")
        assert refused.is_error
        assert "no variables can be brought back there" in refused.text
        assert (await session.run("echo $y")).text.splitlines()[-1] == "6"


TALKING = """
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
class Talking(Kernel):
    implementation, implementation_version, banner = "talking", "1", ""
    language_info = {"name": "talk", "mimetype": "text/plain", "file_extension": ".talk"}
    def do_execute(self, code, silent, *arguments, **more):
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}
    def do_inspect(self, code, cursor_pos, detail_level=0, omit_sections=()):
        return {"status": "ok", "found": code == "word", "data": {"text/plain": "a word"}, "metadata": {}}
IPKernelApp.launch_instance(kernel_class=Talking)
"""


async def test_a_kernel_that_can_be_asked_is_asked(home: Home) -> None:
    (home.project / "talking.py").write_text(TALKING)
    env = kernelspec(home.project / "jupyter", "talk", "talking", "talk")
    async with home.client(env={**env, "PYTHONPATH": str(home.project)}) as session:
        used = await session.call("kernel_use_env", env_name="talk")
        assert not used.is_error, used.text
        assert (await session.call("kernel_inspect", var_name="word")).text == "a word"
        assert "kernel_exec" in (await session.call("kernel_inspect", var_name="other")).text
