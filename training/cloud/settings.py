"""What `cloud.toml` says, checked: where things are in the cloud, what a job runs on, and where releases go.

    [cloud]
    bucket = "my-cards"
    region = "eu-central-1"
    role = "arn:aws:iam::...:role/my-training"     # or its name

    [job]
    max_hours = 6.0

    [deploy]
    host = "pi@cards.local"

Every entry may also come from the environment, which counts more: `CARDREC_CLOUD_BUCKET`, `CARDREC_JOB_MAX_HOURS`,
`CARDREC_DEPLOY_HOST`. Credentials are never here: boto3 finds them where the AWS command line keeps them.
"""

from __future__ import annotations

import os
import tomllib
from argparse import ArgumentParser
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from training.failure import Failure
from training.settings import checked

__all__ = ["Cloud", "Deploy", "Job", "Where", "add_cloud_option", "read_cloud"]

DEFAULT = Path("cloud.toml")


@dataclass(frozen=True, kw_only=True)
class Where:
    """The `[cloud]` table.

    Attributes:
        bucket: S3 bucket of everything; it must exist.
        prefix: what its keys begin with.
        region: AWS region; empty: the one that boto3 is set to.
        profile: of the AWS configuration; empty: the default one.
        role: IAM role that jobs run as, its ARN or its name.
        group: model package group of the registry.
        prices: another table of prices, see `prices.toml`.
    """

    bucket: str = ""
    prefix: str = "cardrec"
    region: str = ""
    profile: str = ""
    role: str = ""
    group: str = "cardrec"
    prices: str = ""

    def need(self, *names: str) -> None:
        """Refuses to go on without these.

        Raises:
            Failure: one is empty.
        """
        for name in names:
            if not getattr(self, name):
                raise Failure(
                    f"no {name} is set; put `{name}` under [cloud] in cloud.toml, or set {variable('cloud', name)}"
                )

    def key(self, *parts: str) -> str:
        """A key under the prefix."""
        return "/".join(part for part in (self.prefix.strip("/"), *parts) if part)

    def uri(self, *parts: str) -> str:
        """An S3 address under the prefix."""
        return f"s3://{self.bucket}/{self.key(*parts)}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The `[job]` table.

    Attributes:
        instance: instance type.
        count: how many of them.
        spot: on spare capacity, which is cheaper and may be taken away; the job then goes on from its checkpoint.
        max_hours: of training, after which the job is stopped.
        max_wait_hours: with spot, of training and waiting together.
        expected_hours: for the estimate of costs; 0: `max_hours`.
        volume_gb: disk of each instance.
        processes: of each instance; 0: one for each GPU.
        pytorch: version of AWS's PyTorch container.
        python: of that container.
        image: another container, instead.
        data: S3 address, or name under the prefix, of the data folder; it must have been uploaded by
            `python -m training.cloud upload`.
    """

    instance: str = "ml.g4dn.xlarge"
    count: int = 1
    spot: bool = True
    max_hours: float = 12.0
    max_wait_hours: float = 24.0
    expected_hours: float = 0.0
    volume_gb: int = 50
    processes: int = 0
    pytorch: str = "2.8"
    python: str = "py312"
    image: str = ""
    data: str = "data"


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """The `[deploy]` table.

    Attributes:
        host: as `ssh` takes it: `pi@cards.local`, or a name of the ssh configuration.
        folder: of the releases there; not absolute: from the home directory.
        port: 0: ssh's own choice.
        identity: file of the private key; empty: ssh's own choice.
        ssh_config: instead of ~/.ssh/config.
        program: how `cardrec` is called there; its whole path where a login by ssh does not find it.
        smoke: shell command that must succeed there after the switch, instead of identifying a bundled photo.
            `{release}` is the release's folder.
        restart: shell command there after each switch, such as `systemctl --user restart cards`.
        keep: releases that stay, the current one and the one before it always among them.
        timeout_s: for each command there.
    """

    host: str = ""
    folder: str = "cardrec"
    port: int = 0
    identity: str = ""
    ssh_config: str = ""
    program: str = "cardrec"
    smoke: str = ""
    restart: str = ""
    keep: int = 3
    timeout_s: int = 300


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """All of `cloud.toml`."""

    cloud: Where = field(default_factory=Where)
    job: Job = field(default_factory=Job)
    deploy: Deploy = field(default_factory=Deploy)


def variable(table: str, name: str) -> str:
    """The environment variable of an entry."""
    return f"CARDREC_{table}_{name}".upper()


def read_cloud(path: Path | None = None) -> Cloud:
    """Reads `cloud.toml` and the environment.

    Args:
        path: None: `cloud.toml` here, where there is one.

    Raises:
        ValueError: something is unknown, of the wrong type or out of range.
        OSError: the file can't be read.
    """
    kinds = {"cloud": Where, "job": Job, "deploy": Deploy}
    tables: dict[str, Any] = {}
    if path or DEFAULT.exists():
        path = path or DEFAULT
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not TOML: {error}") from error
    for name, table in tables.items():
        if name not in kinds or not isinstance(table, dict):
            raise ValueError(f"{path}: {name!r} is unknown; known are the tables [cloud], [job] and [deploy]")
    read = {}
    for name, kind in kinds.items():
        table = tables.get(name, {}) | _from_environment(name, kind)
        read[name] = kind(**checked(kind, table, f"{path or 'environment'}, [{name}]"))
    made = Cloud(**read)
    if made.job.count < 1 or made.deploy.keep < 1:
        raise ValueError(f"{path}: count is {made.job.count} and keep {made.deploy.keep}; expected at least 1")
    if made.job.max_hours <= 0 or (made.job.spot and made.job.max_wait_hours < made.job.max_hours):
        raise ValueError(
            f"{path}: max_hours is {made.job.max_hours:g}, max_wait_hours {made.job.max_wait_hours:g}; expected more "
            "than 0, and with spot at least as long to wait as to train"
        )
    return made


def _from_environment(table: str, kind: type) -> dict[str, Any]:
    """The entries that the environment has; numbers and true/false as TOML writes them."""
    found: dict[str, Any] = {}
    for entry in fields(kind):
        text = os.environ.get(variable(table, entry.name))
        if text is None:
            continue
        if entry.type in (str, "str"):
            found[entry.name] = text
            continue
        try:
            found[entry.name] = tomllib.loads(f"value = {text}")["value"]
        except ValueError:
            raise ValueError(f"{variable(table, entry.name)} is {text!r}; expected {entry.type}") from None
    return found


def add_cloud_option(parser: ArgumentParser) -> None:
    """Adds --cloud."""
    parser.add_argument("--cloud", type=Path, help="settings of the cloud; default: cloud.toml, where there is one")
