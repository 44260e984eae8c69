"""The demo, read downwards: what is done, what is checked, and what a person is told about it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import sys
import textwrap
from functools import partial
from importlib.resources import files
from typing import Any

import psutil
from rich.console import Console

from kernel_supervisor.client import autostart
from kernel_supervisor.client.connection import START_DEADLINE_S, NoDaemonError, ask
from kernel_supervisor.demo.agent import Agent, Reply, StepError, connected, described
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import find

_PATIENCE_S = 120.0
_screen = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
_title = partial(_screen.print, "\n──", style="bold cyan")
_say = partial(_screen.print, "  ")
_ok = partial(_screen.print, " ✓", style="green")
_NOTE = """\
# Penguins near Palmer Station

Body measurements of 344 birds of three species, 2007–2009 (Gorman, Williams, Fraser 2014; CC0)."""
_LOAD = """\
import matplotlib.pyplot as plt
import pandas as pd

penguins = pd.read_csv({path!r})
penguins.shape"""
_SUMMARISE = """\
summary = penguins.groupby("species").agg(
    birds=("species", "size"),
    bill_mm=("bill_length_mm", "mean"),
    flipper_mm=("flipper_length_mm", "mean"),
    mass_g=("body_mass_g", "mean"),
)
summary.round(1)"""
_DRAW = """\
figure, axes = plt.subplots(figsize=(7, 4.5))
for species, birds in penguins.groupby("species"):
    axes.scatter(birds["flipper_length_mm"], birds["body_mass_g"], label=species, alpha=0.6)
axes.set(title="Longer flippers, heavier birds", xlabel="flipper length (mm)", ylabel="body mass (g)")
axes.legend()
plt.show()"""
_ASK_AGAIN = """\
f"{len(penguins)} penguins; the heaviest on average: {summary['mass_g'].idxmax()}\""""


def run(directory: str) -> int:
    """Show the main job, in a session of its own whose notebook goes to `directory`; 0 if every check held.

    Where none is named that is a folder among what can be made again, not the one that somebody is in.
    """
    cache = os.environ.get("XDG_CACHE_HOME", "")
    directory = directory or os.path.join(cache or os.path.expanduser("~/.cache"), "kernel-supervisor-demo")
    session = f"demo-{secrets.token_hex(2)}"
    try:
        os.makedirs(directory, exist_ok=True)
        asyncio.run(_show(session, directory))
    except StepError as error:
        print(f"\nkernel-supervisor demo: {error}", file=sys.stderr)
        return 1
    return 0


async def _show(session: str, directory: str) -> None:
    _say(f"A Python session that outlives its client: session {session} in {directory}")
    _start_daemon()
    async with connected(session, directory) as agent:
        await _meet(agent)
        await _analyse(agent)
        kernel = (await agent.call("kernel_status")).facts
        await _lose_shim(agent, kernel["pid"])
    if agent.shim.is_running():
        raise StepError(f"the shim (pid {agent.shim.pid}) is still there")
    async with connected(session, directory) as agent:
        await _come_back(agent, kernel)
        await _save(agent, session, directory)
    _part(shlex.quote(kernel["session"]))


def _start_daemon() -> None:
    paths = find()
    running = autostart.listening(paths)
    try:
        ask(paths, "supervisor/status", {}, deadline_s=START_DEADLINE_S, start=True)
    except NoDaemonError as error:
        raise StepError(str(error)) from None
    _say("the daemon runs already" if running else "no daemon was running: started one, which keeps running")


async def _meet(agent: Agent) -> None:
    _title("An MCP client connects through the shim, as Claude Code does")
    tools = [tool.name for tool in (await agent.client.list_tools()).tools]
    _check("kernel_exec" in tools, f"kernel_exec is not among the tools: {tools}")
    status = (await agent.call("kernel_status")).facts
    _check(status["kernel_id"] is None, f"a new session has a kernel already: {status}")
    _ok(f"shim with pid {agent.shim.pid}, {len(tools)} tools; no kernel yet, the first code starts one")
    _say(f"it will run {status['interpreter']} ({status['why']})")


async def _analyse(agent: Agent) -> None:
    _title("It loads a data set that comes with the package")
    await agent.call("kernel_add_markdown", text=_NOTE)
    path = str(files("kernel_supervisor.demo") / "penguins.csv")
    loaded = await _run(agent, _LOAD.format(path=path))
    _check("(344, 8)" in loaded.text, "the data set was not loaded whole")
    _ok("344 birds, 8 columns")

    _title("It computes a summary table")
    summary = await _run(agent, _SUMMARISE)
    _check(all(count in summary.text for count in ("152", "68", "124")), "the table is not what it should be")
    _ok("the table came as text; columns are aligned as a person would see them")

    _title("It draws a plot")
    drawn = await _run(agent, _DRAW)
    _check(len(drawn.images) == 1, f"one image was to come, not {len(drawn.images)}")
    _ok(f"received as an image: {described(drawn.images[0])}")


