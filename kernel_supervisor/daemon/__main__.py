"""Detaches before anything is imported, if it was told to, and runs the daemon."""

from __future__ import annotations

import os
import sys


def detach() -> None:
    """Fork away from whoever started us, into a session of our own. The starter's child ends at once."""
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.chdir("/")


if __name__ == "__main__":
    if "--detach" in sys.argv:
        detach()
    from kernel_supervisor.daemon.main import main  # after detaching: the starter waits for that alone

    sys.exit(main(service="--service" in sys.argv))
