"""Which kinds of kernels there are: a class for each, asked in this order; the last keeps whatever no other does."""

from __future__ import annotations

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.kernels.attached import Attached
from kernel_supervisor.kernels.keeper import Keeper
from kernel_supervisor.kernels.local import Local
from kernel_supervisor.kernels.placed import Placed
from kernel_supervisor.kernels.served import Served

_KINDS: tuple[type[Keeper], ...] = (
    Served,
    Placed,
    Attached,
    Local,
)


def kind_of(record: KernelRecord) -> type[Keeper]:
    """What keeps the kernel of this record, or is to."""
    return next(kind for kind in _KINDS if kind.keeps(record))


def way_around(record: KernelRecord) -> WayOn:
    """What a session can do whose kernel it is, while it does not answer."""
    return WayOn("end kernel" if kind_of(record).here else "leave kernel")
