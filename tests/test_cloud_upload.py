"""Folders to S3 and back: every file, checksums, interruptions, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloud_fixtures
import pytest
from cloud_fixtures import BUCKET
from refusals import refusal

cloud_fixtures.need("boto3", "moto", "werkzeug", "flask")

from training.cloud import download, files, upload  # noqa: E402
from training.cloud.files import MANIFEST  # noqa: E402

if TYPE_CHECKING:
    from cloud_server import Environ, Service

NAMES = (
    "a.png", "set 1/Ünïcödé 日本.png", "set 1/100% #?&;'\"\\ <x>.png", "+/plus+.png", ".hidden/x", "deep/er/est/file",
    "set 1/ leading and trailing ", "~$^{}[]|`.txt", "empty.bin",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with awkward names, one of them empty, and an empty folder."""
    made = tmp_path / "data"
    for number, name in enumerate(NAMES):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"" if name == "empty.bin" else f"{number}".encode() * 1000)
    (made / "nothing in it" / "nor here").mkdir(parents=True)
    return made


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def send(folder: Path, toml: Path, *more: str) -> None:
    upload.main([str(folder), "data", "--cloud", str(toml), *more])


def fetch(folder: Path, toml: Path) -> None:
    download.main(["data", str(folder), "--cloud", str(toml)])


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def matching(name: str, what: str, method: str = "") -> Callable[[Environ], str | None]:
    """Lets requests for a key end badly."""
    return lambda environ: (
        what if environ["PATH_INFO"].endswith(name) and method in ("", environ["REQUEST_METHOD"]) else None
    )


