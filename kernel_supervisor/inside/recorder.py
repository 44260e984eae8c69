"""Starts ipykernel and appends every message that it sends to the kernel's message log.

Runs *inside* the target interpreter, by its path: stdlib and that interpreter's own ipykernel (6.x, 7.x) only,
Python 3.8 and later. It fails open: whatever goes wrong in recording, the kernel goes on, and the log says
that it has a hole. User code sees the `sys.argv`, `sys.path` and `__main__` of `python -m ipykernel_launcher`.

    python recorder.py --log FILE --limit BYTES [--umask N] [--limits JSON] [--overlay DIR] [--owner SESSION]
        [--about JSON] -f CONNECTION_FILE

The log's format is described in `records/messagelog.py`. Each record is written *before* its message is sent, and then
the bell is rung (`records/bell.py`). What could not be written is sent to the supervisor instead.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import os
import socket
import sys
import threading
from typing import Any, Callable

globals()["__builtins__"] = dict(vars(builtins))  # what user code puts into `builtins` does not reach what follows

UNRECORDED, UNRECORDED_TOPIC = "supervisor_unrecorded", b"kernel.unrecorded"
"""What a message that could not be written is sent in; of a type that Jupyter's clients do not know and pass over."""
OUTSIDE = "outside-"
"""With what the msg_id begins that stands in the log for the request of what no request has caused."""
BELL = "-bell"
"""What the path of the bell has in the place of the connection file's `.json`."""
OUTPUTS = {"stream", "display_data", "update_display_data", "execute_result", "clear_output"}
OUTPUTS |= {"comm_open", "comm_msg", "comm_close"}
_SHOWN = {"stream", "display_data", "update_display_data", "execute_result", "clear_output", "error"}
_RECORDED = dict.fromkeys(OUTPUTS | {"error", "execute_input", "status"}, "iopub")
_RECORDED.update(execute_reply="shell", input_request="stdin", supervisor_input_over="stdin")
_NOT_OF_FORKS = {"execute_reply", "execute_result", "error", "status", "execute_input", "input_request"}
"""What is said of an execution by the process alone that runs it."""
SPARED = ("error", "execute_result")
"""What has room in the log also where what was printed has filled it."""
_PROMPT = 1000
"""Characters of a question for which there is room at any rate."""
_PARTS = 1 << 16
"""Bytes of the parts of a message that are no content."""
_REMOVED = "its message log was removed or replaced while the kernel ran: what stood there is gone"
_MISSED = 100
"""Requests whose missing messages are counted one by one."""
_loaded: dict[str, Any] = {}


def beside(name: str) -> Any:
    """The module in the file beside this one, loaded once, without touching `sys.path` or `sys.modules`."""
    if name in _loaded:
        return _loaded[name]
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec: Any = importlib.util.spec_from_file_location("_kernel_supervisor_" + name, path)
    module = importlib.util.module_from_spec(spec)
    vars(module).update(__builtins__=dict(vars(builtins)), beside=beside)
    spec.loader.exec_module(module)
    _loaded[name] = module
    return module


logfile, bounds, rooms, later, around, forms = map(
    beside, ("logfile", "bounds", "room", "later", "surroundings", "forms")
)
json: Any = forms.json


