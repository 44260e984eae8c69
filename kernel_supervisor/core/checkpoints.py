"""Checkpoints as values: what each keeps of a session's variables, which one is meant, which the next one replaces, and
what makes the rest. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from kernel_supervisor.core.model import Execution, ExecutionId, Interpreter, KernelId, SessionName
from kernel_supervisor.core.parsing import parsed
from kernel_supervisor.keeping import CHECKPOINTS

CheckpointId = NewType("CheckpointId", str)
Kind = Literal["asked", "auto", "carried"]
"""Asked for; made by itself; made to be brought to another environment at once, and gone then."""
LAST = "last"
"""What stands for the newest checkpoint of a session."""
SECRET_NAMES = (r"(?i)(^|_)(api_?key|secret|password|passwd|passphrase|token|credentials?|private_?key)s?($|_)",)
"""Variables that are called so are not saved."""
_FAR_FEWER = 0.8
"""A checkpoint with a smaller share of the names of the one before does not replace it."""
_LONGEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What was saved of a session's variables at one moment."""

    id: CheckpointId
    session: SessionName
    name: str
    """What it was called by who asked for it; empty for none."""
    kind: Kind
    at: float
    """Seconds since the epoch."""
    kernel_id: KernelId
    generation: int
    interpreter: Interpreter
    """What the kernel ran in."""
    latest: int = 0
    """The newest execution of its session when it was made; where some waited then, the last before those."""
    python: str = ""
    """The version of the kernel's Python, such as 3.11.7."""
    names: tuple[str, ...] = ()
    """The variables that are in it, functions, classes and modules among them."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Those that could not be saved, each with its reason."""
    makers: Mapping[str, ExecutionId] = field(default_factory=dict)
    """The executions that made those, as far as the history tells."""
    size: int = 0
    """Bytes of all that it needs."""
    written: int = 0
    """Bytes that were written for it: what was the same in one before is not written again."""
    held_ms: float = 0.0
    """How long the kernel was held up."""
    took_s: float = 0.0
    manifest: str = ""
    """SHA-256 of its manifest, which has those of everything else."""

    @property
    def total(self) -> int:
        """How many variables there were."""
        return len(self.names) + len(self.missing)

    @property
    def called(self) -> str:
        """By what it can be asked for."""
        return self.name or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One variable in a checkpoint."""

    name: str
    type: str
    """Of a value; `module`, `function` or `class` for what is made again."""
    size: int | None
    """Bytes that its value has in the kernel; None for what is made again."""
    maker: ExecutionId | None
    """The execution that bound it last before it was saved, as far as the history tells."""


def why_no_name(name: str) -> str:
    """Why a checkpoint cannot be called so; empty where it can."""
    if name == LAST:
        return f'"{LAST}" stands for the newest one'
    if len(name) > _LONGEST:
        return f"a name has at most {_LONGEST} characters"
    if name.startswith("-"):
        return "a name does not begin with a hyphen, as options of commands do"
    is_plain = name.isprintable() and ":" not in name
    return "" if is_plain else "a name has no colon, and no characters that cannot be seen"


def parted(wanted: str) -> tuple[str, str]:
    """The session, empty for the own one, and the name in `SESSION:NAME` or `NAME`."""
    session, colon, name = wanted.strip().rpartition(":")
    return (session.strip(), name.strip()) if colon else ("", name.strip())


def find(there: Sequence[Checkpoint], wanted: str, kernel_id: KernelId | None = None) -> Checkpoint | None:
    """The newest that is meant by a name, an id, or `last`; None where there is none.

    The `last` of a session is that of its present kernel, if there is one.
    """
    newest_first = sorted(there, key=lambda each: each.at, reverse=True)
    if wanted in ("", LAST):
        of_kernel = [each for each in newest_first if each.kernel_id == kernel_id]
        return next(iter(of_kernel or newest_first), None)
    return next((each for each in newest_first if wanted in (each.name, each.id)), None)


def superseded(new: Checkpoint, there: Iterable[Checkpoint], incomplete: frozenset[CheckpointId]) -> list[Checkpoint]:
    """Those made by themselves that `new` makes needless.

    Never one with far more names than the new one, nor one of those that were brought back incompletely to the kernel
    that the new one is of.
    """
    older = sorted((each for each in there if _is_older(each, new)), key=lambda each: each.at, reverse=True)
    better = [each for each in older if each.id in incomplete or len(new.names) < _FAR_FEWER * len(each.names)]
    return [each for each in older if each not in better[: CHECKPOINTS - 1]]


def _is_older(each: Checkpoint, new: Checkpoint) -> bool:
    same = each.kind == "auto" and not each.name and each.session == new.session
    return same and each.id != new.id and each.at <= new.at


def held(manifest: Mapping[str, Any], made_by: Mapping[str, ExecutionId]) -> list[Held]:
    """What a manifest says is in its checkpoint, by name. Raises KeyError, TypeError, AttributeError for an odd one."""
    values = {name: (str(each["type"]), int(each["bytes"])) for name, each in manifest["names"].items()}
    again = dict.fromkeys(manifest["imports"], "module")
    again |= {name: str(each["kind"]) for name, each in manifest["definitions"].items() if name not in values}
    known: dict[str, tuple[str, int | None]] = {**{name: (kind, None) for name, kind in again.items()}, **values}
    return [
        Held(name=name, type=kind, size=size, maker=made_by.get(name)) for name, (kind, size) in sorted(known.items())
    ]


def makers(names: Iterable[str], newest_first: Iterable[Execution]) -> dict[str, ExecutionId]:
    """By name the newest execution that bound it, as far as code tells."""
    wanted, found = set(names), dict[str, ExecutionId]()
    for each in newest_first:
        if not wanted:
            break
        if each.kind == "code" and each.status in ("ok", "error", "interrupted"):
            bound = wanted & _bound_in(each.source, wanted)
            found.update(dict.fromkeys(bound, each.id))
            wanted -= bound
    return found


def _bound_in(source: str, wanted: set[str]) -> set[str]:
    if not any(name in source for name in wanted):
        return set()
    tree = parsed(source)
    if tree is None:  # it has magics, or is no Python
        return {name for name in wanted if re.search(rf"^\s*{re.escape(name)}\s*(:[^=]*)?=[^=]", source, re.MULTILINE)}
    return set().union(*(_bound_by(node) for node in ast.walk(tree)))


def _bound_by(node: ast.AST) -> set[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            return {name}
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {(each.asname or each.name).partition(".")[0] for each in names}
    return set()


def rest(checkpoint: Checkpoint, gone: Iterable[str], since: Iterable[Execution]) -> list[ExecutionId]:
    """The executions that make what a checkpoint does not bring back, in order: those that made what is `gone`, and
    what succeeded `since` it was made, in the kernel that it is of."""
    made = {checkpoint.makers[name] for name in gone if name in checkpoint.makers}
    place = (checkpoint.kernel_id, checkpoint.generation)
    later = {
        each.id
        for each in since
        if each.kind == "code"
        and each.status == "ok"
        and each.id > checkpoint.latest
        and (each.kernel_id, each.generation) == place
    }
    return sorted(made | later)
