"""Promise: whatever happens to an execution, in whatever order, it ends once, and its code is never run twice."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core import life
from kernel_supervisor.core.life import LEFT, STEPS, Life, Phase, ending, grace_s, step, wants

EVENTS = st.one_of(
    *(st.just(event()) for event in (life.Begun, life.Moved, life.Left, life.Sent, life.Started, life.WentIdle)),
    *(st.just(event()) for event in (life.Waited, life.Passed)),
    st.sampled_from([life.Replied("ok", 1), life.Replied("error", 2), life.Replied("aborted")]),
    st.sampled_from([life.Doubted("nobody listened"), life.Doubted("log gone"), life.Doubted("broken off")]),
    st.just(life.Cancelled("the client cancelled the call")),
    *(st.just(event("why")) for event in (life.Gone, life.Refused, life.Failed)),
)
ORDERS = st.lists(EVENTS, max_size=30)
"""Any order, the impossible ones too."""


def lived(begin: Life, order: list[life.Event]) -> list[Life]:
    """The lives that an order of events goes through; what cannot happen is refused, and has no effect."""
    lives = [begin]
    for event in order:
        try:
            lives.append(step(lives[-1], event))
        except life.IllegalEventError:
            assert type(event) not in STEPS[lives[-1].phase]
    return lives


@given(st.sampled_from([Life(), LEFT]), ORDERS)
def test_an_end_is_final_and_always_worded(begin: Life, order: list[life.Event]) -> None:
    ends = [each for each in lived(begin, order) if each.over]
    assert len(set(ends)) <= 1
    for end in ends:
        status, reason = ending(end)
        assert status in ("ok", "error", "aborted", "lost", "dead")
        assert reason or status in ("ok", "error", "aborted")
        assert status == end.reply if end.reply else status in ("aborted", "lost", "dead")
        if not end.sent:
            assert status in ("aborted", "lost")
        assert end.cancelled in reason


@given(st.sampled_from([Life(), LEFT]), ORDERS, st.booleans())
def test_what_may_have_been_sent_is_sent_again_only_where_that_is_safe(
    begin: Life, order: list[life.Event], safe: bool
) -> None:
    for each in lived(begin, order):
        if wants(each, sending_again_is_safe=safe) == "send":
            assert not each.sent or (safe and each.phase == "left")


@given(st.sampled_from([Life(), LEFT]), ORDERS)
def test_what_was_begun_can_always_come_to_its_end(begin: Life, order: list[life.Event]) -> None:
    each = lived(begin, order)[-1]
    assert step(each, life.Gone("its kernel died")).over
    for _ in range(10):  # as its owner does, with a kernel that says nothing any more but answers what is put behind
        match wants(each, sending_again_is_safe=False):
            case "begin":
                each = step(each, life.Begun())
            case "send":
                each = step(each, life.Sent())
            case "doubt":
                each = step(each, life.Doubted("nobody listened"))
            case "ask":
                each = step(each, life.Passed())
            case "wait" if grace_s(each) is not None:
                each = step(each, life.Waited())
            case "wait":
                each = step(each, life.WentIdle())
            case "settle":
                break
    assert each.over


@given(st.permutations([life.Started(), life.Replied("ok", 3), life.WentIdle()]))
def test_whatever_comes_first_of_reply_and_idle_it_ends_by_its_reply(heard: list[life.Event]) -> None:
    for order in (heard, [each for each in heard for _ in range(2)]):  # also where it comes twice
        each = lived(Life(phase="sent", sent=True), order)[-1]
        assert (each.over, ending(each), each.execution_count) == (True, ("ok", ""), 3)


def test_every_phase_is_in_the_table() -> None:
    assert set(STEPS) == set(get_args(Phase))
    assert all(phase in STEPS for steps in STEPS.values() for phase in steps.values())


@pytest.mark.parametrize("phase", [phase for phase in STEPS if phase not in ("queued", "begun", "over")])
def test_the_death_of_a_kernel_is_told_of_what_it_ran(phase: Phase) -> None:
    each = step(Life(phase=phase, sent=True, cancelled="interrupted by the client"), life.Gone("killed by SIGSEGV"))
    assert ending(each) == ("dead", "killed by SIGSEGV; interrupted by the client")


@pytest.mark.parametrize("phase", ["queued", "begun"])
def test_what_a_dead_kernel_never_got_is_told_not_to_have_run(phase: Phase) -> None:
    assert ending(step(Life(phase=phase), life.Gone("it was killed"))) == ("aborted", "it was not run: it was killed")
    assert ending(step(Life(phase=phase), life.Cancelled("no use"))) == ("aborted", "no use")


def test_what_was_in_doubt_says_why_it_is_lost() -> None:
    for doubt, words in (("nobody listened", "does not record itself"), ("log gone", "message log is gone")):
        each = lived(LEFT, [life.Doubted(doubt), life.Passed()])[-1]  # type: ignore[arg-type]  # mypy widens them
        assert ending(each)[0] == "lost"
        assert words in ending(each)[1]
    sent = Life(phase="sent", sent=True)
    broken = lived(sent, [life.Doubted("broken off"), life.Passed()])[-1]
    silent = lived(sent, [life.WentIdle(), life.Waited(), life.Passed()])[-1]
    assert "connection to its kernel broke" in ending(broken)[1]
    assert "sent no reply" in ending(silent)[1]
