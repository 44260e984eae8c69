"""What a program meets that starts a supervised kernelspec's command by itself: the way that works."""

from __future__ import annotations

import sys

sys.exit(
    "This kernel is started through a kernel provisioner of Jupyter's, which this program does not use (VS Code's own "
    "starter is one of them). Run `kernel-supervisor jupyterlab` and connect to it as an existing Jupyter server."
)
