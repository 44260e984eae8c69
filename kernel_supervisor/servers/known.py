"""Which Jupyter servers there are: configured ones, and those that run on this machine. Tokens stay in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import psutil
from jupyter_core.paths import jupyter_runtime_dir

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.paths import read_regular
from kernel_supervisor.servers.keyrings import Keyring
from kernel_supervisor.servers.rest import Server
from kernel_supervisor.tasks import News

VARIABLE = "KERNEL_SUPERVISOR_SERVERS"
"""`name=https://host/base/?token=…`, several with spaces between."""
_PAGES = ("api", "lab", "tree", "notebooks", "doc", "nbclassic", "edit", "consoles", "terminals", "login")
"""What a server's own pages begin with, after its base URL."""
_NAME = re.compile(r"[\w.-]+")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Servers:
    """What this daemon knows of servers. Nothing here is ever written to disk."""

    def __init__(self, file: str) -> None:
        """`file` is the user's configuration."""
        self._file = file
        self._told: dict[str, Server] = {}
        """By key: those that clients named, in their environment or in a call."""
        self._environ: dict[str, str] = {}
        """What clients' environments said of tokens, the newest."""
        self._runtimes: dict[str, None] = {}
        """Runtime folders of clients, in the order they came."""
        self._keyring = Keyring()
        self.news = News()
        """Told when a client brought something new: who could not reach a server may try again."""

    def learn(self, environ: Mapping[str, str]) -> None:
        """Take in what a client's environment says of servers."""
        before = (dict(self._told), dict(self._environ), dict(self._runtimes))
        for word in environ.get(VARIABLE, "").split():
            name, equals, url = word.partition("=")
            if equals and _NAME.fullmatch(name):
                with contextlib.suppress(RefusedError):  # what cannot be understood is somebody else's
                    self._tell(name, url)
        self._environ.update((name, value) for name, value in environ.items() if "TOKEN" in name)
        self._runtimes[environ.get("JUPYTER_RUNTIME_DIR") or jupyter_runtime_dir()] = None
        if before != (self._told, self._environ, self._runtimes):
            self.news.tell()

    def _tell(self, name: str, url: str) -> None:
        base, token = _parted(url)
        self._told[_key(base)] = Server(name=name, url=base, token=token)

    async def all(self) -> list[Server]:
        """Every server there is, each once: the configured ones first."""
        return await asyncio.gather(*map(self._with_keyring, await self._known()))

    async def _known(self) -> list[Server]:
        """All of them, without what the keyring has."""
        configured, running = await asyncio.to_thread(lambda: (list(self._configured()), list(self._running())))
        found: dict[str, Server] = {}
        for server in [*self._told.values(), *configured, *running]:
            known = found.get(_key(server.url))
            found[_key(server.url)] = _joined(known, server) if known is not None else server
        return list(found.values())

    async def _with_keyring(self, server: Server) -> Server:
        """The server with its token from the keyring, where it has a name and no token yet, and there is a keyring."""
        if server.token or server.root or server.trouble or server.name == server.url:
            return server
        token, wrong = await self._keyring.token(server.name)
        return replace(server, token=token, no_token=wrong)

    async def at(self, url: str) -> Server:
        """The server with that base URL, with the token that is known for it by now, if one is."""
        for server in await self._known():
            if _key(server.url) == _key(url):
                return await self._with_keyring(server)
        return Server(name=url, url=url)

    async def named(self, name: str) -> Server | None:
        """The configured server of that name, or the one that runs at that address."""
        for server in await self._known():
            if name == server.name or ("://" in name and _key(_parted(name)[0]) == _key(server.url)):
                return await self._with_keyring(server)
        return None

    async def meant(self, url: str) -> tuple[Server, str]:
        """The server that somebody's URL belongs to, and what stands behind its base. Raises RefusedError.

        What is new in it, a token for instance, is forgotten unless it is given to `keep`.
        """
        whole, token = _parted(url)
        parts = urlsplit(whole)
        known = [server for server in await self._known() if _key(whole).startswith(_key(server.url))]
        if known:
            server = max(known, key=lambda each: len(_key(each.url)))
        else:
            base = urlunsplit((*parts[:2], _base_path(parts.path), "", ""))
            server = Server(name=base, url=base)
        if token:
            server = replace(server, token=token, trouble="")
        return await self._with_keyring(server), unquote(parts.path[len(urlsplit(server.url).path) :]).strip("/")

    async def keep(self, server: Server) -> None:
        """Know a server that turned out to be one, and the token that it took, for as long as this daemon lives."""
        known = [each for each in await self._known() if _key(each.url) == _key(server.url)]
        if not known or (await self._with_keyring(known[0])).token != server.token:
            self._told[_key(server.url)] = server
            self.news.tell()

    def _configured(self) -> Iterator[Server]:
        """Those of the configuration file. Blocks on it."""
        try:
            entries = json.loads(read_regular(self._file))
            others = stat.S_IMODE(os.stat(self._file).st_mode) & 0o077
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            yield Server(name=self._file, url="http://invalid/", trouble=f"{self._file} cannot be read: {error}")
            return
        trouble = f"{self._file} holds tokens and can be read by others: chmod 600 it" if others else ""
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            yield self._entry(str(name), {"url": entry} if isinstance(entry, str) else entry, trouble)

    def _entry(self, name: str, entry: Any, trouble: str) -> Server:
        try:
            base, token = _parted(str(entry["url"]))
        except (RefusedError, LookupError, TypeError):
            return Server(name=name, url="http://invalid/", trouble=f'{self._file} gives it no "url"')
        variable = str(entry.get("token_variable") or "")
        token = str(entry.get("token") or "") or token or self._environ.get(variable, os.environ.get(variable, ""))
        return Server(name=name, url=base, token=token, trouble=trouble)

    def _running(self) -> Iterator[Server]:
        """Those that said in a runtime folder that they run, and whose process does. Blocks on files."""
        folders, names = [*self._runtimes] or [jupyter_runtime_dir()], ("jpserver-*.json", "nbserver-*.json")
        files = (path for folder in folders for name in names for path in sorted(Path(folder).glob(name)))
        yield from filter(None, map(_announced, files))


