"""The command line: dispatch, and exit codes that mean something.

0 done · 1 it could not be done, or the code that was run raised · 2 wrong usage · 3 no daemon is running ·
130 interrupted
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kernel_supervisor.cli.codes import DONE, FAILED, INTERRUPTED, NO_DAEMON, failed
from kernel_supervisor.cli.commands import all_commands

if TYPE_CHECKING:
    from kernel_supervisor.cli.session import Command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if os.name != "posix":
        return failed("kernel-supervisor runs on Linux and macOS; on Windows use it inside WSL")
    parser = all_commands()
    if "_ARGCOMPLETE" in os.environ:
        from kernel_supervisor.cli.completion import complete  # only where a shell asks

        complete(parser)
    options, more = parser.parse_known_args(arguments)
    if more:
        getattr(options, "parser", parser).error(f"unrecognized arguments: {' '.join(more)}")
    name = getattr(options, "run", "")
    if not name:
        parser.print_help()
        return DONE
    if name == "main:show_help":
        return show_help(options.words)
    return _run(options)


def show_help(words: Sequence[str]) -> int:
    """Help on a command, or on all."""
    all_commands().parse_args([*words, "--help"])
    return DONE  # it cannot get here


def _run(options: argparse.Namespace) -> int:
    from kernel_supervisor.cli.session import Command  # 60 ms with pyzmq, which help does without
    from kernel_supervisor.client.autostart import fill_standard_streams
    from kernel_supervisor.client.connection import CallError, NoDaemonError

    fill_standard_streams()
    _print_anything()
    command = Command(options)
    try:
        return function_called(options.run)(command)
    except NoDaemonError as error:
        return failed(f"kernel-supervisor: {error}", NO_DAEMON)
    except BrokenPipeError:  # whoever read our output has what they wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CallError, OSError, TimeoutError) as error:
        return failed(f"kernel-supervisor: {_said(error)}")
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        command.close()


def function_called(name: str) -> Callable[[Command], int]:
    """What a command runs."""
    module, _, function = name.partition(":")
    found: Callable[[Command], int] = getattr(importlib.import_module(f"kernel_supervisor.cli.{module}"), function)
    return found


def _print_anything() -> None:
    """What a terminal's encoding does not have is shown by its number: names of files may have anything in them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
