"""The command line: arguments, dispatch, and exit codes that mean something.

0 done · 1 it could not be done, or the code that was run raised · 2 wrong usage · 3 no daemon is running ·
130 interrupted
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from kernel_supervisor import __version__
from kernel_supervisor.cli import (
    admin,
    doctor,
    execute,
    forgetting,
    glance,
    jupyter,
    kernels,
    registration,
    service,
    uninstall,
)
from kernel_supervisor.cli.clients import CLIENTS
from kernel_supervisor.cli.session import FAILED, INTERRUPTED, NO_DAEMON, USAGE, Command, failed
from kernel_supervisor.client.autostart import fill_standard_streams
from kernel_supervisor.client.connection import CallError, NoDaemonError

_EPILOG = """\
exit codes: 0 done, 1 it could not be done (or the code that was run raised), 2 wrong usage, 3 no daemon is running,
130 interrupted

A KERNEL is named by its id, the beginning of its id, or its session: this project's of that name, else the only one.
The project is the nearest directory upwards that has a session; FOLDER/ is its own session, FOLDER/NAME another.
Variables live in kernels; kernels outlive this command, Claude Code and the daemon. Only kill, restart and
stop --kernels end them.
"""
_SCOPE = "user; project: a file for everybody who has the project; local: this project, for you (Claude Code)"
_Run = Callable[[Command], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if os.name != "posix":
        return failed("kernel-supervisor runs on Linux and macOS; on Windows use it inside WSL")
    fill_standard_streams()
    _print_anything()
    parser = _parser()
    options = parser.parse_args(arguments)
    run: _Run | None = getattr(options, "run", None)
    if run is None:
        parser.print_help(sys.stderr)
        return USAGE
    command = Command(options)
    try:
        return run(command)
    except NoDaemonError as error:
        return failed(f"kernel-supervisor: {error}", NO_DAEMON)
    except BrokenPipeError:  # whoever read our output has what they wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CallError, OSError, TimeoutError) as error:
        return failed(f"kernel-supervisor: {_said(error)}")
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        command.close()


def _print_anything() -> None:
    """What a terminal's encoding does not have is shown by its number: names of files may have anything in them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kernel-supervisor",
        description="Persistent Python for AI agents: lists, watches and ends the kernels that outlive their clients.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kernel-supervisor {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_kernels(commands)
    _add_work(commands)
    _add_kept(commands)
    _add_admin(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # it has no public name


def _add(commands: _Commands, name: str, run: _Run, text: str, *, json: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run, json=False)
    if json:
        parser.add_argument("--json", action="store_true", help="print JSON for programs")
    return parser


def _add_kernels(commands: _Commands) -> None:
    _add(commands, "list", kernels.list_kernels, "List the living kernels of all sessions.", json=True)
    kill = _add(commands, "kill", kernels.kill, "End kernels, with their variables.")
    kill.add_argument("kernel", nargs="*", metavar="KERNEL")
    kill.add_argument("--all", action="store_true", help="end every kernel that the supervisor started")
    kill.add_argument("--force", action="store_true", help="also a kernel that somebody else started")
    restart = _add(commands, "restart", kernels.restart, "Give a session's kernel a fresh process; variables are lost.")
    restart.add_argument("kernel", metavar="KERNEL")
    interrupt = _add(commands, "interrupt", kernels.interrupt, "Interrupt what runs on a kernel; variables stay.")
    interrupt.add_argument("kernel", metavar="KERNEL")
    console = _add(commands, "console", kernels.console, "Open a Jupyter console on a kernel.")
    console.add_argument("kernel", nargs="?", default="", metavar="KERNEL", help="default: this project's")
    envs = _add(commands, "envs", kernels.envs, "List the environments that a kernel can run in.", json=True)
    use = _add(commands, "use", kernels.use, "Go on in another environment's kernel.")
    use.add_argument("env", metavar="ENV", help="a name, prefix or interpreter from `envs`, or `default`")
    use.add_argument("--fresh", action="store_true", help="a new kernel even if one runs there already")
    text = "if it has no ipykernel, install one there with the environment's own tool"
    use.add_argument("--install-ipykernel", action="store_true", help=text)
    attach = _add(commands, "attach", kernels.attach, "Go on in a kernel that runs already.")
    text = "a kernel's id or its beginning, a notebook, a connection file, a server's URL"
    attach.add_argument("kernel", metavar="WHICH", help=text)
    detach = _add(commands, "detach", kernels.detach, "Return to the session's default kernel; the one left runs on.")
    for parser in (envs, use, attach, detach):
        _add_session(parser)


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 500:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 500")
    return number


def _add_session(parser: argparse.ArgumentParser) -> None:
    text = "a session of this project, or FOLDER/NAME; default: the project's own"
    parser.add_argument("-s", "--session", default="", help=text)
    parser.set_defaults(works_in_session=True)
    parser.add_argument("--python", default="", help="interpreter of the default kernel, if it is started now")


def _add_work(commands: _Commands) -> None:
    run = _add(commands, "exec", execute.execute, "Run code in a session and show its output as it comes.", json=True)
    run.add_argument("code", nargs="?", help="Python code; `-` or nothing reads it from standard input")
    run.add_argument("-f", "--file", help="run the code in this file")
    run.add_argument("--no-wait", action="store_true", help="queue it and return its execution id")
    _add_session(run)
    reply = _add(commands, "reply", execute.reply, "Answer a cell that waits for input, then follow it.", json=True)
    reply.add_argument("execution", type=int, metavar="EXECUTION")
    reply.add_argument("text", nargs="?", help="default: asked for here, a password without showing it")
    history = _add(commands, "history", execute.history, "Show what was run in a session.", json=True)
    history.add_argument("-n", "--last", type=_count, default=20, help="how many entries, at most 500")
    _add_session(history)
    _add(commands, "glance", glance.glance, "Say in two lines what lives in this directory's session; else nothing.")
    output = _add(commands, "output", execute.output, "Show the output of an execution.", json=True)
    output.add_argument("execution", type=int, metavar="EXECUTION")
    output.add_argument("-f", "--follow", action="store_true", help="show it as `exec` does, until it ends")
    save = _add(commands, "save", execute.save, "Write a session as a notebook.")
    save.add_argument("path", nargs="?", default="", help="default: the session's name in its directory")
    save.add_argument("--html", dest="save_html", action="store_true", help="and as HTML")
    save.add_argument("--theme", choices=["light", "dark"], default="light", help="of the HTML")
    save.add_argument("--pdf", dest="save_pdf", action="store_true", help="and as PDF")
    save.add_argument("--pdf-engine", choices=["typst", "browser", "xelatex"], help="default: what loses least")
    save.add_argument("--only", choices=["all", "ok"], default="all", help="ok leaves out failed cells")
    save.add_argument("--first", type=int, metavar="EXECUTION", help="from this entry on")
    save.add_argument("--last", type=int, metavar="EXECUTION", help="up to this entry")
    text = "keep the notebook up to date from now on, or no longer"
    save.add_argument("--autosave", action=argparse.BooleanOptionalAction, help=text)
    save.add_argument("--overwrite", action="store_true", help="replace a file that the session did not write")
    _add_session(save)
    load = _add(commands, "load", execute.load, "Take a notebook's cells into a session, to go on from there.")
    load.add_argument("path", metavar="NOTEBOOK")
    load.add_argument("--run", dest="run_cells", action="store_true", help="run its code cells, up to the first error")
    _add_session(load)


def _add_kept(commands: _Commands) -> None:
    _add(commands, "sessions", forgetting.sessions, "List all sessions, and what is kept of them.", json=True)
    text = "Delete sessions: their history and what their kernels wrote down. Saved notebooks stay."
    forget = _add(commands, "forget", forgetting.forget, text)
    forget.add_argument(
        "sessions", nargs="*", metavar="SESSION", help="as `sessions` spells it; no kernel may live in it"
    )
    forget.add_argument("--older-than", type=_days, metavar="DAYS", help="all that were not used for so many days")
    text = "Delete what the policy says is to go, or what these options say. Nothing of a kernel that lives."
    prune = _add(commands, "prune", forgetting.prune, text)
    prune.add_argument("--older-than", type=_days, metavar="DAYS", help="what was not used for so many days")
    prune.add_argument(
        "--keep-total", type=_bytes, metavar="SIZE", help="the oldest, until so much is left: 500MB, 5GB"
    )
    prune.add_argument("--dry-run", action="store_true", help="only show what would go")
    for parser in (forget, prune):
        _add_yes(parser)


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _days(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (days := float(text)) < math.inf:
            return days
    raise argparse.ArgumentTypeError(f"{text} is no number of days; one is like 30")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} is no size; one is like 500MB or 5GB")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))


def _client(text: str) -> str:
    if text not in CLIENTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(CLIENTS)}")
    return text


