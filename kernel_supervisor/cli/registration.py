"""register: telling MCP clients about the server."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import textwrap
from typing import Any

from kernel_supervisor.cli import clients
from kernel_supervisor.cli.clients import CLIENTS, NAME, McpClient, Server
from kernel_supervisor.cli.codes import DONE, FAILED, USAGE, failed
from kernel_supervisor.cli.session import Command
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import HOME_VARIABLE

OPTIONS = ("--python", "--session")
"""What a registration may have chosen for the shim."""
_SHIM = "kernel-supervisor-mcp"
_UNREAD = object()
"""An entry in a file that has comments, or a form that this Python does not read."""


def register(command: Command) -> int:
    """Register with each client that is named, Claude Code if none is, or print how; print the JSON for others."""
    options = command.options
    chosen = list(dict.fromkeys(options.clients)) or ["claude"]
    if wrong := _wrong(chosen, options.scope, options.python):
        return failed(f"kernel-supervisor: {wrong}", USAGE)
    facts = command.tool("kernel_status", start=True)[1]  # first: it refuses an interpreter that cannot be used
    shared = options.scope == "project"
    server = _shared(options.python, options.session) if shared else _server(command, options.python, options.session)
    code = max(_register(CLIENTS[name], options.scope, server, only_print=options.only_print) for name in chosen)
    if not options.clients:
        print("\nAny other MCP client:\n")
        print(json.dumps({"mcpServers": {NAME: server.entry}}, indent=2))
        others = " · ".join(f"{name} ({each.title})" for name, each in CLIENTS.items() if name != "claude")
        print(f"\n`kernel-supervisor register NAME` does it for {others}.")
    print(f"\nThe default kernel in this directory runs {facts['interpreter']}\n({facts['why']}; --python changes it)")
    return code


def _wrong(chosen: list[str], scope: str, python: str) -> str:
    if scope == "local" and chosen != ["claude"]:
        return "--scope local is Claude Code's alone; others have user and project"
    if scope == "project" and os.path.isabs(python):
        return f"--python {python} means nothing on another machine: name it from the project, as .venv/bin/python"
    return ""


def _server(command: Command, python: str, session: str) -> Server:
    """The shim by absolute paths: clients start it anywhere, with an environment of their own."""
    words = isolated("mcp_shim")
    if python:
        words += ["--python", os.path.abspath(python) if os.sep in python else python]
    env = {HOME_VARIABLE: command.paths.state} if os.environ.get(HOME_VARIABLE) else {}
    return Server(command=[*words, *(["--session", session] if session else [])], env=env)


def _shared(python: str, session: str) -> Server:
    """The shim as it is found on any machine: by its name, or fetched by uv."""
    fetched = not shutil.which(_SHIM) and shutil.which("uvx")
    words = ["uvx", "--from", NAME, _SHIM] if fetched else [_SHIM]
    for option, value in (("--python", python), ("--session", session)):
        words += [option, value] if value else []
    return Server(command=words, handed_on=(HOME_VARIABLE,) if os.environ.get(HOME_VARIABLE) else ())


def _register(client: McpClient, scope: str, server: Server, *, only_print: bool) -> int:
    """Do it with the client's own command, or in its file, or print it."""
    file, entry = client.file(scope), client.entry(server)
    there = _there(client, scope)
    if there is not None:
        return _said_to_be_there(client, scope, there, entry)
    own = client.adding(scope, client.server(server)) if client.adding else []
    is_here = shutil.which(client.program)
    if is_here and own and not only_print:
        return _run(client, scope, own)
    writes = scope == "project" or (is_here and isinstance(client, clients.Codex))
    if writes and not only_print:
        try:
            clients.add(client, file, entry, 0o644 if scope == "project" else 0o600)
        except (OSError, ValueError) as error:
            print(f"{client.title}: {file} was left as it is ({error}).")
        else:
            print(f"{client.title}: wrote {file}")
            return DONE
    why = "" if is_here else f" (there is no `{client.program}` on this PATH: run it where there is one)"
    if own:
        print(f"{client.title}{why}:\n\n    {shlex.join(own)}\n")
    print(f"{client.title}, {'or ' if own else ''}in {file}:\n\n{textwrap.indent(client.whole(entry), '    ')}")
    return DONE


def _there(client: McpClient, scope: str) -> Any:
    """What stands under our name; None where nothing does. A file with comments says no more than that it does."""
    try:
        text = clients.text_of(client.file(scope))
    except (OSError, ValueError):
        return None
    try:
        return clients.entry_in(client.read(text), (*client.keys(scope), NAME))
    except ValueError:
        return _UNREAD if f'"{NAME}"' in text or f".{NAME}]" in text else None


def _said_to_be_there(client: McpClient, scope: str, there: Any, entry: dict[str, Any]) -> int:
    file = client.file(scope)
    known = there if isinstance(there, dict) else {}
    same = all(known.get(field) == value for field, value in entry.items()) and bool(known.get("env")) == (
        "env" in entry
    )
    if same or there is _UNREAD:
        print(f"{client.title}: it is there already, in {file}")
        return DONE
    first = client.removing.format(scope=scope) or f"take {NAME} out of {file}"
    return failed(f"{client.title}: {file} has another one already{_started_by(known)}\nTo replace it, first: {first}")


def _started_by(known: dict[str, Any]) -> str:
    """What an entry that somebody wrote starts, as far as it says that."""
    command, arguments = known.get("command"), known.get("args")
    words = [command, *(arguments if isinstance(arguments, list) else [])]
    if isinstance(command, str) and command:
        return f", which starts: {shlex.join(map(str, words))}"
    return f", at {known['url']}" if isinstance(known.get("url"), str) else ", which starts nothing"


def _run(client: McpClient, scope: str, own: list[str]) -> int:
    print("$ " + shlex.join(own), flush=True)
    if subprocess.run(own, check=False).returncode == 0:
        return DONE
    first = client.removing.format(scope=scope)
    return failed(f"If it is there already, first: {first}") if first else FAILED
