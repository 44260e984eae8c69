"""How long it takes to list 100 environments and 50 kernelspecs. Bounds: 500 ms cold, 50 ms warm."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

PACKAGES = 250
WARM_ROUNDS = 20


def main() -> int:
    """Print the figures; exit 1 where one is past its bound."""
    with tempfile.TemporaryDirectory() as top:
        home = Path(top)
        for number in range(50):
            _conda(home / "miniconda3" / "envs" / f"conda{number}")
            _venv(home / ".virtualenvs" / f"venv{number}")
            _kernelspec(home / "jupyter" / "kernels" / f"k{number}")
        began = time.perf_counter()
        from kernel_supervisor.environments.discovery import discover  # the import is measured, too
        from kernel_supervisor.environments.model import Where

        imported = _ms(began)
        environ = {**os.environ, "HOME": top, "JUPYTER_PATH": str(home / "jupyter")}
        where = Where(environ=environ, home=home, directory=home, shim_python=sys.executable)
        times = []
        for _ in range(WARM_ROUNDS + 1):
            began = time.perf_counter()
            found = discover(where)
            times.append(_ms(began))
    cold, warm = times[0], statistics.median(times[1:])
    kinds = ", ".join(f"{sum(e.kind == kind for e in found)} {kind}" for kind in sorted({e.kind for e in found}))
    print(f"{len(found)} environments ({kinds})")
    worst = f"worst of {WARM_ROUNDS}: {max(times[1:]):.1f}"
    print(f"import {imported:.0f} ms, cold {cold:.0f} ms, warm {warm:.1f} ms ({worst})")
    return 0 if cold <= 500 and warm <= 50 else 1


def _ms(began: float) -> float:
    return (time.perf_counter() - began) * 1000


def _interpreter(prefix: Path) -> None:
    packages = prefix / "lib" / "python3.12" / "site-packages"
    packages.mkdir(parents=True)
    for number in range(PACKAGES):
        (packages / f"package{number}").mkdir()
        (packages / f"package{number}-1.{number}.dist-info").mkdir()
    (packages / "ipykernel-6.29.5.dist-info").mkdir()
    (packages / "ipykernel_launcher.py").touch()
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").write_text("#!/bin/sh\n")
    (prefix / "bin" / "python").chmod(0o755)
    for path in (prefix, *prefix.rglob("*")):
        os.utime(path, (1e9, 1e9))


def _conda(prefix: Path) -> None:
    (prefix / "conda-meta").mkdir(parents=True)
    for number in range(PACKAGES):
        (prefix / "conda-meta" / f"package{number}-1.0-h0_0.json").touch()
    (prefix / "conda-meta" / "python-3.12.1-h0_0_cpython.json").touch()
    _interpreter(prefix)


def _venv(prefix: Path) -> None:
    prefix.mkdir(parents=True)
    (prefix / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.1\n")
    _interpreter(prefix)


def _kernelspec(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": ["sh", "{connection_file}"], "language": "sh"}))
    os.utime(folder / "kernel.json", (1e9, 1e9))


if __name__ == "__main__":
    sys.exit(main())
