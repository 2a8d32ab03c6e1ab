"""The registry of models: what was trained, on what, how good it is, and which one counts.

    python -m training.cloud registry register BUNDLE [--job JOB]
    python -m training.cloud registry list
    python -m training.cloud registry approve VERSION [--note TEXT]
    python -m training.cloud registry rollback [--to VERSION]
    python -m training.cloud registry pull FOLDER [--version VERSION]

The one that counts is the newest that is approved. `pull` fetches it, as a bundle that `deploy` takes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cardrec.model import Model
from training.cloud.download import download
from training.cloud.follow import describe
from training.cloud.launch import CHECKPOINTS, RECORD, container
from training.cloud.settings import Cloud, Where, add_cloud_option, read_cloud
from training.cloud.store import Store, open_store, split_uri
from training.cloud.upload import upload
from training.cloud.versions import APPROVED, Registry, Version
from training.failure import Failure, one_line
from training.progress import bar

__all__ = ["figures_of", "register"]

COMMAND = "python -m training.cloud registry"

METRICS = "metrics.json"


def figures_of(details: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a `model.json` that compare versions, by short names: right card first, in per cent."""
    rows = details.get("figures", {}).get("top1", ())
    names = {f"top1-{row['source']}-{row['level']}-{row['corner_error']:g}": str(row["model"]) for row in rows}
    return dict(list(names.items())[:30])


def register(cloud: Cloud, store: Store, bundle: Path, job: str = "") -> tuple[Version, bool]:
    """Sends a bundle and registers it; returns its version, and whether it is a new one.

    Raises:
        Failure: it could not be sent, or the job is not known.
        ModelError: it is no sound bundle.
    """
    model = Model.load(bundle)
    registry = Registry(cloud.cloud)
    for version in registry.versions():
        if version.properties.get("fingerprint") == model.fingerprint:
            return version, False
    lineage = _lineage(cloud.cloud, store, job) if job else {}
    place = cloud.cloud.key("models", model.fingerprint)
    with bar() as progress:
        sent = upload(bundle, store, f"{place}/bundle", progress=progress)
    figures = json.dumps(model.details.get("figures", {}), indent=1).encode()
    store.put_bytes(f"{place}/{METRICS}", figures)
    properties = {"fingerprint": model.fingerprint, "bundle_sha256": sent.digest}
    properties |= {name: value for name, value in lineage.items() if value} | figures_of(model.details)
    version = registry.add(
        sent.uri,
        container(cloud.job, cloud.cloud),
        f"s3://{store.bucket}/{place}/{METRICS}",
        properties,
        name=model.name,
        commit=lineage.get("commit", ""),
        job=job,
    )
    return version, True


def _lineage(where: Where, store: Store, job: str) -> dict[str, str]:
    """What `launch` wrote down of a job."""
    uri = describe(where, job).get("CheckpointConfig", {}).get("S3Uri", "")
    bucket, key = split_uri(uri.removesuffix(CHECKPOINTS) + RECORD) if uri else ("", "")
    text = Store(store.s3, bucket).bytes(key) if uri else None
    if text is None:
        raise Failure(f"{job} has no {RECORD} beside its checkpoints: it was not started by `training.cloud launch`")
    return {str(name): str(value) for name, value in json.loads(text)["lineage"].items()}


def listed(versions: Sequence[Version]) -> list[str]:
    """A line for each version; the one that counts has a star."""
    current = next((version for version in versions if version.status == APPROVED), None)
    lines = []
    for version in versions:
        properties = version.properties
        figures = ", ".join(f"{name[5:]} {value}" for name, value in properties.items() if name.startswith("top1-"))
        origin = ", ".join(
            f"{name} {text[:12]}"
            for name, text in (
                ("commit", version.commit),
                ("config", properties.get("config_sha256", "")),
                ("data", properties.get("data_sha256", "")),
            )
            if text
        )
        parts = [version.status, properties.get("fingerprint", ""), version.job, origin, version.note]
        lines.append(f"{'*' if version is current else ' '} {version.number:3}  " + "  ".join(filter(None, parts)))
        lines += [f"       {version.uri}"] + ([f"       {figures}"] if figures else [])
    return lines or ["no versions so far"]


def _options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    add_cloud_option(shared)
    actions = parser.add_subparsers(dest="action", required=True)
    act = actions.add_parser("register", parents=[shared], help="send a bundle and register it, to be approved")
    act.add_argument("bundle", type=Path)
    act.add_argument("--job", default="", help="that trained it")
    actions.add_parser("list", parents=[shared], help="all versions, newest first")
    act = actions.add_parser("approve", parents=[shared], help="let a version count, if it is the newest")
    act.add_argument("version", type=int)
    act.add_argument("--note", default="approved by hand")
    act = actions.add_parser("rollback", parents=[shared], help="let an earlier version count again")
    act.add_argument("--to", type=int, metavar="VERSION", help="default: the approved one before")
    act = actions.add_parser("pull", parents=[shared], help="fetch the bundle that counts")
    act.add_argument("folder", type=Path)
    act.add_argument("--version", type=int, help="this one instead")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    options = _options(given)
    with one_line(COMMAND):
        cloud = read_cloud(options.cloud)
        _act(options, cloud)


def _act(options: argparse.Namespace, cloud: Cloud) -> None:
    registry = Registry(cloud.cloud)
    if options.action == "register":
        version, new = register(cloud, open_store(cloud.cloud), options.bundle, options.job)
        print(f"version {version.number}, {version.status}" + ("" if new else ": it was registered already"))
    elif options.action == "list":
        print("\n".join(listed(registry.versions())))
    elif options.action == "approve":
        registry.set_status(registry.find(options.version), APPROVED, options.note)
        current = registry.current()
        print(f"version {options.version} is approved; {current.number if current else 'none'} counts")
    elif options.action == "rollback":
        newer, target = registry.roll_back(options.to)
        rejected = ", ".join(str(version.number) for version in newer) or "none"
        print(f"version {target.number} counts; rejected: {rejected}")
    else:
        chosen = registry.find(options.version) if options.version else registry.current()
        if chosen is None:
            raise Failure(
                f"the registry {registry.group} has no approved version; approve one, or name it by --version"
            )
        bucket, key = split_uri(chosen.uri)
        with bar() as progress:
            download(open_store(cloud.cloud, bucket), key, options.folder, progress=progress)
        print(f"{options.folder}: version {chosen.number}, fingerprint {Model.load(options.folder).fingerprint}")


if __name__ == "__main__":
    main()
