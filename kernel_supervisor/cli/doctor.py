"""doctor: all that has to be right, looked at from outside, with the command that mends what is not.

It asks the daemon, and needs none: one that is gone, hangs or cannot be started is a finding, and so is a folder that
cannot be read. Each part is looked at on its own: what goes wrong there is its finding.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from kernel_supervisor import __version__
from kernel_supervisor.amounts import several, size
from kernel_supervisor.cli import installed, service
from kernel_supervisor.cli.codes import DONE, FAILED
from kernel_supervisor.cli.forgetting import room
from kernel_supervisor.cli.session import Command, print_json
from kernel_supervisor.cli.ways import COMMANDS
from kernel_supervisor.client import aftermath, autostart
from kernel_supervisor.client.connection import CallError, Connection, NoDaemonError
from kernel_supervisor.engines import FOUND
from kernel_supervisor.installer import command_for
from kernel_supervisor.paths import HOME_VARIABLE, LONGEST_SOCKET_PATH, Paths, is_own, is_supervisors

_ANSWERED_S = 3.0
"""How long a daemon has for each answer: one that has not said anything by then hangs."""
_LITTLE_ROOM = 500_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["good", "note", "trouble"]
    words: str
    mend: str = ""
    """The command that mends it."""
    fix: Callable[[], object] | None = None
    """Mends it and loses nothing, where that can be done."""
    about: str = ""
    """The part that it belongs to."""
    mended: bool = False


@dataclass(slots=True, kw_only=True)
class Patient:
    """What is looked at."""

    paths: Paths
    silent: str = ""
    """Why no daemon answered."""
    status: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    kernel: dict[str, Any] = field(default_factory=dict)

    def ask(self) -> None:
        """Have the daemon say how it is, if one does."""
        connection = Connection(self.paths, ways=COMMANDS)
        with contextlib.closing(connection), contextlib.suppress(CallError):
            try:
                connection.open(start=False, deadline_s=_ANSWERED_S)
                self.status = connection.request("supervisor/status", {}, deadline_s=_ANSWERED_S)
                self.kept = connection.request("supervisor/kept", {}, deadline_s=_ANSWERED_S)
                self.kernel = connection.call_tool("kernel_status", {}, deadline_s=_ANSWERED_S)[1]
            except (NoDaemonError, TimeoutError, OSError) as error:
                self.silent = str(error)


def doctor(command: Command) -> int:
    """Look, mend what may be mended, say what was found; 1 where something is not right."""
    patient = Patient(paths=command.paths)
    patient.ask()
    found = [replace(finding, about=about) for about in _PARTS for finding in _looked_at(about, patient)]
    if command.options.fix:
        found = list(map(_mended, found))
    if command.options.json:
        facts = ("about", "state", "words", "mend", "mended")
        print_json({"findings": [{name: getattr(each, name) for name in facts} for each in found]})
    else:
        for each in found:
            print(f"{'mended' if each.mended else each.state:<8}{each.about:<14}{each.words}")
            if each.mend and not each.mended:
                print(f"{'':<22}→ {each.mend}")
    return FAILED if any(each.state == "trouble" and not each.mended for each in found) else DONE


def _looked_at(about: str, patient: Patient) -> Iterator[Finding]:
    try:
        yield from _PARTS[about](patient)
    except Exception as error:  # noqa: BLE001 - whatever is wrong there, the rest is looked at
        yield Finding("trouble", f"it cannot be looked at: {type(error).__name__}: {error}")


def _mended(finding: Finding) -> Finding:
    if finding.fix is None or finding.state == "good":
        return finding
    try:
        finding.fix()
    except (OSError, ValueError, LookupError) as error:
        return replace(finding, words=f"{finding.words} (not mended: {error})")
    return replace(finding, mended=True)


def _versions(patient: Patient) -> Iterator[Finding]:
    there = f"this is version {__version__}, in {os.path.dirname(os.path.dirname(__file__))}, run by {sys.executable}"
    yield Finding("good", there)
    with contextlib.suppress(metadata.PackageNotFoundError):
        if (version := metadata.version("kernel-supervisor")) != __version__:
            other = f"the installed package says that it is version {version}, its files {__version__}"
            mend = f"{sys.executable} -m pip install --force-reinstall --no-deps kernel-supervisor"
            yield Finding("note", other, mend)
    different = patient.status.get("differences") or ""
    if not different and patient.status.get("version", __version__) != __version__:
        different = f"the daemon is version {patient.status['version']}, this client {__version__}"
    if different:
        yield Finding("trouble", different, "kernel-supervisor restart-daemon")


def _daemon(patient: Patient) -> Iterator[Finding]:
    paths, status = patient.paths, patient.status
    if status:
        words = f"pid {status['pid']} answers; kernels: {status['kernels']}, clients: {len(status['clients'])}"
        yield Finding("good", words)
        if patient.silent:
            yield Finding(
                "trouble", f"it does not answer everything: {patient.silent}", "kernel-supervisor logs --daemon"
            )
        if not_recorded := status.get("not_recorded"):
            yield Finding("trouble", str(not_recorded), f"df -h {shlex.quote(paths.state)}")
    elif autostart.listening(paths) or aftermath.held(paths.lock):
        words = f"one has its place and does not answer: {patient.silent.splitlines()[0]}"
        yield Finding("trouble", words, f"kill -9 {_holder(paths)}  # kernels run on")
    elif said := aftermath.last_words(paths):
        yield Finding("trouble", f"none runs. {said}", "kernel-supervisor start")
    else:
        yield Finding("good", "none runs; the first client starts one")


def _holder(paths: Paths) -> str:
    try:
        return str(int(Path(paths.lock).read_text(encoding="ascii")))
    except (OSError, ValueError):
        return "PID"


def _folders(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    if not os.path.lexists(paths.state):
        yield Finding("note", f"{paths.state} is not there: nothing was kept so far")
        return
    if os.path.isdir(paths.state) and not is_supervisors(paths.state):
        words = f"{paths.state} has other files than a supervisor's: no daemon starts there"
        yield Finding("trouble", words, f"export {HOME_VARIABLE}=/an/empty/folder")
        return
    where = f"{paths.state}" + (f"; sockets in {paths.run}, for a long path or a network's disk" if paths.apart else "")
    yield Finding("good", where)
    folders = (paths.state, paths.run, paths.connections, paths.links, paths.shared, paths.logs, paths.cache)
    for folder in filter(os.path.lexists, folders):
        yield from _private(folder, 0o700, stat.S_ISDIR)
    for file in filter(os.path.lexists, (paths.servers, paths.keep, paths.daemon_log, paths.records)):
        yield from _private(file, 0o600, stat.S_ISREG)


def _private(path: str, mode: int, is_right: Callable[[int], bool]) -> Iterator[Finding]:
    status, quoted = os.stat(path), shlex.quote(path)
    if not is_right(status.st_mode):
        yield Finding("trouble", f"{path} is something else", f"mv {quoted} {quoted}.old")
    elif status.st_uid != os.getuid():
        yield Finding("trouble", f"{path} belongs to user {status.st_uid}", f"sudo chown -R {os.getuid()} {quoted}")
    elif status.st_mode & 0o077:
        words = f"others have rights on {path} ({stat.S_IMODE(status.st_mode):o})"
        yield Finding("trouble", words, f"chmod {mode:o} {quoted}", partial(os.chmod, path, mode))
    elif not os.access(path, os.W_OK):
        yield Finding("trouble", f"{path} cannot be written to", f"chmod u+rwX {quoted}")


def _disk(patient: Patient) -> Iterator[Finding]:
    folder = patient.paths.state
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    usage, table = shutil.disk_usage(folder), os.statvfs(folder)
    words = f"{size(usage.free)} of {size(usage.total)} are free at {folder}"
    full = usage.free < _LITTLE_ROOM or (table.f_files and not table.f_favail)
    yield Finding("trouble", words, "kernel-supervisor prune") if full else Finding("good", words)


def _kept(patient: Patient) -> Iterator[Finding]:
    if not patient.kept:
        return
    facts = patient.kept["room"]
    yield Finding("good", room({**facts, "trouble": "", "over": 0})[0])
    if facts["over"]:
        yield Finding("note", room({**facts, "trouble": ""})[1], "kernel-supervisor prune")
    if facts["trouble"]:
        yield Finding("trouble", room({**facts, "over": 0})[1], f"rm {shlex.quote(patient.paths.keep)}")
    for words in patient.kept["leaving"].values():
        yield Finding("note", words)


def _sockets(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    if len(os.fsencode(paths.socket)) > LONGEST_SOCKET_PATH + len("daemon.sock"):
        yield Finding("trouble", f"{paths.socket} is too long a path", f"export {HOME_VARIABLE}=/a/shorter/path")
    elif patient.status and not os.path.exists(paths.socket):
        yield Finding("note", f"{paths.socket} is gone; the daemon makes it again")
    else:
        yield Finding("good", paths.socket)


def _kernels(patient: Patient) -> Iterator[Finding]:
    found = living_kernels(patient.paths)
    known = set(patient.status.get("pids", found))
    for pid in found:
        if pid not in known:
            words = f"process {pid} is a kernel that the daemon knows nothing of"
            yield Finding("trouble", words, f"kill {pid}  # its variables go")
    alone = "" if patient.status or not found else "; the next daemon finds them again"
    yield Finding("good", f"{several(len(found), 'kernel')} here{alone}")


def living_kernels(paths: Paths) -> list[int]:
    """The processes on this machine that have a connection file of ours in their command lines."""
    import psutil  # 25 ms, and only where kernels are looked for

    place, found = paths.connections + os.sep, []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or ()
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(word.startswith(place) for word in words):
            found.append(process.pid)
    return found


def _left_over(patient: Patient) -> Iterator[Finding]:
    paths = patient.paths
    for path in sorted(Path(os.path.dirname(paths.records)).glob("*.set-aside-*[0-9]")):
        yield Finding("note", f"{path} holds records that could not be used", f"rm {shlex.quote(str(path))}*")
    for place in shared_places():
        if str(place) != paths.run and not aftermath.held(str(place / "daemon.lock")):
            gone = ".gone-" in place.name
            words = f"{place} was for the sockets of {'a daemon that is gone' if gone else 'another home'}"
            fix = partial(shutil.rmtree, place) if gone else None
            yield Finding("note", words, f"rm -r {shlex.quote(str(place))}", fix)


def shared_places() -> list[Path]:
    """Folders for sockets in /var/tmp that belong to this user."""
    return sorted(path for path in Path("/var/tmp").glob(f"kernel-supervisor-{os.getuid()}-*") if is_own(str(path)))


def _interpreter(patient: Patient) -> Iterator[Finding]:
    chosen = str(patient.kernel.get("interpreter") or "")
    if not chosen and patient.kernel.get("state") == "dead":
        yield Finding("note", "this directory's kernel is dead", "kernel-supervisor restart")
    elif not chosen:
        words = "of the default kernel here: only a daemon knows" if not patient.status else "not known"
        yield Finding("note", words, "kernel-supervisor start")
    elif os.path.isabs(chosen) and not os.access(chosen, os.X_OK):
        words = f"{chosen}, which the kernel here is to run on, is gone"
        yield Finding("trouble", words, "kernel-supervisor envs")
    else:
        words = f"{chosen} runs this directory's kernel ({patient.kernel.get('why') or patient.kernel.get('name')})"
        yield Finding("good", words)


def _service(patient: Patient) -> Iterator[Finding]:
    path = autostart.service_file()
    if not autostart.has_service():
        yield Finding("good", "not installed; clients start the daemon when they need it")
        return
    if service.outdated(path):
        words = f"{path} is not as this version writes it for {sys.executable}"
        yield Finding("trouble", words, "kernel-supervisor service install", partial(service.rewrite, path))
    facts, pid = service.facts(), str(patient.status.get("pid", ""))
    if pid and facts["pid"] != pid:
        words = f"{facts['state']}; the daemon that runs, pid {pid}, is not the service's"
        yield Finding("note", words, "kernel-supervisor service start")
    else:
        yield Finding("good", facts["state"])
    if service.lingers() == "no":
        words = "lingering is off: logging out ends the daemon and all its kernels"
        yield Finding("trouble", words, service.LINGER)


def _registration(patient: Patient) -> Iterator[Finding]:
    found = list(installed.registrations())
    for each in found:
        if why := installed.stale(each):
            mend = f"claude mcp remove --scope {each.scope} kernel-supervisor; kernel-supervisor register"
            yield Finding("trouble", f"that in {each.where} {why}", mend, partial(each.rewrite, each.fresh))
        else:
            yield Finding("good", f"{each.where}: {shlex.join(each.words)}")
    if not found:
        yield Finding("note", "none in Claude Code's files", "kernel-supervisor register")


def _kernelspec(patient: Patient) -> Iterator[Finding]:
    for each in installed.kernelspecs():
        if why := installed.stale(each):
            mend = f"kernel-supervisor kernelspec uninstall {each.folder.name}; kernel-supervisor kernelspec install"
            yield Finding("trouble", f"{each.folder} {why}", mend, partial(each.rewrite, each.fresh))
        else:
            yield Finding("good", str(each.folder))


def _pdf(patient: Patient) -> Iterator[Finding]:
    if found := [name for name, there in FOUND.items() if there()]:
        yield Finding("good", f"engines: {', '.join(found)}")
    else:
        yield Finding("note", "no engine is here", command_for("kernel-supervisor[pdf]"))


_PARTS: dict[str, Callable[[Patient], Iterator[Finding]]] = {
    "versions": _versions,
    "folders": _folders,
    "disk": _disk,
    "kept": _kept,
    "daemon": _daemon,
    "sockets": _sockets,
    "kernels": _kernels,
    "left over": _left_over,
    "interpreter": _interpreter,
    "service": _service,
    "registration": _registration,
    "kernelspec": _kernelspec,
    "PDF": _pdf,
}
