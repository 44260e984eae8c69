"""Promise: a result shows the widgets of earlier cells as they were then, for one reading of the log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kernel_supervisor.core.model import Execution, ExecutionId, MessageId, Region, SessionName
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.outputs.transcript import transcribe
from kernel_supervisor.outputs.widgets import VIEW
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import encode_message
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.reading import shown_by

OUTPUT = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output", "outputs": [], "msg_id": ""}


class Log:
    """A kernel's log, and the executions in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self.path.touch()

    def add(self, *messages: tuple[str, dict[str, object]], parent: str = "") -> Execution:
        """An execution that sends these messages, or a late one of `parent`."""
        self.count += 1
        msg_id, start = parent or f"request-{self.count}", self.path.stat().st_size
        with self.path.open("ab") as file:
            for number, (msg_type, content) in enumerate(messages):
                header = {"msg_id": f"{self.count}-{number}", "msg_type": msg_type, "date": ""}
                message = {"header": header, "parent_header": {"msg_id": msg_id}, "metadata": {}, "content": content}
                file.write(encode_message("iopub", message))
        return Execution(
            id=ExecutionId(self.count),
            session=SessionName("s"),
            kind="code",
            source="",
            status="ok",
            msg_id=MessageId(msg_id),
            region=Region(log=str(self.path), start=start, end=self.path.stat().st_size),
        )


def comm(model: str, msg_type: str = "comm_msg", **state: object) -> tuple[str, dict[str, object]]:
    return msg_type, {"comm_id": model, "data": {"state": state}}


def view(model: str, said: str = "said") -> tuple[str, dict[str, object]]:
    return "display_data", {"data": {VIEW: {"model_id": model}, "text/plain": said}, "metadata": {}}


def prints(text: str) -> tuple[str, dict[str, object]]:
    return "stream", {"name": "stdout", "text": text}


def texts(folded: Folded) -> list[str]:
    return [section.text for section in transcribe(folded)]


def test_each_result_shows_widgets_as_they_were_at_its_end(tmp_path: Path) -> None:
    log, earlier = Log(tmp_path / "log"), Earlier()
    bar = comm("bar", "comm_open", _model_name="IntProgressModel", min=0, max=2, value=0)
    executions = [log.add(bar, view("bar")), *(log.add(comm("bar", value=value), view("bar")) for value in (1, 2))]
    expected = ["|          |", "|█████     |", "|██████████|"]
    for at in (2, 0, 1, 2, 1):
        assert texts(shown_by(executions[at], (), earlier)) == [expected[at]]


def test_what_others_do_to_a_widget_while_a_cell_runs_is_in_its_result(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    late = log.add(comm("out", "comm_open", **OUTPUT))
    first = log.add(view("out"))
    thread = late.msg_id or ""
    log.add(comm("out", msg_id=thread), prints("by the thread\n"), comm("out", msg_id=""), parent=thread)
    last = log.add(prints("own"), parent=first.msg_id or "")
    assert first.region is not None
    assert last.region is not None
    whole = replace(first, region=replace(first.region, end=last.region.end))
    assert texts(shown_by(whole, (), Earlier())) == ["by the thread", "[stdout]\nown"]


def test_a_cell_without_widgets_reads_nothing_of_others(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    log.add(comm("bar", "comm_open", _model_name="IntProgressModel"))
    plain = log.add(prints("plain"))

    class Unread(Earlier):
        def before(self, *_: object) -> None:  # type: ignore[override]  # it is not called
            raise AssertionError("nothing of it is needed")

    assert texts(shown_by(plain, (), Unread())) == ["plain"]


def test_a_log_that_is_gone_is_no_fault_of_the_result(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    shown = log.add(view("nowhere"))
    assert texts(shown_by(shown, (), Earlier())) == ["said"]
    log.path.unlink()
    assert texts(shown_by(shown, (), Earlier())) == []
    assert not list(messagelog.read(log.path))
