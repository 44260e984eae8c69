"""What can be typed: commands in groups, and their arguments.

What a command runs is named by text and imported once it is wanted, so that help comes at once.
"""

from __future__ import annotations

import argparse
import math
import re
from contextlib import suppress
from typing import Any

from kernel_supervisor import __version__
from kernel_supervisor.cli.parsing import Parser, Wrapped, meant

_USAGE = "kernel-supervisor COMMAND ..."
_EPILOG = """\
`kernel-supervisor help COMMAND` says more about each, and
`kernel-supervisor completion bash` (zsh, fish) has a shell complete them.

A KERNEL is named by its session (this project's of that name, else the only
one), by its id, or by at least four characters at the beginning of its id. But
for kill, which wants names, the kernel of this directory's session is meant
where none is named. The project is the nearest directory upwards that has a
session; FOLDER/ is its own session, FOLDER/NAME another.

Variables live in kernels; kernels outlive this command, Claude Code and the
daemon. Only kill, restart, stop --kernels and uninstall end them.

exit codes: 0 done, 1 it could not be done (or the code that was run raised),
2 wrong usage, 3 no daemon is running, 130 interrupted
"""
_SCOPE = "user; project: a file for everybody who has the project; local: this project, for you (Claude Code)"


class Commands:
    """The commands, in the groups that they are listed in."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog="kernel-supervisor",
            usage=_USAGE,
            description="Persistent Python for AI agents: runs code in kernels that outlive their\n"
            "clients, and lists, watches and ends them.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.parser.add_argument("--version", action="version", version=f"kernel-supervisor {__version__}")
        self._parsers = self.parser.add_subparsers(
            prog="kernel-supervisor", metavar="COMMAND", help=argparse.SUPPRESS, parser_class=Parser
        )
        self._lines: list[str] = []

    def group(self, title: str) -> None:
        """Begin a group."""
        self._lines += ["", f"{title}:"]

    def add(
        self, name: str, run: str, text: str, *, more: str = "", aliases: tuple[str, ...] = (), json: bool = False
    ) -> argparse.ArgumentParser:
        """A command that is done by `run`, a module and a function of it."""
        also = f" (also {', '.join(aliases)})" if aliases else ""
        self._lines.append(f"    {name:<15} {text}{also}")
        about = "\n\n".join(filter(None, (f"{text[0].upper()}{text[1:]}.", more)))
        return _described(
            self._parsers.add_parser(name, aliases=aliases, description=about, formatter_class=Wrapped), run, json=json
        )

    def finished(self) -> argparse.ArgumentParser:
        """The parser of all of them."""
        self.parser.epilog = "\n".join([*self._lines[1:], "", _EPILOG])
        return self.parser


def _described(parser: argparse.ArgumentParser, run: str, *, json: bool = False) -> argparse.ArgumentParser:
    parser.set_defaults(run=run, json=False, parser=parser)
    if json:
        _flag(parser, "--json", "print JSON for programs")
    return parser


def all_commands() -> argparse.ArgumentParser:
    """The parser of the command line."""
    commands = Commands()
    _add_work(commands)
    _add_kernels(commands)
    _add_environments(commands)
    _add_kept(commands)
    _add_daemon(commands)
    _add_set_up(commands)
    return commands.finished()


def _add_work(commands: Commands) -> None:
    commands.group("work in a session")
    run = commands.add("exec", "execute:execute", "run code, and show its output as it comes", json=True)
    run.add_argument("code", nargs="?", help="Python code; `-` or nothing reads it from standard input")
    run.add_argument("-f", "--file", help="run the code in this file")
    _flag(run, "--no-wait", "queue it and return its execution id")
    _add_session(run, starts=True)
    reply = commands.add("reply", "execute:reply", "answer a cell that waits for input, then follow it", json=True)
    _add_execution(reply)
    reply.add_argument("text", nargs="?", help="default: asked for here, a password without showing it")
    history = commands.add("history", "execute:history", "list what was run", json=True)
    history.add_argument("-n", "--last", type=_count, default=20, help="how many entries, at most 500")
    _add_session(history)
    commands.add("glance", "glance:glance", "say in two lines what lives in this session")
    output = commands.add("output", "execute:output", "show the output of an execution", json=True)
    _add_execution(output)
    output.add_argument("-f", "--follow", action="store_true", help="show it as `exec` does, until it ends")
    _add_looks(commands)
    _add_notebooks(commands)


def _add_looks(commands: Commands) -> None:
    more = "Of one that runs, what there is so far."
    show = commands.add("show", "looking:show", "show an entry: its code, and all that it showed", more=more, json=True)
    _add_execution(show)
    names = commands.add("vars", "looking:variables", "list variables, their types and sizes; runs nothing", json=True)
    names.add_argument("filter", nargs="?", default="", metavar="NAME", help="only those with this in their names")
    names.add_argument("--type", default="", help="only those with this in their types")
    _add_session(names)
    inspect = commands.add("inspect", "looking:inspect", "look at a variable, attribute or item", json=True)
    inspect.add_argument("name", metavar="NAME", help="such as df, df.columns, model.layers[0]")
    _flag(inspect, "--source", "with its source")
    _add_session(inspect)
    more = "Code as it is submitted, by whom, and its output as it comes. Nothing is run or stopped by it."
    watch = commands.add("watch", "watching:watch", "follow live what anybody runs in a session", more=more)
    text = "default: this directory's"
    watch.add_argument("watched", nargs="?", default="", metavar="SESSION", help=text)


def _add_notebooks(commands: Commands) -> None:
    more = (
        "The notebook (.ipynb) is always written; the other formats stand beside it. `save report.pdf` writes both, as "
        "`save report --pdf` does."
    )
    text = "write a session as a notebook, HTML, PDF, Markdown, script"
    save = commands.add("save", "execute:save", text, more=more)
    text = "where to; its suffix names a format. Default: the session's name, in its directory"
    save.add_argument("path", nargs="?", default="", help=text)
    _flag(save, "--html", "write HTML, too", dest="save_html")
    text = "colours of the HTML; auto: as the reader's system has them"
    save.add_argument("--theme", choices=["auto", "light", "dark"], default="auto", help=text)
    _flag(save, "--pdf", "write a PDF, too", dest="save_pdf")
    text = "write this format, too; can be repeated"
    save.add_argument("--to", action="append", choices=["ipynb", "html", "pdf", "md", "py"], help=text)
    save.add_argument(
        "--pdf-engine", choices=["typst", "browser", "xelatex"], help="what makes the PDF; default: what loses least"
    )
    _flag(save, "--no-code", "HTML and PDF have results and text alone, no code")
    text = "the PDF's paper; default: what is usual where your locale is"
    save.add_argument("--page", choices=["a4", "letter"], help=text)
    save.add_argument("--template", default="", help="nbconvert's template for the HTML: its name, or a folder")
    _flag(save, "--fetch-images", "fetch the pictures that Markdown has from the network")
    _flag(save, "--session-kernel", "a notebook that Jupyter opens in this session's kernel")
    save.add_argument("--only", choices=["all", "ok"], default="all", help="ok: without the cells that failed")
    save.add_argument("--first", type=int, metavar="EXECUTION", help="begin with this entry of `history`")
    save.add_argument("--last", type=int, metavar="EXECUTION", help="end with this entry")
    text = "keep the notebook up to date from now on, or no longer"
    save.add_argument("--autosave", action=argparse.BooleanOptionalAction, help=text)
    _flag(save, "--overwrite", "replace a file that the session did not write")
    _add_session(save)
    load = commands.add("load", "execute:load", "take a notebook's cells into a session, to go on from there")
    load.add_argument("path", metavar="NOTEBOOK")
    _flag(load, "--run", "run its code cells, up to the first error", dest="run_cells")
    _add_session(load, starts=True)


def _add_kernels(commands: Commands) -> None:
    commands.group("kernels")
    commands.add("list", "kernels:list_kernels", "list the kernels of all sessions", aliases=("ls", "ps"), json=True)
    more = "State, CPU, memory, the line that runs, what was printed last; Ctrl-C ends it."
    top = commands.add("top", "watching:top", "show what kernels do, again and again", more=more, json=True)
    _flag(top, "--once", "once, as where standard output is no terminal")
    interrupt = commands.add("interrupt", "kernels:interrupt", "interrupt what runs on a kernel; variables stay")
    _flag(interrupt, "--force", "many interrupts, 50 ms apart, for a cell that swallows them")
    more = "With --restore those of a checkpoint come back."
    restart = commands.add("restart", "kernels:restart", "give a session a fresh process; variables go", more=more)
    text = 'with the variables of a checkpoint: "last", NAME or SESSION:NAME'
    restart.add_argument("--restore", default="", metavar="CHECKPOINT", help=text)
    _flag(restart, "--replay", "then run again what had succeeded; with --restore the rest alone")
    kill = commands.add("kill", "kernels:kill", "end kernels, with their variables")
    kill.add_argument("kernel", nargs="*", metavar="KERNEL")
    _flag(kill, "--all", "end every kernel that the supervisor started")
    _flag(kill, "--force", "also a kernel that somebody else started")
    console = commands.add("console", "kernels:console", "open a Jupyter console on a kernel")
    more = "With --daemon, what the daemon itself has to say."
    logs = commands.add("logs", "admin:logs", "show what a kernel wrote to its standard error", more=more)
    for parser in (interrupt, restart, console, logs):
        text = "default: that of this directory's session"
        parser.add_argument("kernel", nargs="?", default="", metavar="KERNEL", help=text)
    _flag(logs, "--daemon", "the daemon's own log instead")
    _add_log_options(logs)


def _add_environments(commands: Commands) -> None:
    commands.group("environments, and kernels that run already")
    envs = commands.add("envs", "kernels:envs", "list the environments that a kernel can run in", json=True)
    use = commands.add("use", "kernels:use", "go on in another environment's kernel")
    use.add_argument("env", metavar="ENV", help="a name, prefix or interpreter from `envs`, or `default`")
    _flag(use, "--fresh", "a new kernel even if one runs there already")
    text = "with these variables of the kernel before, such as df,model; * for all"
    use.add_argument("--carry", default="", metavar="NAMES", help=text)
    _flag(use, "--install-ipykernel", "if it has no ipykernel, install one there with the environment's own tool")
    attach = commands.add("attach", "kernels:attach", "go on in a kernel that runs already")
    text = "a kernel's id or at least four characters of it, a notebook, a connection file, a server's URL"
    attach.add_argument("kernel", metavar="WHICH", help=text)
    more = "The kernel that is left runs on."
    detach = commands.add("detach", "kernels:detach", "return to the session's default kernel", more=more)
    for parser in (envs, use, attach, detach):
        _add_session(parser, starts=parser is use)


def _add_kept(commands: Commands) -> None:
    commands.group("what is kept")
    commands.add("sessions", "forgetting:sessions", "list all sessions, and what is kept of them", json=True)
    more = "They outlive their kernel: `restart --restore` brings them back."
    text = "save a session's variables"
    save = commands.add("checkpoint", "checkpoints:checkpoint", text, more=more, json=True)
    save.add_argument(
        "name", nargs="?", default="", metavar="NAME", help="what to call it, for `restart --restore NAME`"
    )
    text = "from now on in this session: saved when asked, also by itself, or never"
    save.add_argument("--mode", choices=["asked", "auto", "off"], default="", help=text)
    _add_session(save)
    more = "With NAME, what is in that one: names, types, sizes, the executions that made them, and what is not in it."
    text = "list what was saved of variables, or show one"
    there = commands.add("checkpoints", "checkpoints:checkpoints", text, more=more, json=True)
    text = 'a checkpoint: "last", NAME or SESSION:NAME'
    there.add_argument("checkpoint", nargs="?", default="", metavar="NAME", help=text)
    there.add_argument("--remove", action="append", default=[], metavar="NAME", help="delete one; can be repeated")
    there.add_argument("-s", "--session", default="", help="of one session; default: of all, or this project's own")
    _add_yes(there)
    more = "That is their history and what their kernels wrote down. Saved notebooks stay."
    forget = commands.add("forget", "forgetting:forget", "delete sessions", more=more, aliases=("rm",))
    text = "as `sessions` spells it; no kernel may live in it"
    forget.add_argument("sessions", nargs="*", metavar="SESSION", help=text)
    forget.add_argument("--older-than", type=_days, metavar="DAYS", help="all that were not used for so many days")
    more = "Nothing of a kernel that lives."
    prune = commands.add(
        "prune", "forgetting:prune", "delete what is to go by the policy, or by its options", more=more
    )
    prune.add_argument("--older-than", type=_days, metavar="DAYS", help="what was not used for so many days")
    text = "the oldest, until so much is left: 500MB, 5GB"
    prune.add_argument("--keep-total", type=_bytes, metavar="SIZE", help=text)
    _flag(prune, "--dry-run", "only show what would go")
    for parser in (forget, prune):
        _add_yes(parser)


def _add_daemon(commands: Commands) -> None:
    commands.group("the daemon")
    more = "And how the kernel of this directory's session is, or of another."
    status = commands.add("status", "admin:status", "say how the daemon is, and who is connected", more=more, json=True)
    text = "a session; default: this directory's, and the daemon"
    status.add_argument("kernel", nargs="?", default="", metavar="SESSION", help=text)
    commands.add("start", "admin:start", "start the daemon, if it does not run")
    stop = commands.add("stop", "admin:stop", "stop the daemon; kernels run on")
    _flag(stop, "--kernels", "end all kernels too: nothing is left running")
    more = "No kernel, call or line of output is lost."
    text = "have the installed version take the daemon's place"
    commands.add("restart-daemon", "admin:restart_daemon", text, more=more)
    serve = commands.add("service", "", "run the daemon under systemd or launchd")
    verbs = serve.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    added = _verb(verbs, "install", "service:install", "Install and start the user service.")
    _flag(added, "--no-linger", "leave it to logging out to end the daemon and kernels")
    _verb(verbs, "uninstall", "service:uninstall", "Stop and remove the user service; kernels run on.")
    _verb(verbs, "start", "service:start", "Start the service; a daemon that runs hands over.")
    _verb(verbs, "stop", "service:stop", "Stop the service; kernels run on.")
    _verb(verbs, "restart", "service:restart", "Put another daemon in this one's place.")
    _verb(verbs, "status", "service:status", "Say whether the service is installed and runs.")
    _add_log_options(_verb(verbs, "logs", "service:logs", "Show what the service manager noted."))


def _add_set_up(commands: Commands) -> None:
    commands.group("set up, and tidy up")
    register = commands.add("register", "registration:register", "tell MCP clients about the server, or say how")
    register.add_argument(
        "clients", nargs="*", type=_client, metavar="CLIENT", help=f"{', '.join(CLIENTS)}; default: claude"
    )
    register.add_argument("--python", default="", help="interpreter of the default kernel")
    register.add_argument("--session", default="", help="a session of each project, instead of its own")
    register.add_argument("--scope", choices=["local", "user", "project"], default="user", help=_SCOPE)
    _flag(register, "--print", "change nothing, print what to do", dest="only_print")
    lab = commands.add("jupyterlab", "jupyter:jupyterlab", "run JupyterLab with the supervisor's kernels in it")
    _flag(lab, "--print", "run nothing, print the command", dest="only_print")
    lab.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="JupyterLab's own, behind `--`")
    _add_kernelspecs(commands.add("kernelspec", "", "have other Jupyter programs start supervised kernels"))
    look = commands.add("doctor", "doctor:doctor", "look at all that has to be right, and say what mends it", json=True)
    _flag(look, "--fix", "mend what can be mended without losing anything")
    demo = commands.add("demo", "admin:demo", "show the whole thing on a real data set")
    demo.add_argument("--directory", default="", help="where the notebook goes; default: a folder in ~/.cache")
    more = "Saved notebooks stay."
    _add_yes(commands.add("uninstall", "uninstall:uninstall", "list everything of ours here, and remove it", more=more))
    more = """\
