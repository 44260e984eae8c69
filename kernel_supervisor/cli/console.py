"""Jupyter's console on a kernel of ours, run in a process of its own: leaving it ends nothing."""

from __future__ import annotations

from jupyter_console import app
from jupyter_console.ptshell import ZMQTerminalInteractiveShell

_LEAVE = ("exit", "quit", "exit()", "quit()")


class Console(ZMQTerminalInteractiveShell):  # type: ignore[misc]  # jupyter_console has no types
    """One that a person leaves, where Jupyter's would have the kernel end."""

    keepkernel = property(lambda self: True, lambda self, _: None)

    def run_cell(self, cell: str, store_history: bool = True) -> None:
        """Run a cell; leave, where that is all that it says."""
        if cell.strip() in _LEAVE:
            self.ask_exit()
        else:
            super().run_cell(cell, store_history=store_history)


if __name__ == "__main__":
    app.ZMQTerminalInteractiveShell = Console  # the application takes no other shell
    app.ZMQTerminalIPythonApp.launch_instance()
