"""Promise: drawings of a kernel are pictures, with each version of what draws them that our extra admits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.ipykernels import built

DRAW = """
import io, json, sys
import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt
from PIL import Image
from kernel_supervisor.mcp.images import prepare

plt.imshow([[0, 1], [1, 0]], cmap="autumn")
out = io.BytesIO()
plt.savefig(out, format="svg")
drawn = prepare(out.getvalue(), "image/svg+xml")
assert not isinstance(drawn, str), drawn
pixels = Image.open(io.BytesIO(drawn.data)).convert("RGB")
middle = pixels.width // 2, pixels.height // 3
found = [pixels.getpixel((middle[0] + aside, middle[1])) for aside in (-50, 50)]
for odd in sys.argv[1:]:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">{odd}<circle r="9"/></svg>'
    prepare(svg.encode(), "image/svg+xml")
print(json.dumps(found))
"""


def _admitted() -> list[str]:
    """The oldest and the newest version that our extra admits."""
    found = re.search(r'^svg = \["(cairosvg>=([\d.]+).*)"\]$', Path("pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return [f"cairosvg=={found[2]}", found[1]]


@pytest.mark.timeout(300)  # it is installed
@pytest.mark.parametrize("requirement", _admitted(), ids=["the oldest", "the newest"])
def test_a_drawing_is_a_picture_and_fetches_nothing(requirement: str) -> None:
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    (packages,) = built(sys.executable, requirement).glob("lib/python*/site-packages")
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        there = f"http://127.0.0.1:{server.server_address[1]}"
        odd = [
            f'<image href="{there}/image.png" width="9" height="9"/>',
            f"<style>@import url({there}/style.css);</style>",
            f'<use href="{there}/other.svg#part"/>',
        ]
        path = os.pathsep.join((str(packages), os.getcwd()))
        drawn = subprocess.run(
            [sys.executable, "-c", DRAW, *odd], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
        )
        server.shutdown()
    assert drawn.returncode == 0, drawn.stderr
    assert json.loads(drawn.stdout) == [[255, 0, 0], [255, 255, 0]], "an image within it is drawn, too"
    assert asked == []
