"""The registry of models: versions with lineage and figures, approving, rolling back, fetching what counts."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloud_fixtures
import pytest
from bundles import FLOATS
from cloud_fixtures import BUCKET
from refusals import refusal

cloud_fixtures.need("boto3", "moto", "werkzeug", "flask", "sagemaker")

from cardrec.model import Model, fingerprint_of, preprocessing_hash  # noqa: E402
from training.cloud import launch, registry, upload  # noqa: E402
from training.cloud.settings import read_cloud  # noqa: E402
from training.cloud.versions import Registry  # noqa: E402

if TYPE_CHECKING:
    from cloud_server import Service

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "third.toml"


@pytest.fixture
def toml(s3: Any, service: Service, cloud_toml: Path) -> Path:
    return cloud_toml


@pytest.fixture
def bundles(tiny: Model, tmp_path: Path) -> list[Path]:
    """Three small bundles with networks, and so fingerprints, of their own; with the figures of the bundled encoder."""
    import hashlib

    made = []
    for number in range(3):
        folder = Path(shutil.copytree(tiny.network.parent, tmp_path / f"bundle{number}"))
        details = json.loads((folder / "model.json").read_text())
        network = folder / details["file"]
        network.write_bytes(network.read_bytes() + bytes([number]))
        digest = hashlib.sha256(network.read_bytes()).hexdigest()
        details |= {"sha256": digest, "fingerprint": fingerprint_of(digest, preprocessing_hash())}
        details["figures"] = Model.load(FLOATS).details["figures"]
        (folder / "model.json").write_text(json.dumps(details))
        made.append(folder)
    return made


def call(toml: Path, *arguments: object) -> None:
    registry.main([str(each) for each in (*arguments, "--cloud", toml)])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


refused = partial(refusal, command="python -m training.cloud registry")


def statuses(toml: Path, capsys: pytest.CaptureFixture[str]) -> dict[int, str]:
    """Each version's status; the one that counts with a star."""
    call(toml, "list")
    lines = [line for line in said(capsys).splitlines() if not line.startswith("       ")]
    return {int(line[1:5]): line[0].strip() + line.split()[1 + (line[0] == "*")] for line in lines}


def test_register_approve_roll_back(toml: Path, bundles: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    call(toml, "list")
    assert said(capsys) == "no versions so far\n"
    for number, bundle in enumerate(bundles, 1):
        call(toml, "register", bundle)
        assert said(capsys) == f"version {number}, PendingManualApproval\n"
    call(toml, "register", bundles[1])
    assert said(capsys) == "version 2, PendingManualApproval: it was registered already\n"
    assert statuses(toml, capsys) == dict.fromkeys((1, 2, 3), "PendingManualApproval")
    call(toml, "approve", 1)
    assert said(capsys) == "version 1 is approved; 1 counts\n"
    call(toml, "approve", 3, "--note", "better in bad light")
    call(toml, "approve", 2)
    assert said(capsys).splitlines()[-1] == "version 2 is approved; 3 counts"
    assert statuses(toml, capsys) == {1: "Approved", 2: "Approved", 3: "*Approved"}
    call(toml, "list")
    listed = said(capsys)
    fingerprint = Model.load(bundles[2]).fingerprint
    assert "better in bad light" in listed and fingerprint in listed
    assert (
        f"s3://{BUCKET}/p/models/{fingerprint}/bundle" in listed and "redemption-hard-0.03 96.0 (93.6-97.5)" in listed
    )
    call(toml, "rollback")
    assert said(capsys) == "version 2 counts; rejected: 3\n"
    assert statuses(toml, capsys) == {1: "Approved", 2: "*Approved", 3: "Rejected"}
    call(toml, "rollback", "--to", 1)
    capsys.readouterr()
    assert statuses(toml, capsys) == {1: "*Approved", 2: "Rejected", 3: "Rejected"}
    refused(lambda: call(toml, "rollback"), "no approved version before")
    call(toml, "rollback", "--to", 3)
    capsys.readouterr()
    assert statuses(toml, capsys) == {1: "Approved", 2: "Rejected", 3: "*Approved"}
    call(toml, "list")
    assert fingerprint in said(capsys)  # what a version is stays through all of this


def test_rolling_back_over_several(toml: Path, bundles: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for number, bundle in enumerate(bundles, 1):
        call(toml, "register", bundle)
        call(toml, "approve", number)
    capsys.readouterr()
    call(toml, "rollback", "--to", 1)
    assert said(capsys) == "version 1 counts; rejected: 3, 2\n"


def test_lineage_of_the_job(
    toml: Path, bundles: list[Path], tmp_path: Path, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from cloud_server import make_role

    toml.write_text(toml.read_text() + f'role = "{make_role("training")}"\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"a")
    upload.main([str(tmp_path / "data"), "data", "--cloud", str(toml)])
    launch.main(["--config", str(CONFIG), "--cloud", str(toml), "--detach", "--yes"])
    job = next(line.split()[1] for line in said(capsys).splitlines() if line.startswith("started "))
    call(toml, "register", bundles[0], "--job", job)
    found = Registry(read_cloud(toml).cloud).find(1)
    assert found.job == job and found.properties["config"] == "third.toml"
    assert found.properties["data"] == f"s3://{BUCKET}/p/data"
    for name in ("config_sha256", "data_sha256", "code_sha256", "bundle_sha256"):
        assert len(found.properties[name]) == 64
    assert found.properties["top1-pocket-en-easy-0.03"] == "100.0 (98.7-100.0)"
    metrics = json.loads(
        s3.get_object(Bucket=BUCKET, Key=found.uri.split("/", 3)[3].replace("bundle", "metrics.json"))["Body"].read()
    )
    assert metrics["references"] == 17992
    call(toml, "list")
    assert job in said(capsys)
    refused(lambda: call(toml, "register", bundles[1], "--job", "nobody"), "no job nobody")


def test_pull_gives_the_bundle_that_counts(
    toml: Path, bundles: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(toml, "register", bundles[0])
    refused(lambda: call(toml, "pull", tmp_path / "out"), "no approved version")
    call(toml, "register", bundles[1])
    call(toml, "approve", 1)
    call(toml, "pull", tmp_path / "out")
    assert Model.load(tmp_path / "out").fingerprint == Model.load(bundles[0]).fingerprint
    call(toml, "pull", tmp_path / "two", "--version", 2)
    assert Model.load(tmp_path / "two").fingerprint == Model.load(bundles[1]).fingerprint
    refused(lambda: call(toml, "pull", tmp_path / "no", "--version", 9), "no version 9; known: 2, 1")


def test_what_is_no_bundle(toml: Path, bundles: list[Path], tmp_path: Path, s3: Any) -> None:
    refused(lambda: call(toml, "register", tmp_path / "nothing"), "expected a model bundle")
    network = Model.load(bundles[0]).network
    network.write_bytes(network.read_bytes()[:-1])
    refused(lambda: call(toml, "register", bundles[0]), "is damaged")
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    refused(lambda: call(toml, "approve", 1), "no version 1; known: none")


def test_an_upload_that_fails_registers_nothing(
    toml: Path, bundles: list[Path], service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.fault = lambda environ: (
        "cut" if environ["PATH_INFO"].endswith("model.json") and environ["REQUEST_METHOD"] == "PUT" else None
    )
    refused(lambda: call(toml, "register", bundles[0]), "files were not sent")
    service.fault = None
    capsys.readouterr()
    call(toml, "list")
    assert said(capsys) == "no versions so far\n"