async def _lose_shim(agent: Agent, kernel: int) -> None:
    _title(f"The shim (pid {agent.shim.pid}) is killed with SIGKILL")
    agent.shim.kill()  # psutil compares the start time first
    try:
        await agent.call("kernel_status")
    except StepError as error:
        _say(f"to the client's next call: {error}")
    else:
        raise StepError(f"the shim (pid {agent.shim.pid}) still answers after SIGKILL")
    _check(psutil.pid_exists(kernel), f"the kernel (pid {kernel}) went with it")
    _ok(f"the client has lost its server; the kernel (pid {kernel}) runs on")


async def _come_back(agent: Agent, before: dict[str, Any]) -> None:
    _title("Another client connects")
    now = (await agent.call("kernel_status")).facts
    same = all(now[key] == before[key] for key in ("kernel_id", "pid", "generation"))
    _check(same, f"the session has another kernel now: {now}")
    found = await agent.call("kernel_list_vars")
    _output(found.text)
    names = {variable["name"] for variable in found.facts["variables"]}
    _check({"penguins", "summary", "figure"} <= names, "variables are missing")
    asked = await _run(agent, _ASK_AGAIN)
    _check("344 penguins" in asked.text and "Gentoo" in asked.text, "the variables have other values")
    _ok(f"shim with pid {agent.shim.pid}, the same kernel, and every variable as it was")


async def _save(agent: Agent, session: str, directory: str) -> None:
    _title("It saves the session as a notebook")
    facts = (await agent.call("kernel_save_notebook", path=session, save_html=True)).facts
    _check(not facts["failures"], "; ".join(map(str, facts["failures"])))
    for line in await asyncio.to_thread(_files, os.path.join(directory, session)):
        _ok(line)


def _files(stem: str) -> list[str]:
    """The two files in words. Raises StepError where they are not what was to be written."""
    try:
        with open(f"{stem}.ipynb", encoding="utf-8") as file:
            cells = json.load(file)["cells"]
        page = os.path.getsize(f"{stem}.html")
    except (OSError, ValueError, KeyError) as error:
        raise StepError(f"the notebook was not written: {error}") from None
    kinds = [cell["cell_type"] for cell in cells]
    _check(kinds == ["markdown", *["code"] * 4], f"the notebook has other cells: {kinds}")
    images = [output for output in cells[3]["outputs"] if "image/png" in output.get("data", {})]
    _check(len(images) == 1, "the plot is not in the notebook")
    return [f"{stem}.ipynb: {len(cells)} cells, the plot included", f"{stem}.html: {page / 1000:.0f} kB"]


def _part(session: str) -> None:
    command = _command()
    _screen.print(
        f"\nEvery check held. The kernel still runs, with its variables:\n"
        f'    {command} exec --session {session} "summary"\n'
        f"End it, or everything:\n"
        f"    {command} kill {session}\n"
        f"    {command} stop --kernels\n"
        f"Give it to Claude Code:\n"
        f"    {command} register"
    )


async def _run(agent: Agent, code: str) -> Reply:
    """Run a cell, showing it and what the agent sees of it."""
    _screen.print(textwrap.indent(code, "   > ", lambda line: True), style="bold")
    reply = await agent.call("kernel_exec", code=code, timeout=_PATIENCE_S)
    _output(reply.text)
    if reply.facts["status"] == "ok":
        return reply
    error = reply.facts.get("error", {})
    if error.get("ename") == "ModuleNotFoundError":
        raise StepError(await _missing(agent, error["evalue"]))
    raise StepError(f"the cell ended as {reply.facts['status']}")


async def _missing(agent: Agent, what: str) -> str:
    """What to do about a package that is not there; the kernel that cannot be used is ended."""
    status = (await agent.call("kernel_status")).facts
    await agent.call("kernel_shutdown", kernel_id=status["kernel_id"])
    return (
        f"{what} in the default kernel's environment. The demo needs pandas and matplotlib, which the extra `demo` "
        f"of kernel-supervisor brings along:\n    {shlex.quote(status['interpreter'])} -m pip install pandas matplotlib"
    )


def _command() -> str:
    """How this person can call kernel-supervisor again from here."""
    script = os.path.join(os.path.dirname(sys.executable), "kernel-supervisor")
    if not os.access(script, os.X_OK):
        return shlex.join(isolated("kernel_supervisor.cli.main"))
    if shutil.which("kernel-supervisor") == script:
        return "kernel-supervisor"
    return shlex.quote(min(script, os.path.relpath(script), key=len))


def _check(held: bool, otherwise: str) -> None:
    if not held:
        raise StepError(otherwise)


def _output(text: str) -> None:
    """What the agent sees, clipped to the terminal."""
    width = max(80, shutil.get_terminal_size().columns) - 5
    for line in text.splitlines():
        _screen.print("   │ " + (line if len(line) <= width else line[: width - 1] + "…"), style="dim")
