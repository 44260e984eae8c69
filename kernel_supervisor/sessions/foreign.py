"""Kernels that somebody else started: found by connection files and servers, attached, never ended unasked."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.kernels.attached import listens
from kernel_supervisor.kernels.connection import key_of, read_connection
from kernel_supervisor.kernels.served import ON_SERVER
from kernel_supervisor.kernelspecs import KERNELSPEC
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.rest import (
    KernelGoneError,
    Server,
    ServerError,
    ServerKernel,
    UnlistedError,
    find_kernel,
    kernelspecs,
    list_kernels,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A living kernel that is not ours: behind a connection file, on a server, or both."""

    id: str
    """What Jupyter calls it: the part of the file's name after `kernel-`, and its id on the server."""
    connection_file: str = ""
    """Empty where there is none on this machine."""
    language: str = ""
    server: Server | None = None
    spec: str = ""
    state: str = ""
    """As the server has it."""
    path: str = ""
    """The notebook that works in it: a path on this machine where the server is here, else one on the server."""
    key: str = field(default="", repr=False)
    """With which its messages are signed, and which no other kernel has; empty where no file says it."""

    @property
    def words(self) -> str:
        """The kernel in a list of candidates."""
        about = [self.path, self.server.name if self.server is not None else self.connection_file]
        return f"{self.id} ({', '.join(part for part in about if part)})"


async def find(env: Mapping[str, str], servers: Servers) -> tuple[list[Found], list[Words]]:
    """Every kernel in the client's Jupyter runtime folder that something answers for, and on every server; and the
    reasons of those that did not tell. All are asked at the same time, each with a short limit.
    """
    asked = await servers.all()
    by_file, by_server = await asyncio.gather(_by_file(env), asyncio.gather(*map(_on_server, asked)))
    found = {kernel.id: kernel for kernel in by_file}
    for kernel in [each for answer in by_server if isinstance(answer, list) for each in answer]:
        found[kernel.id] = _as_one(kernel, found.get(kernel.id))
    return list(found.values()), [answer for answer in by_server if answer and not isinstance(answer, list)]


def _as_one(there: Found, here: Found | None) -> Found:
    """A server's kernel, with what its connection file says of it, if it has one here."""
    if here is None:
        return there
    return replace(there, connection_file=here.connection_file, language=here.language, key=here.key)


async def _by_file(env: Mapping[str, str]) -> list[Found]:
    folder = env.get("JUPYTER_RUNTIME_DIR") or jupyter_runtime_dir()
    files = await asyncio.to_thread(lambda: sorted(Path(folder).glob("kernel-*.json")))
    found = await asyncio.gather(*(asyncio.to_thread(_living, path) for path in files))
    return [kernel for kernel in found if kernel is not None]


async def _on_server(server: Server) -> list[Found] | Words:
    """A server's kernels, or why it did not tell; empty for one that runs no more, whose file was left behind."""
    try:
        return [_as_found(server, kernel) for kernel in await list_kernels(server)]
    except ServerError as error:
        left_behind = server.root and server.name == server.url and error.nobody
        return "" if left_behind else error.words


def _as_found(server: Server, kernel: ServerKernel) -> Found:
    path = os.path.join(server.root, kernel.path) if server.root and kernel.path else kernel.path
    return Found(id=kernel.id, server=server, spec=kernel.spec, state=kernel.state, path=path)


def _living(path: Path) -> Found | None:
    """The kernel of a connection file, if its shell socket is there. Stale files are normal."""
    try:
        info = read_connection(path)
        if not listens(info):
            return None
    except (OSError, ValueError):
        return None
    about = info.get("metadata")
    return Found(
        id=path.stem.removeprefix("kernel-"),
        connection_file=str(path),
        language=str(about.get("language") or "python") if isinstance(about, dict) else "python",
        key=str(info["key"]),
    )


def keys_of(records: Iterable[KernelRecord]) -> dict[str, KernelId]:
    """Kernels of ours by their keys. Blocks on the disk."""
    return {key: each.id for each in records if each.owned and (key := key_of(each))}


def is_published(kernel: Found) -> bool:
    """Whether a server only found it where we publish ours: it calls it as it likes, and has no file of its own."""
    here = kernel.server is not None and kernel.server.root != ""
    return here and not kernel.connection_file and kernel.spec.partition("-")[0] == KERNELSPEC


async def specs(servers: Servers) -> tuple[list[Interpreter], list[Words]]:
    """What configured servers start, and the reasons of those that did not tell."""
    asked = [server for server in await servers.all() if server.name != server.url]
    answers = await asyncio.gather(*(kernelspecs(server) for server in asked), return_exceptions=True)
    found: list[Interpreter] = []
    troubles: list[Words] = []
    for server, answer in zip(asked, answers, strict=True):
        if isinstance(answer, ServerError):
            troubles.append(answer.words)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found += [_as_interpreter(server, name, spec) for name, spec in sorted(answer.items())]
    return found, troubles


async def spec_on_server(wanted: str, servers: Servers) -> Interpreter | None:
    """What `SERVER:SPEC` starts; None where `wanted` names no server. Raises RefusedError, ServerError."""
    name, colon, spec = wanted.rpartition(":")
    server = await servers.named(name) if colon else None
    if server is None:
        return None
    there = await kernelspecs(server)
    if spec not in there:
        raise RefusedError(f"{server.words} has no kernelspec {spec!r}; it has {', '.join(sorted(there)) or 'none'}")
    return _as_interpreter(server, spec, there[spec])