def test_there_and_back(
    folder: Path, cloud_toml: Path, s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(folder, cloud_toml)
    assert f"{len(NAMES)} files, {len(NAMES)} of them sent now" in capsys.readouterr().out
    listed = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert listed == {f"p/data/{name}" for name in (*NAMES, MANIFEST)}
    fetch(tmp_path / "back", cloud_toml)
    assert contents(tmp_path / "back") == contents(folder)
    assert not list(tmp_path.glob(".*partial"))


def test_a_second_run_sends_what_differs(
    folder: Path, cloud_toml: Path, service: Service, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    send(folder, cloud_toml)
    first = capsys.readouterr().out.split()[-1]
    service.requests.clear()
    send(folder, cloud_toml)
    assert capsys.readouterr().out.split()[-1] == first
    assert [path for method, path in service.requests if method == "PUT"] == [f"/{BUCKET}/p/data/{MANIFEST}"]
    (folder / "a.png").write_bytes(b"other bytes")
    s3.put_object(Bucket=BUCKET, Key="p/data/deep/er/est/file", Body=b"damaged")
    send(folder, cloud_toml)
    said = capsys.readouterr().out
    assert "2 of them sent now" in said and said.split()[-1] != first
    assert s3.get_object(Bucket=BUCKET, Key="p/data/a.png")["Body"].read() == b"other bytes"


def test_large_files_go_in_parts(
    folder: Path, cloud_toml: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    for module in (files, sys.modules["training.cloud.store"]):
        monkeypatch.setattr(module, "PART_BYTES", 5 << 20)
    large = os.urandom(12 << 20)
    (folder / "large.bin").write_bytes(large)
    send(folder, cloud_toml)
    head = s3.head_object(Bucket=BUCKET, Key="p/data/large.bin", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(large) and head["ETag"].strip('"').endswith("-3")
    service.requests.clear()
    send(folder, cloud_toml)
    assert f"/{BUCKET}/p/data/large.bin" not in [path for method, path in service.requests if method == "PUT"]
    fetch(tmp_path / "back", cloud_toml)
    assert (tmp_path / "back" / "large.bin").read_bytes() == large


def test_parts_that_fail_leave_nothing(
    folder: Path, cloud_toml: Path, s3: Any, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    for module in (files, sys.modules["training.cloud.store"]):
        monkeypatch.setattr(module, "PART_BYTES", 5 << 20)
    (folder / "large.bin").write_bytes(os.urandom(6 << 20))
    service.fault = matching("large.bin", "cut", "PUT")
    refusal(lambda: send(folder, cloud_toml), "1 of 10 files were not sent", "large.bin")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_an_interrupted_upload_is_not_complete(
    folder: Path, cloud_toml: Path, service: Service, s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    send(folder, cloud_toml)
    (folder / "a.png").write_bytes(b"new")
    (folder / "deep/er/est/file").write_bytes(b"new, too")
    service.fault = matching("a.png", "cut", "PUT")
    capsys.readouterr()
    refusal(
        lambda: send(folder, cloud_toml), "upload: 1 of 9 files were not sent", "a.png", "run the same command again"
    )
    assert "failed: 'a.png'" in capsys.readouterr().err
    service.fault = None
    # the manifest of before is gone: what is there now is neither the old folder nor the new one
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "is not a complete upload", "upload FOLDER s3://")
    assert not (tmp_path / "back").exists()
    send(folder, cloud_toml)
    assert "1 of them sent now" in capsys.readouterr().out
    fetch(tmp_path / "back", cloud_toml)
    assert contents(tmp_path / "back") == contents(folder)


def test_a_file_that_changes_while_it_is_sent_is_refusal(
    folder: Path, cloud_toml: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = files.content_of

    def late(path: Path) -> files.Content:
        content = real(path)
        if path.name == "a.png":
            path.write_bytes(b"changed meanwhile")
        return content

    monkeypatch.setattr(upload, "content_of", late)
    refusal(lambda: send(folder, cloud_toml), "a.png", "BadDigest")
    assert f"p/data/{MANIFEST}" not in [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_what_else_is_there_stays_unless_pruned(folder: Path, cloud_toml: Path, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="p/data/old.png", Body=b"old")
    s3.put_object(Bucket=BUCKET, Key="p/data-of-others", Body=b"others")
    refusal(lambda: send(folder, cloud_toml), "old.png", "--prune")
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 2
    send(folder, cloud_toml, "--prune")
    keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert "p/data/old.png" not in keys and "p/data-of-others" in keys and len(keys) == len(NAMES) + 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: (folder / "link").symlink_to("a.png"), ("'link' is a symbolic link",)),
        (lambda folder: (folder / "linked").symlink_to("set 1"), ("'linked' is a symbolic link",)),
        (lambda folder: os.mkfifo(folder / "pipe"), ("'pipe' is no regular file",)),
        (lambda folder: (folder / "two\nlines").write_text(""), ("two\\nlines", "control characters")),
        (lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_text(""), ("no UTF-8",)),
        (shutil.rmtree, ("is not a folder",)),
        (emptied, ("holds no files",)),
    ],
)
def test_what_can_not_be_kept_is_named_before_anything_is_sent(
    folder: Path, cloud_toml: Path, s3: Any, make: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    make(folder)
    refusal(lambda: send(folder, cloud_toml), *words)
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


@pytest.mark.parametrize("what", ["cut", "short"])
def test_an_interrupted_download_goes_on(
    folder: Path, cloud_toml: Path, service: Service, tmp_path: Path, what: str, s3: Any
) -> None:
    send(folder, cloud_toml)
    service.fault = matching("deep/er/est/file", what, "GET")
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "deep/er/est/file", "try again")
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.rglob("*.part"))
    service.fault = None
    service.requests.clear()
    fetch(tmp_path / "back", cloud_toml)
    assert contents(tmp_path / "back") == contents(folder)
    fetched = [path for method, path in service.requests if method == "GET" and not path.endswith(MANIFEST)]
    assert f"/{BUCKET}/p/data/deep/er/est/file" in fetched


def test_damaged_objects_are_refusal(folder: Path, cloud_toml: Path, s3: Any, tmp_path: Path) -> None:
    send(folder, cloud_toml)
    s3.put_object(Bucket=BUCKET, Key="p/data/a.png", Body=b"0" * 999 + b"1")
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "a.png is not what the manifest says", "upload it again")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "a//b", "."])
def test_a_manifest_can_not_lead_out_of_the_folder(cloud_toml: Path, s3: Any, tmp_path: Path, name: str) -> None:
    manifest = {"format": 1, "files": {name: {"size": 1, "sha256": "0" * 64}}, "empty": []}
    s3.put_object(Bucket=BUCKET, Key=f"p/data/{MANIFEST}", Body=json.dumps(manifest).encode())
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "leads out of the folder")
    assert not (tmp_path / "back").exists() and not (tmp_path / "outside").exists()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"format": 9}', b'{"format": 1, "files": {"a": {}}, "empty": []}'])
