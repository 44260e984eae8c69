"""The message log of a kernel that does not write it itself, in the form of one that does."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from kernel_supervisor.amounts import several
from kernel_supervisor.core.model import BESIDE, Execution, KernelRecord, Mark, Message, MessageId, Question
from kernel_supervisor.inside.bounds import shortened, shown_shortly
from kernel_supervisor.inside.questions import OVER
from kernel_supervisor.inside.recorder import OUTPUTS, SPARED
from kernel_supervisor.inside.room import Ends, Room
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MessageLogWriter

log = logging.getLogger(__name__)
_REPLY = 1 << 18
"""Characters that are recorded of each text in a reply."""


class Recording:
    """Writes what is heard of one kernel; nothing where the kernel records itself."""

    def __init__(self, record: KernelRecord, limit: int = RECORDED_BYTES) -> None:
        """Open the log, in which each execution has room for `limit` bytes. Raises OSError."""
        self._kernel = record.id
        self._missed = 0
        self._writer = None if record.recorded else MessageLogWriter(Path(record.message_log))
        self._room = Room(limit)
        self._ends = Ends(record.message_log, self._room.side)

    def hear(self, message: Message) -> bool:
        """Record a message; False where that was not possible."""
        if self._writer is None:
            return True
        parent_id, writer = message.parent_id, self._writer
        if message.msg_type not in OUTPUTS and message.msg_type != "error":
            content = shortened(message.content, _REPLY) if message.channel == "shell" else message.content
            return self._append(writer, _encoded(replace(message, content=content, written=b"")))
        most = max(self._room.large, self._room.left(parent_id))
        encoded = _encoded(message) if len(message.written) <= most else b""  # a giant one is not copied for this
        if not encoded or len(encoded) > most:
            encoded = _shorter(message, self._room.short)
        spared = message.msg_type in SPARED and self._room.spares
        if self._room.takes(parent_id, len(encoded)) or (spared and spared(parent_id, len(encoded))):
            return self._append(writer, encoded)
        return self._append(writer, encoded, beside=parent_id)

    def _append_beside(self, writer: MessageLogWriter, parent_id: str, encoded: bytes) -> None:
        """Write what the log has no room for, once that says where it is. Raises OSError."""
        if not self._room.is_closed(parent_id):
            detail = f"not recorded beyond {self._room.limit} bytes but for its end"
            writer.append(messagelog.encode_mark(Mark(kind="limit", parent_id=parent_id, detail=detail, goes_on=True)))
            self._room.close(parent_id)
        self._ends.append(parent_id, [encoded], lambda before: _beginning(parent_id, before))

    def mark_gap(self, detail: str) -> None:
        """Say that nobody listened for a while."""
        if self._writer is not None:
            self._append(self._writer, messagelog.encode_mark(Mark(kind="gap", parent_id="", detail=detail)))

    def close_question(self, execution: Execution, question: Question) -> None:
        """Say that a question is over: a cell that the next daemon takes for asking would be answered by nobody."""
        if self._writer is None:
            return
        header = {"msg_id": new_msg_id(), "msg_type": OVER, "date": ""}
        parent, content = {"msg_id": execution.msg_id}, {"question": question.id}
        message = {"header": header, "parent_header": parent, "metadata": {}, "content": content}
        self._append(self._writer, messagelog.encode_message("stdin", message))

    def _append(self, writer: MessageLogWriter, record: bytes, beside: str | None = None) -> bool:
        """Write a record; of an execution that the log has no room for beside it. False where that is not possible."""
        try:
            if self._missed:
                detail = f"{several(self._missed, 'message')} could not be recorded"
                writer.append(messagelog.encode_mark(Mark(kind="hole", parent_id="", detail=detail)))
                self._missed = 0
            if beside is None:
                writer.append(record)
            else:
                self._append_beside(writer, beside, record)
        except OSError as error:
            self._missed += 1
            log.error("kernel %s: a message could not be recorded: %s", self._kernel, error)
            return False
        return True

    def close(self) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()


def new_msg_id() -> MessageId:
    """A message id that nobody has."""
    return MessageId(secrets.token_hex(16))


def msg_id_of(call_key: str | None) -> MessageId:
    """The message id of what a call runs: by the call alone, so that its kernel knows it whatever is recorded."""
    return MessageId(sha256(call_key.encode()).hexdigest()[:32]) if call_key else new_msg_id()


def _encoded(message: Message) -> bytes:
    parent = {"msg_id": message.parent_id, "username": message.username, "session": message.asked_in}
    beside = {BESIDE: message.beside} if message.beside else {}
    parts = {
        "header": {"msg_id": message.msg_id, "msg_type": message.msg_type, "date": message.date},
        "parent_header": {**parent, **beside},
        "metadata": message.metadata,
        "content": message.content,
        "buffers": message.buffers,
    }
    return messagelog.encode_message(message.channel, parts, message.written)


def _shorter(message: Message, room: int) -> bytes:
    """A message without most of what is long in it; a mark where nothing of it can be left out."""
    short = shown_shortly(message.msg_type, message.content, room)
    if short is not None:
        return _encoded(replace(message, content=short, metadata={}, buffers=(), written=b""))
    detail = f"a message was too long to be recorded ({message.msg_type})"
    return messagelog.encode_mark(Mark(kind="hole", parent_id=message.parent_id, detail=detail))


def _beginning(parent_id: str, before: int) -> bytes:
    return messagelog.encode_mark(Mark(kind="before", parent_id=parent_id, detail=str(before)))
