"""What travels beside a request of ours, in its header, and so stands in the log with all that it causes.

By it an execution is an entry again that the records have forgotten: they could not be written when it was sent, and
the daemon that knew of it was killed. What is known of it is checked as anything else that is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    KernelId,
    Message,
    MessageId,
    Region,
    SessionName,
)

_LARGEST = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """An execution as it stands in a log."""

    execution: Execution
    """Running, with the number that it had; its session is empty where nothing tells which it was."""
    call_key: str | None
    directory: str
    """Of its session; empty where nothing tells."""


def facts(execution: Execution, call_key: str, directory: str, *, recorded: bool) -> str:
    """What is to travel beside an execution; more where it is not recorded otherwise."""
    known: dict[str, Any] = {"execution_id": execution.id, "call_key": call_key, "session": execution.session}
    more = {"directory": directory, "client": execution.client, "queued_at": execution.queued_at}
    return json.dumps(known if recorded else {**known, **more, "replaces": execution.replaces})


def number_of(message: Message) -> int:
    """The number that an execution was given of which a message is; 0 where it does not say."""
    number: int = _of(_read(message.beside), "execution_id", int, 0)
    return number


def forgotten(message: Message, kernel_id: KernelId, generation: int, region: Region) -> Forgotten:
    """What an `execute_input` of a request of ours says of its execution."""
    beside, begun = _read(message.beside), seconds(message.date)
    replaces = _of(beside, "replaces", int, 0)
    execution = Execution(
        id=ExecutionId(number_of(message)),
        session=SessionName(_of(beside, "session", str, "")),
        kind="code",
        source=str(message.content.get("code", "")),
        status="running",
        kernel_id=kernel_id,
        generation=generation,
        msg_id=MessageId(message.parent_id),
        execution_count=count_of(message.content),
        client=_of(beside, "client", str, ""),
        queued_at=_of(beside, "queued_at", float, begun or 0.0),
        started_at=begun,
        region=region,
        replaces=ExecutionId(replaces) if replaces else None,
    )
    call_key = _of(beside, "call_key", str, "") or None
    return Forgotten(execution=execution, call_key=call_key, directory=_of(beside, "directory", str, ""))


def _read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _of(beside: Mapping[str, Any], name: str, kind: type[Any], otherwise: Any) -> Any:
    value: Any = beside.get(name)
    if type(value) is not kind or (kind is not str and not 0 <= value < _LARGEST):
        return otherwise
    return value


def seconds(date: str) -> float | None:
    """Seconds since the epoch of a message's date; None where that is none."""
    try:
        return datetime.fromisoformat(date.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
