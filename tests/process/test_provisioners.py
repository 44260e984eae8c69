"""A kernel that a provisioner places: over ssh, by sshpyk, on this machine's own sshd."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])


@pytest.fixture
def ssh(home: Home) -> Iterator[Path]:
    """An ssh command that knows the host `there`, which an sshd of the test's own answers for."""
    if SSHD is None:
        pytest.skip("there is no sshd: apt-get install openssh-server")
    folder = home.project.parent / "ssh"
    folder.mkdir()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    )
    (folder / "config").write_text(
        f"Host there\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/user\nUserKnownHostsFile /dev/null\n"
        f"StrictHostKeyChecking no\nLogLevel ERROR\nBatchMode yes\nControlMaster auto\nControlPath {folder}/cm\n"
        "ControlPersist 60\n"
    )
    command = folder / "ssh"
    command.write_text(f'#!/bin/sh\nexec ssh -F {folder}/config "$@"\n')
    command.chmod(0o700)
    with open(folder / "log", "wb") as log:
        sshd = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        yield command
    finally:
        subprocess.run([command, "-O", "exit", "there"], check=False, stderr=subprocess.DEVNULL)
        sshd.terminate()
        sshd.wait()


def environment(home: Home, config: dict[str, str | bool]) -> dict[str, str]:
    spec = home.project / "jupyter" / "kernels" / "remote"
    spec.mkdir(parents=True)
    (home.project / "runtime").mkdir()
    provisioner = {"provisioner_name": config.pop("name"), "config": config}
    content = {
        "argv": ["python"],
        "display_name": "remote",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"kernel_provisioner": provisioner},
    }
    (spec / "kernel.json").write_text(json.dumps(content))
    return {"JUPYTER_PATH": str(home.project / "jupyter"), "JUPYTER_RUNTIME_DIR": str(home.project / "runtime")}


async def test_a_kernel_over_ssh_from_start_to_end(home: Home, ssh: Path) -> None:
    there: dict[str, str | bool] = {
        "name": "sshpyk-provisioner",
        "ssh": str(ssh),
        "ssh_host_alias": "there",
        "remote_python": sys.executable,
        "remote_kernel_name": "python3",
        "independent_local_processes": True,
    }
    started = home.project / "started"
    async with home.client(env=environment(home, there)) as session:
        used = await session.call("kernel_use_env", env_name="remote")
        assert not used.is_error, used.text
        assert "127.0.0.1" in (await session.run("import os\nx = 41\nos.environ['SSH_CONNECTION']")).text
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        assert (await session.run("x + 1")).text.endswith("42")
        code = f"open({str(started)!r}, 'w').close()\nwhile True: pass"
        begun = await session.call("kernel_exec", code=code, wait=False)
        await until(started.exists, "the cell runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert "KeyboardInterrupt" in ended.text
        pid = int((await session.run("os.getpid()")).text.splitlines()[-1])
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("'x' in globals()")).text.endswith("False")
        again = int((await session.run("import os\nos.getpid()")).text.splitlines()[-1])
        gone = await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])
        assert not gone.is_error, gone.text
    for process in (pid, again):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


async def test_a_provisioner_that_fails_is_named(home: Home) -> None:
    async with home.client(env=environment(home, {"name": "nobody-has-this"})) as session:
        refused = await session.call("kernel_use_env", env_name="remote")
        assert refused.is_error
        assert "provisioner of remote" in refused.text, refused.text
        assert "nobody-has-this" in refused.text
        assert (await session.run("1")).text.endswith("1")
