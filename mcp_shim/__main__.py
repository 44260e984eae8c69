"""The shim: arguments, signals, and the relay's loop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

from kernel_supervisor import __version__
from kernel_supervisor.client.autostart import fill_standard_streams
from kernel_supervisor.client.hello import hello
from kernel_supervisor.paths import find
from mcp_shim.relay import Relay

_USAGE = """\
usage: kernel-supervisor-mcp [--session NAME] [--python PATH]

An MCP server on standard input and output: persistent Python for AI agents.
It is started by an MCP client; `kernel-supervisor register` shows how.

  --session NAME   work in this session instead of the project directory's own
  --python PATH    interpreter of the default kernel
  --version        print the version
"""


def main() -> None:
    """Relay until standard input ends or a signal arrives."""
    if os.name != "posix":
        sys.exit("kernel-supervisor runs on Linux and macOS; on Windows use it inside WSL")
    options = _parse(sys.argv[1:])
    fill_standard_streams()
    signalled, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    said = hello("shim", session=options.get("--session", ""), python=options.get("--python", ""))
    relay = Relay(find(), said, signalled)

    def leave(signum: int, frame: FrameType | None) -> None:
        relay.leave()
        os._exit(0)  # nothing to unwind: what matters lives in the daemon

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, leave)
    with contextlib.suppress(BrokenPipeError):  # the client has closed our standard output
        relay.run()
    relay.leave()
    os._exit(0)


def _parse(arguments: list[str]) -> dict[str, str]:
    """By hand: argparse would cost 10 ms at each start of each client."""
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in ("-h", "--help"):
            sys.exit(print(_USAGE, end=""))
        if name == "--version":
            sys.exit(print(f"kernel-supervisor-mcp {__version__}"))
        if name not in ("--session", "--python"):
            sys.exit(f"kernel-supervisor-mcp: unknown argument {argument!r}\n\n{_USAGE}")
        options[name] = value if equals else next(rest, "")
        if not options[name]:
            sys.exit(f"kernel-supervisor-mcp: {name} needs a value\n\n{_USAGE}")
    return options


if __name__ == "__main__":
    main()
