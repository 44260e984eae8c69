"""Projects whose files have the names of modules, each of which notes down who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import Home

MODULES = (
    *("random", "secrets", "email", "token", "types", "queue", "logging", "ssl", "json", "asyncio", "socket", "select"),
    *("signal", "struct", "typing", "dataclasses", "enum", "copy", "string", "code", "platform", "resource", "uuid"),
    *("calendar", "numbers", "operator", "tempfile", "abc", "argparse", "base64", "collections", "concurrent", "fcntl"),
    *("datetime", "functools", "glob", "hashlib", "heapq", "html", "http", "importlib", "inspect", "io", "locale"),
    *("pathlib", "pickle", "posixpath", "pwd", "re", "runpy", "selectors", "shlex", "shutil", "site", "sqlite3"),
    *("statistics", "subprocess", "test", "textwrap", "threading", "time", "tokenize", "traceback", "tty", "urllib"),
    *("warnings", "weakref", "xml", "zipfile", "__future__", "_socket", "encodings", "sitecustomize", "usercustomize"),
)
PACKAGES = (
    *("mcp", "mcp_types", "anyio", "zmq", "jupyter_client", "jupyter_core", "pydantic", "pydantic_core", "psutil"),
    *("traitlets", "tornado", "nbformat", "nbconvert", "jinja2", "jsonschema", "PIL", "tabulate", "pypandoc", "typst"),
    *("IPython", "ipykernel", "comm", "dateutil", "httpx", "starlette", "jupyterlab", "jupyter_server", "pip"),
    *("jupyter_console", "kernel_supervisor", "mcp_shim"),
)
_IMPORTED = [sys.executable, "-I", "-W", "error", "-c", "import re, sys; print(*sys.modules)"]
BEFORE_US = {
    *subprocess.run(_IMPORTED, capture_output=True, text=True, check=True).stdout.split(),
    *("sitecustomize", "usercustomize", "kernel_supervisor", "mcp_shim"),
}
"""What interpreters and installers' scripts import before a console script can do anything, and the script itself."""


@dataclass(frozen=True)
class Shadows:
    """A project full of such files."""

    folder: Path
    marker: Path

    def lay(self, *names: str) -> None:
        """Files for `names`, folders for those of packages."""
        for name in names:
            package = self.folder / name
            if name in PACKAGES:
                package.mkdir()
            (package / "__init__.py" if name in PACKAGES else self.folder / f"{name}.py").write_text(self._code(name))

    def _code(self, name: str) -> str:
        """Even `os` and `sys` may be shadows: what every interpreter has built in."""
        return (
            "import posix, sys\n"
            f"_line = ({name!r} + ' ' + ' '.join(sys.orig_argv) + chr(10)).encode()\n"
            f"posix.write(posix.open({str(self.marker)!r}, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND), _line)\n"
        )

    def variables(self) -> dict[str, str]:
        """Each variable by which an interpreter could be led here."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site = self.folder / "lib" / version / "site-packages"
        site.mkdir(parents=True, exist_ok=True)
        (site / "led.pth").write_text(f"import sys; exec({self._code('a .pth file')!r})\n")
        (self.folder / "start.py").write_text(self._code("the start-up file"))
        here = str(self.folder)
        return {
            "PYTHONPATH": f"{here}{os.pathsep}{os.pathsep}.",
            "PYTHONSTARTUP": str(self.folder / "start.py"),
            "PYTHONHOME": here,
            "PYTHONUSERBASE": here,
            "PYTHONWARNINGS": "error",
            "PYTHONOPTIMIZE": "2",
            "PYTHONINSPECT": "1",
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run_outside_kernels(self) -> list[str]:
        """What was run in another process than a kernel, by which command."""
        lines = self.marker.read_text().splitlines() if self.marker.exists() else []
        return [line for line in lines if "inside/recorder.py" not in line]


def registered(home: Home) -> list[str]:
    """The command that `register` writes down."""
    done = home.cli("register", "--print")
    assert done.returncode == 0, done.stderr
    document, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("\n{") + 1 :])
    (server,) = document["mcpServers"].values()
    return [server["command"], *server["args"]]


def script(name: str) -> str:
    """The console script, as it is installed."""
    return os.path.join(os.path.dirname(sys.executable), name)
