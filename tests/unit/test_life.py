"""Promise: whatever happens to an execution, in whatever order, it ends once, and its code is never run twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.life import (
    LEFT,
    STEPS,
    Event,
    IllegalEventError,
    Life,
    Phase,
    ending,
    grace_s,
    status_of,
    step,
    wants,
)
from kernel_supervisor.core.model import ExecutionStatus

Happening = tuple[Event, str, ExecutionStatus | None]
EVENTS: st.SearchStrategy[Happening] = st.one_of(
    st.tuples(
        st.sampled_from([each for each in get_args(Event) if each not in ("replied", "doubted")]),
        st.just("why"),
        st.none(),
    ),
    st.tuples(st.just("replied"), st.just(""), st.sampled_from(["ok", "error", "interrupted", "aborted"])),
    st.tuples(st.just("doubted"), st.sampled_from(["nobody listened", "log gone", "broken off"]), st.none()),
)
STARTED: Happening = ("started", "", None)
REPLIED: Happening = ("replied", "", "ok")
IDLE: Happening = ("went idle", "", None)
PASSED: Happening = ("passed", "", None)
ORDERS = st.lists(EVENTS, max_size=30)
"""Any order, the impossible ones too."""


def lived(begin: Life, order: Sequence[Happening]) -> list[Life]:
    """The lives that an order of events goes through; what cannot happen is refused, and has no effect."""
    lives = [begin]
    for event, why, reply in order:
        try:
            lives.append(step(lives[-1], event, why, reply=reply, count=3 if reply else None))
        except IllegalEventError:
            assert event not in STEPS[lives[-1].phase]
    return lives


@given(st.sampled_from([Life(), LEFT]), ORDERS)
def test_an_end_is_final_and_always_worded(begin: Life, order: list[Happening]) -> None:
    ends = [each for each in lived(begin, order) if each.over]
    assert len(set(ends)) <= 1
    for end in ends:
        status, reason = ending(end)
        assert status in ("ok", "error", "interrupted", "aborted", "lost", "dead")
        assert reason or status in ("ok", "error", "interrupted", "aborted")
        assert status == end.reply if end.reply else status in ("aborted", "lost", "dead")
        if not end.sent:
            assert status in ("aborted", "lost")
        assert end.cancelled in reason


@given(st.sampled_from([Life(), LEFT]), ORDERS, st.booleans())
def test_what_may_have_been_sent_is_sent_again_only_where_that_is_safe(
    begin: Life, order: list[Happening], safe: bool
) -> None:
    for each in lived(begin, order):
        if wants(each, sending_again_is_safe=safe) == "send":
            assert not each.sent or (safe and each.phase == "left")


@given(st.sampled_from([Life(), LEFT]), ORDERS)
def test_what_was_begun_can_always_come_to_its_end(begin: Life, order: list[Happening]) -> None:
    each = lived(begin, order)[-1]
    assert step(each, "gone", "its kernel died").over
    for _ in range(10):  # as its owner does, with a kernel that says nothing any more but answers what is put behind
        match wants(each, sending_again_is_safe=False):
            case "begin":
                each = step(each, "begun")
            case "send":
                each = step(each, "sent")
            case "doubt":
                each = step(each, "doubted", "nobody listened")
            case "ask":
                each = step(each, "passed")
            case "wait" if grace_s(each) is not None:
                each = step(each, "waited")
            case "wait":
                each = step(each, "went idle")
            case "settle":
                break
    assert each.over


@given(st.permutations([STARTED, REPLIED, IDLE]))
def test_whatever_comes_first_of_reply_and_idle_it_ends_by_its_reply(heard: list[Happening]) -> None:
    for order in (heard, [each for each in heard for _ in range(2)]):  # also where it comes twice
        each = lived(Life(phase="sent", sent=True), order)[-1]
        assert (each.over, ending(each), each.execution_count) == (True, ("ok", ""), 3)


def test_every_phase_is_in_the_table() -> None:
    assert set(STEPS) == set(get_args(Phase))
    assert all(phase in STEPS for steps in STEPS.values() for phase in steps.values())


@pytest.mark.parametrize("phase", [phase for phase in STEPS if phase not in ("queued", "begun", "over")])
def test_the_death_of_a_kernel_is_told_of_what_it_ran(phase: Phase) -> None:
    each = step(Life(phase=phase, sent=True, cancelled="interrupted by the client"), "gone", "killed by SIGSEGV")
    assert ending(each) == ("dead", "killed by SIGSEGV; interrupted by the client")


@pytest.mark.parametrize("phase", ["queued", "begun"])
def test_what_a_dead_kernel_never_got_is_told_not_to_have_run(phase: Phase) -> None:
    assert ending(step(Life(phase=phase), "gone", "it was killed")) == ("aborted", "it was not run: it was killed")
    assert ending(step(Life(phase=phase), "cancelled", "no use")) == ("aborted", "no use")


def test_what_was_in_doubt_says_why_it_is_lost() -> None:
    for doubt, words in (("nobody listened", "does not record itself"), ("log gone", "message log is gone")):
        each = lived(LEFT, [("doubted", doubt, None), PASSED])[-1]
        assert ending(each)[0] == "lost"
        assert words in ending(each)[1]
    sent = Life(phase="sent", sent=True)
    broken = lived(sent, [("doubted", "broken off", None), PASSED])[-1]
    silent = lived(sent, [IDLE, ("waited", "", None), PASSED])[-1]
    assert "connection to its kernel broke" in ending(broken)[1]
    assert "sent no reply" in ending(silent)[1]


CHAIN = ["\x1b[31m-----", "\x1b[31mKeyboardInterrupt\x1b[39m   Traceback (most recent call last)", "ValueError: why"]


@pytest.mark.parametrize(
    ("reply", "unasked", "stopped"),
    [
        ({"status": "ok"}, "ok", "ok"),
        ({"status": "error", "ename": "KeyboardInterrupt", "traceback": []}, "interrupted", "interrupted"),
        ({"status": "error", "ename": "InterruptException", "traceback": []}, "interrupted", "interrupted"),
        ({"status": "error", "ename": "CancelledError", "traceback": []}, "error", "interrupted"),
        ({"status": "error", "ename": "ValueError", "traceback": CHAIN}, "error", "interrupted"),
        ({"status": "error", "ename": "ValueError", "traceback": ["x = 'KeyboardInterrupt'"]}, "error", "error"),
        ({"status": "error", "ename": "ValueError", "traceback": None}, "error", "error"),
        ({"status": "abort"}, "aborted", "interrupted"),
        ({"status": "aborted"}, "aborted", "aborted"),
        ({}, "error", "error"),
    ],
)
def test_what_an_interrupt_ended_is_interrupted_and_what_failed_by_itself_is_not(
    reply: dict[str, object], unasked: ExecutionStatus, stopped: ExecutionStatus
) -> None:
    assert (status_of(reply), status_of(reply, stopped=True)) == (unasked, stopped)
