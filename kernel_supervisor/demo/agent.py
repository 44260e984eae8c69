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
from mcp_types import ImageContent
from PIL import Image

from kernel_supervisor.isolation import isolated

CALL_S = 150.0
"""For one call. The first import of pandas and matplotlib on a fresh machine compiles and builds a font cache."""
_RESULT = "kernel-supervisor/result"


class StepError(Exception):
    """A step did not do what it promises; the text says what happened and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a tool answered: what a model reads, what programs read, and the images."""

    text: str
    facts: dict[str, Any]
    images: list[ImageContent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One connected client, and the shim that was started for it."""

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
        images = [block for block in result.content if block.type == "image"]
        return Reply(text=text, facts=dict((result.meta or {}).get(_RESULT, {})), images=images)


@asynccontextmanager
async def connected(session: str, directory: str) -> AsyncIterator[Agent]:
    """A client of a shim that runs in `directory`, as Claude Code would start it. Raises StepError."""
    before = set(psutil.Process().children())
    command, *arguments = isolated("mcp_shim", "--session", session)
    env = {name: value for name, value in os.environ.items() if name != "CLAUDE_PROJECT_DIR"}
    server = StdioServerParameters(command=command, args=arguments, env=env, cwd=directory)
    failure: StepError | None = None
    try:
        async with Client(stdio_client(server), read_timeout_seconds=CALL_S) as client:
            started = set(psutil.Process().children()) - before
            try:
                if len(started) != 1:
                    raise StepError(f"one shim was to be started, not {len(started)}")
                yield Agent(client=client, shim=started.pop())
            except StepError as error:
                failure = error  # a task group of the client's would wrap it
    except (MCPError, OSError) as error:
        raise StepError(f"the client could not connect through the shim: {error}") from None
    if failure is not None:
        raise failure


def described(image: ImageContent) -> str:
    """Format and size of an image, in words. Raises StepError for what is none."""
    content = base64.b64decode(image.data)
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except OSError as error:
        raise StepError(f"what came as {image.mime_type} is no image: {error}") from None
    if picture.get_format_mimetype() != image.mime_type:
        raise StepError(f"{image.mime_type} was announced and {picture.format} was sent")
    return f"{image.mime_type}, {picture.width} × {picture.height} pixels, {len(content) / 1000:.0f} kB"
