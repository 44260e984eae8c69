"""The console script `kernel-supervisor-mcp`: isolated first, then the shim."""

from kernel_supervisor.isolation import become_isolated


def main() -> None:
    """Be the shim."""
    become_isolated("mcp_shim")
    from mcp_shim.__main__ import main  # only now: where a variable asks for other code, we are not here any more

    main()
