"""How a checkpoint, and what is back of one, reads."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_supervisor.amounts import size, span
from kernel_supervisor.core.checkpoints import Checkpoint, Held
from kernel_supervisor.core.model import ExecutionId
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.mcp.ways import under_each_other
from kernel_supervisor.sessions.offering import counted, named
from kernel_supervisor.sessions.offering import listed as listed_names
from kernel_supervisor.sessions.restoring import Restored
from kernel_supervisor.wording import printable, when


def saved(checkpoint: Checkpoint, held: Sequence[Held]) -> Words:
    """A checkpoint that was made a moment ago, and what is in it."""
    new = f" ({size(checkpoint.written)} of it new)" if checkpoint.written < checkpoint.size else ""
    count = counted(len(checkpoint.names), checkpoint.total)
    first = (
        f"checkpoint {title(checkpoint)} of session {checkpoint.session}: {count}, "
        f"{size(checkpoint.size)}{new}; the kernel was held up for {span(checkpoint.held_ms / 1000)}, all was written "
        f"after {span(checkpoint.took_s)}"
    )
    lines: list[Words] = [first, *([f"saved: {listed_names(map(_told, held))}"] if held else [])]
    if checkpoint.missing:
        lines.append(f"not saved: {named(checkpoint.missing, checkpoint.makers)}")
    lines.append((WayOn("bring back", (checkpoint.called,)),))
    return under_each_other(lines)


def _told(held: Held) -> str:
    return f"{held.name} ({', '.join(filter(None, (held.type, size(held.size))))})"


def contents(checkpoint: Checkpoint) -> str:
    """Its name, its age, and the names of what is in it."""
    names = f" ({listed_names(checkpoint.names)})" if checkpoint.names else ""
    return f"{title(checkpoint)} {age(checkpoint)}{names}"


def title(checkpoint: Checkpoint) -> str:
    """Its name, or its id where it has none."""
    return f'"{printable(checkpoint.name)}"' if checkpoint.name else checkpoint.id


def back(restored: Restored, *, again: bool) -> Words:
    """What is back of a checkpoint; whether the rest is to be run `again` by this call."""
    checkpoint = restored.checkpoint
    from_where = f"checkpoint {title(checkpoint)} of {when(checkpoint.at)}"
    names = f": {listed_names(restored.back)}" if restored.back else ""
    lines: list[Words] = [f"back from {from_where}: {counted(len(restored.back), checkpoint.total)}{names}"]
    if restored.missing:
        lines.append(f"not back: {named(restored.missing, checkpoint.makers)}")
    lines += _remarks(restored)
    if restored.rest and not again:
        lines.append((_rest(restored), WayOn("replay rest", (asked_for(checkpoint),))))
    return under_each_other(lines)


def _rest(restored: Restored) -> str:
    """Which executions made what is not back, and which came after the checkpoint."""
    makers = restored.checkpoint.makers
    made = sorted({makers[name] for name in restored.missing if name in makers} & set(restored.rest))
    later = [each for each in restored.rest if each not in made]
    told = [f"what is not back was made by {_executions(made)}"] if made else []
    return "; ".join([*told, *([f"{_executions(later)} succeeded after it was saved"] if later else [])])


def _executions(numbers: Sequence[ExecutionId]) -> str:
    return f"{'execution' if len(numbers) == 1 else 'executions'} {listed_names(map(str, numbers))}"


def moved(restored: Restored) -> Words:
    """What is in another kernel now of the variables of the one before."""
    checkpoint, total = restored.checkpoint, len(restored.back) + len(restored.missing)
    named_ones = f": {listed_names(restored.back)}" if restored.back else ""
    lines: list[Words] = [f"{counted(len(restored.back), total)} carried{named_ones}"]
    if restored.missing:
        lines.append(f"not carried: {named(restored.missing, checkpoint.makers)}")
    return under_each_other([*lines, *_remarks(restored)])


def _remarks(restored: Restored) -> list[Words]:
    found: list[Words] = []
    if restored.by_source:
        found.append(f"made again from their source: {listed_names(restored.by_source)}")
    if restored.copies:
        found.append(f"these shared memory with others, and are copies now: {listed_names(restored.copies)}")
    return found


def asked_for(checkpoint: Checkpoint) -> str:
    """How it is asked for, from any session."""
    return f"{checkpoint.session}:{checkpoint.called}"


def age(checkpoint: Checkpoint) -> str:
    """How old it is, in words."""
    return f"{span(max(0.0, time.time() - checkpoint.at))} ago"


def facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """The machine-readable form."""
    return {
        "id": checkpoint.id,
        "name": checkpoint.name,
        "session": checkpoint.session,
        "kind": checkpoint.kind,
        "at": checkpoint.at,
        "variables": len(checkpoint.names),
        "names": list(checkpoint.names),
        "total": checkpoint.total,
        "missing": _missing(checkpoint.missing, checkpoint.makers),
        "bytes": checkpoint.size,
        "written_bytes": checkpoint.written,
        "held_ms": checkpoint.held_ms,
        "took_s": checkpoint.took_s,
        "python": checkpoint.python,
        "interpreter": checkpoint.interpreter.name,
    }


def held_facts(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Likewise, of what is in one."""
    return [{"name": each.name, "type": each.type, "bytes": each.size, "execution_id": each.maker} for each in held]


def restored_facts(restored: Restored) -> dict[str, Any]:
    """Likewise, of what is back."""
    return {
        "checkpoint": restored.checkpoint.id,
        "back": list(restored.back),
        "missing": _missing(restored.missing, restored.checkpoint.makers),
        "copies": list(restored.copies),
        "by_source": list(restored.by_source),
        "rest": list(restored.rest),
    }


def restored_before(checkpoint: Checkpoint, facts: Mapping[str, Any]) -> Restored:
    """What these facts are of."""
    return Restored(
        checkpoint=checkpoint,
        back=tuple(facts["back"]),
        missing={name: each["reason"] for name, each in facts["missing"].items()},
        copies=tuple(facts["copies"]),
        by_source=tuple(facts["by_source"]),
        rest=tuple(facts["rest"]),
    )


def _missing(reasons: Mapping[str, str], makers: Mapping[str, ExecutionId]) -> dict[str, dict[str, Any]]:
    return {name: {"reason": reason, "execution_id": makers.get(name)} for name, reason in reasons.items()}


def listed(checkpoints: Sequence[Checkpoint]) -> list[dict[str, Any]]:
    """Some of them, the newest first."""
    return [facts(each) for each in sorted(checkpoints, key=lambda each: each.at, reverse=True)]
