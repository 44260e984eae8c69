"""Variables of kernels that others share or start again: whose win, and which differ. Names are told, values never."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from kernel_supervisor.environments.activation import Variables, activate, left, of_an_environment
from kernel_supervisor.environments.model import Environment

_ALWAYS_DIFFERENT = re.compile(
    r"(PWD|OLDPWD|SHLVL|_|WINDOWID)$|TERM|SSH_|CLAUDE|CODEX|DBUS|XDG_SESSION|KERNEL_SUPERVISOR"
)
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
_ACTIVATION_S = 10.0


def inherited(had: Mapping[str, str], asked: Mapping[str, str]) -> Variables:
    """What a kernel gets that had `had` and is started again for a client with `asked`; no environment is active in it.

    The client's value wins where it has one, and nothing is lost where it has none; PATH has what is on either, the
    client's first. Blocks as `activate`.
    """
    before, now = left(had), left(_said(asked))
    path = dict.fromkeys(entry for each in (now, before) for entry in each.get("PATH", "").split(os.pathsep) if entry)
    return {**before, **now, **({"PATH": os.pathsep.join(path)} if path else {})}


def different(had: Mapping[str, str], asked: Mapping[str, str]) -> set[str]:
    """The variables that both have, with different values; without what differs between any two clients."""
    before, now = _said(had), _said(asked)
    names = {name for name in before.keys() & now.keys() if before[name] != now[name]}
    return {name for name in names if not (_ALWAYS_DIFFERENT.match(name) or of_an_environment(name))}


def _said(variables: Mapping[str, str]) -> Variables:
    """Without what Python itself makes of the C locale before anybody can look: nobody said it (PEP 538)."""
    locale = variables.get("LC_ALL") or variables.get("LANG", "C")
    coerced = variables.get("LC_CTYPE") in _COERCED and locale in ("", "C", "POSIX")
    return {name: value for name, value in variables.items() if not (coerced and name == "LC_CTYPE")}


def set_by_activation(environment: Environment | None) -> set[str]:
    """The variables that are an environment's doing. Blocks as `activate`, and raises as that does."""
    if environment is None:
        return set()
    return set(activate(environment, {"PATH": os.defpath}, deadline=_ACTIVATION_S))
