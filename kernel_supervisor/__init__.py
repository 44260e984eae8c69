"""kernel-supervisor: persistent Python for AI agents.

Nothing is imported here: the shim passes through this package on its way to `paths` and `client`.
"""

__version__ = "0.1.0"
