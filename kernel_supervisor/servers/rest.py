"""Jupyter servers over REST: Jupyter Server, JupyterHub's, Kernel Gateway, Enterprise Gateway. No WebSockets here.

tornado's client, because it comes with jupyter_client anyway and Jupyter's own servers speak with each other through
it. Redirects are never followed: what follows them carries the token along. The token travels in a header alone, and
no text that leaves this file has it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPInputError, HTTPOutputError
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.ways import WayOn

ASK_S = 2.0
"""How long a server may take to say what it has."""
ACT_S = 20.0
"""How long a server may take to interrupt or end a kernel."""
START_S = 120.0
"""How long a server may take to start a kernel: a cluster pulls images first."""
_BODY_LIMIT = 16 << 20
_WORDS = 200
_NOBODY = "nothing listens there"
_NO_PAGE = "is there a Jupyter server at that address? A hub's or a proxy's has a base path, as in /user/me/"
# what it warns of is the other side's bytes, which may repeat our token; our own errors say what is wrong
logging.getLogger("tornado.general").setLevel(logging.ERROR)


class ServerError(UnavailableError):
    """A server did not do what was asked; the text names the server and says why."""

    def __init__(self, *words: str | WayOn, status: int = 0, nobody: bool = False) -> None:
        """`status` is HTTP's, 0 where there was no answer; `nobody` whether nothing listens there."""
        super().__init__(*words)
        self.status, self.nobody = status, nobody


class UnlistedError(ServerError):
    """A server takes our token, and keeps to itself which kernels it has."""


class KernelGoneError(UnavailableError):
    """A server answers, and has this kernel no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server as it is reached."""

    name: str
    """How people call it: its name in the configuration, else its address."""
    url: str
    """Its base URL, with a slash at the end and without a token."""
    token: str = field(default="", repr=False)
    root: str = ""
    """The folder that its paths begin in, for a server on this machine."""
    trouble: str = ""
    """Why it cannot even be asked; empty where nothing is known to be wrong."""
    no_token: str = ""
    """What went wrong where its token was looked for."""

    @property
    def words(self) -> str:
        """What an error calls it."""
        return f"server {self.name}" + (f" ({self.url})" if self.name != self.url else "")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries. Kernel Gateway knows only `token`; the others know it too."""
        return {"Authorization": f"token {self.token}"} if self.token else {}


FindServer = Callable[[], Awaitable[Server]]
"""The server that a kernel's record names, as it is reached at that moment: a token may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKernel:
    """A kernel as a server lists it."""

    id: str
    spec: str
    state: str
    path: str = ""
    """Of the notebook that works in it, relative to the server's root; empty where there is none."""


async def list_kernels(server: Server) -> list[ServerKernel]:
    """What runs there, with the notebooks that work in it. Raises ServerError.

    A server without sessions (a gateway) has kernels without notebooks.
    """
    try:
        kernels, sessions = await asyncio.gather(_ask(server, "GET", "api/kernels"), _sessions(server))
    except ServerError as error:
        if error.status == 403 and await _lets_in(server, ASK_S):
            why = f"{server.words} does not list its kernels (HTTP 403)"
            raise UnlistedError(why, WayOn("attach by id"), status=403) from None
        raise
    if not isinstance(kernels, list):
        raise ServerError(f"{server.words} answered with something that is no list of kernels")
    paths = dict(sessions)
    found = [_kernel(server, each) for each in kernels]
    return [replace(each, path=paths.get(each.id, "")) for each in found]


async def _sessions(server: Server) -> list[tuple[str, str]]:
    try:
        return _paths_in(await _ask(server, "GET", "api/sessions"))
    except ServerError:
        return []  # if it is the server and not the question, the question about kernels fails too


def _paths_in(answer: Any) -> list[tuple[str, str]]:
    """The kernels of sessions as a server lists them, by id, with the paths that the sessions have."""
    found = []
    for each in answer if isinstance(answer, list) else ():
        if isinstance(each, dict) and isinstance(kernel := each.get("kernel"), dict):
            notebook = each.get("notebook")
            path = each.get("path") or (notebook.get("path") if isinstance(notebook, dict) else "")
            found.append((str(kernel.get("id")), str(path or "")))
    return found


