"""Whether a daemon, its clients and what is installed are of one version."""

from __future__ import annotations

import re
from pathlib import Path

import kernel_supervisor
from kernel_supervisor import __version__

_FILE = Path(kernel_supervisor.__file__)


def differences(client: str = __version__) -> str:
    """What to tell somebody whose version is `client`; empty where all are the same. Blocks on the disk."""
    try:
        found = re.search(r'^__version__ = "(.*)"', _FILE.read_text("utf-8"), re.MULTILINE)
        installed = found[1] if found else "not known"
    except OSError:
        gone = f"the package that the daemon runs from is gone from {_FILE.parent}: what it starts next will fail"
        return f"{gone}. Install it again, then `kernel-supervisor restart-daemon`; kernels live on"
    others = {"this client": client, "the installed package": installed}
    differing = [f"{who} is version {version}" for who, version in others.items() if version != __version__]
    if not differing:
        return ""
    return f"{' and '.join(differing)}, the daemon {__version__}: `kernel-supervisor restart-daemon` starts the new one"
