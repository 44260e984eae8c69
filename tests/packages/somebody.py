"""Somebody else on this machine, whose home goes with the test: an ordinary user, also where root runs the tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_NOBODY = 65534
_INSTALLS_S = 300.0
_INDEX = re.compile(
    r"(PIP|UV)_\w*(INDEX|LINKS|CERT|HOST|PROXY|TIMEOUT|CONSTRAINT|TLS)\w*"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|\w+_PROXY",
    re.IGNORECASE,
)
"""Variables that say where packages are found, and no more: others name folders of whoever runs the tests."""

_CONFIGURED = {
    "PIP_CONFIG_FILE": [os.environ.get("PIP_CONFIG_FILE", ""), "~/.config/pip/pip.conf", "~/.pip/pip.conf"],
    "UV_CONFIG_FILE": [os.environ.get("UV_CONFIG_FILE", ""), "~/.config/uv/uv.toml"],
}
"""Files that say the same, by the variables that name them: an ordinary user cannot read root's."""


@dataclass(frozen=True)
class Somebody:
    """A user who has no rights but an ordinary one's, in a home where nothing is yet."""

    home: Path
    python: str
    """A Python that this user can run."""
    shared: Path
    """What does not have to be fetched for each home, and what says from where it is fetched."""

    @property
    def env(self) -> dict[str, str]:
        """What a login gives, the way to the package index, and a supervisor of their own."""
        index = {name: value for name, value in os.environ.items() if _INDEX.fullmatch(name)}
        index |= {name: str(file) for name in _CONFIGURED if (file := self.shared / name).exists()}
        return index | {
            "HOME": str(self.home),
            "PATH": f"{self.home}/.local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "KERNEL_SUPERVISOR_HOME": str(self.home / "supervisor"),
            "PIP_CACHE_DIR": str(self.shared / "pip"),
            "UV_CACHE_DIR": str(self.shared / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    @staticmethod
    def command(*words: str) -> list[str]:
        """What runs `words` as this user; by way of `env`, since setpriv itself finds programs with root's rights."""
        if os.geteuid() != 0:
            return list(words)
        return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "env", *words]

    def does(self, *words: str) -> str:
        """What a command says that must not fail, run in the home."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=_INSTALLS_S,
            check=False,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def gets(self, file: Path) -> str:
        """A file of ours, where this user can read it."""
        return str(_given(shutil.copy(file, self.home)))

    @contextmanager
    def anew(self) -> Iterator[Somebody]:
        """The same user, as if for the first time here."""
        home = _given(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))  # a path that is short enough for sockets
        try:
            yield replace(self, home=home)
        finally:
            shutil.rmtree(home)


@contextmanager
def somebody() -> Iterator[Somebody]:
    """A user; nothing is left of them."""
    shared = _given(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    try:
        for name, places in _CONFIGURED.items():
            if found := next(filter(os.path.isfile, map(os.path.expanduser, places)), None):
                _given(shutil.copyfile(found, shared / name))
        yield Somebody(shared, _runnable_python(), shared)
    finally:
        shutil.rmtree(shared)


def _given(path: Path | str) -> Path:
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)
    return Path(path)


def _runnable_python() -> str:
    """A Python that an ordinary user can make environments with: the tests' own may stand in root's home."""
    names = [f"python3.{minor}" for minor in range(20, 9, -1)]
    there = [os.path.join(folder, name) for folder in ("/usr/local/bin", "/usr/bin") for name in names]
    candidates = [os.path.realpath(sys.executable), *filter(os.path.exists, there)]
    for candidate in candidates:
        asked = Somebody.command(candidate, "-I", "-c", "import ensurepip, venv")
        if subprocess.run(asked, cwd="/", capture_output=True, check=False).returncode == 0:
            return candidate
    raise AssertionError(f"an ordinary user can run none of {candidates} with venv: Debian has it as python3-venv")
