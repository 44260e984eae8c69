"""One client's MCP connection inside the daemon: frames in, the SDK's server between, frames out.

Request ids are rewritten on the way in and back on the way out: the SDK takes 1 and "1" for the same id, and
a call's own number is what makes it the same call when a shim sends it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.runner import serve_dual_era_loop
from mcp.server.subscriptions import ResourceUpdated, ServerEvent, SubscriptionBus
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from pydantic import ValidationError

from kernel_supervisor.client import opening
from kernel_supervisor.daemon.openings import Openings
from kernel_supervisor.envelope import RPC, SETTLED, TooLong, parsed
from kernel_supervisor.mcp import cancelling, whereabouts
from kernel_supervisor.mcp.caller import Caller

log = logging.getLogger(__name__)
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
Send = Callable[[bytes, dict[str, Any], bytes], None]
_INVALID = "Invalid Request: not a message as MCP has them"
"""Of what JSON-RPC allows and MCP does not, such as an array for the params."""
_NUMBERLESS = "a request has a number on this socket"
_FAILED = "the supervisor could not take this call or give its answer; its log has more"
_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = 18
"""Of the number of a request of ours, at most."""
_REASON = 200
"""Characters of why a client cancels that are looked at."""


class Connection:
    """A client from its hello to its end. `send` queues one frame to it."""

    def __init__(
        self,
        caller: Caller,
        server: Server[Caller],
        news: SubscriptionBus,
        openings: Openings,
        send: Send,
        incarnation: str,
        over: Callable[[], None],
    ) -> None:
        """`over` is called where it ends by itself, with all its calls answered."""
        self.caller = caller
        self._server, self._openings = server, openings
        self._send, self._incarnation, self._over = send, incarnation, over
        self._calls: dict[int, str | int | None] = {}
        self._params: dict[int, dict[str, Any] | None] = {}  # of calls that may have to be stopped
        self._kept_as: dict[int, str] = {}
        self._handshake: dict[str, Any] | None = None
        self._standing: set[int] = set()  # subscriptions: nobody waits for their answer
        self._unsubscribe = news.subscribe(self._tell)
        self._inbox, self._read = anyio.create_memory_object_stream[SessionMessage | Exception](float("inf"))
        self._write, self._outbox = anyio.create_memory_object_stream[SessionMessage](float("inf"))
        self._open = True
        self.answered = asyncio.Event()
        """Set while no call is open that somebody waits for."""
        self.answered.set()
        name = f"the connection of client {caller.asker.client_id}"
        self.caller.tasks.begin(self._serve(), name)
        self.caller.tasks.begin(self._deliver(), name)

    async def _serve(self) -> None:
        options = self._server.create_initialization_options(
            NotificationOptions(tools_changed=True, resources_changed=True, prompts_changed=True)
        )
        try:
            await serve_dual_era_loop(
                self._server, self._read, self._write, lifespan_state=self.caller, init_options=options
            )
        except Exception:
            if self._open:  # else what was under way says in its own way that it was let go of
                log.exception("the connection of client %s failed", self.caller.asker.client_id)
        if self._open:
            for call in list(self._calls):
                self._fail(call)
            self._over()

    def _fail(self, call: int) -> None:
        """Answer a call that a fault of ours keeps from its answer: sent again, it would meet the same."""
        self._send(RPC, {"answers": call}, _error(self._close_call(call), types.INTERNAL_ERROR, _FAILED))

    def take(self, call: int | None, body: bytes, *, again: bool = False) -> None:
        """One JSON-RPC message from the client; `call` is its number where it is a request, which may come `again`."""
        if again and call is not None:
            self.caller.again.add(call)
        try:
            self._take(call, types.jsonrpc_message_adapter.validate_json(body, by_name=False))
        except ValidationError as error:
            log.info("a message that is not JSON-RPC was refused, for %d reasons", error.error_count())  # not its text
            header = {} if call is None else {"answers": call}
            self._send(RPC, header, _error(_id_of(body), types.INVALID_REQUEST, _why_invalid(body)))
        except Exception:  # it concerns this message alone
            log.exception("a message of client %s could not be taken", self.caller.asker.client_id)
            if call is not None:
                self._calls.setdefault(call, _id_of(body))
                self._fail(call)

    def _take(self, call: int | None, message: types.JSONRPCMessage) -> None:
        if isinstance(message, types.JSONRPCRequest):
            self._take_request(message, call)
        elif isinstance(message, types.JSONRPCNotification):
            self._inbox.send_nowait(SessionMessage(self._translated(message)))
        else:
            self._take_answer(message)

    def _take_request(self, message: types.JSONRPCRequest, call: int | None) -> None:
        if call is None:
            self._send(RPC, {}, _error(message.id, types.INVALID_REQUEST, _NUMBERLESS))
        if call is None or call in self._calls:
            return  # it is being answered already
        self._calls[call], self._params[call] = message.id, message.params
        if message.method == "subscriptions/listen":
            self._standing.add(call)
        else:
            self.answered.clear()
        if message.method == "initialize":
            self.caller.handshake = True
            self._handshake = message.params
        if name := opening.name_of(message.method, message.params, self._handshake):
            self._kept_as[call] = name

        async def settled() -> None:
            await self._stop_cancelled(call)
            self._close_call(call)
            self._send(SETTLED, {"call": call}, b"")

        metadata = ServerMessageMetadata(request_context=call, on_request_unanswered=settled)
        changes = {"id": call, "params": _understood(message.params)}
        self._inbox.send_nowait(SessionMessage(message.model_copy(update=changes), metadata))

    async def _stop_cancelled(self, call: int) -> None:
        """Once: what a call runs is stopped where its client cancelled it, also if that is gone by then."""
        if self.caller.gave_up(call) and call in self._params:
            await cancelling.stop(self.caller, call, self._params.pop(call))

    def _translated(self, message: types.JSONRPCNotification) -> types.JSONRPCNotification:
        if message.method == "notifications/roots/list_changed":
            self.caller.whereabouts.changed = True
        if message.method != "notifications/cancelled" or not message.params:
            return message
        wanted = message.params.get("requestId")
        for call, id_ in self._calls.items():
            if type(id_) is type(wanted) and id_ == wanted:
                self.caller.cancels[call] = str(message.params.get("reason") or "cancelled")[:_REASON]
                return message.model_copy(update={"params": {**message.params, "requestId": call}})
        return message.model_copy(update={"params": {**message.params, "requestId": "unknown"}})

    def _take_answer(self, message: Any) -> None:
        """An answer to a request of ours, unless it was a predecessor's request."""
        incarnation, _, number = str(message.id).rpartition("/")
        if incarnation == self._incarnation and number.isdecimal() and len(number) <= _DIGITS:
            changes: dict[str, Any] = {"id": int(number)}
            if isinstance(message, types.JSONRPCResponse):
                changes["result"] = whereabouts.understood(message.result)
            self._inbox.send_nowait(SessionMessage(message.model_copy(update=changes)))

    async def _deliver(self) -> None:
        async for item in self._outbox:
            if not self._open:
                continue
            try:
                self._give(item.message)
            except Exception:  # it concerns this message alone
                log.exception("a message for client %s could not be sent", self.caller.asker.client_id)
                if isinstance(item.message, types.JSONRPCResponse) and item.message.id in self._calls:
                    self._fail(int(item.message.id))

    def _give(self, message: types.JSONRPCMessage) -> None:
        header: dict[str, Any] = {}
        call = 0
        if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            call = message.id if isinstance(message.id, int) else 0
            if call not in self._calls:
                return
            header = {"answers": call}
            message = message.model_copy(update={"id": self._calls[call]})
        elif isinstance(message, types.JSONRPCRequest):
            message = message.model_copy(update={"id": f"{self._incarnation}/{message.id}"})
        else:
            message = self._restored(message)
        self._send(RPC, header, _encoded(message))
        self._close_call(call)
        name = self._kept_as.pop(call, "")
        if isinstance(message, types.JSONRPCResponse):
            self._openings.keep(name, message.result)

    def _close_call(self, call: int) -> str | int | None:
        """Forget a call that is answered, or never will be; the client's id of it."""
        self.caller.again.discard(call)
        self._params.pop(call, None)
        id_ = self._calls.pop(call, None)
        self._standing.discard(call)
        if self._calls.keys() <= self._standing:
            self.answered.set()
        return id_

    def _restored(self, message: types.JSONRPCNotification) -> types.JSONRPCNotification:
        """What a notification names, as the client knows it: the request that opened a subscription, or one of ours."""
        if message.method == "notifications/cancelled":
            wanted = (message.params or {}).get("requestId")
            params = {**(message.params or {}), "requestId": f"{self._incarnation}/{wanted}"}
            return message.model_copy(update={"params": params})
        meta = (message.params or {}).get("_meta") or {}
        if meta.get(_SUBSCRIPTION) not in self._calls:
            return message
        meta = {**meta, _SUBSCRIPTION: self._calls[meta[_SUBSCRIPTION]]}
        return message.model_copy(update={"params": {**(message.params or {}), "_meta": meta}})

    def _tell(self, event: ServerEvent) -> None:
        """News for a client of the handshake's era; others have a subscription's stream for it."""
        if not self.caller.handshake:
            return
        notification: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/resources/list_changed"}
        if isinstance(event, ResourceUpdated):
            if event.uri not in self.caller.subscribed:
                return
            notification |= {"method": "notifications/resources/updated", "params": {"uri": event.uri}}
        self._send(RPC, {}, json.dumps(notification).encode())

    def close(self) -> Coroutine[Any, Any, None]:
        """Let go of its calls without answering them, at once: who comes back sends them again. What is left is done
        by what this gives."""
        self._open = False
        self._unsubscribe()
        return self._close()

    async def _close(self) -> None:
        await self.caller.tasks.close()
        for call in list(self._params):
            await self._stop_cancelled(call)
        for stream in (self._inbox, self._read, self._write, self._outbox):
            stream.close()


