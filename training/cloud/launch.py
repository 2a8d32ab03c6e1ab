"""Trains on SageMaker: says what it will cost, starts the job, follows it, and fetches what came of it.

    python -m training.cloud launch --config training/configs/third.toml --out RUN [--yes] [--detach]

The data must lie in S3 (`python -m training.cloud upload DATA data`). The job runs `training.train` with torchrun: one
process for each GPU of each instance. It keeps its checkpoints in S3, and goes on from them after an interruption.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from training.cloud.artefact import fetch
from training.cloud.aws import explained, quiet_imports, session
from training.cloud.download import read_remote_manifest
from training.cloud.files import Content
from training.cloud.follow import describe, follow
from training.cloud.package import (
    ENTRY,
    REQUIREMENTS,
    Lineage,
    config_files,
    hyperparameters,
    lineage_of,
    pack,
    start_files,
)
from training.cloud.prices import estimate, read_prices
from training.cloud.settings import Cloud, Job, Where, add_cloud_option, read_cloud
from training.cloud.store import Store, open_store
from training.cloud.upload import place_of
from training.failure import Failure, one_line
from training.progress import bar
from training.settings import Settings, read_settings

__all__ = ["CHECKPOINTS", "RECORD", "container", "launch"]

COMMAND = "python -m training.cloud launch"

CHECKPOINTS = "checkpoints"
RECORD = "launch.json"
"""Beside a run's checkpoints: its lineage and its settings."""

_SLOW_BF16 = ("ml.g4dn.", "ml.p3.")
"""GPUs (T4, V100) that have no bf16 of their own."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a job needs, in S3."""

    code: str
    data: str
    run: str
    lineage: Lineage


def launch(config: Path, cloud: Cloud, store: Store, *, resume: str = "") -> str:
    """Starts a job; returns its name.

    Args:
        config: of the training.
        cloud: settings.
        store: the bucket.
        resume: a job whose checkpoints this one goes on from.

    Raises:
        Failure: the data is not there, or SageMaker refuses the job.
        ValueError: the config is wrong.
    """
    settings = read_settings(config)
    cloud.cloud.need("role")
    inputs = _prepare(config, settings, cloud, store, resume)
    names = hyperparameters(next(iter(config_files(config))), settings)
    with explained("starting the job"), quiet_imports():
        return _train(cloud.cloud, cloud.job, inputs, names)


def _prepare(config: Path, settings: Settings, cloud: Cloud, store: Store, resume: str) -> Inputs:
    """Puts the code and the run's record into S3, after a look at the data."""
    bucket, key = place_of(cloud.cloud, cloud.job.data)
    manifest = read_remote_manifest(store if bucket == store.bucket else Store(store.s3, bucket), key)
    configs = config_files(config)
    code = pack(configs | start_files(settings.start))
    lineage = lineage_of(config, configs, code, f"s3://{bucket}/{key}", manifest)
    place = cloud.cloud.key("code", lineage.code_sha256, "code.tar.gz")
    digest = bytes.fromhex(lineage.code_sha256)
    if not store.holds(place, Content(len(code), lineage.code_sha256, (digest,))):
        store.put_bytes(place, code)
    run = _run_of(cloud.cloud, resume) if resume else cloud.cloud.key("runs", _new_name())
    record = {"lineage": lineage.table(), "job": asdict(cloud.job), "resumes": resume}
    store.put_bytes(f"{run}/{RECORD}", (json.dumps(record, indent=1) + "\n").encode())
    return Inputs(f"s3://{store.bucket}/{place}", lineage.data, f"s3://{store.bucket}/{run}", lineage)


def _new_name() -> str:
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + secrets.token_hex(2)


def _run_of(where: Where, job: str) -> str:
    """The key of the run that a job belongs to."""
    uri = describe(where, job).get("CheckpointConfig", {}).get("S3Uri", "")
    before = f"s3://{where.bucket}/"
    if not uri.startswith(before) or not uri.endswith(f"/{CHECKPOINTS}"):
        raise Failure(f"{job} keeps no checkpoints in {where.bucket}, so nothing can go on from it; launch anew")
    return str(uri[len(before) : -len(CHECKPOINTS) - 1])


