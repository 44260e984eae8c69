"""register: telling Claude Code, or any other MCP client, about the server."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess

from kernel_supervisor.cli.session import DONE, Command, failed
from kernel_supervisor.isolation import isolated

NAME = "kernel-supervisor"
OPTIONS = ("--python", "--session")
"""What a registration may have chosen for the shim."""


def register(command: Command) -> int:
    """Run `claude mcp add …` if Claude Code is there, else print it; print the JSON for others."""
    options = command.options
    facts = command.tool("kernel_status", start=True)[1]  # first: it refuses an interpreter that cannot be used
    server = _server(options.python, options.session)
    registration = ["claude", "mcp", "add", "--scope", options.scope, NAME, "--", *server]
    claude = shutil.which("claude")
    code = DONE
    if claude and not options.only_print:
        print("$ " + shlex.join(registration), flush=True)
        if subprocess.run([claude, *registration[1:]], check=False).returncode != 0:
            code = failed(f"If it is there already, first: claude mcp remove --scope {options.scope} {NAME}")
    else:
        why = "" if claude else " (there is no `claude` on this PATH: run it where there is one)"
        print(f"Claude Code{why}:\n\n    " + shlex.join(registration))
    entry = {"mcpServers": {NAME: {"command": server[0], "args": server[1:]}}}
    print("\nAny other MCP client:\n\n" + json.dumps(entry, indent=2))
    print(f"\nThe default kernel in this directory runs {facts['interpreter']}\n({facts['why']}; --python changes it)")
    return code


def _server(python: str, session: str) -> list[str]:
    """The command of the shim, by absolute paths: clients start it anywhere, with an environment of their own."""
    server = isolated("mcp_shim")
    if python:
        server += ["--python", os.path.abspath(python) if os.sep in python else python]
    return server + (["--session", session] if session else [])
