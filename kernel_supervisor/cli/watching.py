"""top, watch: looking on while others work. Nothing is run, asked or stopped by it."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from kernel_supervisor.amounts import size, span
from kernel_supervisor.cli.codes import DONE
from kernel_supervisor.cli.looking import print_entry
from kernel_supervisor.cli.screen import columns, is_terminal, of_state, styled, table
from kernel_supervisor.cli.session import Command, print_json
from kernel_supervisor.cli.showing import Shown
from kernel_supervisor.keeping import Newest

_HEADS = ("session", "kernel", "state", "cpu", "memory", "for", "line", "last words")
_REFRESH_S = 1.0
_ASKED_S = 20.0
_PRINTED = 10_000
"""Messages that are known to be printed."""
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"


def top(command: Command) -> int:
    """What kernels do, again and again on a terminal; once where nobody looks."""
    before: dict[str, Any] = {}
    once = command.options.once or command.options.json or not is_terminal(sys.stdout)
    try:
        while True:
            found = command.connection().request("supervisor/overview", {}, deadline_s=_ASKED_S)
            if command.options.json:
                print_json({"at": found["at"], "kernels": found["kernels"]})
                return DONE
            if once and not before and found["kernels"]:
                before = found
                time.sleep(_REFRESH_S / 5)  # how busy a processor is takes a while to see
                continue
            lines = _lines(found, before)
            if once:
                print("\n".join(lines))
                return DONE
            _draw(lines)
            before = found
            time.sleep(_REFRESH_S)
    except KeyboardInterrupt:
        return DONE


def _draw(lines: list[str]) -> None:
    """In the place of what stood there."""
    sys.stdout.write(_HOME + "".join(f"{line}{_TO_END_OF_LINE}\n" for line in lines) + _TO_END)
    sys.stdout.flush()


def _lines(found: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    if not found["kernels"]:
        return ["no kernels are running"]
    earlier = {each["kernel_id"]: each for each in before.get("kernels", ())}
    past_s = found["at"] - before["at"] if before else 0.0
    rows = [_row(each, earlier.get(each["kernel_id"]), past_s) for each in found["kernels"]]
    width = columns() if sys.stdout.isatty() else 0
    return table(_HEADS, rows, ("kernel", "for", "last words"), width)


def _row(kernel: Mapping[str, Any], earlier: Mapping[str, Any] | None, past_s: float) -> list[Any]:
    cpu = "" if earlier is None or past_s <= 0 else f"{_used(kernel['cpu_s'], earlier['cpu_s']) / past_s:.0%}"
    for_s = "" if kernel["running_s"] is None else span(kernel["running_s"])
    about = [kernel["session"], kernel["kernel_id"], kernel["state"], cpu, size(kernel["memory_bytes"])]
    return [*about, for_s, kernel["line"], kernel["last_words"]]


def _used(now: Mapping[str, float], earlier: Mapping[str, float]) -> float:
    """Seconds that the processes worked since then; of those that are new, all."""
    return sum(max(0.0, used - earlier.get(process, 0.0)) for process, used in now.items())


def watch(command: Command) -> int:
    """What anybody runs in a session, as it is submitted, and what it shows, as it comes; until Ctrl-C."""
    command.options.session = command.options.watched
    place = command.known_place()
    print(f"watching session {place['session']}; Ctrl-C ends that, and nothing else", file=sys.stderr, flush=True)
    watching = Watch(command)
    try:
        while True:
            watching.step()
    except KeyboardInterrupt:
        return DONE


class Watch:
    """One person's look at one session: entries as they come, and beside them what the first of them shows."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._after: int | None = None
        self._waiting: deque[int] = deque()
        self._place: list[int] = []
        """Where to go on in what the first of them shows."""
        self._shown: Shown | None = None
        self._above = ""
        """What stands above what is printed last."""
        self._late_place: list[int] = []
        self._late: list[tuple[int, dict[str, Any]]] = []
        """What entries have shown since they were over, whose end is not printed yet."""
        self._printed: Newest[str, None] = Newest(_PRINTED)
        """Messages: what is shown at an end can come as late, too."""

    def step(self) -> None:
        """Wait for what comes next, and print it."""
        first = self._waiting[0] if self._waiting else None
        asked = {"session": self._command.options.session, "after": self._after, "late": self._late_place}
        if first is not None:
            asked |= {"executionId": first, "place": self._place}
        found = self._command.connection().request("supervisor/watch", asked)
        self._after = found["after"]
        if first is not None and found["shown"] is not None:
            self._follow(first, found["shown"])
        for each in found["entries"]:
            self._above = f"execution {each['execution_id']}"
            print_entry(each)
            if each["kind"] == "code":
                self._waiting.append(each["execution_id"])
        self._late_place = found.get("late_place", [])  # which a daemon of a version before this one does not say
        for late in found.get("late", ()):
            self._late += [(late["execution_id"], message) for message in late["messages"]]
        self._show_late()

    def _show_late(self) -> None:
        """What entries show that are over: a thread, a task or a process that they left goes on."""
        late, self._late = self._late, []
        for number, message in late:
            if number in self._waiting:
                self._late.append((number, message))
            elif not message["msg_id"] or message["msg_id"] not in self._printed:
                shown = Shown(self._command.paths.cache, number)
                self._show(f"execution {number}, after its end", shown, message)
                shown.finish()

    def _follow(self, number: int, outcome: dict[str, Any]) -> None:
        self._shown = self._shown or Shown(self._command.paths.cache, number)
        for message in outcome["messages"]:
            self._show(f"execution {number}", self._shown, message)
        self._place = outcome["place"] or []
        if outcome["place"] is None:
            self._shown.finish()
            self._head(f"execution {number}")
            reason = f": {outcome['reason']}" if outcome["reason"] else ""
            print(f"{styled(f'execution {number}', 'dim')} · {of_state(outcome['status'])}{reason}\n", flush=True)
            self._waiting.popleft()
            self._shown = None

    def _show(self, head: str, shown: Shown, message: dict[str, Any]) -> None:
        if message["msg_type"] in ("status", "execute_input"):
            return
        if message["msg_type"] == "execute_reply" and not message.get("shown"):
            return
        self._head(head)
        self._printed[message["msg_id"]] = None
        if message["msg_type"] == "input_request":
            print(f"(asks) {message['content'].get('prompt', '')}", flush=True)
        else:
            shown.take(message)

    def _head(self, head: str) -> None:
        """Say whose output follows, where something else stands above."""
        if self._above != head:
            self._above = head
            print(styled(f"{head}:", "dim"), flush=True)
