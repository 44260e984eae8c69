"""Makes the front page's pictures: a terminal in which all this is really typed, and the plot that the demo draws.

`python -m tests.recording` writes docs/terminal.svg and docs/plot.png.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import subprocess
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.support import DEADLINE_S, Home

ROOT = Path(__file__).parents[1]
WIDTH = 104
_FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: arial, sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""
"""rich's own, without a font from the network."""


def main() -> None:
    """Write both."""
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/var/tmp") as folder:
        project = Path(folder, "pump")
        project.mkdir()
        home = Home(Path(folder, "home"), project)
        try:
            _terminal(home).save_svg(
                str(ROOT / "docs/terminal.svg"), title="~/pump", code_format=_FRAME, unique_id="terminal"
            )
            (ROOT / "docs/plot.png").write_bytes(_plot(home))
        finally:
            home.cli("stop", "--kernels")
            home.sweep()


def _terminal(home: Home) -> Console:
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    home.cli("exec", "1")  # the first answer says where the kernel runs, which is nobody's business
    load = "import pandas as pd; logs = pd.DataFrame({'pressure': range(1_000_000)})"
    _type(console, home, "exec", load)
    _type(console, home, "checkpoint", "clean data")
    _kill(console, home.kill_daemon(), "the daemon dies")
    _type(console, home, "exec", "logs.shape")
    (kernel,) = home.kernels()
    kernel.send_signal(signal.SIGKILL)
    kernel.wait(DEADLINE_S)
    _kill(console, kernel.pid, "the kernel dies, too")
    _type(console, home, "exec", "logs.shape")
    _type(console, home, "restart", "--restore", "last")
    _type(console, home, "exec", "logs.pressure.mean()")
    return console


def _type(console: Console, home: Home, *arguments: str) -> None:
    words = [f'"{each}"' if " " in each or "(" in each else each for each in arguments]
    console.print(Text.assemble(("$ ", "bold green"), " ".join(["kernel-supervisor", *words])))
    console.print(Text.from_ansi(_in_a_terminal(home, *arguments).rstrip()))


def _kill(console: Console, pid: int, why: str) -> None:
    console.print(Text.assemble(("$ ", "bold green"), f"kill -9 {pid}  ", (f"# {why}", "dim")))


def _in_a_terminal(home: Home, *arguments: str) -> str:
    """What a command prints where somebody looks on."""
    ours, theirs = pty.openpty()
    env = {**home.env, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "50"}
    with subprocess.Popen(home.cli_command(*arguments), stdout=theirs, stderr=theirs, cwd=home.project, env=env):
        os.close(theirs)
        said = b""
        try:
            while chunk := os.read(ours, 1 << 16):
                said += chunk
        except OSError:  # the other end is closed
            pass
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def _plot(home: Home) -> bytes:
    """What the demo draws, as an agent receives it."""
    shown = home.cli("demo", "--directory", str(home.project / "demo"), timeout=200)
    assert shown.returncode == 0, shown.stderr
    (notebook,) = (home.project / "demo").glob("*.ipynb")
    outputs = [each for cell in json.loads(notebook.read_text())["cells"] for each in cell.get("outputs", ())]
    (drawn,) = [each["data"]["image/png"] for each in outputs if "image/png" in each.get("data", {})]
    return base64.b64decode("".join(drawn))


if __name__ == "__main__":
    main()