def test_damaged_manifests(cloud_toml: Path, s3: Any, tmp_path: Path, text: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=f"p/data/{MANIFEST}", Body=text)
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "no manifest")


def test_a_folder_that_is_there(folder: Path, cloud_toml: Path, s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    send(folder, cloud_toml)
    fetch(folder, cloud_toml)
    assert "0 files fetched now" in capsys.readouterr().out
    (folder / "a.png").write_bytes(b"mine")
    refusal(lambda: fetch(folder, cloud_toml), "there with other contents")
    assert (folder / "a.png").read_bytes() == b"mine"


def test_no_room_for_a_download(
    folder: Path, cloud_toml: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(folder, cloud_toml)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 5, 5))
    refusal(lambda: fetch(tmp_path / "back", cloud_toml), "8,000 bytes are to come", "room for 5")


def test_a_disk_that_fills_up(folder: Path, cloud_toml: Path, s3: Any, tmp_path: Path) -> None:
    """On a file system of 1 MB, which another program fills meanwhile: the room is there when it is looked at."""
    (folder / "large.bin").write_bytes(os.urandom(600_000))
    send(folder, cloud_toml)
    small = tmp_path / "small"
    small.mkdir()
    script = f"""
import sys
from training.cloud import download
room = download.room_for
def look(folder, size):
    room(folder, size)
    open({str(small / "other")!r}, "wb").write(b"x" * 600_000)
download.room_for = look
download.main(["data", {str(small / "back")!r}, "--cloud", {str(cloud_toml)!r}])
"""
    mount = f'mount -t tmpfs -o size=1m none "{small}" || exit 77; "$@"; code=$?; ls -A "{small}"; exit $code'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this system lets nobody mount in a namespace: {done.stderr.strip()}")
    assert done.returncode == 1, done.stderr
    assert (
        done.stderr.splitlines()[-1].startswith("python -m training.cloud download: the disk of")
        and "make room" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert set(done.stdout.split()) == {".back.partial", "other"}


def test_wrong_credentials(
    folder: Path, cloud_toml: Path, s3: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.core.responses import ActionAuthenticatorMixin

    # from here on moto looks at keys, and knows none
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 1)
    monkeypatch.setattr("moto.core.responses.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    refusal(lambda: send(folder, cloud_toml), "upload: the bucket", "403", "aws sts get-caller-identity")


def test_no_credentials(folder: Path, cloud_toml: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refusal(lambda: send(folder, cloud_toml), "Unable to locate credentials", "aws configure")


def test_a_bucket_that_is_not_there(folder: Path, cloud_toml: Path, service: Service) -> None:
    refusal(lambda: send(folder, cloud_toml), f"there is no bucket {BUCKET}", "aws s3 mb")


def test_nobody_answers(folder: Path, cloud_toml: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    refusal(lambda: send(folder, cloud_toml), "127.0.0.1:9", "look at the network")


@pytest.mark.parametrize(
    ("name", "words"),
    [("s3://", ("names no bucket",)), (f"s3://{BUCKET}", ("whole bucket",)), (f"s3://{BUCKET}/", ("whole bucket",))],
)
def test_places_that_are_none(folder: Path, cloud_toml: Path, s3: Any, name: str, words: tuple[str, ...]) -> None:
    refusal(lambda: upload.main([str(folder), name, "--cloud", str(cloud_toml)]), *words)


def test_a_profile_that_is_not_there(folder: Path, cloud_toml: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDREC_CLOUD_PROFILE", "nobody")
    refusal(lambda: send(folder, cloud_toml), "nobody", "[cloud]")
