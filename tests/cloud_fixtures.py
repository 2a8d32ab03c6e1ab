"""Fixtures of the tests that need Amazon's services, which `conftest.py` has all tests find."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from cloud_server import Service

BUCKET = "cards-of-a-test"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


def need(*modules: str) -> None:
    """Skips a test module where something is not installed; under `make test-cloud` that is an error."""
    for module in modules:
        if find_spec(module) is None:
            if "CARDREC_TEST_CLOUD" in os.environ:
                raise ModuleNotFoundError(f"{module} is not installed, though these are the tests of the cloud")
            pytest.skip(f"{module} is not installed", allow_module_level=True)


@pytest.fixture(scope="session")
def services() -> Iterator[tuple[Service, str]]:
    from cloud_server import serving

    with serving() as running:
        yield running


@pytest.fixture
def service(services: tuple[Service, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    """Amazon's services with nothing in them, and an environment that leads to them."""
    import boto3

    made, address = services
    for name in [name for name in os.environ if name.startswith(("AWS_", "CARDREC_CLOUD_", "CARDREC_JOB_"))]:
        monkeypatch.delenv(name)
    settings = KEYS | {"AWS_ENDPOINT_URL": address, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "2"}
    settings |= {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield made
    made.forget()
    urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()


@pytest.fixture
def s3(service: Service) -> Any:
    """A client, and the bucket."""
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": KEYS["AWS_DEFAULT_REGION"]})
    return client


@pytest.fixture
def cloud_toml(service: Service, tmp_path: Path) -> Path:
    """Settings that name the bucket."""
    path = tmp_path / "cloud.toml"
    path.write_text(f'[cloud]\nbucket = "{BUCKET}"\nprefix = "p"\nregion = "eu-central-1"\n')
    return path
