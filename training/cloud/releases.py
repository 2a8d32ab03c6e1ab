"""Releases on another machine: a folder each, and the link `current` to the one that counts, which is swapped at once.

FOLDER/releases/20261127T081500-0d92c31a285b/      model/, catalog/
FOLDER/current -> releases/20261127T081500-0d92c31a285b
FOLDER/previous -> the one before
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from training.cloud.remote import Done, Remote
from training.cloud.settings import Deploy
from training.failure import Failure

__all__ = ["Release", "Releases"]

_LOCK = 'mkdir -p -- "$1/releases" && mkdir -- "$1/.deploying"'
_UNLOCK = 'rmdir -- "$1/.deploying"'
_LIST = """cd -- "$1" 2>/dev/null || exit 0
for each in current previous; do readlink "$each" || echo; done
for each in releases/*; do [ -d "$each" ] && printf '%s\\n' "$each"; done
true"""
_LINK = 'readlink -- "$1/$2" || true'
_FREE = """df -Pk -- "$1" | awk 'NR == 2 { print $4 }'"""
_LAND = 'sync -f -- "$1" && mv -T -- "$1/.incoming" "$1/releases/$2"'
# a link can't be changed, but a new one can take its name
_SWITCH = 'ln -sfn -- "releases/$3" "$1/.$2" && mv -T -- "$1/.$2" "$1/$2" && sync -- "$1"'
_UNLINK = 'rm -f -- "$1/$2"'
_REMOVE = 'rm -rf -- "$1/releases/$2"'


@dataclass(frozen=True, slots=True)
class Release:
    """A release there.

    Attributes:
        name: of its folder; sorts by time.
        mark: "current", "previous" or nothing.
    """

    name: str
    mark: str = ""


class Releases:
    """The releases on one machine.

    Args:
        remote: the machine.
        settings: say where they are, how they are tried and how many stay.
        say: is told what is done.
    """

    def __init__(self, remote: Remote, settings: Deploy, say: Callable[[str], None] = print) -> None:
        self._remote, self._settings, self._say = remote, settings, say
        self._folder = settings.folder

    def all(self) -> list[Release]:
        """Those that are there, oldest first."""
        lines = [line.removeprefix("releases/") for line in self._remote.run(_LIST, self._folder).splitlines()]
        marks = dict(zip(lines[:2], ("current", "previous"), strict=False))
        return [Release(name, marks.get(name, "")) for name in sorted(lines[2:])]

    def _link(self, which: str) -> str:
        return self._remote.run(_LINK, self._folder, which).strip().removeprefix("releases/")

    def push(self, folder: Path, label: str) -> str:
        """Sends a folder as a new release, switches to it, tries it; returns its name.

        Raises:
            Failure: it could not be sent, or did not work there: then the one before counts again.
        """
        with self._alone():
            name = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f"-{label}"
            before = self._link("current")
            self._check_room(folder)
            incoming = f"{self._folder}/.incoming"
            likely = [f"--link-dest=../releases/{before}"] if before else []
            self._remote.send(folder, incoming, *likely)
            if differing := self._remote.send(folder, incoming, "--dry-run", "--itemize-changes").strip():
                raise Failure(f"{self._remote.host} has other bytes than were sent: {differing[:200]}; push it again")
            self._remote.run(_LAND, self._folder, name)
            self._say(f"sent {name}")
            self._switch(name, before)
            self._prune()
            return name

    def _check_room(self, folder: Path) -> None:
        need = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        free = int(self._remote.run(_FREE, self._folder).strip() or 0) * 1024
        if free < need:
            raise Failure(
                f"{need:,} bytes are to go, and {self._remote.host} has room for {free:,}; make room there, or keep "
                "fewer releases (--keep)"
            )

    def roll_back(self, to: str = "") -> str:
        """Switches to an earlier release and tries it; returns its name.

        Args:
            to: which; empty: the one before the current one.

        Raises:
            Failure: there is none, or it does not work: then nothing has changed.
        """
        with self._alone():
            known = {release.name for release in self.all()}
            before, target = self._link("current"), to or self._link("previous")
            if target not in known:
                raise Failure(
                    f"{self._remote.host} has no release {target or 'before the current one'}; there are: "
                    f"{', '.join(sorted(known)) or 'none'}"
                )
            if target == before:
                raise Failure(f"{target} is the current release already")
            self._switch(target, before, remove=False)
            return target

    def _switch(self, name: str, before: str, *, remove: bool = True) -> None:
        """Lets a release count, then tries it; where it fails, the one before counts again."""
        earlier = self._link("previous")
        try:
            self._point("current", name)
            self._point("previous", before)
            self._try()
        except BaseException as error:
            self._point("current", before)
            self._point("previous", earlier)
            if before and self._settings.restart:
                self._on_current(self._settings.restart)
            if remove:
                self._remote.run(_REMOVE, self._folder, name)
            again = f"{before} counts again" if before else "there is no release, as before"
            if isinstance(error, Failure):
                raise Failure(f"{name} was taken back: {error}. {again}") from error
            raise

    def _point(self, link: str, name: str) -> None:
        if name:
            self._remote.run(_SWITCH, self._folder, link, name)
        else:
            self._remote.run(_UNLINK, self._folder, link)

    def _try(self) -> None:
        """Restarts what uses the release, and runs the smoke test."""
        for what, command in (("the restart", self._settings.restart), ("the smoke test", self._settings.smoke)):
            if not command:
                continue
            done = self._on_current(command)
            if done.code:
                said = " ".join((done.stderr or done.stdout).split())[-300:]
                raise Failure(f"{what} failed with exit code {done.code}: {said or 'it said nothing'}")
            self._say(f"{what} passed")

    def _on_current(self, command: str) -> Done:
        """Runs a command of the settings there, with the current release's folder in it."""
        release = self._remote.run('cd -- "$1/current" && pwd', self._folder).rstrip("\n")
        return self._remote.attempt(command.replace("{release}", shlex.quote(release)))

    def _prune(self) -> None:
        """Removes the oldest, but for the current one and the one before."""
        releases = self.all()
        for release in releases[: -self._settings.keep]:
            if not release.mark:
                self._remote.run(_REMOVE, self._folder, release.name)
                self._say(f"removed {release.name}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps a second deployment away."""
        done = self._remote.attempt(_LOCK, self._folder)
        if done.code:
            if "File exists" not in done.stderr:
                raise Failure(
                    f"{self._folder} on {self._remote.host}: {' '.join(done.stderr.split())}; put another folder "
                    "under [deploy], or give yourself the right to write there"
                )
            raise Failure(
                f"another deployment to {self._remote.host} is under way; if it was cut off: "
                f"ssh {self._remote.host} {shlex.join(['rmdir', self._folder + '/.deploying'])}"
            )
        try:
            yield
        except BaseException:
            with contextlib.suppress(Failure):  # what failed first is the news
                self._remote.run(_UNLOCK, self._folder)
            raise
        self._remote.run(_UNLOCK, self._folder)