class Recorder:
    """Appends records for one kernel and its forks; one `O_APPEND` write each, no lock to inherit locked."""

    def __init__(self, path: str, limit: int, bell: str, failed: list[str]) -> None:
        self.failed = failed
        self.log = logfile.Log(path)
        self.bell_path = bell
        self.hang()
        self.room = rooms.Room(limit)
        self.ends = rooms.Ends(path, self.room.side)
        self.beginning = b""
        self.introduced = False
        self.begun = 0  # cells
        self.missed: dict[str, int] = {}  # messages per execution
        self.reason = ""
        self.pending = threading.local()

    def attach(self, kernel: Any, owner: str) -> None:
        """Wrap this one Session object: a client that user code makes has another and is left alone.

        `send` only passes the buffers on; `serialize`, which it calls, has the frames that will be sent. The `owner`, a
        Jupyter session, is sent no more of a reply than is recorded.
        """
        session = self.session = kernel.session
        attempt(keep_json, session)
        send, serialize, pid = session.send, session.serialize, os.getpid()
        self.kernel, self.serialize = kernel, serialize

        def sending(
            stream: Any,
            msg_or_type: Any,
            content: Any = None,
            parent: Any = None,
            ident: Any = None,
            buffers: Any = None,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            ready_made = msg_or_type if isinstance(msg_or_type, dict) else {}
            if os.getpid() != pid and (ready_made.get("msg_type") or msg_or_type) in _NOT_OF_FORKS:
                return None
            self.pending.buffers = buffers or ready_made.get("buffers")
            try:
                return send(stream, msg_or_type, content, parent, ident, buffers, *args, **kwargs)
            finally:
                self.pending.buffers = None

        def serializing(msg: Any, ident: Any = None) -> Any:
            short = attempt(bounds.bounded, msg, self.room.short)
            if short is not None and is_for(owner, msg):
                msg["content"], short = short, None
            try:
                frames = serialize(msg, ident)
            except UnicodeError:  # a lone surrogate, which UTF-8 cannot say: the output would be lost
                msg["content"] = bounds.sayable(msg["content"])
                frames = serialize(msg, ident)
            parts = frames[-4:]
            try:
                parent = self.request(msg)
                if parent and parent is not msg["parent_header"]:
                    parts[1] = session.pack(parent)
                if short is not None:
                    parts = [*parts[:3], session.pack(bounds.sayable(short))]
                self.record(msg, parts)
            except Exception as error:  # noqa: BLE001 - whatever it is, the kernel goes on
                self.miss(msg, error)
                attempt(self.send_unrecorded, msg, parts)
            return frames

        session.send, session.serialize = sending, serializing
        attempt(self.introduce)

    def introduce(self) -> None:
        """Begin the log, or go on with it once it can be written, with who records here."""
        fields = {"format": 2, "ident": self.kernel.ident, "bell": True, "near": True, "failed": self.failed}
        payload = json.dumps(["recorder", fields]).encode()
        self.beginning = b"".join(forms.record(b"recorder ", payload))
        self.write(b"recorder ", payload)
        self.introduced = True

    def request(self, msg: Any) -> Any:
        """The parent that a message is recorded with: what no request has caused is of the time since a cell began."""
        parent, msg_type = msg["parent_header"] or {}, msg["header"]["msg_type"]
        if msg_type not in _SHOWN or parent.get("msg_id"):
            return parent
        return {"msg_id": "%s%s-%d" % (OUTSIDE, self.session.session, self.begun)}

    def record(self, msg: Any, frames: list[bytes]) -> None:
        """Append `msg`, whose four serialised parts are `frames`, if it is of the kind that is kept."""
        msg_type = msg["header"]["msg_type"]
        parent = self.request(msg)
        channel = _RECORDED.get(msg_type) if isinstance(msg_type, str) else None
        if channel is None or (msg_type == "status" and parent.get("msg_type") != "execute_request"):
            return
        self.begun += msg_type == "execute_input"
        step = self.step(parent, len(frames[3]))
        if msg_type == "stream" and len(frames[3]) > step:
            for header, content in bounds.pieces(msg, step):
                piece = [self.session.pack(header), *frames[1:3], self.session.pack(content)]
                try:
                    self.append(channel, msg_type, parent, piece, content)
                except Exception as error:  # noqa: BLE001 - the other pieces are recorded
                    self.miss(msg, error)
                    attempt(self.send_unrecorded, msg, piece)
        else:
            self.append(channel, msg_type, parent, frames, msg["content"])

    def step(self, parent: Any, length: int) -> int:
        """How much of a printed text is recorded together: less where the log has no room for all of it."""
        has_room = length <= self.room.left(forms.asker(parent))
        return int(bounds.PIECE if has_room else min(bounds.PIECE, self.room.short))

    def append(self, channel: str, msg_type: str, parent: Any, frames: list[bytes], content: Any) -> None:
        """Append a message, or as much of it as there is room for, where that is."""
        parent_id = forms.asker(parent)
        if not self.introduced:
            self.introduce()
        if self.missed:
            self.confess()
        buffers = getattr(self.pending, "buffers", None) or ()
        payload = forms.message_of(channel, frames, buffers)
        who = b"%s %s" % (msg_type.encode(), forms.plain(parent_id))
        size = sum(map(len, payload))
        if msg_type not in OUTPUTS and msg_type != "error":
            if msg_type == "input_request" and not self.room.spares(parent_id, size):
                frames = [*frames[:3], self.session.pack(bounds.shortened(bounds.sayable(content), _PROMPT))]
                payload = forms.message_of(channel, frames, buffers)
            self.write(who, *payload)
            return
        if size > max(self.room.large, self.room.left(parent_id)):
            who, payload = self.shorter(channel, msg_type, parent_id, frames, content)
        if self.has_room(msg_type, parent_id, sum(map(len, payload))):
            self.write(who, *payload)
        else:
            parts = forms.record(who, *forms.in_one_line(payload))
            self.ends.append(
                parent_id, parts, lambda before: b"".join(forms.record(*forms.marked("before", parent_id, str(before))))
            )
            self.ring()

    def shorter(
        self, channel: str, msg_type: str, parent_id: str, frames: list[bytes], content: Any
    ) -> tuple[bytes, list[bytes]]:
        """A message without most of what is long in it; a mark where nothing of it can be left out."""
        short = bounds.shown_shortly(msg_type, content, self.room.short)
        if short is not None:
            frames = [part if len(part) <= _PARTS else b"{}" for part in frames[:3]]
            frames.append(self.session.pack(bounds.sayable(short)))
            payload = forms.message_of(channel, frames, ())
            if sum(map(len, payload)) <= self.room.large or msg_type == "stream":
                return b"%s %s" % (msg_type.encode(), forms.plain(parent_id)), payload
        who, mark = forms.marked("hole", parent_id, "a message was too long to be recorded (%s)" % msg_type)
        return who, [mark]

    def has_room(self, msg_type: str, parent_id: str, size: int) -> bool:
        """Count what an execution shows; where the log has no room, say in it once where the rest is."""
        if self.room.takes(parent_id, size) or (msg_type in SPARED and self.room.spares(parent_id, size)):
            return True
        if not self.room.is_closed(parent_id):
            detail = "not recorded beyond %d bytes but for its end" % self.room.limit
            self.write(*forms.marked("limit", parent_id, detail, end=os.path.basename(self.ends.base(parent_id))))
            self.room.close(parent_id)
        return False

    def send_unrecorded(self, msg: Any, frames: list[bytes]) -> None:
        """Send what could not be written to the supervisor, which reads everything else in the log."""
        channel = _RECORDED[msg["header"]["msg_type"]]
        wrapper = self.serialize(self.session.msg(UNRECORDED, {"channel": channel}), UNRECORDED_TOPIC)
        buffers = getattr(self.pending, "buffers", None) or ()
        self.kernel.iopub_socket.send_multipart([*wrapper, *frames, *buffers])

    def miss(self, msg: Any, error: Exception) -> None:
        """A record could not be written: remember it for the log, as soon as the log can be written again."""
        parent = msg["parent_header"]
        parent_id = parent.get("msg_id", "") if isinstance(parent, dict) else ""
        if not isinstance(parent_id, str) or (len(self.missed) >= _MISSED and parent_id not in self.missed):
            parent_id = ""
        self.missed[parent_id] = self.missed.get(parent_id, 0) + 1
        self.reason = "%s: %s" % (type(error).__name__, error)

    def confess(self) -> None:
        """Say in the log what is missing from it, and of what, now that it can be written again."""
        for parent_id in list(self.missed):
            missed = self.missed[parent_id]
            self.write(
                *forms.marked("hole", parent_id, "%d messages could not be recorded (%s)" % (missed, self.reason))
            )
            self.missed[parent_id] -= missed
            if not self.missed[parent_id]:
                del self.missed[parent_id]

    def write(self, who: bytes, *payload: bytes) -> None:
        """Append one record, and ring. `who` is its type and its parent. Raises OSError where it could not be written
        whole.

        `writev` is one write, and saves joining the parts: an image is not copied once more.
        """
        parts, fd = forms.record(who, *forms.in_one_line(payload)), self.log.descriptor(self.beginning)
        if self.log.lost:
            parts = [*forms.record(*forms.marked("hole", "", _REMOVED)), *parts]
        if os.writev(fd, parts) != sum(map(len, parts)):
            raise OSError("the record was cut short: no room on the disk")
        self.log.lost = False
        self.ring()

    def hang(self) -> None:
        """Have a socket of our own to ring with."""
        bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.bell_held = logfile.Held(bell.detach())
        self.bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, fileno=self.bell_held.fd)
        self.bell.setblocking(False)

    def ring(self) -> None:
        """Say that there is more."""
        with contextlib.suppress(OSError):  # nobody listens, or there is a ring in the queue
            if self.bell_held.look() is None:
                self.bell.detach()
                self.hang()
            self.bell.sendto(b"!", self.bell_path)


