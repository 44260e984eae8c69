"""Where everything is: one folder per user and machine, and a short one for sockets where that is needed.

Strings and `os.path` instead of pathlib: the shim imports this file, and pathlib would cost it 5 ms.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import pwd
import stat

HOME_VARIABLE = "KERNEL_SUPERVISOR_HOME"
LONGEST_SOCKET_PATH = 100
"""Bytes. The limit is 107 on Linux and 103 on macOS, less what ZeroMQ and a kernel id's suffix need."""
_LONGEST_SUFFIX = len("/kernels/0123456789ab-ipc-5")
CONTENT = frozenset(
    {"run", "logs", "cache", "jupyter", "daemon.log", "daemon.log.err", "servers.json", "keep.json", "lingering"}
    | {"highest-records.sqlite", "checkpoints"}
)
"""What is in a folder that is a supervisor's."""
_NETWORK_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.s3fs", "fuse.sshfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"smb3", "smbfs", "wekafs"}
)


class PlaceError(OSError):
    """A folder of the supervisor's cannot be used; the text says which, why, and what to do."""


class Paths:
    """The supervisor's folders, all 0700 and owned by this user, and what is in them."""

    def __init__(self, state: str, run: str, *, on_network: bool = False) -> None:
        self.on_network = on_network
        """Whether `state` is on a network file system."""
        self.apart = os.path.dirname(run) != state
        """Whether `run` is in a folder that all share, and that is cleaned: nothing is there that could not be lost."""
        self.state = state
        """Records, message logs, logs."""
        self.run = run
        """Sockets and connection files; inside `state` where the path is short enough and the disk is local."""
        self.socket = os.path.join(run, "daemon.sock")
        """The daemon's `ipc://` socket."""
        self.lock = os.path.join(run, "daemon.lock")
        """The file whose `flock` makes the daemon the only one."""
        places = [os.path.join(folder, "records.sqlite") for folder in (os.path.join(state, "run"), state, run)]
        self.records = places[1] if self.apart else places[0]
        """The database: never where others may clean."""
        self.records_before = tuple(place for place in places if place != self.records)
        """Where versions before this one had it, or this one before a disk was another's."""
        self.connections = os.path.join(run, "kernels")
        """Connection files and sockets of the kernels."""
        self.links = os.path.join(run, "clients")
        """Links to the sockets, which Jupyter's own programs may remove."""
        self.shared = os.path.join(run, "jupyter")
        """Connection files over those links: the `external_connection_dir` of a Jupyter server."""
        self.daemon_log = os.path.join(state, "daemon.log")
        """The daemon's own log, rotated."""
        self.logs = os.path.join(state, "logs")
        """Message logs and standard error of the kernels."""
        self.checkpoints = os.path.join(state, "checkpoints")
        """Saved variables of kernels."""
        self.servers = os.path.join(state, "servers.json")
        """Where Jupyter servers elsewhere are, and their tokens: written by the user alone."""
        self.keep = os.path.join(state, "keep.json")
        """How long and how much is kept, where somebody wants another policy: written by the user alone."""
        self.lingering = os.path.join(state, "lingering")
        """Is there where `service install` enabled lingering, which nobody had."""
        self.cache = os.path.join(state, "cache")
        """What can be fetched again: overlays for environments without ipykernel."""


def open_regular(path: str, how: int = os.O_RDONLY) -> int:
    """A descriptor of the regular file at `path`, links followed, 0600 if it is new. Raises OSError, ValueError.

    Anything else that may stand there is refused: a named pipe would keep whoever opens it waiting for ever.
    """
    descriptor = os.open(path, how | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "it is not a regular file", path)


def read_regular(path: str, largest: int = 1 << 20) -> bytes:
    """What is in a regular file that others may have written. Raises OSError, also for more than `largest` bytes."""
    with os.fdopen(open_regular(path), "rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", path)
    return content


def children(folder: str | os.PathLike[str]) -> list[str]:
    """Names in `folder`, sorted; empty where it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []


def put(path: str, text: str | bytes, mode: int = 0o600) -> None:
    """Have a file with that content at `path`, whole and at one stroke, with `mode` less the umask. Raises OSError."""
    content, aside = text.encode() if isinstance(text, str) else text, f"{path}.{os.getpid()}"
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Have the disk hold which names a folder has; some file systems cannot do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find() -> Paths:
    """Where this user's supervisor keeps its things. Creates nothing.

    The home directory is the password database's, never `$HOME` or `$XDG_*`: clients pass different
    environments, and two answers would mean two daemons.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    usual = os.path.join(_home(), ".kernel-supervisor", _machine())
    state = os.path.abspath(os.path.expanduser(chosen)) if chosen else usual
    if os.path.islink(state):
        state = os.path.realpath(state)
    run, on_network = os.path.join(state, "run"), _on_network(state)
    if len(os.fsencode(run)) + _LONGEST_SUFFIX > LONGEST_SOCKET_PATH or on_network:
        run = _elsewhere(state)
    return Paths(state, run, on_network=on_network)


