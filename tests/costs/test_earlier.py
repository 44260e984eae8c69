"""Promise: what the widgets of earlier cells cost is one reading of the log, however many results show them."""

from __future__ import annotations

from pathlib import Path

from kernel_supervisor.core.model import Execution
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.reading import shown_by
from tests.costs import costs_less
from tests.unit.test_earlier import Log, comm, prints, view


def test_many_results_cost_one_reading_of_the_log(tmp_path: Path) -> None:
    def results(count: int) -> list[Execution]:
        log = Log(tmp_path / str(count))
        log.add(comm("bar", "comm_open", _model_name="IntProgressModel", min=0, max=count, value=0))
        return [log.add(*[prints("x")] * 20, comm("bar", value=number), view("bar")) for number in range(count)]

    def read(executions: list[Execution]) -> None:
        earlier = Earlier()
        for execution in executions:
            shown_by(execution, (), earlier)

    few, many = results(30), results(240)
    assert costs_less(lambda: read(many), 16, lambda: read(few))
