"""One Chromium without a window, spoken with over a pipe: it draws pages that stand in files, and reaches nothing."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from kernel_supervisor import engines
from kernel_supervisor.notebooks.guarded import OFFLINE

Result = TypeVar("Result")

_START_S, _FIGURE_S, _END_S = 30.0, 20.0, 5.0
_AT_ONCE = 3
SCALE = 2
"""How many pixels of a picture stand for one of the page."""
_LARGEST = 4000
_MESSAGE = 256 << 20
_NO_SANDBOX = re.compile("sandbox|namespace", re.IGNORECASE)
"""What a Chromium says whose sandbox cannot start, as in many containers."""
_SIZE = """(async () => {
  await Promise.race([Promise.resolve(window.ksDrawn), new Promise(done => setTimeout(done, 10000))]);
  await document.fonts.ready;
  await Promise.race([new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))),
    new Promise(done => setTimeout(done, 500))]);
  const figure = document.getElementById("ks-figure");
  const box = figure.getBoundingClientRect();
  const seen = [...figure.querySelectorAll("*")].some(each => each.getBoundingClientRect().height > 1
    && (each.shadowRoot || each.matches("canvas,svg,img,table,input,button") || (each.innerText || "").trim()))
    || figure.innerText.trim() !== "";
  return JSON.stringify({x: box.x, y: box.y, width: Math.max(box.width, figure.scrollWidth),
    height: Math.max(box.height, figure.scrollHeight), seen});
})()"""


class BrowserError(RuntimeError):
    """The browser did not start, or did not draw; the text is what it said."""


def started(profile: Path, run: Callable[[list[str]], Result]) -> Result:
    """What `run` gives for a Chromium's command, up to what it is to do; without its sandbox only where it must be.

    Raises BrowserError, by which `run` tells what a Chromium said that did not start.
    """
    for sandbox in ([], ["--no-sandbox"]) if os.geteuid() else (["--no-sandbox"],):  # root's cannot be
        try:
            return run(_command(profile, sandbox))
        except BrowserError as error:
            failure = error
            if not _NO_SANDBOX.search(str(error)):
                break
    raise failure


def _command(profile: Path, sandbox: Sequence[str]) -> list[str]:
    browser = engines.browser()
    assert browser is not None  # it was found before it was chosen
    quiet = ("--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}")
    return [browser, "--headless=new", *sandbox, *OFFLINE, *quiet]


def pictures_of(pages: Sequence[Path], folder: Path, *, scale: int = SCALE) -> list[bytes | None]:
    """PNGs of what `pages` draw in their element `ks-figure`, None for one that draws nothing in time.

    A page says by the promise `ksDrawn` when it is done. Raises BrowserError where no browser starts.
    """
    return started(folder / "figures", lambda command: asyncio.run(_drawn(pages, command, scale)))


async def _drawn(pages: Sequence[Path], command: list[str], scale: int) -> list[bytes | None]:
    ours, theirs = _pipes()
    browser = await asyncio.create_subprocess_exec(
        *command,
        "--remote-debugging-pipe",
        "--window-size=780,700",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=(3, 4),
        preexec_fn=lambda: [os.dup2(descriptor, 3 + place) for place, descriptor in enumerate(theirs)],
        limit=_MESSAGE,
    )
    for descriptor in theirs:
        os.close(descriptor)
    assert browser.stderr is not None  # a pipe was asked for
    said = asyncio.create_task(browser.stderr.read(), name="what the browser says")
    try:
        tabs = await _Tabs.opened(*ours)
        try:
            await asyncio.wait_for(tabs.ask("Browser.getVersion"), _START_S)
            turns = asyncio.Semaphore(_AT_ONCE)
            return await asyncio.gather(*(tabs.picture(page, turns, scale) for page in pages))
        finally:
            tabs.close()
    except (EOFError, asyncio.TimeoutError) as error:
        await _end(browser)
        raise BrowserError((await said).decode(errors="replace") or str(error)) from error
    finally:
        await _end(browser)
        await said


def _pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Where we read and write, and where the browser does: none of them 3 or 4, which are the browser's."""
    theirs_to_read, ours_to_write = _high(os.pipe())
    ours_to_read, theirs_to_write = _high(os.pipe())
    return (ours_to_read, ours_to_write), (theirs_to_read, theirs_to_write)