In ~/.bashrc:
  eval "$(kernel-supervisor completion bash)"
In ~/.zshrc, behind `compinit`:
  eval "$(kernel-supervisor completion zsh)"
In ~/.config/fish/config.fish:
  kernel-supervisor completion fish | source"""
    shell = commands.add(
        "completion", "completion:completion", "have your shell complete commands, options and names", more=more
    )
    shell.add_argument("shell", choices=["bash", "zsh", "fish"], metavar="SHELL", help="bash, zsh or fish")
    asked = commands.add("help", "main:show_help", "say more about a command")
    asked.add_argument("words", nargs="*", metavar="COMMAND")


def _add_kernelspecs(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)
    install = _verb(kinds, "install", "jupyter:install", "Install a kernelspec for the user's Jupyter programs.")
    install.add_argument("--env", default="", help="the environment, as `use` takes it; default: this one")
    text = "join this session of this project, or FOLDER/NAME; default: each notebook has its own"
    install.add_argument("--session", default="", help=text)
    install.add_argument("--name", default="", help="default: supervised, with what was chosen behind it")
    remove = _verb(kinds, "uninstall", "jupyter:uninstall", "Remove kernelspecs; kernels run on.")
    remove.add_argument("name", nargs="*", metavar="NAME", help="default: all of them")
    _verb(kinds, "list", "jupyter:list_specs", "List the supervised kernelspecs that are installed.")


def _verb(verbs: Any, name: str, run: str, text: str) -> argparse.ArgumentParser:
    return _described(verbs.add_parser(name, help=text, description=text), run)


def _flag(parser: argparse.ArgumentParser, name: str, text: str, dest: str | None = None) -> None:
    parser.add_argument(name, dest=dest, action="store_true", help=text)


def _add_session(parser: argparse.ArgumentParser, *, starts: bool = False) -> None:
    """The option that names a session, and where a kernel may be started for it, what that runs."""
    text = "a session of this project, or FOLDER/NAME; default: the project's own"
    parser.add_argument("-s", "--session", default="", help=text)
    parser.set_defaults(works_in_session=True)
    if starts:
        parser.add_argument("--python", default="", help="interpreter of the default kernel, if it is started now")


def _add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("execution", type=int, metavar="EXECUTION", help="its number, as `history` has it")


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _add_log_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--lines", type=int, default=40, help="how many, from the end")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows")


def _count(text: str) -> int:
    with suppress(ValueError):
        if 1 <= (number := int(text)) <= 500:
            return number
    raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 500")


def _days(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (days := float(text)) < math.inf:
            return days
    raise argparse.ArgumentTypeError(f"{text} is no number of days; one is like 30")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)b?", text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} is no size; one is like 500MB or 5GB")
    return int(float(found[1]) * 1000 ** " kmgt".index(found[2] or " "))


CLIENTS = ("claude", "codex", "gemini", "cursor", "vscode")


def _client(text: str) -> str:
    if text not in CLIENTS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(CLIENTS)}{meant(text, list(CLIENTS))}")
    return text
