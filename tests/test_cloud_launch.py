"""Jobs on SageMaker by its own library: what is asked for, how they are followed, what is fetched, what goes wrong."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloud_fixtures
import pytest
from cloud_fixtures import BUCKET
from refusals import refusal

cloud_fixtures.need("boto3", "moto", "werkzeug", "flask", "sagemaker")

from training.cloud import follow, jobs, launch, upload  # noqa: E402
from training.cloud.artefact import CHECKPOINT  # noqa: E402
from training.cloud.entry import CONTENTS  # noqa: E402
from training.cloud.files import content_of, manifest_of  # noqa: E402
from training.cloud.settings import read_cloud  # noqa: E402

if TYPE_CHECKING:
    from cloud_server import Service

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "original.toml"
GROUP = "/aws/sagemaker/TrainingJobs"
Step = Callable[[Any], None]
MOMENTS = itertools.count()


@pytest.fixture
def toml(s3: Any, service: Service, cloud_toml: Path, tmp_path: Path) -> Path:
    """Settings, a role, and data in S3."""
    from cloud_server import make_role

    role = make_role("training")
    text = cloud_toml.read_text() + f'role = "{role}"\n[job]\nmax_hours = 2.0\nexpected_hours = 0.5\n'
    cloud_toml.write_text(text)
    (tmp_path / "data" / "cards").mkdir(parents=True)
    (tmp_path / "data" / "cards" / "a.png").write_bytes(b"a")
    upload.main([str(tmp_path / "data"), "data", "--cloud", str(cloud_toml)])
    return cloud_toml


def start(toml: Path, *more: str) -> None:
    launch.main(["--config", str(CONFIG), "--cloud", str(toml), "--poll", "0", *more])


def detached(toml: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    """Starts a job; SageMaker's description of it."""
    import boto3

    start(toml, "--detach", "--yes", *more)
    name = next(line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("started "))
    return dict(boto3.client("sagemaker").describe_training_job(TrainingJobName=name))


def checkpoint(path: Path) -> bytes:
    """What torch.save writes, as far as can be told without torch."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("checkpoint/data.pkl", b"\x80\x02}.")
        made.writestr("checkpoint/data/0", b"weights" * 100)
    return path.read_bytes()


def artefact(folder: Path, **changes: bytes) -> bytes:
    """model.tar.gz as SageMaker makes it of what `training.cloud.entry` keeps; changed after it was written down."""
    folder.mkdir()
    checkpoint(folder / CHECKPOINT)
    (folder / "log.csv").write_text("25,train/loss,1.5\n")
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_bytes(b"events")
    names = [CHECKPOINT, "log.csv", "tensorboard/events"]
    (folder / CONTENTS).write_bytes(manifest_of({name: content_of(folder / name) for name in names}, ()))
    for name, body in changes.items():
        (folder / name.replace("__", ".")).write_bytes(body)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return made.getvalue()


def say(*lines: str, host: int = 1) -> Step:
    """A step: the job's instance has written these lines."""

    def step(job: Any) -> None:
        import boto3

        logs, stream = boto3.client("logs"), f"{job.training_job_name}/algo-{host}-1600000000"
        if GROUP not in [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]:
            logs.create_log_group(logGroupName=GROUP)
        if not logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix=stream)["logStreams"]:
            logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
        now = int(job.creation_time.timestamp() * 1000)
        events = [{"timestamp": now + next(MOMENTS), "message": line} for line in lines]
        logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)

    return step


def finish(body: bytes, **others: object) -> Step:
    """A step: the job is completed, and what it made lies in S3."""
    from cloud_server import set_status

    def step(job: Any) -> None:
        import boto3

        bucket, _, key = job.model_artifacts["S3ModelArtifacts"][5:].partition("/")
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
        set_status("Completed", **others)(job)  # type: ignore[arg-type]

    return step