def _train(where: Where, job: Job, inputs: Inputs, names: dict[str, str]) -> str:
    """Creates the training job by SageMaker's library."""
    try:
        from sagemaker.core.helper.iam_role_resolver import RoleValidationError
        from sagemaker.core.shapes import Tag
        from sagemaker.core.training.configs import (
            CheckpointConfig,
            Compute,
            InputData,
            OutputDataConfig,
            SourceCode,
            StoppingCondition,
        )
        from sagemaker.train import ModelTrainer
        from sagemaker.train.distributed import Torchrun
    except ImportError as error:
        raise Failure(f"SageMaker's library can't be loaded ({error}); pip install '.[cloud]'") from error
    tags = {"config": inputs.lineage.config, "commit": inputs.lineage.commit, "data": inputs.lineage.data_sha256}
    wait = {"max_wait_time_in_seconds": round(job.max_wait_hours * 3600)} if job.spot else {}
    try:
        trainer = ModelTrainer(
            sagemaker_session=_sagemaker_session(where),
            role=where.role,
            base_job_name="cardrec",
            training_image=container(job, where),
            source_code=SourceCode(source_dir=inputs.code, entry_script=ENTRY, requirements=REQUIREMENTS),
            distributed=Torchrun(process_count_per_node=job.processes or None),
            compute=Compute(
                instance_type=job.instance,
                instance_count=job.count,
                volume_size_in_gb=job.volume_gb,
                enable_managed_spot_training=job.spot,
            ),
            stopping_condition=StoppingCondition(max_runtime_in_seconds=round(job.max_hours * 3600), **wait),
            output_data_config=OutputDataConfig(s3_output_path=where.uri("jobs")),
            checkpoint_config=CheckpointConfig(s3_uri=f"{inputs.run}/{CHECKPOINTS}", local_path="/opt/ml/checkpoints"),
            hyperparameters=dict(names),
            tags=[Tag(key=f"cardrec:{name}", value=value) for name, value in tags.items() if value],
        )
        data = InputData(channel_name="data", data_source=f"{inputs.data}/")
        trainer.train(input_data_config=[data], wait=False, logs=False)
    except RoleValidationError as error:
        said = " ".join(str(error).split("To fix this", maxsplit=1)[0].split())
        raise Failure(
            f"the role {where.role}: {said} Give it these permissions, or put another one under [cloud]"
        ) from error
    return str(trainer._latest_training_job.training_job_name)  # noqa: SLF001 its own documentation reads it so


def _sagemaker_session(where: Where) -> Any:
    """A session that tells nobody what it is used for."""
    from sagemaker.core.helper.session_helper import Session

    silent = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
    boto = session(where)
    return Session(
        boto_session=boto, default_bucket=where.bucket, default_bucket_prefix=where.key("jobs"), sagemaker_config=silent
    )


def container(job: Job, where: Where) -> str:
    """The address of AWS's PyTorch container, or of the settings' own.

    Args:
        job: says which versions.
        where: says which region.

    Raises:
        ValueError: there is no such container.
    """
    if job.image:
        return job.image
    with quiet_imports():
        from sagemaker.core import image_uris
    region = session(where).region_name
    if not region:
        raise Failure("no region is set; put `region` under [cloud], or set AWS_DEFAULT_REGION")
    return str(
        image_uris.retrieve(
            "pytorch",
            region,
            version=job.pytorch,
            py_version=job.python,
            instance_type=job.instance,
            image_scope="training",
        )
    )


def hints(settings: Settings, job: Job) -> list[str]:
    """What would go slower than it has to."""
    if settings.precision == "bf16" and job.instance.startswith(_SLOW_BF16):
        return [f'{job.instance} has no bf16 of its own: precision = "fp16" in the config is faster there']
    return []


def confirm(question: str) -> None:
    """Asks; anything but yes ends the command.

    Raises:
        Failure: the answer is no, or nobody is there to ask.
    """
    if not sys.stdin.isatty():
        raise Failure("nobody is there to ask whether to spend this; say --yes")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Failure("not started")


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="of the training")
    parser.add_argument("--out", type=Path, help="folder for the checkpoint and the logs; must not be there")
    parser.add_argument("--instance", help="instead of the one of the settings")
    parser.add_argument("--count", type=int, help="of instances, likewise")
    parser.add_argument("--on-demand", action="store_true", help="no spot: dearer, never interrupted")
    parser.add_argument("--resume", default="", metavar="JOB", help="go on from this job's checkpoints")
    parser.add_argument("--yes", action="store_true", help="don't ask whether to spend this")
    parser.add_argument("--detach", action="store_true", help="don't wait for the job")
    parser.add_argument("--poll", type=float, default=10.0, metavar="SECONDS", help="between looks at the job")
    add_cloud_option(parser)
    options = parser.parse_args(given)
    if not options.detach and options.out is None:
        parser.error("--out is needed, unless with --detach")
    return options


def main(given: Sequence[str] | None = None) -> None:
    options = _options(given)
    with one_line(COMMAND):
        cloud = read_cloud(options.cloud)
        job = replace(cloud.job, spot=cloud.job.spot and not options.on_demand)
        job = replace(job, instance=options.instance or job.instance, count=options.count or job.count)
        cloud = replace(cloud, job=job)
        settings = read_settings(options.config)
        if not options.detach and options.out.exists():
            raise Failure(f"{options.out} is there already; choose another folder for --out")
        store = open_store(cloud.cloud)
        prices = read_prices(cloud.cloud.prices)
        print("\n".join([*hints(settings, job), estimate(job, prices)]))
        if not options.yes:
            confirm("start it?")
        name = launch(options.config, cloud, store, resume=options.resume)
        print(f"started {name}", flush=True)
        commands = f"python -m training.cloud jobs status {name}, ... jobs stop {name}, ... jobs fetch {name} --out RUN"
        if options.detach:
            print(commands)
            return
        try:
            with bar() as progress:
                follow(cloud.cloud, name, prices, poll_s=options.poll, progress=progress)
        except KeyboardInterrupt:
            print(f"the job goes on: {commands}", file=sys.stderr)
            raise
        fetch(cloud.cloud, store, name, options.out)
        print(f"{options.out}: complete")


if __name__ == "__main__":
    main()