def _add_admin(commands: _Commands) -> None:
    text = "Say whether the daemon runs, where it keeps its things, who is connected."
    _add(commands, "status", admin.status, text, json=True)
    _add(commands, "start", admin.start, "Start the daemon, if it does not run.")
    text = "Replace the running daemon by the installed version; no kernel, call or line of output is lost."
    _add(commands, "restart-daemon", admin.restart_daemon, text)
    stop = _add(commands, "stop", admin.stop, "Stop the daemon; kernels run on.")
    stop.add_argument("--kernels", action="store_true", help="end all kernels too: nothing is left running")
    logs = _add(commands, "logs", admin.logs, "Show the daemon's log, or what a kernel wrote to its standard error.")
    logs.add_argument("kernel", nargs="?", default="", metavar="KERNEL")
    _add_log_options(logs)
    text = "Look at all that has to be right, and say what mends what is not."
    look = _add(commands, "doctor", doctor.doctor, text, json=True)
    look.add_argument("--fix", action="store_true", help="mend what can be mended without losing anything")
    text = "List everything of kernel-supervisor on this machine, and remove it. Saved notebooks stay."
    _add_yes(_add(commands, "uninstall", uninstall.uninstall, text))
    demo = _add(commands, "demo", admin.demo, "Show the whole thing on a real data set, in a session of its own.")
    demo.add_argument("--directory", default="kernel-supervisor-demo", help="where the notebook goes")
    register = _add(
        commands, "register", registration.register, "Register the MCP server with MCP clients, or show how."
    )
    names = ", ".join(CLIENTS)
    register.add_argument("clients", nargs="*", type=_client, metavar="CLIENT", help=f"{names}; default: claude")
    register.add_argument("--python", default="", help="interpreter of the default kernel")
    register.add_argument("--session", default="", help="a session of each project, instead of its own")
    register.add_argument("--scope", choices=["local", "user", "project"], default="user", help=_SCOPE)
    register.add_argument("--print", dest="only_print", action="store_true", help="change nothing, print what to do")
    lab = _add(commands, "jupyterlab", jupyter.jupyterlab, "Run JupyterLab with the supervisor's kernels in it.")
    lab.add_argument("--print", dest="only_print", action="store_true", help="run nothing, print the command")
    lab.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="JupyterLab's own, behind `--`")
    specs = commands.add_parser("kernelspec", help="The kernelspecs by which Jupyter starts supervised kernels.")
    kinds = specs.add_subparsers(metavar="VERB", required=True)
    install = _add(kinds, "install", jupyter.install, "Install a kernelspec for the user's Jupyter programs.")
    install.add_argument("--env", default="", help="the environment, as `use` takes it; default: this one")
    text = "join this session of this project, or FOLDER/NAME; default: each notebook has its own"
    install.add_argument("--session", default="", help=text)
    install.add_argument("--name", default="", help="default: supervised, with what was chosen behind it")
    remove = _add(kinds, "uninstall", jupyter.uninstall, "Remove kernelspecs; kernels run on.")
    remove.add_argument("name", nargs="*", metavar="NAME", help="default: all of them")
    _add(kinds, "list", jupyter.list_specs, "List the supervised kernelspecs that are installed.")
    serve = commands.add_parser("service", help="Run the daemon under systemd or launchd.")
    verbs = serve.add_subparsers(metavar="VERB", required=True)
    added = _add(verbs, "install", service.install, "Install and start the user service.")
    added.add_argument("--no-linger", action="store_true", help="leave it to logging out to end the daemon and kernels")
    _add(verbs, "uninstall", service.uninstall, "Stop and remove the user service; kernels run on.")
    _add(verbs, "start", service.start, "Start the service; a daemon that runs hands over.")
    _add(verbs, "stop", service.stop, "Stop the service; kernels run on.")
    _add(verbs, "restart", service.restart, "Put another daemon in this one's place.")
    _add(verbs, "status", service.status, "Say whether the service is installed and runs.")
    noted = _add(verbs, "logs", service.logs, "Show what the service manager noted.")
    _add_log_options(noted)


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--lines", type=int, default=40)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows")


if __name__ == "__main__":
    sys.exit(main())
