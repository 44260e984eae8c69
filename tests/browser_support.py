"""A real browser: headless Chromium over its DevTools protocol."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket
from PIL import Image

from tests.support import DEADLINE_S

_SHIFT = 8
_PHONE = 500


class Page:
    """One page. https://chromedevtools.github.io/devtools-protocol/"""

    def __init__(self, socket: Any) -> None:
        self._socket, self._calls = socket, 0

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command; events are passed over."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": params}))
        while (message := json.loads(self._socket.recv())).get("id") != self._calls:
            pass
        assert "result" in message, message
        return dict(message["result"])

    def look(self, expression: str) -> Any:
        """The value of a JavaScript expression; None where it raises, as it does while a page changes."""
        found = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def until(self, expression: str, what: str) -> Any:
        """Look until it is true. Fails with what the page shows."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            if value := self.look(expression):
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {DEADLINE_S:g} s: {what}\n{self.look('document.body.innerText')}")

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element that fits."""
        box = f"document.querySelector({selector!r})?.getBoundingClientRect()"
        middle = f"(box => box && [box.x + box.width / 2, box.y + box.height / 2])({box})"
        x, y = self.until(middle, f"{selector} is there")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def open(self, url: str) -> None:
        """Another page in the same tab, once it is loaded."""
        self.command("Page.navigate", url=url)
        self.until(f"location.href === {url!r} && document.readyState === 'complete'", f"{url} is loaded")

    def seen(self, width: int, scheme: str) -> Image.Image:
        """What is seen in a window that wide, where the system prefers a colour scheme (light, dark)."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < _PHONE}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])
        self.until(f"innerWidth === {width}", f"it is {width} wide")
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    def type(self, text: str) -> None:
        """As from a keyboard, into what has the focus."""
        self.command("Input.insertText", text=text)

    def shift_enter(self) -> None:
        """The key that runs a cell."""
        key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "modifiers": _SHIFT}
        for kind in ("rawKeyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, **key)


@contextmanager
def chromium(command: str, url: str) -> Iterator[Page]:
    """A browser with nothing but this page; its profile goes with it."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1600,1200",
        ]
        browser = subprocess.Popen(
            [command, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile, "DevToolsActivePort"), browser)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=DEADLINE_S) as answer:
                (target,) = [each for each in json.loads(answer.read()) if each["type"] == "page"]
            address = target["webSocketDebuggerUrl"]
            socket = websocket.create_connection(address, timeout=DEADLINE_S, suppress_origin=True)
            try:
                page = Page(socket)
                page.command("Page.navigate", url=url)
                yield page
            finally:
                socket.close()
        finally:
            browser.terminate()
            try:
                browser.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()


def _port(file: Path, browser: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and browser.poll() is None:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser did not come up")
