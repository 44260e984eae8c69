"""The message log of a kernel that does not write it itself, in the form of one that does."""

from __future__ import annotations

import logging
import secrets
from hashlib import sha256
from pathlib import Path

from kernel_supervisor.core.model import BESIDE, Execution, KernelRecord, Mark, Message, MessageId, Question
from kernel_supervisor.inside.questions import OVER
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MessageLogWriter

log = logging.getLogger(__name__)


class Recording:
    """Writes what is heard of one kernel; nothing where the kernel records itself."""

    def __init__(self, record: KernelRecord) -> None:
        """Open the log. Raises OSError."""
        self._kernel = record.id
        self._missed = 0
        self._writer = None if record.recorded else MessageLogWriter(Path(record.message_log))

    def hear(self, message: Message) -> bool:
        """Record a message; False where that was not possible."""
        if self._writer is None:
            return True
        parent = {"msg_id": message.parent_id, "username": message.username, "session": message.asked_in}
        beside = {BESIDE: message.beside} if message.beside else {}
        parts = {
            "header": {"msg_id": message.msg_id, "msg_type": message.msg_type, "date": message.date},
            "parent_header": {**parent, **beside},
            "metadata": message.metadata,
            "content": message.content,
            "buffers": message.buffers,
        }
        return self._append(self._writer, messagelog.encode_message(message.channel, parts))

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

    def _append(self, writer: MessageLogWriter, record: bytes) -> bool:
        try:
            if self._missed:
                detail = f"{self._missed} messages could not be recorded"
                writer.append(messagelog.encode_mark(Mark(kind="hole", parent_id="", detail=detail)))
                self._missed = 0
            writer.append(record)
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
