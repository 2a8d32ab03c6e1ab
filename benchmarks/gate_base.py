"""Which commit the latency gate compares with, what is built of it and of the working tree, and what may be slower."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.failure import Failure

__all__ = ["Base", "NothingToCompare", "accepted", "contents", "export_base", "export_head", "find_base"]

BUILT = ("cardrec", "csrc", "setup.py")
"""What a build is made of, with a part of pyproject.toml."""
EXPORTED = (*BUILT, "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")

TRAILER = "Accept-Slower"
_VALUE = re.compile(r"(?P<stages>[\w ,-]+?) +[-\u2013\u2014] +(?P<reason>\S.*)")


class NothingToCompare(Exception):
    """There is no base; the message says why, and what would help."""


class GitError(Failure):
    """What git said first."""


class Base(NamedTuple):
    """A commit, and why it is that one."""

    commit: str
    why: str


def git(root: Path, *arguments: str) -> bytes:
    """What git prints.

    Raises:
        GitError: it failed, or is not there.
    """
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise GitError(said[0] if said else f"git {arguments[0]} failed")
    return done.stdout


def commit_of(root: Path, name: str) -> str | None:
    """The commit of a name, None if there is none."""
    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").decode().strip()
    except GitError:
        return None


def find_base(root: Path, named: str | None, environment: Mapping[str, str]) -> Base:
    """The commit to compare with: the first of these that there is.

    1. ``named`` (--base), 2. CARDREC_BASE: for a CI that knows it.
    3. origin/main, 4. main, if HEAD goes beyond it. A CI checks out a candidate: main with the change on top, or merged
       into it. Then this is the last commit of main, whatever the candidate is checked out as. Where HEAD is on a
       branch that main has left behind, it is where they parted: what main has done since is no change of HEAD's.
    5. HEAD, if HEAD is main itself and what is built was changed since.
    6. The commit before HEAD: on main itself.

    Raises:
        NothingToCompare: none of them.
        Failure: a commit that was named is not there.
    """
    for source, name in (("--base", named), ("CARDREC_BASE", environment.get("CARDREC_BASE"))):
        if name:
            commit = commit_of(root, name)
            if commit is None:
                raise Failure(f"{source} {name}: no such commit here; expected what `git log` names, or `git fetch` it")
            return Base(commit, f"as {source} says")
    try:
        head = git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    except GitError as error:
        raise NothingToCompare(f"no base commit here ({error})") from None
    for name, ref in (("origin/main", "refs/remotes/origin/main"), ("main", "refs/heads/main")):
        tip = commit_of(root, ref)
        common = None if tip is None else _parted(root, tip, head)
        if tip is not None and common != head:
            return Base(
                common or tip, f"the last commit of {name}" if common in (None, tip) else f"HEAD left {name} there"
            )
    if git(root, "status", "--porcelain", "--", *EXPORTED).strip():
        return Base(head, "HEAD, and the working tree differs from it")
    before = commit_of(root, "HEAD^")
    if before is None:
        raise NothingToCompare(
            "HEAD has no commit before it here (of a shallow clone, `git fetch --unshallow` has more)"
        )
    return Base(before, "the commit before HEAD, which is on main itself")


def _parted(root: Path, tip: str, head: str) -> str | None:
    """The last commit that both have; None if that is not known here, as in shallow clones."""
    try:
        return git(root, "merge-base", tip, head).decode().strip()
    except GitError:
        return None


def subject(root: Path, commit: str) -> str:
    """The commit's short name and the first line of its message."""
    return git(root, "log", "-1", "--format=%h %s", commit).decode(errors="replace").strip()


def export_base(root: Path, commit: str, folder: Path) -> None:
    """Writes a commit's files; the repository is not changed, so that nothing is to be undone in it."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", commit))) as archive:
        archive.extractall(folder, filter="data")


def export_head(root: Path, folder: Path) -> None:
    """Copies what the working tree would be built of: changed and new files as well, ignored ones not."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *EXPORTED)
    for name in sorted({name for name in listed.decode().split("\0") if name}):
        if (root / name).is_file():  # not deleted
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


def contents(tree: Path) -> str:
    """SHA-256 (hex) of what is built of an exported tree: names and bytes of its files, and the build's settings."""
    digest = hashlib.sha256()
    files = [file for name in BUILT for file in ((tree / name).rglob("*") if (tree / name).is_dir() else [tree / name])]
    for file in sorted(file for file in files if file.is_file()):
        digest.update(f"{file.relative_to(tree)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    digest.update(repr(_build_settings(tree / "pyproject.toml")).encode())
    return digest.hexdigest()


def _build_settings(path: Path) -> list[Any]:
    """Of pyproject.toml what changes a build, in an order of its own."""
    settings = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [settings.get("build-system"), settings.get("tool", {}).get("setuptools")]


def accepted(root: Path, base: str, stages: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Stages that commits from base to HEAD allow to be slower, with the reasons; and what is wrong in such lines.

    A line among the trailers at the end of a commit's message: ``Accept-Slower: encode identify - a larger network``.
    """
    form = f"--format=%h%x00%(trailers:key={TRAILER},valueonly,unfold)%x01"
    try:
        log = git(root, "log", form, f"{base}..HEAD").decode(errors="replace")
    except GitError:
        return {}, []
    reasons: dict[str, str] = {}
    wrong: list[str] = []
    for commit, _, values in (each.strip().partition("\0") for each in log.split("\x01")):
        for value in filter(None, values.splitlines()):
            found = _VALUE.fullmatch(value.strip())
            names = found["stages"].replace(",", " ").split() if found else []
            if found and names and set(names) <= set(stages):
                reasons |= dict.fromkeys(names, f"{found['reason']} ({commit})")
            else:
                wrong.append(f"{commit}: '{TRAILER}: {value}' is not read; expected '{TRAILER}: STAGE ... - reason'")
    return reasons, wrong
