"""Another machine, by the programs `ssh` and `rsync`. Host keys are checked as ssh is set to; nothing is asked."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from training.cloud.settings import Deploy
from training.failure import Failure

__all__ = ["Done", "Remote"]

CONNECT_S = 15
SSH_FAILED = 255

_REMEDIES = {
    "HOST IDENTIFICATION HAS CHANGED": "this may be another machine: compare fingerprints; if you know why it has "
    "changed, `ssh-keygen -R {host}`",
    "Host key verification failed": "connect once by hand (`ssh {host}`) and compare the fingerprint that it shows "
    "with the one of the machine",
    "Permission denied (": "let your key in there (`ssh-copy-id {host}`), or name another by `identity` under [deploy]",
    "Could not resolve hostname": "look at `host` under [deploy]",
    "Connection refused": "look whether it runs an ssh server, and at `port` under [deploy]",
    "timed out": "look whether the machine is on and reachable",
    "No space left": "make room there, or keep fewer releases (--keep)",
    "rsync: not found": "install rsync there: sudo apt install rsync",
    "rsync: command not found": "install rsync there: sudo apt install rsync",
}


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class Remote:
    """The machine of the settings. A context manager: there is one connection, which all commands share.

    Args:
        settings: say where it is and how it is reached.
    """

    def __init__(self, settings: Deploy) -> None:
        if not settings.host:
            raise Failure("no host is set; put `host` under [deploy] in cloud.toml, or set CARDREC_DEPLOY_HOST")
        if settings.host.startswith("-") or any(c.isspace() or c == ":" for c in settings.host):
            raise Failure(f"{settings.host!r} is no host; expected HOST or USER@HOST, and the port under `port`")
        for program in ("ssh", "rsync"):
            if shutil.which(program) is None:
                raise Failure(
                    f"{program} is not installed; on Debian and Raspberry Pi OS: apt install {package(program)}"
                )
        self.settings, self.host = settings, settings.host
        self._socket = tempfile.TemporaryDirectory(prefix="cardrec-")  # ssh takes no long path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Failure):
            self._run([*self._ssh(), "-O", "exit", "--", self.host], CONNECT_S)
        self._socket.cleanup()

    def _ssh(self) -> list[str]:
        settings = self.settings
        command = ["ssh"]
        if settings.ssh_config:
            command += ["-F", str(Path(settings.ssh_config).expanduser())]
        shared = ("ControlMaster=auto", f"ControlPath={self._socket.name}/ssh", "ControlPersist=yes")
        for option in ("BatchMode=yes", f"ConnectTimeout={CONNECT_S}", "ServerAliveInterval=15", *shared):
            command += ["-o", option]
        if settings.port:
            command += ["-p", str(settings.port)]
        if settings.identity:
            command += ["-i", str(Path(settings.identity).expanduser()), "-o", "IdentitiesOnly=yes"]
        return command

    def attempt(self, script: str, *arguments: str) -> Done:
        """Runs a script of POSIX sh there, with arguments that may hold any character.

        Raises:
            Failure: the machine can't be reached, or does not end in time.
        """
        line = shlex.join(["sh", "-c", script, "sh", *arguments])
        done = self._run([*self._ssh(), "--", self.host, line], self.settings.timeout_s)
        if done.code == SSH_FAILED:
            raise self._failure("ssh", done)
        return done

    def run(self, script: str, *arguments: str) -> str:
        """As `attempt`, and returns what it printed.

        Raises:
            Failure: it failed, or the machine can't be reached.
        """
        done = self.attempt(script, *arguments)
        if done.code:
            raise self._failure("a command", done)
        return done.stdout

    def send(self, folder: Path, to: str, *options: str) -> str:
        """Makes a folder there equal to one here, by rsync, which compares checksums; returns what rsync printed.

        Args:
            folder: here.
            to: there.
            options: of rsync.

        Raises:
            Failure: it failed; what came stays there, and the next call goes on from it.
        """
        target = to if to.startswith("/") else f"./{to}"
        command = [
            "rsync",
            "-rlptD",
            "--no-owner",
            "--no-group",
            "--delete",
            "--partial",
            "--checksum",
            "--protect-args",
            *options,
        ]
        command += ["-e", _rsh(self._ssh()), "--", f"{folder}{os.sep}", f"{self.host}:{target}/"]
        done = self._run(command, None)
        if done.code:
            raise self._failure("rsync", done)
        return done.stdout

    def _run(self, command: list[str], timeout_s: float | None) -> Done:
        environment = {**os.environ, "LC_ALL": "C"}  # the remedies are found by English words
        try:
            done = subprocess.run(
                command, capture_output=True, env=environment, stdin=subprocess.DEVNULL, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise Failure(
                f"{self.host} did not end a command in {timeout_s:g} s; look at it, or raise timeout_s"
            ) from None
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        return Done(done.returncode, out, err)

    def _failure(self, what: str, done: Done) -> Failure:
        said = " ".join((done.stderr or done.stdout).replace("@", "").split()) or f"exit code {done.code}"
        remedy = next((text for sign, text in _REMEDIES.items() if sign in said), "run the same command again")
        return Failure(f"{what} on {self.host}: {said[:400]}; {remedy.format(host=self.host)}")


def package(program: str) -> str:
    """The Debian package of a program."""
    return {"ssh": "openssh-client"}.get(program, program)


def _rsh(command: list[str]) -> str:
    """A command as rsync's -e takes it apart: by spaces, with quotes that are doubled within quotes."""
    return " ".join("'" + word.replace("'", "''") + "'" for word in command)