async def find_kernel(server: Server, kernel_id: str, deadline_s: float = ASK_S) -> ServerKernel:
    """One kernel. Raises KernelGoneError where the server itself says that there is none; ServerError."""
    try:
        return _kernel(server, await _ask(server, "GET", f"api/kernels/{quote(kernel_id)}", deadline_s=deadline_s))
    except ServerError as error:
        # a hub whose server sleeps, or a proxy, says 404 as well: only one that knows kernels is believed
        if error.status == 404 and kernel_id in str(error):
            raise KernelGoneError(f"{server.words} has no kernel {kernel_id} (any more)") from None
        raise


async def kernelspecs(server: Server, deadline_s: float = ASK_S) -> dict[str, dict[str, Any]]:
    """The kernelspecs there, by name. Raises ServerError."""
    answer = await _ask(server, "GET", "api/kernelspecs", deadline_s=deadline_s)
    found = answer.get("kernelspecs") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        raise ServerError(f"{server.words} answered with something that is no list of kernelspecs")
    return {str(name): each.get("spec") or {} for name, each in found.items() if isinstance(each, dict)}


async def _lets_in(server: Server, deadline_s: float) -> bool:
    """Whether a server that forbids something takes our token all the same."""
    try:
        await kernelspecs(server, deadline_s)
    except ServerError:
        return False
    return True


async def start_kernel(server: Server, spec: str, path: str, name: str, env: Mapping[str, str]) -> ServerKernel:
    """Start a kernel in a session of its own, whose `path` nobody else has: by that it can be found again.

    A gateway that keeps its sessions to itself starts a bare one, with `env`: it reads who asks from it.
    Raises ServerError.
    """
    if await _sessions_at(server) is None:
        started = await _ask(server, "POST", "api/kernels", {"name": spec, "env": dict(env)}, deadline_s=START_S)
        return _kernel(server, started)
    body = {"path": path, "name": name, "type": "console", "kernel": {"name": spec}}
    answer = await _ask(server, "POST", "api/sessions", body, deadline_s=START_S)
    if not isinstance(answer, dict):
        raise ServerError(f"{server.words} answered with something that is no session")
    return _kernel(server, answer.get("kernel"))


async def _sessions_at(server: Server) -> Any:
    """A server's sessions; None where it has none, or keeps them to itself. Raises ServerError."""
    try:
        return await _ask(server, "GET", "api/sessions", deadline_s=ACT_S)
    except ServerError as error:
        if error.status not in (403, 404, 405) or not await _lets_in(server, ACT_S):
            raise
        return None


async def kernel_of_path(server: Server, path: str) -> str:
    """The id of the kernel that was started with this path, empty where none is known. Raises ServerError."""
    return next((kernel_id for kernel_id, at in _paths_in(await _sessions_at(server)) if at == path), "")


async def interrupt_kernel(server: Server, kernel_id: str) -> None:
    """Interrupt it as its kernelspec says. Raises ServerError."""
    await _ask(server, "POST", f"api/kernels/{quote(kernel_id)}/interrupt", {}, deadline_s=ACT_S)


async def restart_kernel(server: Server, kernel_id: str) -> None:
    """A fresh process under the same id. Raises ServerError."""
    await _ask(server, "POST", f"api/kernels/{quote(kernel_id)}/restart", {}, deadline_s=START_S)


async def end_kernel(server: Server, kernel_id: str) -> None:
    """End it; it is no error if it is gone already. Raises ServerError."""
    try:
        await _ask(server, "DELETE", f"api/kernels/{quote(kernel_id)}", deadline_s=ACT_S)
    except ServerError as error:
        if error.status != 404:
            raise


def clean(server: Server, text: str) -> str:
    """`text` of the other side, short, on one line, and without the token."""
    if server.token:
        text = text.replace(server.token, "…").replace(quote(server.token, safe=""), "…")
    return " ".join(text.split())[:_WORDS]


