"""Releases on another machine by the real ssh and rsync: switched to at once, tried, taken back; what is refused."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from refusals import refusal
from ssh_server import Machine, machine, need_programs

from cardrec.model import BUNDLED, Model
from training.cloud import deploy, releases
from training.cloud.releases import Releases
from training.cloud.remote import Remote
from training.cloud.settings import read_cloud
from training.failure import Failure

OK = "test -f {release}/model/model.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    need_programs()
    with machine(tmp_path_factory.mktemp("pi")) as running:
        yield running


@pytest.fixture
def pi(server: Machine) -> Iterator[Machine]:
    yield server
    shutil.rmtree(server.folder)
    server.folder.mkdir()


@pytest.fixture
def toml(pi: Machine, tmp_path: Path) -> Path:
    """Settings that lead to the machine."""
    path = tmp_path / "cloud.toml"
    folder, config = json.dumps(str(pi.folder / "cards")), json.dumps(str(pi.config))
    path.write_text(f"[deploy]\nhost = 'cards'\nfolder = {folder}\nssh_config = {config}\nkeep = 2\n")
    return path


@pytest.fixture(autouse=True)
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each release has a second of its own."""
    numbers = iter(range(1, 60))
    monkeypatch.setattr(time, "strftime", lambda *_: f"20261127T0800{next(numbers):02}")


@pytest.fixture
def bundle(tiny: Model) -> Path:
    """A bundle of a few kilobytes."""
    return tiny.network.parent


def call(toml: Path, *arguments: object) -> None:
    deploy.main([str(each) for each in (*arguments, "--cloud", toml)])


def push(toml: Path, bundle: Path, *more: object) -> None:
    call(toml, "push", bundle, "--smoke", OK, *more)


def name_of(number: int, bundle: Path) -> str:
    return f"20261127T0800{number:02}-{Model.load(bundle).fingerprint[:12]}"


refused = partial(refusal, command="python -m training.cloud deploy")


def there(pi: Machine) -> tuple[list[str], str, str]:
    """Releases, and which is the current and the previous one; nothing else may be left."""
    root = pi.folder / "cards"
    assert {each.name for each in root.iterdir()} <= {"releases", "current", "previous"}
    links = [str((root / name).readlink()) if (root / name).is_symlink() else "" for name in ("current", "previous")]
    names = sorted(each.name for each in (root / "releases").iterdir())
    return [name[13:15] for name in names], links[0][22:24], links[1][22:24]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_push_switches_and_keeps_the_last(
    toml: Path, pi: Machine, capsys: pytest.CaptureFixture[str], bundle: Path
) -> None:
    push(toml, bundle)
    assert there(pi) == (["01"], "01", "")
    current = pi.folder / "cards" / "current"
    assert str((current).readlink()) == f"releases/{name_of(1, bundle)}"
    assert tree(current / "model") == tree(bundle)
    push(toml, bundle)
    assert there(pi) == (["01", "02"], "02", "01")
    push(toml, bundle)
    assert there(pi) == (["02", "03"], "03", "02")
    said = capsys.readouterr().out
    assert "the smoke test passed" in said and f"removed {name_of(1, bundle)}" in said
    call(toml, "list")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["previous", "current"]


def test_equal_files_are_not_sent_again(toml: Path, pi: Machine, bundle: Path) -> None:
    push(toml, bundle)
    push(toml, bundle)
    networks = [release / "model" / "model.onnx" for release in (pi.folder / "cards" / "releases").iterdir()]
    assert len({path.stat().st_ino for path in networks}) == 1


