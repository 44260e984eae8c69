"""A cell that prints what user code can see of its kernel's process, as JSON; the same in each kernel that is alike."""

from __future__ import annotations

import json
import re
from typing import Any

CELL = r"""
def _supervisor_probe():
    import gc, locale, logging, os, resource, signal, site, stat, subprocess, sys, threading, time, warnings
    import asyncio, atexit, random

    def fds():  # one has the number that it had in the daemon
        found = []
        for name in sorted(os.listdir("/proc/self/fd"), key=int):
            try:
                path, status = os.readlink("/proc/self/fd/" + name), os.fstat(int(name))
                with open("/proc/self/fdinfo/" + name) as file:
                    flags = [line.split()[1] for line in file if line.startswith("flags")]
            except OSError:
                continue
            kind = [path.partition(":[")[0], stat.S_IFMT(status.st_mode), *flags, os.get_inheritable(int(name))]
            found.append([int(name) if int(name) < 3 or int(name) > 200 else -1, *kind])
        return sorted(found)

    def debugger():
        log, other = sys.modules.get("_pydev_bundle.pydev_log"), sys.modules.get("debugpy.common.log")
        return [log and log._LoggingGlobals._debug_stream is sys.stderr, other and other.stderr.file is sys.stderr]

    def status(*names):
        with open("/proc/self/status") as file:
            lines = dict(line.split(":", 1) for line in file)
        return {name: lines[name].split() for name in names if name in lines}

    def proc(name):
        with open("/proc/self/" + name, "rb") as file:
            return os.fsdecode(file.read())

    def named(value):
        return str(value).partition(" at 0x")[0]

    def shell(command):
        return subprocess.run(command, shell=True, capture_output=True, text=True).stdout.splitlines()

    shell_ip = get_ipython()
    gc.collect()
    history = shell_ip.history_manager
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    umask = os.umask(0)
    os.umask(umask)
    return {
        "environ": list(os.environ.items()),
        "environ of the process": [each for each in proc("environ").split("\0") if each],
        "environ of a child": sorted(shell("env -0 | tr '\\0\\n' '\\n '")),
        "%env": sorted(map(str, dict(shell_ip.run_line_magic("env", "")).items())),
        "command line": [each.rstrip(" ") for each in proc("cmdline").split("\0")],
        "comm": proc("comm"), "exe": os.readlink("/proc/self/exe"), "cgroup": proc("cgroup"),
        "sys.argv": sys.argv, "sys.orig_argv": getattr(sys, "orig_argv", None), "sys.path": sys.path,
        "sys.flags": str(sys.flags), "sys.executable": sys.executable, "sys.prefix": sys.prefix,
        "xoptions": sys._xoptions, "warnoptions": sys.warnoptions,
        "meta_path": [str(type(each)) for each in sys.meta_path], "path_hooks": len(sys.path_hooks),
        "modules": sorted(sys.modules), "files": {name: str(getattr(module, "__file__", None))
            for name, module in sorted(sys.modules.items()) if name != "__main__"},
        "__main__": sorted(vars(sys.modules["__main__"])), "__name__": __name__,
        "__file__": globals().get("__file__", "none"),
        "cwd": os.getcwd(), "relative": sorted(os.listdir(".")), "PWD": os.environ.get("PWD"),
        "pgid": os.getpgid(0) == os.getpid(), "sid": os.getsid(0) == os.getpid(), "parent": os.getppid(),
        "uids": [os.getresuid(), os.getresgid(), os.getgroups()], "umask": umask, "limits": limits,
        "nice": os.nice(0), "affinity": sorted(os.sched_getaffinity(0)), "policy": os.sched_getscheduler(0),
        "oom": proc("oom_score_adj"), "login": proc("loginuid") if os.path.exists("/proc/self/loginuid") else "",
        "status": status("SigBlk", "SigIgn", "SigCgt", "Threads", "Seccomp", "NoNewPrivs", "CapEff", "CoreDumping"),
        "signals": {str(number): named(signal.getsignal(number)) for number in signal.valid_signals()},
        "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "fds": fds(),
        "stdin": [sys.__stdin__.isatty(), sys.__stdin__.encoding, sys.__stdin__.errors, sys.__stdin__.read()],
        "streams": [[str(type(each)), each.encoding, each.errors, each.isatty(), getattr(each, "line_buffering", None)]
            for each in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)],
        "threads": [[str(type(each)), each.name, each.daemon] for each in threading.enumerate()],
        "filters": list(map(str, warnings.filters)), "showwarning": named(warnings.showwarning),
        "locale": [locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False), sys.getfilesystemencoding()],
        "time": [time.tzname, time.timezone], "site": [site.ENABLE_USER_SITE, site.USER_SITE],
        "history": [shell_ip.execution_count, history.session_number, str(history.hist_file)],
        "profile": [shell_ip.profile, shell_ip.profile_dir.location, shell_ip.ipython_dir],
        "backend": os.environ.get("MPLBACKEND"), "names": sorted(shell_ip.user_ns),
        "hidden": sorted(shell_ip.user_ns_hidden),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks)],
        "tracing": [str(sys.gettrace()), str(sys.getprofile()), str(threading._trace_hook)],
        "hooks": [named(each) for each in (sys.excepthook, sys.displayhook, threading.excepthook)],
        "recursion": sys.getrecursionlimit(), "switch": sys.getswitchinterval(), "bytecode": sys.dont_write_bytecode,
        "logging": [logging.root.level, len(logging.root.handlers), sorted(logging.root.manager.loggerDict)],
        "loop": str(type(asyncio.get_event_loop())),
        "debugger": debugger(), "early": str(threading.main_thread()._stderr),
        "atexit": atexit._ncallbacks(), "faulthandler": __import__("faulthandler").is_enabled(),
        "secrets": [random.getstate()[0], sys.hash_info.algorithm],
        "magics": sorted(shell_ip.magics_manager.magics["line"]),
        "extensions": sorted(shell_ip.extension_manager.loaded),
    }
import json
print(json.dumps(_supervisor_probe()))
"""


def seen(printed: str) -> dict[str, Any]:
    """What it printed, without what differs between any two kernels: ids, generations, numbers of processes."""
    line = next(line for line in printed.splitlines() if line.startswith("{"))
    pid = r"(?<=ipykernel_)\d+"
    line = re.sub(r"\b[0-9a-f]{32}\b", "OWNER", re.sub(r"\b[0-9a-f]{12}(-\d+)?\b", "KERNEL", re.sub(pid, "PID", line)))
    found: dict[str, Any] = json.loads(line)
    return found
