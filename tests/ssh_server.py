"""A machine to deploy to: a real sshd on this one, for the user who runs the tests, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class Machine:
    """How it is reached.

    Attributes:
        config: an ssh configuration that knows it as `cards`.
        known_hosts: the file with its host key.
        folder: an empty folder on it.
        port: of sshd.
    """

    config: Path
    known_hosts: Path
    folder: Path
    port: int


def need_programs() -> None:
    """Skips where a program is missing; with CI=true that is a failure."""
    missing = [name for name in ("ssh", "ssh-keygen", "rsync", "unshare") if shutil.which(name) is None]
    missing += [] if SSHD else ["sshd"]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing with CI=true: {', '.join(missing)}; .ci/run installs openssh-server and rsync")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (apt install openssh-server rsync)")


def _key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@contextmanager
def machine(place: Path) -> Iterator[Machine]:
    """Runs sshd, in a folder with a name that has to be quoted."""
    host_key, user_key = _key(place / "host_key"), _key(place / "user_key")
    (place / "authorized").write_bytes((place / "user_key.pub").read_bytes())
    home = place / "the pi's $HOME; (a folder)"
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = place / "sshd_config"
    server.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {place}/authorized\n"
        "PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
        "AcceptEnv LC_*\nSubsystem sftp internal-sftp\n"
    )
    known = place / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} " + (place / "host_key.pub").read_text())
    config = place / "ssh's config"
    config.write_text(
        f"Host cards\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n IdentityFile {user_key}\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {known}\n GlobalKnownHostsFile /dev/null\n"
    )
    assert SSHD
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd of root leaves its privileges
    with (
        (place / "sshd.log").open("wb") as log,
        subprocess.Popen([SSHD, "-D", "-e", "-f", str(server)], stderr=log) as sshd,
    ):
        try:
            _wait(port, sshd, place / "sshd.log")
            yield Machine(config, known, home, port)
        finally:
            sshd.terminate()


def _wait(port: int, sshd: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert sshd.poll() is None, log.read_text()
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
