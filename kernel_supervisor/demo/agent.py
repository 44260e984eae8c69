"""An MCP client that works through a shim of its own, and the shim's process. Knows no data and prints nothing."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client
from PIL import Image

from kernel_supervisor.isolation import isolated

CALL_S = 150.0
"""For one call. The first import of pandas and matplotlib on a fresh machine compiles and builds a font cache."""
_RESULT = "kernel-supervisor/result"
_PROJECT = "CLAUDE_PROJECT_DIR"


class StepError(Exception):
    """A step did not do what it promises; the text says what happened and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a tool answered: what a model reads, what programs read, and the images."""

    text: str
    facts: dict[str, Any]
    images: tuple[tuple[str, bytes], ...]
    """MIME type and content of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One connected client."""

    client: Client
    shim: psutil.Process

    async def call(self, tool: str, **arguments: Any) -> Reply:
        """Call a tool. Raises StepError where it was refused or not answered."""
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            raise StepError(f"{tool} was not answered: {error}") from None
        text = "\n".join(block.text for block in result.content if block.type == "text")
        if result.is_error:
            raise StepError(f"{tool} was refused: {text}")
        images = tuple(
            (block.mime_type, base64.b64decode(block.data)) for block in result.content if block.type == "image"
        )
        return Reply(text=text, facts=dict((result.meta or {}).get(_RESULT, {})), images=images)

    async def tools(self) -> list[str]:
        """The names of the tools it is offered."""
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def lose_shim(self) -> str:
        """SIGKILL the shim that was started for this client; what the client is told when it then asks something.

        Raises StepError where a call is answered all the same.
        """
        self.shim.kill()  # psutil compares the start time first
        try:
            await self.call("kernel_status")
        except StepError as error:
            return str(error)
        raise StepError(f"the shim (pid {self.shim.pid}) still answers after SIGKILL")


@asynccontextmanager
async def connected(session: str, directory: str) -> AsyncIterator[Agent]:
    """A client of a shim that runs in `directory`, as Claude Code would start it. Raises StepError."""
    before = set(psutil.Process().children())
    command, *arguments = isolated("mcp_shim", "--session", session)
    server = StdioServerParameters(
        command=command,
        args=arguments,
        env={name: value for name, value in os.environ.items() if name != _PROJECT},
        cwd=directory,
    )
    failure: StepError | None = None
    client = Client(stdio_client(server), read_timeout_seconds=CALL_S)
    try:
        async with client:
            try:
                yield Agent(client=client, shim=_started(before))
            except StepError as error:
                failure = error  # a task group of the client's would wrap it
    except (MCPError, OSError) as error:
        raise StepError(f"the client could not connect through the shim: {error}") from None
    if failure is not None:
        raise failure


def _started(before: set[psutil.Process]) -> psutil.Process:
    """The one process that was started since `before`."""
    started = set(psutil.Process().children()) - before
    if len(started) != 1:
        raise StepError(f"one shim was to be started, not {len(started)}")
    return started.pop()


def picture_size(mime: str, content: bytes) -> str:
    """Format and size of an image, in words. Raises StepError for what is none."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.get_format_mimetype() != mime:
                raise StepError(f"{mime} was announced and {image.format} was sent")
            return f"{mime}, {image.width} × {image.height} pixels, {len(content) / 1000:.0f} kB"
    except OSError as error:
        raise StepError(f"what came as {mime} is no image: {error}") from None