def why_refused(server: Server, status: int, headers: Mapping[str, str], text: str = "") -> ServerError:
    """The error for an HTTP status that is not one of success."""
    location = urlsplit(headers.get("Location", ""))
    if status in (401, 403):
        none = f"wants a token, and {server.no_token or 'none is configured for it'}"
        why = f"{'refused the token' if server.token else none} (HTTP {status})"
    elif 300 <= status < 400 and "/hub/user/" in location.path:
        home = location.path.partition("/hub/user/")[0] + "/hub/home"
        why = f"is not running, says its JupyterHub: start it there ({urljoin(server.url, home)}), then call again"
    elif 300 <= status < 400:
        elsewhere = clean(server, location._replace(query="", fragment="").geturl())
        why = f"redirects to {elsewhere or 'nowhere'}, which is not followed: a token goes to its own server only"
    else:
        told = clean(server, text) or (_NO_PAGE if status == 404 else "")
        why = f"answered with HTTP {status}" + (f": {told}" if told else "")
    return ServerError(f"{server.words} {why}", status=status)


async def _ask(
    server: Server, method: str, path: str, body: dict[str, Any] | None = None, *, deadline_s: float = ASK_S
) -> Any:
    """The JSON of an answer. Raises ServerError for everything else, within the deadline."""
    if server.trouble:
        raise ServerError(f"{server.words}: {server.trouble}")
    request = HTTPRequest(
        server.url + path,
        method=method,
        headers={**server.headers, "Content-Type": "application/json", "Accept": "application/json"},
        body=json.dumps(body) if body is not None else None,
        allow_nonstandard_methods=True,
        follow_redirects=False,
        decompress_response=False,
        connect_timeout=deadline_s,
        request_timeout=deadline_s,
    )
    response = await _fetch(server, request, deadline_s)
    if not 200 <= response.code < 300:
        raise why_refused(server, response.code, response.headers, _message(response))
    if response.code == 204 or not response.body:
        return None
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        raise ServerError(f"{server.words} answered {method} {path} with something that is not JSON") from None


async def _fetch(server: Server, request: HTTPRequest, deadline_s: float) -> HTTPResponse:
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_BODY_LIMIT, max_buffer_size=_BODY_LIMIT)
    try:
        # its own deadline does not cover a name that is looked up for ever
        return await asyncio.wait_for(client.fetch(request, raise_error=False), deadline_s + 0.5)
    except (asyncio.TimeoutError, HTTPTimeoutError):
        raise ServerError(f"{server.words} did not answer within {deadline_s:g} s") from None
    except FAULTS as error:
        why = fault(server, error)
        raise ServerError(f"{server.words} cannot be reached: {why}", nobody=why == _NOBODY) from None
    finally:
        client.close()


_OF_STREAMS = (HTTPStreamClosedError, StreamClosedError, UnsatisfiableReadError)
FAULTS = (OSError, ValueError, HTTPClientError, HTTPInputError, HTTPOutputError, *_OF_STREAMS)
"""What tornado raises where the other side is not there, or does not speak HTTP."""


def fault(server: Server, error: BaseException) -> str:
    """What went wrong below HTTP, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ConnectionRefusedError):
        return _NOBODY
    if isinstance(error, (HTTPInputError, HTTPStreamClosedError, StreamClosedError)):
        cause = getattr(error, "real_error", None)
        return fault(server, cause) if isinstance(cause, OSError) else "it gave no answer that is HTTP"
    return clean(server, str(error)) or type(error).__name__


def _message(response: HTTPResponse) -> str:
    """What Jupyter's JSON errors say."""
    try:
        answer = json.loads(response.body or b"")
    except (ValueError, RecursionError):
        return ""
    return str(answer.get("message") or answer.get("reason") or "") if isinstance(answer, dict) else ""


def _kernel(server: Server, model: Any) -> ServerKernel:
    if not isinstance(model, dict) or not isinstance(model.get("id"), str):
        raise ServerError(f"{server.words} answered with something that is no kernel")
    return ServerKernel(
        id=model["id"],
        spec=str(model.get("name") or ""),
        state=str(model.get("execution_state") or ""),
    )
