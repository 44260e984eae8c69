"""A kernel that a provisioner places: over ssh, by sshpyk and gateway_provisioners, on this machine's own sshd."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

HERE = "127.0.0.1" if sys.platform == "darwin" else "127.0.0.2"
"""Another name for this machine: gateway_provisioners does not take its usual one for a remote one."""
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])


@pytest.fixture
def ssh(home: Home) -> Iterator[Path]:
    """An ssh command that knows the host `there`, which an sshd of the test's own answers for."""
    if SSHD is None:
        pytest.skip("there is no sshd: apt-get install openssh-server")
    folder = home.project.parent / "ssh"
    folder.mkdir()
    (folder / ".ssh").mkdir(mode=0o700)
    for key in ("host", ".ssh/id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress {HERE}\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/.ssh/id_ed25519.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    )
    (folder / "config").write_text(
        f"Host there\nHostName 127.0.0.1\nPort {port}\nIdentityFile {folder}/.ssh/id_ed25519\n"
        f"UserKnownHostsFile /dev/null\nStrictHostKeyChecking no\nLogLevel ERROR\nBatchMode yes\n"
        f"ControlMaster auto\nControlPath {folder}/cm\n"
        "ControlPersist 60\n"
    )
    (folder / ".ssh" / "known_hosts").write_text(f"[{HERE}]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "port").write_text(str(port))
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


async def lives_through(home: Home, session: Session) -> tuple[int, int]:
    """A daemon's death, an interrupt and a restart of a kernel where `x` is 41; its pids before and after."""
    started = home.project / "started"
    killed = home.kill_daemon()
    await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
    assert (await session.run("x + 1")).text.endswith("42")
    code = f"open({str(started)!r}, 'w').close()\nwhile True: pass"
    begun = await session.call("kernel_exec", code=code, wait=False)
    await until(started.exists, "the cell runs")
    assert (await session.call("kernel_interrupt")).facts["stopped"]
    ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
    assert "KeyboardInterrupt" in ended.text
    before = int((await session.run("os.getpid()")).text.splitlines()[-1])
    assert not (await session.call("kernel_restart")).is_error
    assert (await session.run("'x' in globals()")).text.endswith("False")
    again = int((await session.run("import os\nos.getpid()")).text.splitlines()[-1])
    return before, again


async def test_a_kernel_over_ssh_from_start_to_end(home: Home, ssh: Path) -> None:
    there: dict[str, str | bool] = {
        "name": "sshpyk-provisioner",
        "ssh": str(ssh),
        "ssh_host_alias": "there",
        "remote_python": sys.executable,
        "remote_kernel_name": "python3",
        "independent_local_processes": True,
    }
    async with home.client(env=environment(home, there)) as session:
        used = await session.call("kernel_use_env", env_name="remote")
        assert not used.is_error, used.text
        assert "127.0.0.1" in (await session.run("import os\nx = 41\nos.environ['SSH_CONNECTION']")).text
        pid, again = await lives_through(home, session)
        gone = await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])
        assert not gone.is_error, gone.text
    for process in (pid, again):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def gateway(home: Home, ssh: Path) -> dict[str, str]:
    """The environment of a client that has the kernelspec that gateway_provisioners makes for hosts behind ssh."""
    folder, prefix = ssh.parent, home.project / "prefix"
    options = ["--kernel-name=far", f"--remote-hosts={HERE}", "--unauthorized-users=nobody", "--prefix", str(prefix)]
    command = [sys.executable, "-m", "gateway_provisioners.cli.ssh_specapp", "install", *options]
    subprocess.run(command, check=True, capture_output=True)
    file = prefix / "share/jupyter/kernels/far/kernel.json"
    spec = json.loads(file.read_text())
    spec["argv"][0] = sys.executable
    file.write_text(json.dumps(spec))
    (home.project / "runtime").mkdir()
    jupyter = {"JUPYTER_PATH": str(prefix / "share/jupyter"), "JUPYTER_RUNTIME_DIR": str(home.project / "runtime")}
    port = (folder / "port").read_text()
    return {**jupyter, "HOME": str(folder), "GP_SSH_PORT": port, "GP_KERNEL_LOG_DIR": str(folder)}


@pytest.mark.skipif(sys.platform == "darwin", reason="it has one address on loopback")
async def test_a_kernel_of_gateway_provisioners_from_start_to_end(home: Home, ssh: Path) -> None:
    async with home.client(env=gateway(home, ssh)) as session:
        assert "far" in [each["name"] for each in (await session.call("kernel_list_envs")).facts["environments"]]
        used = await session.call("kernel_use_env", env_name="far")
        assert not used.is_error, used.text
        assert HERE in (await session.run("import os\nx = 41\nos.environ['SSH_CONNECTION']")).text
        before, again = await lives_through(home, session)
        assert not (await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])).is_error
    assert home.cli("stop", "--kernels").returncode == 0
    await until(lambda: not home.daemons(), "its threads do not keep the daemon")
    await until(lambda: not any(map(psutil.pid_exists, (before, again))), "the kernels are gone")


async def test_a_provisioner_that_fails_is_named(home: Home) -> None:
    async with home.client(env=environment(home, {"name": "nobody-has-this"})) as session:
        refused = await session.call("kernel_use_env", env_name="remote")
        assert refused.is_error
        assert "provisioner of remote" in refused.text, refused.text
        assert "nobody-has-this" in refused.text
        assert (await session.run("1")).text.endswith("1")
