"""What is said of variables that a checkpoint has, and of those that it has not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kernel_supervisor.amounts import several
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.model import ExecutionId, KernelRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.wording import printable, when

_KERNEL, _DIED = "the kernel ", "died"
"""How an explanation of an end begins, and one of a death goes on."""
_SHOWN = 12
"""Variables that are named one by one."""
_SHORT = 160


def offered(checkpoint: Checkpoint, wanted: str) -> tuple[str | WayOn, ...]:
    """What can be brought back where a kernel is gone, by what it is asked for."""
    not_so = f" (not: {named(checkpoint.missing, checkpoint.makers)})" if checkpoint.missing else ""
    count = counted(len(checkpoint.names), checkpoint.total)
    names = f" ({listed(checkpoint.names)})" if checkpoint.names else ""
    return f"{count} of {when(checkpoint.at)}{names} can be brought back{not_so}", WayOn("restore", (wanted,))


def listed(names: Iterable[str]) -> str:
    """Names, one by one, of many the first."""
    found = list(map(printable, names))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def had_ended(record: KernelRecord) -> str:
    """Of a session's kernel that is gone, why on one line; when, where it was seen to die."""
    why = short_reason(record)
    if why.startswith(_DIED):
        return f"this session's kernel had died at {when(record.ended_at)}{why.removeprefix(_DIED)}"
    told = f"it {why}" if why else "how it ended is not on record"
    return f"this session's kernel is gone: {told.removeprefix('it is gone: ')}"


def short_reason(record: KernelRecord) -> str:
    """Why a kernel ended, on one line, without its subject."""
    return record.end_reason.partition("\n")[0].rstrip(".").removeprefix(_KERNEL)


def counted(count: int, total: int) -> str:
    """So many of all variables."""
    return several(total, "variable") if count == total else f"{count:,} of {several(total, 'variable')}"


def named(missing: Mapping[str, str], makers: Mapping[str, ExecutionId]) -> str:
    """Variables with why each is not there, and the execution that made it."""
    shown = [_why(name, missing[name], makers.get(name)) for name in sorted(missing)[:_SHOWN]]
    more = [f"{len(missing) - _SHOWN} more"] if len(missing) > _SHOWN else []
    return "; ".join([*shown, *more])


def _why(name: str, reason: str, maker: ExecutionId | None) -> str:
    made = f", made by execution {maker}" if maker is not None else ""
    return f"{printable(name)[:_SHORT]} ({printable(reason)[:_SHORT]}{made})"