def test_rollback(toml: Path, pi: Machine, capsys: pytest.CaptureFixture[str], bundle: Path) -> None:
    for _ in range(3):
        push(toml, bundle, "--keep", 3)
    call(toml, "rollback")
    assert there(pi) == (["01", "02", "03"], "02", "03")
    assert f"{name_of(2, bundle)} is current" in capsys.readouterr().out
    call(toml, "rollback")
    assert there(pi)[1:] == ("03", "02")
    call(toml, "rollback", "--to", name_of(1, bundle))
    assert there(pi)[1:] == ("01", "03")
    refused(lambda: call(toml, "rollback", "--to", "../../elsewhere"), "no release ../../elsewhere")
    refused(lambda: call(toml, "rollback", "--to", name_of(1, bundle)), "the current release already")
    # a release that does not work is not gone back to
    refused(lambda: call(toml, "rollback", "--smoke", "echo broken >&2; false"), "broken", "080001-")
    assert there(pi) == (["01", "02", "03"], "01", "03")


def test_what_counts_and_what_counted_is_never_removed(toml: Path, pi: Machine, bundle: Path) -> None:
    for _ in range(3):
        push(toml, bundle, "--keep", 3)
    call(toml, "rollback", "--to", name_of(1, bundle), "--smoke", OK)
    push(toml, bundle, "--keep", 1)
    assert there(pi) == (["01", "04"], "04", "01")


def test_nothing_to_roll_back_to(toml: Path, pi: Machine, bundle: Path) -> None:
    refused(lambda: call(toml, "rollback"), "no release before the current one", "none")
    push(toml, bundle)
    refused(lambda: call(toml, "rollback"), "no release before the current one")
    assert there(pi) == (["01"], "01", "")


def test_a_release_that_fails_is_taken_back(toml: Path, pi: Machine, bundle: Path) -> None:
    refused(
        lambda: push(toml, bundle, "--smoke", "echo 'no such card' >&2; exit 3"),
        "exit code 3: no such card",
        "as before",
    )
    assert there(pi) == ([], "", "")
    push(toml, bundle)
    push(toml, bundle)
    # the test sees the new release as the current one, and afterwards it is not
    smoke = f"readlink {str(pi.folder / 'cards' / 'current')!r} >&2; false"
    refused(lambda: push(toml, bundle, "--smoke", smoke), "20261127T080004", "080003", "counts again")
    assert there(pi) == (["02", "03"], "03", "02")


def test_restart_runs_after_each_switch(toml: Path, pi: Machine, tmp_path: Path, bundle: Path) -> None:
    log = tmp_path / "restarts"
    command = f"basename \"$(realpath {{release}})\" | cut -c14-15 >> '{log}'"
    toml.write_text(toml.read_text() + f"restart = {json.dumps(command)}\n")
    push(toml, bundle)
    push(toml, bundle)
    call(toml, "rollback", "--smoke", OK)
    assert log.read_text().split() == ["01", "02", "01"]
    refused(lambda: push(toml, bundle, "--smoke", "false"), "smoke test failed with exit code 1: it said nothing")
    assert log.read_text().split() == ["01", "02", "01", "03", "01"]


