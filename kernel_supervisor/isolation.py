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
    "PYTHONPYCACHEPREFIX",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "PYTHONWARNINGS",
)
"""What makes an interpreter run other code, or run it otherwise."""


def isolated(module: str, *arguments: str, python: str = "") -> list[str]:
    """The command that runs `module` in `python`, this interpreter if it is not given, isolated."""
    folder = _left_out()
    start = [os.path.abspath(__file__), folder] if folder else ["-m"]
    return [python or sys.executable, "-I", *start, module, *arguments]


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


def _run(folder: str, module: str) -> None:
    """Run `module` with the packages in `folder`, before the interpreter's own as a user's site is.

    `-E` instead of `-I` would take the user's site from PYTHONUSERBASE, and Python 3.10 has no `-P` to go with it.
    """
    import runpy  # only here: the console scripts pass by

    known = sys.path[:]
    site.addsitedir(folder)
    own = [known.index(each) for each in site.getsitepackages() if each in known]
    at = min(own, default=len(known))
    sys.path[:] = [*known[:at], *sys.path[len(known) :], *known[at:]]
    site.USER_SITE, site.USER_BASE, site.ENABLE_USER_SITE = folder, os.path.abspath(f"{folder}/../../.."), True
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    del sys.argv[0]
    _run(sys.argv.pop(0), sys.argv[0])