def test_what_is_asked_of_sagemaker(
    toml: Path, service: Service, s3: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    job = detached(toml, capsys)
    assert job["TrainingJobName"].startswith("cardrec-")
    assert job["RoleArn"].endswith(":role/training")
    resources = job["ResourceConfig"]
    assert (resources["InstanceType"], resources["InstanceCount"]) == ("ml.g4dn.xlarge", 1)
    assert job["EnableManagedSpotTraining"] is True
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 86400}
    channels = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in job["InputDataConfig"]}
    assert channels["data"] == f"s3://{BUCKET}/p/data/"
    assert "pytorch-training:2.8-gpu-py312" in job["AlgorithmSpecification"]["TrainingImage"]
    assert job["OutputDataConfig"]["S3OutputPath"] == f"s3://{BUCKET}/p/jobs"
    values = job["HyperParameters"]
    assert values["config"] == "given/original.toml"
    assert (values["phase1.lr"], values["phase1.batch"], values["phase2.temperature"]) == ("0.0001", "64", "4.0")

    # the code as it is unpacked there, with the command that the library wrote for it
    code = s3.get_object(Bucket=BUCKET, Key=channels["code"].split("/", 3)[3])["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(code)) as archive:
        names = archive.getnames()
        assert archive.extractfile("requirements.txt").read() == b"--editable .[training]\n"  # type: ignore[union-attr]
        assert archive.extractfile("given/original.toml").read() == CONFIG.read_bytes()  # type: ignore[union-attr]
    assert {"training/cloud/entry.py", "training/train.py", "cardrec/__init__.py", "setup.py", "pyproject.toml"} <= set(
        names
    )
    assert not [name for name in names if name.endswith((".so", ".pyc")) or name.startswith(("tests", ".git"))]
    driver = (
        s3.get_object(Bucket=BUCKET, Key=channels["sm_drivers"].split("/", 3)[3] + "/sm_train.sh")["Body"]
        .read()
        .decode()
    )
    assert "torchrun_driver.py" in driver and "tar -xzf code.tar.gz" in driver and "requirements.txt" in driver

    # lineage, beside the checkpoints
    place = job["CheckpointConfig"]
    assert place["LocalPath"] == "/opt/ml/checkpoints" and place["S3Uri"].endswith("/checkpoints")
    key = place["S3Uri"].split("/", 3)[3].removesuffix("checkpoints") + "launch.json"
    lineage = json.loads(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())["lineage"]
    manifest = s3.get_object(Bucket=BUCKET, Key="p/data/.cardrec-upload.json")["Body"].read()
    assert lineage["config"] == "original.toml" and lineage["data"] == f"s3://{BUCKET}/p/data"
    assert lineage["data_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert lineage["code_sha256"] == hashlib.sha256(code).hexdigest()
    assert not [path for _, path in service.requests if "telemetry" in path]


def test_equal_code_is_sent_once(toml: Path, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    def sent() -> int:
        return len([path for method, path in service.requests if method == "PUT" and path.endswith("code.tar.gz")])

    detached(toml, capsys)
    assert sent() == 1
    detached(toml, capsys)
    assert sent() == 1


def test_other_instances_on_demand(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = detached(toml, capsys, "--instance", "ml.g5.2xlarge", "--count", "3", "--on-demand")
    resources = job["ResourceConfig"]
    assert (resources["InstanceType"], resources["InstanceCount"]) == ("ml.g5.2xlarge", 3)
    assert job["EnableManagedSpotTraining"] is False
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}


def test_from_start_to_checkpoint(
    toml: Path, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cloud_server import set_status

    told: list[tuple[str, int, int | None]] = []
    body = artefact(tmp_path / "made")
    steps = [
        *[set_status("InProgress", "Starting", "Preparing the instances")] * 2,  # the library looks once, too
        set_status("InProgress", "Downloading", "Downloading the data"),
        say("12 pictures of 3 faces to train on"),
        set_status("InProgress", "Training", "Training image ready"),
        say("direct, step 10 of 40: hit 0.25, unseen 0.5000"),
        say("direct, step 20 of 40: hit 0.50, unseen 0.7500", "another line"),
        set_status("InProgress", "Uploading", "Uploading the artefact"),
        finish(body, training_time_in_seconds=1800, billable_time_in_seconds=600),
    ]
    service.steps = iter(steps)

    class Bar:
        def __enter__(self) -> Callable[..., None]:
            return lambda *given: told.append(given)

        def __exit__(self, *_: object) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "bar", Bar)
        start(toml, "--yes", "--out", str(tmp_path / "run"))
    said = capsys.readouterr().out
    assert "ml.g4dn.xlarge has no bf16 of its own" in said
    assert "0.5 hours expected: $0.04 to $0.37" in said and "stopped after 2 hours: at most $0.15 to $1.47" in said
    assert "prices of 2026-" in said and "https://" in said
    order = [
        "Starting: Prep",
        "Downloading: ",
        "12 pictures",
        "Training: ",
        "step 10",
        "step 20",
        "another",
        "Uploading",
    ]
    places = [said.index(each) for each in order]
    assert places == sorted(places)
    assert said.count("step 10 of 40") == 1
    assert told == [("direct", 10, 40), ("direct", 20, 40)]
    assert "600 s billed on 1 x ml.g4dn.xlarge, for 1,800 s of training (67% saved by spot): $0.12" in said
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (tmp_path / "made" / CHECKPOINT).read_bytes()
    assert (tmp_path / "run" / "tensorboard" / "events").read_bytes() == b"events"
    assert not list(tmp_path.glob(".run*"))


def test_lines_of_several_instances_are_told_apart(
    toml: Path, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    name = detached(toml, capsys, "--count", "2")["TrainingJobName"]
    from cloud_server import job_of

    where = read_cloud(toml).cloud
    reader = follow.LogReader(where, name)
    assert list(reader.lines()) == []
    say("first", "second")(job_of(name))
    say("there", host=2)(job_of(name))
    assert sorted(reader.lines()) == ["algo-1: first", "algo-1: second", "algo-2: there"]
    say("third")(job_of(name))
    assert list(reader.lines()) == ["algo-1: third"]
    assert list(reader.lines()) == []


@pytest.mark.parametrize(
    ("status", "secondary", "reason", "words"),
    [
        (
            "Failed",
            "Failed",
            "AlgorithmError: MemoryError: 1 pictures\nat a time do not fit",
            ("do not fit", "its log"),
        ),
        ("Failed", "Failed", "CapacityError: Unable to provision", ("another one, or another region",)),
        ("Stopped", "MaxWaitTimeExceeded", "", ("MaxWaitTimeExceeded", "max_wait_hours", "--resume")),
        ("Stopped", "MaxRuntimeExceeded", "", ("more max_hours",)),
    ],
)
def test_jobs_that_fail(
    toml: Path, service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    status: str, secondary: str, reason: str, words: tuple[str, ...],
) -> None:  # fmt: skip
    from cloud_server import set_status

    service.steps = iter([set_status("InProgress", "Training"), set_status(status, secondary, failure_reason=reason)])
    refusal(lambda: start(toml, "--yes", "--out", str(tmp_path / "run")), "launch: cardrec-", *words)
    assert not (tmp_path / "run").exists()
    assert "nothing billed" in capsys.readouterr().out


def test_status_and_stop(toml: Path, service: Service, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from cloud_server import job_of, set_status

    name = detached(toml, capsys)["TrainingJobName"]
    refusal(lambda: jobs.main(["stop", name, "--cloud", str(toml)]), "has ended already: Completed")
    set_status("InProgress", "Training", "going on", billable_time_in_seconds=60)(job_of(name))
    jobs.main(["stop", name, "--cloud", str(toml)])
    assert service.stops == [name]
    assert "is being stopped" in capsys.readouterr().out
    set_status("Stopped", "Stopped")(job_of(name))
    jobs.main(["status", name, "--cloud", str(toml)])
    said = capsys.readouterr().out
    assert f"{name}: Stopped (Stopped)" in said and "Training: going on" in said and "60 s billed" in said
    jobs.main(["status", "--cloud", str(toml)])
    assert f"{name}  Stopped" in capsys.readouterr().out
    refusal(lambda: jobs.main(["fetch", name, "--out", str(tmp_path / "run"), "--cloud", str(toml)]), "--checkpoint")


def test_an_interrupted_job_is_gone_on_from(
    toml: Path, s3: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first = detached(toml, capsys)
    fetch = ["fetch", first["TrainingJobName"], "--checkpoint", "--out", str(tmp_path / "run"), "--cloud", str(toml)]
    refusal(lambda: jobs.main(fetch), "has written no checkpoint so far")
    key = first["CheckpointConfig"]["S3Uri"].split("/", 3)[3] + "/checkpoint.pt"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"not a checkpoint")
    refusal(lambda: jobs.main(fetch), "no sound checkpoint")
    assert not (tmp_path / "run").exists()
    s3.put_object(Bucket=BUCKET, Key=key, Body=checkpoint(tmp_path / "c.pt"))
    jobs.main(fetch)
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == (tmp_path / "c.pt").read_bytes()
    second = detached(toml, capsys, "--resume", first["TrainingJobName"])
    assert second["CheckpointConfig"] == first["CheckpointConfig"]
    refusal(lambda: start(toml, "--detach", "--yes", "--resume", "nobody"), "there is no job nobody")


def damaged_bytes(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: artefact(folder)[:-40], ("no sound tar.gz",)),
        (lambda folder: damaged_bytes(artefact(folder)), ("fetch it again",)),
        (lambda _: b"<html>", ("no sound tar.gz",)),
        (lambda folder: artefact(folder, log__csv=b"other"), ("log.csv is not what", "damaged")),
        (lambda folder: artefact(folder, extra=b"extra"), ("extra is not what",)),
        (lambda folder: artefact(folder, **{CONTENTS.replace(".", "__"): b"{}"}), ("no manifest",)),
    ],
)
def test_damaged_artefacts(
    toml: Path, tmp_path: Path, service: Service, change: Callable[[Path], bytes], words: tuple[str, ...]
) -> None:
    service.steps = iter([finish(change(tmp_path / "made"))])
    refusal(lambda: start(toml, "--yes", "--out", str(tmp_path / "run")), *words)
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob(".run*"))


def test_an_artefact_that_is_not_there(toml: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refusal(lambda: start(toml, "--yes", "--out", str(tmp_path / "run")), "is not there any more", "--resume")


def test_it_asks_before_it_spends(
    toml: Path, tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started() -> bool:
        return any(path == "/" and method == "POST" for method, path in service.requests)

    refusal(lambda: start(toml, "--out", str(tmp_path / "run")), "say --yes")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "")
    service.requests.clear()
    refusal(lambda: start(toml, "--out", str(tmp_path / "run")), "not started")
    assert not started()
    monkeypatch.setattr("builtins.input", lambda _: "y")
    start(toml, "--detach")
    assert started()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("role", "role = ''  # "), ("no role is set", "[cloud]", "CARDREC_CLOUD_ROLE")),
        (("role/training", "role/nobody"), ("the role", "role/nobody", "Give it these permissions")),
        ((BUCKET, "another-bucket"), ("there is no bucket another-bucket",)),
        (("[job]", "[job]\ndata = 'elsewhere'"), ("p/elsewhere is not a complete upload", "training.cloud upload")),
        (("[job]", "[job]\npytorch = '0.0'"), ("0.0",)),
        (("[job]", "[job]\nspeed = 3"), ("'speed' is unknown",)),
        (("max_hours = 2.0", "max_hours = 30.0"), ("max_wait_hours 24", "at least as long")),
    ],
)
def test_settings_that_do_not_work(toml: Path, tmp_path: Path, change: tuple[str, str], words: tuple[str, ...]) -> None:
    toml.write_text(toml.read_text().replace(*change, 1))
    refusal(lambda: start(toml, "--yes", "--out", str(tmp_path / "run")), "launch: ", *words)
    assert not (tmp_path / "run").exists()


def test_a_role_that_may_not(toml: Path, service: Service, tmp_path: Path) -> None:
    service.denied = {"logs:CreateLogGroup", "ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}
    refusal(lambda: start(toml, "--yes", "--detach"), "Missing permissions", "Give it these permissions")


def test_a_folder_that_is_there_is_refused_before_anything_costs(toml: Path, tmp_path: Path, service: Service) -> None:
    (tmp_path / "run").mkdir()
    service.requests.clear()
    refusal(lambda: start(toml, "--yes", "--out", str(tmp_path / "run")), "is there already")
    assert service.requests == []