def test_the_bundled_photo_is_identified_there(toml: Path, pi: Machine, tmp_path: Path, bundle: Path) -> None:
    """With the new model and a catalog of it; the real command."""
    program = tmp_path / "bin with spaces" / "cardrec"
    program.parent.mkdir()
    paths = f"PYTHONPATH='{Path(deploy.__file__).parents[2]}'"
    program.write_text(f'#!/bin/sh\n{paths} exec \'{sys.executable}\' -c "from cardrec.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    toml.write_text(toml.read_text() + f"program = {json.dumps(repr(str(program)))}\n")
    call(toml, "push", BUNDLED, "--catalog", BUNDLED.parent / "demo.cardrec")
    assert there(pi) == (["01"], "01", "")
    release = pi.folder / "cards" / "current"
    assert {each.name for each in release.iterdir()} == {"model", "catalog", "smoke"}
    assert tree(release / "catalog") == tree(BUNDLED.parent / "demo.cardrec")
    # a catalog that is damaged there would have been noticed there
    settings = read_cloud(toml).deploy
    segment = next((release / "catalog").rglob("vectors.npy"))
    segment.write_bytes(segment.read_bytes()[:-1] + b"\x7f")
    smoke = deploy.smoke_of(settings, catalog=True).replace("{release}", shlex.quote(str(release)))
    with Remote(settings) as remote:
        assert remote.attempt(smoke).code != 0


@pytest.mark.parametrize("damage", ["model.json", "model.onnx"])
def test_damaged_bundles_are_not_sent(toml: Path, pi: Machine, tmp_path: Path, damage: str) -> None:
    bundle = Path(shutil.copytree(BUNDLED, tmp_path / "bundle"))
    (bundle / damage).write_bytes((bundle / damage).read_bytes()[:-5])
    refused(lambda: push(toml, bundle), damage)
    assert not (pi.folder / "cards").exists()


def test_a_catalog_of_another_model_is_not_sent(toml: Path, pi: Machine, bundle: Path) -> None:
    refused(lambda: push(toml, bundle, "--catalog", BUNDLED.parent / "demo.cardrec"), "was built with the model")
    assert not (pi.folder / "cards").exists()


def test_bytes_that_differ_there_are_noticed(
    toml: Path, pi: Machine, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    real = Remote.send

    def send(self: Remote, folder: Path, to: str, *options: str) -> str:
        if "--dry-run" in options:
            network = Path(to) / "model" / "model.onnx"
            times = network.stat().st_atime_ns, network.stat().st_mtime_ns
            with network.open("r+b") as file:
                file.write(b"\0\0\0\0")
            os.utime(network, ns=times)
        return real(self, folder, to, *options)

    monkeypatch.setattr(Remote, "send", send)
    refused(lambda: push(toml, bundle), "has other bytes than were sent", "model.onnx")
    assert not (pi.folder / "cards" / "current").exists() and not list((pi.folder / "cards" / "releases").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(time, "strftime", lambda *_: "20261127T080009")
    push(toml, bundle)
    assert there(pi)[1] == "09"


def test_an_interrupted_transfer_goes_on(
    toml: Path, pi: Machine, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    """rsync is killed while it sends; what came stays, the current release as well."""
    push(toml, bundle)
    real = subprocess.run

    def kill(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        if command[0] != "rsync" or "--dry-run" in command:
            return real(command, **options)  # type: ignore[call-overload, no-any-return]
        slow = [command[0], "--bwlimit=1000", "--no-whole-file", "--ignore-times", *command[1:]]
        with subprocess.Popen(slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            threading.Timer(1.5, process.kill).start()
            out, err = process.communicate()
        return subprocess.CompletedProcess(slow, 20 if process.returncode < 0 else process.returncode, out, err)

    monkeypatch.setattr("training.cloud.remote.subprocess.run", kill)
    refused(lambda: push(toml, BUNDLED), "rsync on cards", "run the same command again")
    assert str((pi.folder / "cards" / "current").readlink()).startswith("releases/20261127T080001")
    assert (pi.folder / "cards" / ".incoming").is_dir()
    monkeypatch.undo()
    monkeypatch.setattr(time, "strftime", lambda *_: "20261127T080009")
    push(toml, BUNDLED)
    assert there(pi) == (["01", "09"], "09", "01")
    assert tree(pi.folder / "cards" / "current" / "model") == tree(BUNDLED)


def test_no_room_there(toml: Path, pi: Machine, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setattr(releases, "_FREE", "echo 1")
    refused(lambda: push(toml, bundle), "has room for 1,024", "--keep")
    assert there(pi) == ([], "", "")


def test_a_disk_that_fills_up_there(toml: Path, tmp_path: Path, pi: Machine) -> None:
    """A file system of 3 MB on the machine; the look at the room is passed, rsync fails."""
    small = pi.folder / "small"
    small.mkdir()
    toml.write_text(toml.read_text().replace(json.dumps(str(pi.folder / "cards")), json.dumps(str(small / "cards"))))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this user may not mount a small file system: {done.stderr.decode().strip()}")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(releases, "_FREE", "echo 10000000")
            refused(lambda: push(toml, BUNDLED), "No space left", "make room there")
        assert not (small / "cards" / "current").exists()
        assert not list((small / "cards" / "releases").iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_two_at_once(toml: Path, pi: Machine, bundle: Path) -> None:
    (pi.folder / "cards" / "releases").mkdir(parents=True)
    (pi.folder / "cards" / ".deploying").mkdir()
    message = refused(lambda: push(toml, bundle), "another deployment to cards is under way", "rmdir")
    # the remedy works as it is printed
    command = message.split("ssh cards ", 1)[1]
    subprocess.run(["ssh", "-F", str(pi.config), "cards", command], check=True)
    push(toml, bundle)
    assert there(pi)[1] == "01"


def test_hosts_that_are_not_known_are_refused(toml: Path, pi: Machine, bundle: Path) -> None:
    known = pi.known_hosts.read_text()
    try:
        pi.known_hosts.write_text("")
        refused(lambda: push(toml, bundle), "Host key verification failed", "connect once by hand")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(toml.parent / "other")], check=True)
        pi.known_hosts.write_text(known.split()[0] + " " + (toml.parent / "other.pub").read_text())
        refused(lambda: push(toml, bundle), "IDENTIFICATION HAS CHANGED", "this may be another machine")
    finally:
        pi.known_hosts.write_text(known)
    assert not (pi.folder / "cards").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("host = 'cards'", "host = ''"), ("no host is set", "CARDREC_DEPLOY_HOST")),
        (("host = 'cards'", "host = '-oProxyCommand=touch x'"), ("is no host",)),
        (("host = 'cards'", "host = 'no-such-host.invalid'"), ("no-such-host.invalid", "look at `host`")),
        (("host = 'cards'", "host = 'cards'\nport = 9"), ("Connection refused", "ssh server")),
        (("host = 'cards'", "host = 'nobody-here@cards'"), ("Permission denied", "ssh-copy-id")),
        (("keep = 2", "keep = 0"), ("expected at least 1",)),
        (("keep = 2", "keep = 2\ntimeout_s = 5"), ("did not end a command in 5 s", "taken back")),
        (("cards\"", "cards/\\u0000\""), ("embedded null byte",)),
    ],
)  # fmt: skip
def test_settings_that_do_not_work(toml: Path, bundle: Path, change: tuple[str, str], words: tuple[str, ...]) -> None:
    toml.write_text(toml.read_text().replace(*change, 1))
    more = ("--smoke", "sleep 30") if "timeout_s" in change[1] else ()
    refused(lambda: push(toml, bundle, *more), *words)


def test_a_folder_that_can_not_be_written(toml: Path, pi: Machine, bundle: Path) -> None:
    (pi.folder / "cards").write_text("a file")
    refused(lambda: push(toml, bundle), "put another folder")


def test_without_rsync(toml: Path, monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused(lambda: push(toml, bundle), "ssh is not installed", "apt install openssh-client")


def test_the_lock_is_left_whatever_happens(
    toml: Path, pi: Machine, monkeypatch: pytest.MonkeyPatch, bundle: Path
) -> None:
    settings = read_cloud(toml).deploy

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    push(toml, bundle)
    monkeypatch.setattr(Releases, "_try", interrupted)
    with Remote(settings) as remote, pytest.raises(KeyboardInterrupt):
        Releases(remote, settings).push(bundle, "label")
    monkeypatch.undo()
    assert there(pi) == (["01"], "01", "")


def test_what_runs_there_takes_any_character(toml: Path) -> None:
    awkward = "a 'quoted' \"word\" $HOME `id` \\ ; & * ü\nand a line"
    with Remote(read_cloud(toml).deploy) as remote:
        assert remote.run('printf %s "$1"', awkward) == awkward
        with pytest.raises(Failure, match="it fails"):
            remote.run("echo it fails >&2; exit 4")