def _why_invalid(body: bytes) -> str:
    try:
        return _unreadable(parsed(body)) or _INVALID
    except (ValueError, RecursionError):
        return _INVALID


def _unreadable(value: Any, where: str = "") -> str:
    """What to say of a message with a number of thousands of digits, or a text that has one half of a surrogate pair
    alone; empty where it has none."""
    if isinstance(value, TooLong):
        return f"{where}: a number of {value.digits:,} digits is longer than can be read; give it as a text in the code"
    if isinstance(value, str):
        found = _SURROGATE.search(value)
        if found is None:
            return ""
        return (
            f"{where}: its character {found.start() + 1:,}, U+{ord(found[0]):04X}, is one half of a pair alone, which "
            f"no text can carry; leave it out, or write it as the six characters \\u{ord(found[0]):04x}"
        )
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    said = (_unreadable(each, f"{where}.{name}" if where else str(name)) for name, each in parts)
    return next(filter(None, said), "")


def _understood(params: dict[str, Any] | None) -> dict[str, Any] | None:
    """The parameters of a request, with roots that are answered along with it as the SDK takes them."""
    given = (params or {}).get("inputResponses")
    if not isinstance(given, dict):
        return params
    return {**(params or {}), "inputResponses": {key: whereabouts.understood(value) for key, value in given.items()}}


def _encoded(message: types.JSONRPCMessage) -> bytes:
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode()
    except ValueError:  # a half of a surrogate pair, as in the name of a file that is not UTF-8: nothing can carry it
        text = json.dumps(message.model_dump(by_alias=True, exclude_unset=True), ensure_ascii=False, default=str)
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _error(id_: str | int | None, code: int, text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id_, "error": {"code": code, "message": text}}).encode()


def _id_of(body: bytes) -> str | int | None:
    """The id of a message that may be none."""
    try:
        id_ = parsed(body)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return id_ if type(id_) in (str, int) else None
