"""What a kernel cannot do because of the ipykernel that it runs."""

from __future__ import annotations

import re

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.environments.prefixes import contents
from kernel_supervisor.paths import children

_LACKS = {
    5: "it answers nothing while a cell runs: looking at variables waits for its end",
    6: "it has no subshells: a second client's completion and inspection wait for the running cell",
}
_WEDGES = (
    "two requests at the same time can stop it from answering: where a person works in it too (JupyterLab, a console), "
    "upgrade ipykernel to 7.4 or later; an interrupt gets it going again"
)


def ipykernel_of(record: KernelRecord) -> str:
    """The version of the ipykernel that a kernel runs; empty where that is not known. Blocks on files."""
    if record.ipykernel:
        return record.ipykernel
    if record.overlay:
        found = [re.fullmatch(r"ipykernel-(.+)\.dist-info", name) for name in children(record.overlay)]
        return next((match[1] for match in found if match), "")
    argv = record.interpreter.argv
    if not record.recorded or not record.interpreter.prefix or not argv:
        return ""
    seen = contents(record.interpreter.prefix, python=argv[0])
    return seen.ipykernel if seen is not None else ""


def lacks(version: str) -> str:
    """What that version cannot do, in words; empty where it lacks nothing."""
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    if len(numbers) < 2:
        return ""
    if numbers[0] == 7:
        return _WEDGES if numbers[1] < 4 else ""
    return _LACKS[min(max(numbers[0], 5), 6)] if numbers[0] < 7 else ""


def advice_on(record: KernelRecord) -> str:
    """One sentence for those who work in this kernel; empty where there is nothing to say. Blocks on files."""
    version = ipykernel_of(record)
    missing = lacks(version)
    return f"ipykernel {version}: {missing}" if missing else ""
