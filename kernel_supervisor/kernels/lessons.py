"""What kernels are taught that our recorder did not start: what of `inside` is not in them yet."""

from __future__ import annotations

import contextlib
from typing import Any

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.inside import source
from kernel_supervisor.kernels.keeper import OpenChannels

_LESSONS = ("coroutines", "lookup", "questions", "place")
_AS_LONG_AS_IT_TAKES_S = 30 * 86_400.0


async def teach(channels: OpenChannels) -> str:
    """Give a Python kernel what is not in it yet, without a trace in its history.

    It has that once it is idle; until then looking is not answered. All in one request, since some ipykernels do not
    bear two at a time. The version of its ipykernel, empty where a connection broke before the kernel told it.
    """
    content = silent(" or ".join(map(_lesson, _LESSONS)), version="__import__('ipykernel').__version__")
    with contextlib.suppress(TimeoutError, UnavailableError):
        reply = await channels.ask("shell", "execute_request", content, _AS_LONG_AS_IT_TAKES_S)
        said = (reply.get("user_expressions") or {}).get("version") or {}
        return str((said.get("data") or {}).get("text/plain") or "").strip("'")
    return ""


async def learn(channels: OpenChannels, name: str, deadline_s: float) -> None:
    """Give an idle Python kernel one of our modules. Raises UnavailableError."""
    try:
        await channels.ask("shell", "execute_request", silent(_lesson(name)), deadline_s)
    except TimeoutError:
        raise UnavailableError(f"the kernel did not answer within {deadline_s:g} s") from None


def silent(code: str, **expressions: str) -> dict[str, Any]:
    """An execute_request that leaves no trace in the history, in `_` or in the execution count."""
    return {
        "code": code,
        "silent": True,
        "store_history": False,
        "user_expressions": expressions,
        "allow_stdin": False,
    }


def _lesson(name: str) -> str:
    """An expression that installs one of our modules in a kernel; its value is None."""
    text = source(name).read_text()
    return (
        f"(lambda ns: (exec(compile({text!r}, '<kernel-supervisor>', 'exec'), ns), "
        f"ns['install'](get_ipython().kernel)) and None)({{'__name__': '_kernel_supervisor_{name}'}})"
    )