def keep_json(session: Any) -> None:
    """Let messages be packed with what user code does not reach: without that its kernel could not even say so."""
    names = vars(sys.modules[type(session).__module__])
    if "json" in names:
        names["json"] = json


def is_for(owner: str, msg: Any) -> bool:
    """Whether a message that is recorded goes to this Jupyter session alone."""
    asked_in = (msg["parent_header"] or {}).get("session")
    return bool(owner) and asked_in == owner and _RECORDED[msg["header"]["msg_type"]] != "iopub"


def install(name: str, *arguments: Any) -> Any:
    """Install the module in the file beside this one."""
    return beside(name).install(*arguments)


_WITH_KERNEL = ("interrupts", "questions", "place", "near", "door")
"""What is installed with the kernel alone."""
_INSTALLED = [
    "startup", "coroutines", "requests", *_WITH_KERNEL, "flushes", "homes", "pipes", "forks", "widths", "formatter",
    "figures", "lookup",
]  # fmt: skip


def load() -> None:
    """Load what will be installed, before there is a kernel."""
    for name in _INSTALLED:
        beside(name)


_own_log = [2]
"""While the kernel starts the descriptor of the own log: what ipykernel makes of standard error belongs to cells."""


def attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    """Fail open: a step that does not work is named in the own log, where the daemon finds it, and left out."""
    try:
        return step(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, the kernel goes on
        words = "recorder: %s: %s\n" % (type(error).__name__, error)
        with contextlib.suppress(OSError):
            os.write(_own_log[0], words.encode("utf-8", "replace"))
        return None


def main() -> None:
    """Be an ipykernel that records itself; a spare (`spare.py`) is one once it was told which."""
    spare = beside("spare") if sys.argv[1:2] == ["--spare"] else None
    if spare is not None:
        spare.stand(sys.argv[1:], load)
    options, rest = around.parse(sys.argv[1:])
    attempt(around.apply_client_limits, options.umask, options.limits)
    attempt(around.make_room)
    if options.overlay and options.overlay not in sys.path:
        sys.path.append(options.overlay)
    around.pretend(options.connection_file, rest)
    log = attempt(os.dup, 2)
    _own_log[:] = [2 if log is None else log]

    from ipykernel import iostream, kernelapp

    base = os.path.splitext(options.connection_file)[0]
    attempt(around.pipe_through_folder, iostream, base)
    attempt(around.keep_history_in_memory)
    app: Any = kernelapp.IPKernelApp.instance()
    app.log_connection_info = lambda: None  # advice to people at a terminal, which is not where it would go
    failed = attempt(install, "startup", app) or list
    if spare is not None:
        attempt(spare.settle, app)
    app.initialize(sys.argv[1:])
    recorder = attempt(Recorder, options.log, options.limit, os.path.abspath(base) + BELL, attempt(failed) or [])
    if recorder is not None:
        attempt(recorder.attach, app.kernel, options.owner)
    attempt(install, "coroutines", app.kernel)
    attempt(install, "requests", app.kernel, options.owner)
    for name in _WITH_KERNEL:
        attempt(install, name, app.kernel)
    streams = sys.stdout, sys.stderr
    attempt(install, "flushes", app.kernel, streams)
    attempt(install, "homes", app.kernel, streams, later.after)
    pipes = attempt(install, "pipes", app.kernel, streams, later.after)
    attempt(install, "forks", app.kernel, streams, later.after)
    attempt(install, "widths", app.kernel.shell, later.after)
    summary = attempt(install, "formatter", app.kernel.shell)
    attempt(install, "figures", app.kernel.shell, later.after)
    attempt(install, "lookup", app.kernel, summary)
    if log is not None:
        attempt(around.dump_crashes, log)
    _own_log[:] = [2]  # from here on code of the user's may close the other, and have its number for a file
    app.start()
    if pipes is not None:
        attempt(pipes.leave)


if __name__ == "__main__":
    main()