def _as_interpreter(server: Server, name: str, spec: Mapping[str, Any]) -> Interpreter:
    return Interpreter(
        name=f"{server.name}:{name}",
        kind=ON_SERVER,
        argv=(server.url, name),
        language=str(spec.get("language") or ""),
        why=f"started on {server.words}",
    )


async def choose(wanted: str, env: Mapping[str, str], directory: str, servers: Servers) -> Found:
    """The kernel that `wanted` means: a connection file, a URL, a notebook, an id or the beginning of one, which
    may have a server's name and a colon before it.

    Raises RefusedError where nothing or more than one fits, and for a connection file without a living kernel;
    ServerError where the server that was named does not tell.
    """
    if wanted.endswith(".json"):
        kernel = await asyncio.to_thread(lambda: _living(Path(directory, os.path.expanduser(wanted))))
        if kernel is None:
            raise RefusedError(f"there is no living kernel behind the connection file {wanted}")
        there, _ = await find(env, servers)
        same = [each for each in there if each.id == kernel.id and each.server is not None]
        return _as_one(same[0], kernel) if same else kernel
    if "://" in wanted:
        server, rest = await servers.meant(wanted)
        kernel = await _by_page(server, rest, env)
        await servers.keep(server)
        return kernel
    name, colon, rest = wanted.partition(":")
    named = await servers.named(name) if colon else None
    if named is not None:
        return await _of_server(named, rest, env)
    kernels, troubles = await find(env, servers)
    fitting = _fitting(wanted, kernels, directory)
    why = [part for trouble in troubles for part in ("; ", *parts(trouble))]
    return _only(fitting, wanted, f"there is no kernel {wanted!r}", WayOn("see kernels"), *why)


async def _by_page(server: Server, page: str, env: Mapping[str, str]) -> Found:
    """The kernel of a server's page: of its API, of a notebook, or the only one there is."""
    parts = page.split("/")
    if parts[:2] == ["api", "kernels"] and len(parts) > 2:
        return await _of_server(server, parts[2], env)
    for mark in ("tree", "notebooks"):
        if mark in parts:
            return await _of_server(server, "/".join(parts[parts.index(mark) + 1 :]), env)
    return await _of_server(server, "", env)


async def _of_server(server: Server, wanted: str, env: Mapping[str, str]) -> Found:
    """A kernel of one server: by id, its beginning or a notebook; the only one where nothing is said."""
    try:
        kernels = [_as_found(server, kernel) for kernel in await list_kernels(server)]
    except UnlistedError:
        if not wanted:
            raise
        kernels = []  # a gateway lists its kernels only if it was told to, and knows each of them all the same
    fitting = _fitting(wanted, kernels, server.root)
    if not fitting and wanted and "/" not in wanted:
        with suppress(KernelGoneError):
            fitting = [_as_found(server, await find_kernel(server, wanted))]
    there = ", ".join(kernel.words for kernel in kernels) or "none"
    found = _only(fitting, wanted or server.name, f"{server.words} has no kernel {wanted!r}; its kernels: {there}")
    files = {kernel.id: kernel for kernel in await _by_file(env)}
    return _as_one(found, files.get(found.id))


def _fitting(wanted: str, kernels: Sequence[Found], directory: str) -> list[Found]:
    """Those that `wanted` fits best: the whole id, the beginning of one, or the notebook."""
    path = os.path.realpath(os.path.join(directory, os.path.expanduser(wanted)))
    tail = "/" + wanted.strip("/")
    signs: tuple[Callable[[Found], bool], ...] = (
        lambda kernel: kernel.id == wanted,
        lambda kernel: kernel.id.startswith(wanted),
        lambda kernel: kernel.path != "" and os.path.realpath(kernel.path) == path,
        lambda kernel: kernel.path != "" and f"/{kernel.path}".endswith(tail),
    )
    return next(filter(None, ([*filter(sign, kernels)] for sign in signs)), [])


def _only(fitting: Sequence[Found], wanted: str, *otherwise: str | WayOn) -> Found:
    if not fitting:
        raise RefusedError(*otherwise)
    if len(fitting) > 1:
        raise RefusedError(f"{wanted!r} fits several kernels: {', '.join(kernel.words for kernel in fitting)}")
    return fitting[0]


def record_of(kernel: Found, session: SessionRecord, logs: str) -> KernelRecord:
    """What we keep of a kernel that is not ours: how to reach it, and a message log that we write ourselves."""
    kernel_id = KernelId(secrets.token_hex(6))
    name = os.path.basename(kernel.path) or kernel.id
    base = os.path.join(logs, f"{kernel_id}-1")
    return KernelRecord(
        id=kernel_id,
        session=session.name,
        generation=1,
        interpreter=Interpreter(name=name, kind="attached", argv=(), language=kernel.language or "unknown"),
        connection_file=kernel.connection_file,
        directory=session.directory,
        channel_identity=secrets.token_hex(16),
        owned=False,
        recorded=False,
        message_log=base + ".messages",
        standard_error=base + ".stderr",
        started_at=time.time(),
        server=kernel.server.url if kernel.server is not None else "",
        server_kernel=kernel.id if kernel.server is not None else "",
    )
