"""Promise: what went on after its end is told of once, with the next result of each client."""

from __future__ import annotations

from kernel_supervisor.core.model import Execution, ExecutionId, SessionName
from kernel_supervisor.sessions.late import Late


def entry(number: int) -> Execution:
    return Execution(id=ExecutionId(number), session=SessionName("work/"), kind="code", source="", status="ok")


def numbers(found: list[Execution]) -> list[int]:
    return [each.id for each in found]


def test_a_client_is_told_once() -> None:
    late = Late()
    late.add(entry(1), 0)
    assert numbers(late.since(0)) == [1]
    assert numbers(late.since(late.times)) == []
    late.add(entry(1), 0)
    assert numbers(late.since(1)) == [1]


def test_each_of_two_clients_is_told() -> None:
    late = Late()
    late.add(entry(1), 0)
    assert numbers(late.since(0)) == [1]
    assert numbers(late.since(0)) == [1]


def test_a_new_client_is_told_what_nobody_was_told_of() -> None:
    late = Late()
    late.add(entry(1), 0)
    late.since(0)
    late.add(entry(2), 0)
    assert numbers(late.since(None)) == [2]
    assert numbers(late.since(None)) == []


def test_each_piece_is_told_with_where_it_begins() -> None:
    late = Late()
    late.add(entry(1), 10)
    late.add(entry(2), 20)
    late.add(entry(1), 30)
    assert [(each.id, start) for each, start in late.pieces(1)] == [(2, 20), (1, 30)]
    assert late.pieces(late.times) == []