def _announced(path: Path) -> Server | None:
    try:
        facts = json.loads(read_regular(str(path)))
        url, _ = _parted(str(facts["url"]))
        if path.stat().st_uid != os.getuid() or not psutil.pid_exists(int(facts["pid"])):
            return None
        root = str(facts.get("root_dir") or facts.get("notebook_dir") or "")
        return Server(name=url, url=url, token=str(facts.get("token") or ""), root=root)
    except (OSError, ValueError, OverflowError, RecursionError, LookupError, TypeError, AttributeError, RefusedError):
        return None


def _joined(first: Server, second: Server) -> Server:
    """One server, of which two places tell. One that runs here knows its own token best: each start gives another."""
    named = first if first.name != first.url else second
    own = second.token if second.root else ""
    return replace(
        first,
        name=named.name,
        token=own or first.token or second.token,
        root=first.root or second.root,
        trouble=first.trouble and second.trouble,
    )


def _parted(url: str) -> tuple[str, str]:
    """A URL without its query, user and fragment, a slash at its end; and the token that stood in it.

    Raises RefusedError for what is no server's.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise RefusedError("a server's URL begins with http:// or https:// and a host")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    token = (parse_qs(parts.query).get("token") or [""])[0]
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/") + "/", "", "")), token


def _base_path(path: str) -> str:
    """The part of a URL's path that is the server's base."""
    parts = path.strip("/").split("/")
    at = next((number for number, part in enumerate(parts) if part in _PAGES), len(parts))
    return "/".join(["", *filter(None, parts[:at]), ""])


def _key(url: str) -> str:
    """What is the same for all ways to write one server's address."""
    parts = urlsplit(url)
    here = parts.hostname in (*_LOOPBACK, socket.gethostname().lower())
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{'localhost' if here else parts.hostname}:{port}{parts.path}"