def hold(folder: str) -> int:
    """A descriptor of a folder that keeps cleaners out of it, as long as anybody has it. Raises OSError.

    systemd-tmpfiles passes over what is in a folder that somebody has a `flock` on: tmpfiles.d(5).
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # where there are no locks, there is nobody who looks for them
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return descriptor


def _elsewhere(state: str) -> str:
    """The folder for sockets of a supervisor whose own has no place for them. The first name may be somebody else's."""
    name = os.path.join("/var/tmp", f"kernel-supervisor-{os.getuid()}-{digest(state)}")
    names = [name, *(f"{name}-{number}" for number in range(1, 10))]
    ours = [each for each in names if is_own(each)]
    free = [each for each in names if not os.path.lexists(each)]
    return [*ours, *free, name][0]


def is_own(folder: str) -> bool:
    """Whether that is a folder of this user's, and no link to one."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def prepare(paths: Paths) -> None:
    """Create the folders, 0700. Raises PlaceError where one cannot be had, or belongs to somebody else."""
    try:
        paths.state.encode()
    except UnicodeEncodeError:
        odd = f"the folder {paths.state!r} has a name that is not UTF-8, which sockets and records need"
        raise PlaceError(f"{odd}; set {HOME_VARIABLE} to another place") from None
    for folder in (paths.state, paths.run, paths.connections, paths.links, paths.shared, paths.logs):
        try:
            _make(folder, is_state=folder == paths.state)
        except OSError as error:
            place = error.filename or folder
            why = "it is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
            raise PlaceError(
                f"the folder {place} cannot be had ({why}), so no daemon can be started; mend that, or set "
                f"{HOME_VARIABLE} to another place"
            ) from None


def _make(folder: str, *, is_state: bool) -> None:
    previous = os.umask(0o077)  # `mode` is for the last part of the path alone
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    finally:
        os.umask(previous)
    if not is_own(folder):
        raise PermissionError(errno.EPERM, "it is not a folder of yours", folder)
    if is_state and not is_supervisors(folder):
        raise PermissionError(errno.EPERM, "it has other files than a supervisor's: name an empty one", folder)
    os.chmod(folder, 0o700)


def is_supervisors(folder: str) -> bool:
    """Whether nothing but a supervisor's is in a folder, or one has worked in it. Raises OSError.

    Also where its folder for sockets was removed, or is elsewhere.
    """
    found = os.listdir(folder)
    used = os.path.lexists(os.path.join(folder, "run", "daemon.lock")) or {"daemon.log", "logs"}.issubset(found)
    return used or CONTENT.issuperset(found)


def vacate(paths: Paths) -> None:
    """Leave nothing in a folder that all share, once no kernel has anything there."""
    with contextlib.suppress(OSError):
        if paths.apart and not os.listdir(paths.connections):
            doomed = f"{paths.run}.gone-{os.getpid()}"
            os.rename(paths.run, doomed)  # at one stroke: whoever comes now makes another
            import shutil  # 10 ms, and only where there is something to remove

            shutil.rmtree(doomed, ignore_errors=True)


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container that gives its users numbers alone: there is nothing better to ask than HOME
        home = os.environ.get("HOME", "")
        return home if os.path.isabs(home) else f"/var/tmp/kernel-supervisor-{os.getuid()}"


def _machine() -> str:
    """A short name for this machine: a home on a network disk is shared by several."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            if identity := file.read().strip():
                return identity[:12]
    return platform.node() or "machine"


def digest(text: str) -> str:
    """Eight characters that stand for a text in the name of a file."""
    import binascii  # 1 ms, and only where it is needed

    return format(binascii.crc32(text.encode("utf-8", "surrogateescape")), "08x")


def _on_network(path: str) -> bool:
    """Whether `path` is on a network file system, where flock, WAL and sockets do not work."""
    best, kind = "", ""
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, mount, file_system, *_ = line.split(" ")
                inside = path == mount or path.startswith(mount.rstrip("/") + "/")
                if inside and len(mount) >= len(best):
                    best, kind = mount, file_system
    except OSError:
        return False
    return kind in _NETWORK_FILE_SYSTEMS
