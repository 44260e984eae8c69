"""What is said of variables that a checkpoint has, and of those that it has not."""

from __future__ import annotations

from collections.abc import Mapping

from kernel_supervisor.amounts import several
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.model import ExecutionId
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.wording import printable, when

_SHOWN = 12
"""Variables that are named one by one."""
_SHORT = 160


def offered(checkpoint: Checkpoint, wanted: str) -> tuple[str | WayOn, ...]:
    """What can be brought back where a kernel is gone, by what it is asked for."""
    not_so = f" (not: {named(checkpoint.missing, checkpoint.makers)})" if checkpoint.missing else ""
    count = counted(len(checkpoint.names), checkpoint.total)
    return f"{count} of {when(checkpoint.at)} can be brought back{not_so}", WayOn("restore", (wanted,))


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
