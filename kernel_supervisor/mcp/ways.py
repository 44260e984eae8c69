"""Ways on in an agent's words: the tools, and how they are called."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_supervisor.core.model import SessionName
from kernel_supervisor.core.ways import Words, parts

TOOLS = {
    "wait on": "Still running: kernel_output(execution_id={0}, wait=60) waits on, kernel_interrupt(execution_id={0}) "
    "stops it.",
    "wait for it": "Not begun yet: kernel_output(execution_id={0}, wait=60) waits for it, "
    "kernel_interrupt(execution_id={0}) takes it out of the queue.",
    "wait or restart": "Wait with kernel_output(execution_id={0}, wait=60), or end the kernel, and its variables, with "
    "kernel_restart.",
    "interrupt hard": "kernel_interrupt(execution_id={0}, force=true) sends many, 50 ms apart, which reach its "
    "handlers, too. ",
    "answer": " · answer: kernel_reply(execution_id={0}, text=…)",
    "answer unseen": " · answer: kernel_reply(execution_id={0}, text=…); unseen by you: `kernel-supervisor reply {0}` "
    "in a terminal",
    "leave console": " · Interrupts do not end code.interact(), kernel_reply(execution_id={0}, "
    "text='raise SystemExit') does.",
    "stop": " · kernel_interrupt(execution_id={0}) stops it.",
    "may stop": " kernel_interrupt(execution_id={0}) stops it, if it can.",
    "read": ": kernel_output(execution_id={0})",
    "take longer": ": kernel_output(execution_id={0}, wait=60) takes longer",
    "unfold": ": kernel_output(execution_id={0}, full_traceback=true)",
    "see images": ": kernel_output(execution_id={0}, from_image={1})",
    "see executions": "; kernel_history lists them",
    "see history": "; see kernel_history",
    "ask history": "; kernel_history may tell",
    "see what ran": "; kernel_history shows what was run.",
    "see earlier": ": a larger last= or filter= finds them",
    "find by code": ": filter= finds them by their code",
    "see sessions": "; kernel_list_running and `kernel-supervisor sessions` show how those of others are spelled",
    "write notebook": ": kernel_save_notebook writes it to a file",
    "write whole": ": kernel_save_notebook writes a notebook with all of it",
    "overwrite": ", or pass overwrite=true",
    "show it": ": kernel_exec can show it",
    "see output": ". kernel_output(execution_id=…) shows what one printed.",
    "run it": "; kernel_exec runs any other expression",
    "see kernels": "; kernel_list_running lists them",
    "name kernel": ": give an id from kernel_list_running, or its beginning",
    "fresh kernel": "kernel_restart gives this session a fresh kernel",
    "default kernel": "kernel_detach returns to the session's default kernel",
    "end kernel": "kernel_restart ends it, and starts a fresh one",
    "leave kernel": "kernel_detach leaves it, for the session's default kernel",
    "detach": ": kernel_detach leaves it",
    "detach first": ": restart it there, or kernel_detach first",
    "detach or restart": ": kernel_detach leaves it; force=true restarts it all the same",
    "detach or end": ". kernel_detach leaves it; force=true ends it.",
    "return": "; kernel_detach returns to the default kernel",
    "let go": " (kernel_detach)",
    "kill": " (kernel-supervisor kill {0})",
    "first exec": ": the first kernel_exec starts one",
    "next exec": "the next kernel_exec starts it",
    "restart there": " (kernel_restart takes the kernel there)",
    "restart too": ", kernel_restart too",
    "restart for own": "; kernel_restart gives it yours, and loses its variables",
    "replay": "; kernel_restart(replay=true) runs again {0} that succeeded",
    "own session": ' (session="another-name")',
    "attach by id": "; kernel_attach takes the whole id of one",
    "see environments": " kernel_list_envs() lists what there is.",
    "name environment": ": kernel_list_envs lists environments",
    "mend environment": " Mend it, or choose another (kernel_list_envs() lists them).",
    "all environments": " kernel_list_envs() lists {0}.",
    "use other": ", which kernel_use_env changes to",
    "checkpoint": ": kernel_checkpoint makes one",
    "bring back": 'kernel_restart(restore="{0}") brings them back',
    "restore": ': kernel_restart(restore="{0}")',
    "replay rest": ': kernel_restart(restore="{0}", replay=true) restarts once more, and then runs those, too',
    "offer auto": 'kernel_checkpoint(mode="auto") has it saved by itself, too: when idle, and before it ends',
    "see variables": "; kernel_list_vars lists them",
    "all variables": "; kernel_list_vars() lists all",
    "fewer variables": ": narrow it with filter= or type=",
    "ask in its language": ". kernel_inspect asks it about one name, and kernel_exec can list them in {0} itself",
    "turn on": ': kernel_checkpoint(mode="asked") turns them on',
}

_NAMED = "restart|detach|history|checkpoint|inspect|list_vars|list_envs|exec|save_notebook|use_env|attach"
_OF_ONE = re.compile(rf"\b(kernel_(?:{_NAMED}))\b(?:\(([^)]*)\))?")
"""Calls that a session has to be named in, where it is another one; an execution's number says which it is of."""


def of_session(name: SessionName) -> Mapping[str, str]:
    """An agent's words, which name a session that is not the one its calls are about by themselves."""
    return {
        way: _OF_ONE.sub(lambda call: f'{call[1]}({call[2] + ", " if call[2] else ""}session="{name}")', text)
        for way, text in TOOLS.items()
    }


def in_session(ways: Mapping[str, str], name: str, *, here: bool = False) -> Mapping[str, str]:
    """A client's own words, with the session that they are about wherever they name it, as the option of a command
    only where that is not the one `here`; without it where none is."""
    quoted = f" {shlex.quote(name)}" if name else ""
    option = f" -s{quoted}" if name and not here else ""
    return {way: text.replace(" {session}", quoted).replace(" {option}", option) for way, text in ways.items()}


def said(words: Words, ways: Mapping[str, str] | None = None) -> str:
    """What an agent is told, or whoever has words of their own for `ways` on; what these lack is left out."""
    known = TOOLS if ways is None else ways
    return "".join(
        part if isinstance(part, str) else _filled(known.get(part.name, ""), part.about) for part in parts(words)
    )


def _filled(text: str, about: Sequence[str | int]) -> str:
    """With what it is about, which stays one word of a command, and one text of a call, where that is quoted. Not by
    `format`: a client's own text may say anything."""
    for number, each in enumerate(about):
        place, said_so = f"{{{number}}}", str(each)
        text = text.replace(f"'{place}'", "'" + said_so.replace("'", "'\"'\"'") + "'")
        text = text.replace(f'"{place}"', json.dumps(said_so, ensure_ascii=False)).replace(place, said_so)
    return text


def sent(value: Any, ways: Mapping[str, str] | None) -> Any:
    """A result's machine-readable part, with all words in it said."""
    match value:
        case dict():
            return {name: sent(each, ways) for name, each in value.items()}
        case list():
            return [sent(each, ways) for each in value]
        case tuple():
            return said(value, ways)
    return value


def sentence(words: Words) -> Words:
    """Words with a capital letter."""
    first, *others = parts(words)
    return (first[0].upper() + first[1:], *others) if isinstance(first, str) else (first, *others)


def under_each_other(lines: list[Words]) -> Words:
    """Each on a line of its own."""
    return tuple(part for line in lines for part in ("\n", *parts(line)))[1:]
