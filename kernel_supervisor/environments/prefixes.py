"""What the files of one prefix say about it, remembered while they stay the same. Nothing is run."""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from kernel_supervisor.environments.model import OLDEST_PYTHON
from kernel_supervisor.paths import children, open_regular

_LIBRARY = re.compile(r"(?:python|pypy)(\d+\.\d+)t?$")
_CONDA_PYTHON = re.compile(r"python-(\d+\.\d+\.\d+)[^-]*-[^-]+\.json$")
_IPYKERNEL = re.compile(r"ipykernel-([^-]+?)(?:-py\d.*)?\.(?:dist-info|egg-info)$")
_PATCHLEVEL = re.compile(r'#define\s+PY_VERSION\s+"([\w.]+)', re.ASCII)
_MACH_O = (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_FOREIGN = (b"\x7fELF",) if sys.platform == "darwin" else _MACH_O
_SETTLED_NS = 2_000_000_000
_REMEMBERED = 4096

_Form = Literal["conda", "venv", "plain"]
_Stamp = tuple[int, int, int] | None
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What stands in a prefix."""

    form: _Form
    python: str
    python_version: str
    ipykernel: str
    packages: tuple[str, ...]
    """The folders that its interpreter imports packages from, as far as files tell."""
    broken: str
    made_by_uv: bool
    prompt: str
    """The name that a virtual environment gives itself."""
    base: bool
    """Whether it is a conda installation's own environment."""


_remembered: dict[tuple[str, ...], tuple[dict[str, _Stamp], Any]] = {}


def remember(key: tuple[str, ...], compute: Callable[[], tuple[_T, Iterable[str]]]) -> _T:
    """`compute`'s value, computed anew when one of the paths it names beside it has changed.

    A path counts as changed by its modification time, size and inode, links followed. What changed less than
    two seconds before it was read is not remembered: a second change could leave the same time behind.
    """
    known = _remembered.get(key)
    if known is not None and all(_stamp(path) == stamp for path, stamp in known[0].items()):
        value: _T = known[1]
        return value
    began = time.time_ns()
    value, paths = compute()
    stamps = {path: _stamp(path) for path in paths}
    if all(stamp is None or began - stamp[0] > _SETTLED_NS for stamp in stamps.values()):
        if len(_remembered) >= _REMEMBERED:
            _remembered.clear()
        _remembered[key] = (stamps, value)
    return value


def _stamp(path: str) -> _Stamp:
    try:
        seen = os.stat(path)
    except (OSError, ValueError):
        return None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def contents(prefix: str, *, python: str = "", user_base: str = "") -> Contents | None:
    """What stands in `prefix`, or None where it is no environment (any more). Never raises.

    `python` names its interpreter where that is not `bin/python`; `user_base` is the folder of the user's own
    packages (`~/.local`), empty where they do not count.
    """
    if not os.path.isdir(prefix):
        return None
    return remember(("prefix", prefix, python, user_base), lambda: _read(prefix, python, user_base))


def prefix_of(python: str) -> str:
    """The prefix of the interpreter at `python`, empty where it belongs to none that can be told from files.

    A virtual or conda environment is recognised by where the path stands, others by where its links lead.
    """
    if not python:
        return ""
    outer = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    if os.path.isfile(os.path.join(outer, "pyvenv.cfg")) or os.path.isdir(os.path.join(outer, "conda-meta")):
        return outer
    try:
        real = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    except (OSError, ValueError):
        return ""
    return real if _libraries(real, whole=True) else ""


def tool_of(prefix: str) -> str:
    """What keeps `prefix` for one tool, so that no person works in it (`pipx`, `uv tool`, `uvx`, …); empty for nothing.

    Seen in what these tools write: pipx keeps `pipx_metadata.json` in `…/pipx/venvs/NAME` and runs
    uninstalled tools from `…/pipx/HASH`; `uv tool install` leaves `uv-receipt.toml`; uvx, `uv run --with`
    and `uv run SCRIPT` use folders of uv's cache (`archive-v0`, `builds-v0`, `environments-v2`); pixi
    installs global tools under `.pixi/envs` beside `.pixi/manifests` and runs others from `cached-envs-v0`.
    """
    folder = Path(os.path.abspath(prefix))
    signs = {
        "pipx": os.path.isfile(folder / "pipx_metadata.json") or _under(folder, "pipx", "venvs"),
        "pipx run": folder.parent.name == "pipx" or _under(folder, "pipx", ".cache"),
        "uv tool": os.path.isfile(folder / "uv-receipt.toml"),
        "uvx": folder.parent.name.startswith(("archive-v", "builds-v", "environments-v")),
        "pixi global": folder.parent.name == "envs" and os.path.isdir(folder.parent.parent / "manifests"),
        "pixi exec": folder.parent.name.startswith("cached-envs-v"),
    }
    return next((tool for tool, seen in signs.items() if seen), "")


def read_text(path: str | os.PathLike[str]) -> str:
    """The beginning of a regular file's text, undecodable bytes kept as surrogates; empty where it cannot be read."""
    try:
        with os.fdopen(open_regular(os.fspath(path)), encoding="utf-8", errors="surrogateescape") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return ""


def _under(folder: Path, *parents: str) -> bool:
    return folder.parts[-len(parents) - 1 : -1] == parents


def _read(prefix: str, python: str, user_base: str) -> tuple[Contents | None, list[str]]:
    config, history = os.path.join(prefix, "pyvenv.cfg"), os.path.join(prefix, "conda-meta")
    python = python or os.path.join(prefix, "bin", "python")
    if not os.path.lexists(python) and os.path.lexists(python + "3"):
        python += "3"
    watched = [prefix, config, history, python, os.path.join(prefix, "lib")]
    settings = _settings(config)
    form: _Form = "conda" if os.path.isdir(history) else "venv" if os.path.isfile(config) else "plain"
    library = _library(prefix, python, whole=form == "plain")
    if form == "plain" and not library:
        return None, watched
    minor = _LIBRARY.sub(r"\1", library)
    version = _version(prefix, library, settings, history if form == "conda" else "") or minor
    packages = _package_folders(prefix, library, settings, user_base) if library else []
    read = Contents(
        form=form,
        python=python if os.path.lexists(python) else "",
        python_version=version,
        ipykernel=_ipykernel(packages),
        packages=tuple(packages),
        broken=_fault(python, version),
        made_by_uv="uv" in settings,
        prompt=settings.get("prompt", "").strip("'\""),
        base=os.path.isdir(os.path.join(prefix, "condabin")) or os.path.isfile(os.path.join(prefix, "bin", "conda")),
    )
    return read, [*watched, *packages]


def _settings(config: str) -> dict[str, str]:
    """`pyvenv.cfg` as https://docs.python.org/3/library/site.html describes it, keys in lower case."""
    pairs = (line.partition("=") for line in read_text(config).splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _libraries(prefix: str, *, whole: bool) -> list[str]:
    """Names of the standard library folders in `prefix`; with `whole` only those that hold a library."""
    library = os.path.join(prefix, "lib")
    names = [name for name in children(library) if _LIBRARY.match(name)]
    return [name for name in names if not whole or os.path.isfile(os.path.join(library, name, "os.py"))]


def _library(prefix: str, python: str, *, whole: bool) -> str:
    names = _libraries(prefix, whole=whole)
    called = os.path.basename(os.path.realpath(python))
    if called in names:
        return called
    return max(names, key=lambda name: _numbers(_LIBRARY.sub(r"\1", name)), default="")


def _version(prefix: str, library: str, settings: dict[str, str], history: str) -> str:
    told = settings.get("version") or settings.get("version_info", "")
    if told:
        return ".".join(told.split(".")[:3])
    if history:
        found = (_CONDA_PYTHON.match(name) for name in children(history))
        return next((match.group(1) for match in found if match), "")
    match = _PATCHLEVEL.search(read_text(os.path.join(prefix, "include", library, "patchlevel.h")))
    return match.group(1) if match else ""


def _package_folders(prefix: str, library: str, settings: dict[str, str], user_base: str) -> list[str]:
    folders = [os.path.join(prefix, lib, library, "site-packages") for lib in ("lib", "lib64")]
    if settings.get("include-system-site-packages", "").lower() == "true":
        folders += _package_folders(os.path.dirname(settings.get("home", "")), library, {}, user_base)
    elif "home" not in settings:
        folders += [os.path.join(prefix, "lib", name, "dist-packages") for name in ("python3", library)]
        if prefix == "/usr":  # Debian's site module adds it to what /usr's interpreters search
            folders.append(os.path.join("/usr/local/lib", library, "dist-packages"))
        if user_base:
            folders.append(os.path.join(user_base, "lib", library, "site-packages"))
    return list(dict.fromkeys(folders))


def _ipykernel(packages: list[str]) -> str:
    for folder in packages:
        found = [match.group(1) for name in children(folder) if (match := _IPYKERNEL.match(name))]
        if found and os.path.isfile(os.path.join(folder, "ipykernel_launcher.py")):
            return max(found, key=_numbers)
    return ""


def _fault(python: str, version: str) -> str:
    try:
        seen = os.stat(python)
    except FileNotFoundError:
        gone = os.path.islink(python)
        return f"its interpreter is gone: {os.path.realpath(python)}" if gone else "there is no Python in it"
    except (OSError, ValueError) as error:
        return f"its interpreter cannot be reached: {error}"
    if not stat.S_ISREG(seen.st_mode) or not seen.st_size or not os.access(python, os.X_OK):
        return f"its interpreter cannot be run: {python}"
    if _is_foreign(python):
        return f"its interpreter was made for another operating system: {python}"
    if version and _numbers(version)[:2] < OLDEST_PYTHON:
        return f"Python {version} is too old: kernels need {'.'.join(map(str, OLDEST_PYTHON))} or later"
    return ""


def _is_foreign(python: str) -> bool:
    """Whether it is a program of macOS on Linux, or the other way round: folders are synchronised and mounted."""
    try:
        with os.fdopen(open_regular(python), "rb") as file:
            return file.read(4) in _FOREIGN
    except (OSError, ValueError):
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
