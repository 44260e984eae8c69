"""What is not saved: what `getpass()` returned, what variables of the environment hold, what names say is secret."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

_NAMES = r"(?i)(passw|passphrase|secret|token|api_?key|access_?key|private_?key|credential|_pwd$|(^|_)(pat|auth)$)"
"""Variables of the environment whose values are looked for within texts, too. `PWD` is where the kernel was started."""
_HARMLESS = re.compile(
    r"(HOME|PATH|PWD|OLDPWD|TERM|COLORTERM|TERM_PROGRAM\w*|SHELL|USER|LOGNAME|USERNAME|HOSTNAME|HOSTTYPE|EDITOR|VISUAL|"
    r"PAGER|TZ|LANG|LANGUAGE|LC_\w+|LS_COLORS|DISPLAY|VIRTUAL_ENV\w*|CONDA_\w+|PYTHON\w+|MANPATH|LD_LIBRARY_PATH|"
    r"XDG_\w+|TMPDIR|JUPYTER_\w*(DIR|PATH)|IPYTHONDIR|MPLBACKEND|MPLCONFIGDIR|PKG_CONFIG_PATH|DEBIAN_FRONTEND|_)"
)
_PATHS = re.compile(r"(?:/[^/:\s]*)+(?::(?:/[^/:\s]*)+)*")
"""Values that are no secrets, whatever holds them: where a key is, is not the key."""
_PLACES = re.compile(r"(?i)(^|_)(file|path|dir|directory|folder)s?$|[a-z](file|path|dir)$")
_PLACE = re.compile(r"(~|\.{0,2}/|\w:[/\\]|[\w.-]+/)[^\n]*")
"""Variables whose names say that they hold a place, and what a place looks like."""
_KEPT_AT = re.compile(r"(/[^\n]*|(~|\.\.?)/[^\n]*|(s3a?|gs|gcs|abfss?|hdfs|file|dbfs)://[^\s@?]*)")
"""Places, where the name does not say that they are secret."""
_WITH_SUFFIX = re.compile(r"(/[^/:\n]+)*/[^/:\n]+\.[a-z]{1,5}")
"""A file by its path, however the variable is called."""
_PLAIN = re.compile(r"[\d\s.,:;/+*=_-]*|true|false|yes|no|none", re.IGNORECASE)
"""Values that are none where the name does not say so: numbers, switches."""
_RANDOM = re.compile(r"^(?=.*\d)(?=.*[A-Za-z])[\w+/=.~-]{16,}$|://[^/\s]*:[^/\s]*@")
"""Values that look as if they were keys, or addresses with a password."""
_NO_TEXT = (bool, int, float, complex, type(None), range)
_FEW = 20
_SHORT, _SHORT_SECRET = 8, 4
_TYPED = "getpass() returned it"


class Secrets:
    """What is secret in one kernel."""

    def __init__(self, patterns: Any, typed: Any = None) -> None:
        self.patterns = [each for each in map(_compiled, patterns or ()) if each is not None]
        self.salt: bytes = typed[0] if typed else b""
        self.digests: dict[int, set[bytes]] = typed[1] if typed else {}
        self.held: dict[str, str] = {}
        self.grave: dict[str, str] = {}
        self.within: dict[str, list[bytes]] = {}
        named = re.compile(_NAMES)
        variables = {**_environment(), **os.environ}
        harmless = {value for name, value in variables.items() if _HARMLESS.fullmatch(name)}
        for name, value in sorted(variables.items()):
            is_named = bool(named.search(name)) or self.is_named(name)
            if _HARMLESS.fullmatch(name) or _is_place(name, value, is_named) or (value in harmless and not is_named):
                continue
            if is_named and len(value) >= _SHORT_SECRET and value.lower() not in ("true", "false", "none"):
                self.held[value] = self.grave[value] = name
                if len(value) >= _SHORT:
                    self.within[name] = [value.encode(code, "surrogateescape") for code in ("utf-8",)]
                    self.within[name].append(value.encode("utf-32-le", "surrogatepass"))
            elif not (len(value) < _SHORT or _PLAIN.fullmatch(value)):
                self.held.setdefault(value, name)
                if _RANDOM.search(value):
                    self.grave.setdefault(value, name)

    def is_named(self, name: str) -> bool:
        """Whether a variable's name says that it is one."""
        return any(pattern.search(name) for pattern in self.patterns)

    def is_one(self, name: str, value: Any) -> bool:
        """Whether a variable is one by its name. Numbers are none, whatever they are called, nor is much of anything:
        `max_tokens` and the tokens of a text are data."""
        kind = type(value)
        much = kind in (list, tuple, set, frozenset, dict) and len(value) > _FEW
        return self.is_named(name) and not (much or kind in _NO_TEXT or _is_array(kind))

    def refuse_whole(self, text: Any) -> str:
        """Why a variable that is a text or bytes must not be saved, in words; empty where it may be."""
        return self._refuse(text, self.held)

    def refuse(self, text: Any) -> str:
        """The same of a text in a larger value: a table that says `production` somewhere, as a variable of the
        environment does, is no secret."""
        return self._refuse(text, self.grave)

    def _refuse(self, text: Any, held: dict[str, str]) -> str:
        if isinstance(text, (bytes, bytearray)):
            try:
                text = bytes(text).decode("utf-8", "surrogateescape")
            except Exception:  # noqa: BLE001 - a subclass does what it likes
                return ""
        name = held.get(str.__str__(text))
        if name is not None:
            return "holds the value of %s, a variable of the environment" % name
        return "holds what was typed as a password (%s)" % _TYPED if self.was_typed(text) else ""

    def was_typed(self, text: str) -> bool:
        """Whether `getpass()` returned it, as `questions.py` remembers."""
        digests = self.digests.get(len(text), ())
        return bool(digests) and digest(self.salt, text) in digests

    def found_in(self, data: Any) -> str:
        """Whose value stands anywhere in bytes, in words; empty where nobody's does."""
        for name, forms in self.within.items():
            if any(form in data for form in forms):
                return "holds the value of %s, a variable of the environment" % name
        return ""


def _is_place(name: str, value: str, is_named: bool) -> bool:
    """Whether a variable says where something is: a file of that name, not what is in it. A key may begin with a slash,
    too."""
    if _PLACES.search(name) and _PLACE.fullmatch(value):
        return True
    if not is_named:
        return bool(_PATHS.fullmatch(value) or _KEPT_AT.fullmatch(value))
    return bool(_PATHS.fullmatch(value)) and (bool(_WITH_SUFFIX.fullmatch(value)) or os.path.exists(value))


def _is_array(kind: Any) -> bool:
    """Whether it is numbers, or a table: of a library's own class, whose name is read where nobody else answers."""
    name = type.__dict__["__module__"].__get__(kind)
    return type(name) is str and name.partition(".")[0] in ("numpy", "pandas", "polars", "pyarrow", "scipy", "torch")


def digest(salt: bytes, text: str) -> bytes:
    """What is remembered of a text that was typed."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=salt, digest_size=16).digest()


def _environment() -> dict[str, str]:
    """What this process was started with, whatever user code has taken away since."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (each.partition(b"=") for each in file.read().split(b"\0"))
        return {os.fsdecode(name): os.fsdecode(value) for name, is_pair, value in pairs if is_pair}


def _compiled(pattern: Any) -> Any:
    try:
        return re.compile(pattern)
    except (re.error, TypeError):  # somebody's own: the others hold
        return None
