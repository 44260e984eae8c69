"""How an interpreter of ours is started: no directory and no PYTHON* variable adds code to it.

The console scripts pass through here first, so it imports only what every interpreter has loaded already; even
`__future__` is a file that somebody could have put before the standard library's.
"""

import os
import site
import sys

VARIABLES = (
    "PYTHONBREAKPOINT",
    "PYTHONCASEOK",
    "PYTHONDEVMODE",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
)
"""What makes an interpreter run other code, or run it otherwise."""
_WITH_FOLDER = (
    "import os, runpy, site, sys; site.USER_SITE, site.ENABLE_USER_SITE = sys.argv[1], True; "
    "site.USER_BASE = os.path.abspath(sys.argv[1] + '/../../..'); site.addsitedir(sys.argv[1]); "
    "del sys.argv[:2]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)
"""`-E` instead would take the user's site from PYTHONUSERBASE, and Python 3.10 has no `-P` to go with it."""


def isolated(module: str, *arguments: str, python: str = "") -> list[str]:
    """The command that runs `module` in `python`, this interpreter if it is not given, isolated."""
    folder = _left_out()
    start = ["-I", "-c", _WITH_FOLDER, folder] if folder else ["-I", "-m"]
    return [python or sys.executable, *start, module, *arguments]


def become_isolated(module: str) -> None:
    """For a console script, before all else: be `module` in an isolated interpreter if a variable asks for another.

    Else that start is saved, and only the script's own folder, `~/.local/bin` perhaps, is taken from `sys.path`.
    """
    if sys.flags.isolated:
        return
    if any(map(os.environ.get, VARIABLES)):
        command = isolated(module, *sys.argv[1:])
        os.execv(command[0], command)
    script = os.path.realpath(sys.argv[0])
    if sys.path and os.path.realpath(sys.path[0]) == os.path.dirname(script):
        del sys.path[0]


def _left_out() -> str:
    """The folder that we are installed in and `-I` leaves out: the user's site, or one that PYTHONPATH names."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if here in site.getsitepackages():
        return ""
    if here in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        return here
    return site.USER_SITE or "" if site.ENABLE_USER_SITE and site.USER_SITE in sys.path else ""
