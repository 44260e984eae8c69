"""Which kernel a process that stands by can become: one for whose client nothing differs that it has read already."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kernel_supervisor.core.model import Interpreter

SETTING = "KERNEL_SUPERVISOR_PREWARM"
"""A client's variable; with 0 its kernels are started cold, and none stands by for them."""
_READ = re.compile(
    # by the loader and the C library
    r"LD_|DYLD_|GLIBC_|MALLOC|GCONV_PATH$|LOCPATH$|NLSPATH$|RES_OPTIONS$|LOCALDOMAIN$|HOSTALIASES$|LANG|LC_|TZ"
    # by Python, and what is run at each of its starts
    r"|_?PYTHON|_ARC_DEBUG$|_?VIRTUAL|CONDA|COV|SETUPTOOLS|DISTUTILS|HOME$|USER|LOGNAME$|TE?MP|XDG_(CONFIG|DATA|CACHE|STATE)_|SSL"
    r"|OPENSSL|SQLITE|TERM$|COLORTERM$|NO_COLOR$|FORCE_COLOR$|COLUMNS$|LINES$|DISPLAY$|ANDROID"
    # by what a kernel imports
    r"|I?PYTHON|IPY|JUPYTER|JPY|PYZMQ|ZMQ|TORNADO|TRAITLETS|PYDEV|PYCHARM|DEBUG|PATHS_FROM|GEVENT|IN_SPHINX_RUN$|_ARGCOMP"
    # by libraries of numbers and figures, once they are loaded; some look at what their process was started with
    r"|OMP_|GOMP_|KMP_|MKL|OPENBLAS|GOTO|BLIS|VECLIB|NUMEXPR|NUMBA|CUDA|NVIDIA|MPL"
)
"""What the names of variables begin with that are read before a spare knows which kernel it is to be. PATH is not among
them: only `uname` is looked for in it."""


def can_stand_by(interpreter: Interpreter, env: Mapping[str, str]) -> bool:
    """Whether a process may stand by for kernels like this one: what each start searches first may hold anything."""
    own_command = any("{" in part for part in interpreter.argv)
    return not own_command and interpreter.argv[0].startswith("/") and wanted(env) and not env.get("PYTHONPATH")


def wanted(env: Mapping[str, str]) -> bool:
    """Whether a client wants any to stand by."""
    return env.get(SETTING, "").strip() != "0"


def read_early(env: Mapping[str, str]) -> dict[str, str]:
    """The variables in which no kernel may differ from the process that becomes it."""
    return {name: value for name, value in env.items() if _READ.match(name)}
