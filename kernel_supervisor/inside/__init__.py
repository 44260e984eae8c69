"""What runs inside kernels, in interpreters that know nothing of this package. Its laws, which tests check:

nothing of ours is imported, and nothing but the standard library and what every kernel has (ipykernel, zmq); what user
code has imported is looked up where it is; every file parses as Python 3.8; whatever goes wrong, the kernel goes on.

The rest of the package reads these files (`source`) and takes constants from them; it runs none of them.
"""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = str(Path(__file__).with_name("checkpoints"))
"""The folder with what saves variables: a kernel is told of it with each request for that."""


def source(name: str) -> Path:
    """The file of a module that is started or taught to a kernel."""
    return Path(__file__).with_name(f"{name}.py")