def _high(ends: tuple[int, int]) -> tuple[int, int]:
    moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


async def _end(browser: asyncio.subprocess.Process) -> None:
    if browser.returncode is None:
        with suppress(ProcessLookupError):
            browser.terminate()
        try:
            await asyncio.wait_for(browser.wait(), _END_S)
        except asyncio.TimeoutError:
            browser.kill()
            await browser.wait()


class _Tabs:
    """The browser's own protocol (https://chromedevtools.github.io/devtools-protocol): JSON, each ended by a zero."""

    def __init__(self, reader: asyncio.StreamReader, transport: Any) -> None:
        self._reader, self._transport = reader, transport
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._loaded: dict[str, asyncio.Event] = {}
        self._number = 0
        self._listening = asyncio.create_task(self._listen(), name="the browser's answers")

    @classmethod
    async def opened(cls, read: int, write: int) -> _Tabs:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=_MESSAGE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb"))
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(write, "wb"))
        return cls(reader, transport)

    def close(self) -> None:
        self._listening.cancel()
        self._transport.close()

    async def ask(self, method: str, tab: str = "", **params: Any) -> Any:
        """The browser's answer. Raises EOFError where it is gone, and BrowserError where it refuses."""
        if self._listening.done():
            raise EOFError
        self._number += 1
        asked = self._asked[self._number] = asyncio.get_running_loop().create_future()
        message = {"id": self._number, "method": method, "params": params, **({"sessionId": tab} if tab else {})}
        self._transport.write(json.dumps(message).encode() + b"\0")
        return await asked

    async def picture(self, page: Path, turns: asyncio.Semaphore, scale: int) -> bytes | None:
        """What the page draws, None where it draws nothing in time."""
        async with turns:
            target = (await self.ask("Target.createTarget", url="about:blank"))["targetId"]
            try:
                return await asyncio.wait_for(self._picture(target, page, scale), _FIGURE_S)
            except (asyncio.TimeoutError, BrowserError):
                return None
            finally:
                with suppress(BrowserError, EOFError):
                    await self.ask("Target.closeTarget", targetId=target)

    async def _picture(self, target: str, page: Path, scale: int) -> bytes | None:
        tab = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        loaded = self._loaded[tab] = asyncio.Event()
        await self.ask("Page.enable", tab)
        await self.ask("Page.navigate", tab, url=page.as_uri())
        await loaded.wait()
        said = await self.ask("Runtime.evaluate", tab, expression=_SIZE, awaitPromise=True, returnByValue=True)
        size = json.loads(said["result"].get("value") or '{"seen": false}')
        if not size.pop("seen") or size["height"] < 2 or size["width"] < 2:
            return None
        clip = {**{name: min(size[name], _LARGEST) for name in size}, "scale": scale}
        shot = await self.ask("Page.captureScreenshot", tab, format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def _listen(self) -> None:
        try:
            while True:
                self._take(json.loads((await self._reader.readuntil(b"\0"))[:-1]))
        except (asyncio.IncompleteReadError, OSError):
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(EOFError())

    def _take(self, said: Any) -> None:
        asked = self._asked.pop(said.get("id", 0), None)
        if asked is not None and not asked.done():
            if "error" in said:
                asked.set_exception(BrowserError(str(said["error"].get("message"))))
            else:
                asked.set_result(said["result"])
        if said.get("method") == "Page.loadEventFired" and (loaded := self._loaded.get(said.get("sessionId", ""))):
            loaded.set()
