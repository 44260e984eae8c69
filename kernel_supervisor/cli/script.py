"""The console script `kernel-supervisor`: isolated first, then the command line."""

from kernel_supervisor.isolation import become_isolated


def main() -> int:
    """Run one command; returns its exit code."""
    become_isolated("kernel_supervisor.cli.main")
    from kernel_supervisor.cli.main import main  # only now: where a variable asks for other code, we are not here

    return main()
