"""What Jupyter's own programs are told of our kernels: connection files whose sockets are links to the real ones.

A server takes a published kernel to run our kernelspec, whose provisioner refuses to start a stray one.
A KernelManager removes the socket files of a kernel that it lets go of, and one that restarts a kernel which it did
not start binds a stray one in their place. Both then hit links: the kernel's own sockets stay what they are.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.kernels.connection import PORTS, read_connection
from kernel_supervisor.kernelspecs import KERNELSPEC
from kernel_supervisor.paths import Paths, children


def link(record: KernelRecord, paths: Paths, name: str = "") -> dict[str, Any]:
    """Connection information with links of its own, called `name` if given. Raises OSError, ValueError."""
    connection = read_connection(Path(record.connection_file))
    if connection["transport"] != "ipc":  # nobody removes, or takes, what is no file
        return {**connection, "kernel_name": KERNELSPEC}
    alias = os.path.join(paths.links, f"{name or secrets.token_hex(6)}-ipc")
    for port in PORTS:
        number = connection[port]
        fresh = Path(f"{alias}-{number}.{secrets.token_hex(4)}")
        fresh.symlink_to(f"{connection['ip']}-{number}")
        fresh.replace(f"{alias}-{number}")
    return {**connection, "ip": alias, "kernel_name": KERNELSPEC}


def publish(record: KernelRecord, paths: Paths) -> None:
    """Put a kernel where a server with `external_connection_dir` finds it. Blocks on files; raises as `link`."""
    connection = link(record, paths, record.id)
    if record.interpreter.language != "python":
        connection["kernel_name"] = f"{KERNELSPEC}-{record.interpreter.language}"
    fresh = Path(paths.shared, f".{record.id}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(connection, file, indent=1)
    fresh.replace(Path(paths.shared, f"{record.id}.json"))


def withdraw(paths: Paths) -> None:
    """Remove what leads nowhere any more: files of kernels that are gone, links that anybody left behind."""
    published = [path for path in _entries(paths.shared) if path.suffix == ".json"]
    gone = [path for path in published if not Path(paths.connections, path.name).exists()]
    for path in (*gone, *(path for path in _entries(paths.links) if not path.exists())):
        with contextlib.suppress(OSError):
            path.unlink()


def _entries(folder: str) -> list[Path]:
    return [Path(folder, name) for name in children(folder)]
