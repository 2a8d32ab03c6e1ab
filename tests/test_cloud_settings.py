"""What `training.cloud` does without a network or boto3: settings, prices, the archive of the code, unpacking."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.cloud import __main__ as command
from training.cloud import artefact, package, prices, upload
from training.cloud.files import content_of
from training.cloud.settings import Job, read_cloud
from training.failure import Failure
from training.settings import read_settings

CONFIGS = Path(__file__).parents[1] / "training" / "configs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_settings_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_cloud().job.instance == "ml.g4dn.xlarge" and read_cloud().job.spot
    (tmp_path / "cloud.toml").write_text('[cloud]\nbucket = "a"\nprefix = "/x/"\n[job]\ncount = 2\n')
    monkeypatch.setenv("CARDREC_CLOUD_BUCKET", "1234")
    monkeypatch.setenv("CARDREC_JOB_SPOT", "false")
    monkeypatch.setenv("CARDREC_JOB_MAX_HOURS", "3")
    read = read_cloud()
    assert (read.cloud.bucket, read.job.count, read.job.spot, read.job.max_hours) == ("1234", 2, False, 3)
    assert read.cloud.uri("a", "b") == "s3://1234/x/a/b"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[cloud", "not TOML"),
        ("[clouds]\n", "'clouds' is unknown"),
        ("bucket = 'x'\n", "'bucket' is unknown; known are the tables"),
        ("[cloud]\nbuckets = 'x'\n", "'buckets' is unknown; known are bucket"),
        ("[job]\ncount = 0\n", "expected at least 1"),
        ("[job]\nspot = 'no'\n", "expected true or false"),
        ("[job]\nmax_hours = 0\n", "expected more than 0"),
    ],
)
def test_bad_settings(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "cloud.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_cloud()


def test_bad_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDREC_JOB_COUNT", "two")
    with pytest.raises(ValueError, match="CARDREC_JOB_COUNT is 'two'"):
        read_cloud()


def test_estimates(tmp_path: Path) -> None:
    table = prices.read_prices()
    assert prices.estimate(Job(spot=False, count=2, max_hours=10), table).splitlines()[0].endswith("at most $14.73")
    spot = prices.estimate(Job(max_hours=10, expected_hours=1), table).splitlines()
    assert spot[0] == "1 x ml.g4dn.xlarge, spot, 1 hours expected: $0.07 to $0.74"
    assert table.date in spot[-1] and table.source in spot[-1]
    assert "has no price for it" in prices.estimate(Job(instance="ml.p9.large"), table)
    own = tmp_path / "own.toml"
    own.write_text(
        'source = "our contract"\ndate = "2027-01-01"\n[spot]\nleast = 0.5\nmost = 0.5\n[hour]\n"ml.p9.large" = 100\n'
    )
    said = prices.estimate(Job(instance="ml.p9.large", max_hours=2), prices.read_prices(own))
    assert "at most $100.00" in said and "our contract" in said


@pytest.mark.parametrize("text", ["", "x", 'source="a"\ndate="b"\n[spot]\nleast=0\nmost=1\n[hour]\na="free"\n'])
def test_bad_prices(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(ValueError, match="is no table of prices"):
        prices.read_prices(tmp_path / "prices.toml")


def test_costs_afterwards() -> None:
    table = prices.read_prices()
    description = {"ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.g4dn.xlarge"}}
    assert prices.cost_after(description, table) == "nothing billed so far"
    billed = description | {"BillableTimeInSeconds": 3600, "TrainingTimeInSeconds": 7200}
    assert prices.cost_after(billed, table).startswith(
        "3,600 s billed on 2 x ml.g4dn.xlarge, for 7,200 s of training (50% "
    )
    assert f"$1.47 at the prices of {table.date}" in prices.cost_after(billed, table)
    other = {"ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.p9.large"}, "BillableTimeInSeconds": 5}
    assert "has no price for it" in prices.cost_after(other, table)


def test_an_archive_of_the_code_is_the_same_each_time(tmp_path: Path) -> None:
    configs = package.config_files(CONFIGS / "third.toml")
    packed = package.pack(configs)
    assert packed == package.pack(configs)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "code", filter="data")
    assert {"training/cloud/entry.py", "csrc/common/tiers.cpp", "setup.py", "given/third.toml"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyc", ".onnx"))]
    assert package.pack({}) != packed
    assert not [name for name in names if name.startswith(("cardrec/data/", "training/models/"))]
    # without git, as from a source distribution, the same files
    assert sorted(package._code(tmp_path / "code")) == [
        name for name in names if not name.startswith(("given/", "requirements"))
    ]
    with pytest.raises(Failure, match=r"is no checkout of cardrec"):
        package.pack({}, tmp_path)


def test_the_bundle_that_a_training_goes_on_from_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "old").mkdir(parents=True)
    for name in ("model.json", "model.onnx"):
        (tmp_path / "runs" / "old" / name).write_text(name)
    found = package.start_files({"bundle": "runs/old"})
    assert found == {"runs/old/model.json": b"model.json", "runs/old/model.onnx": b"model.onnx"}
    with tarfile.open(fileobj=io.BytesIO(package.pack(found))) as archive:
        assert set(found) <= set(archive.getnames())
    assert not package.start_files({}) and not package.start_files({"mobilenet": "weights/x.tflite"})
    for elsewhere in (str(tmp_path / "runs" / "old"), "../old"):
        with pytest.raises(Failure, match=r"which a job can't see; put it below the current folder"):
            package.start_files({"bundle": elsewhere})
    with pytest.raises(Failure, match=r"names runs/new, which is no bundle here"):
        package.start_files({"bundle": "runs/new"})


def test_what_the_committed_configs_go_on_from_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(package.ROOT)
    for config in ("second", "third", "prepared"):
        assert set(package.start_files(read_settings(CONFIGS / f"{config}.toml").start)) == {
            "training/models/third/model.json", "training/models/third/model.onnx",
        }  # fmt: skip


def test_configs_bring_those_that_they_are_based_on(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('[[source]]\nfolder = "cards"\n[[phase]]\nsteps = 7\n')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "config.toml").write_text('base = "../base.toml"\nseed = 5\n')
    files = package.config_files(tmp_path / "more" / "config.toml")
    assert list(files) == ["given/more/config.toml", "given/base.toml"]
    for name, text in files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(text)
    settings = read_settings(tmp_path / "out" / "given" / "more" / "config.toml")
    assert settings.seed == 5 and settings.phase[0].steps == 7
    values = package.hyperparameters(next(iter(files)), settings)
    assert values["config"] == "given/more/config.toml" and values["seed"] == "5" and values["phase1.steps"] == "7"


def test_hyperparameters_fit_sagemaker() -> None:
    for config in ("original", "first", "third"):
        values = package.hyperparameters("c", read_settings(CONFIGS / f"{config}.toml"))
        assert len(values) <= 100 and all(0 < len(value) <= 2500 for value in values.values())


def test_lineage_changes_with_what_it_is_of(tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    first = package.lineage_of(config, {"a": b"1"}, b"code", "s3://b/data", b"manifest")
    assert first == package.lineage_of(config, {"a": b"1"}, b"code", "s3://b/data", b"manifest")
    for given in (({"a": b"2"}, b"code", b"manifest"), ({"a": b"1"}, b"c", b"manifest"), ({"a": b"1"}, b"code", b"m")):
        assert package.lineage_of(config, given[0], given[1], "s3://b/data", given[2]) != first
    head = subprocess.run(
        ["git", "-C", str(package.ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    assert first.commit.removesuffix("-dirty") == head.stdout.strip()


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, body in members:
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    "hostile",
    [
        member("../outside"),
        member("/tmp/outside"),
        member("a/../../outside"),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "good"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda each: each.name,
)
def test_hostile_archives_are_not_unpacked(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    path = tar(tmp_path / "a.tar.gz", (member("good"), b"good"), (hostile, b""))
    (tmp_path / "out").mkdir()
    with pytest.raises(Failure, match="nothing of it was unpacked"):
        artefact.unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b[:-30],
        lambda b: b[: len(b) // 2],
        lambda _: b"",
        lambda _: b"no archive",
        lambda b: b[:20] + bytes(20) + b[40:],
    ],
)
def test_damaged_archives(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tar(tmp_path / "a.tar.gz", (member("good"), bytes(range(256)) * 500))
    path.write_bytes(change(path.read_bytes()))
    (tmp_path / "out").mkdir()
    with pytest.raises(Failure, match="no sound tar"):
        artefact.unpack(path, tmp_path / "out")


def test_archives_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "a.tar.gz", (member("zeros"), bytes(10_000_000)))
    monkeypatch.setattr("training.cloud.download.shutil.disk_usage", lambda _: SimpleNamespace(free=9_000_000))
    with pytest.raises(Failure, match="room for 9,000,000"):
        artefact.unpack(path, tmp_path)
    monkeypatch.setattr(artefact, "MOST_FILES", 1)
    tar(path, (member("a"), b""), (member("b"), b""))
    with pytest.raises(Failure, match="more than 1 files"):
        artefact.unpack(path, tmp_path)


@pytest.mark.parametrize("damage", ["bytes", "cut", "other zip", "none"])
def test_checkpoints_that_are_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a/data.pkl" if damage != "other zip" else "a/b", b"pickle")
        made.writestr("a/data/0", b"weights" * 1000)
    body = path.read_bytes()
    path.write_bytes(body.replace(b"weightsweights", b"weightsweighty", 1) if damage == "bytes" else body)
    if damage == "cut":
        path.write_bytes(body[:-50])
    if damage == "none":
        path.unlink()
    with pytest.raises(Failure, match=r"no sound checkpoint|there is no checkpoint"):
        artefact.check_checkpoint(path)


def test_contents_of_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    content = content_of(tmp_path / "empty")
    assert content.size == 0 and content.checksum == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize("given", [[], ["nothing"], ["launch"], ["jobs", "stop"], ["deploy"], ["registry", "approve"]])
def test_wrong_use(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(given)
    assert stopped.value.code == 2 and "usage: python -m training.cloud" in capsys.readouterr().err


def test_without_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(SystemExit) as stopped:
        upload.main([str(tmp_path), "s3://bucket/key"])
    assert str(stopped.value) == "python -m training.cloud upload: boto3 is not installed; pip install '.[cloud]'"
