"""The registry of models: what was trained, on what, how good it is, and which one counts.

A model package group of SageMaker, with a version for each bundle. The one that counts is the newest that is approved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.cloud.aws import client, error_code, explained
from training.cloud.settings import Where
from training.failure import Failure

__all__ = ["APPROVED", "PENDING", "REJECTED", "Registry", "Version"]

APPROVED, REJECTED, PENDING = "Approved", "Rejected", "PendingManualApproval"

_VALUE_CHARACTERS = 256  # SageMaker's limits for a version's properties: 50 of them, values of this length
_VALUES = 50


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the registry.

    Attributes:
        number: from 1.
        arn: its name for AWS.
        status: `APPROVED`, `REJECTED` or `PENDING`.
        uri: S3 address of its bundle.
        properties: fingerprint, lineage and figures, by name.
        note: of whoever approved or rejected it.
        commit: of the code that trained it.
        job: that trained it.
    """

    number: int
    arn: str
    status: str
    uri: str
    properties: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    commit: str = ""
    job: str = ""


class Registry:
    """A model package group.

    Args:
        where: settings, which name it.
    """

    def __init__(self, where: Where) -> None:
        self.group = where.group
        self._service = client(where, "sagemaker")

    def versions(self) -> list[Version]:
        """All versions, newest first; none where there is no group so far."""
        with explained(f"the registry {self.group}"):
            if not self._has_group():
                return []
            pages = self._service.get_paginator("list_model_packages").paginate(
                ModelPackageGroupName=self.group, ModelPackageType="Versioned"
            )
            arns = [each["ModelPackageArn"] for page in pages for each in page["ModelPackageSummaryList"]]
            return sorted((self._version(arn) for arn in arns), key=lambda version: -version.number)

    def _has_group(self) -> bool:
        try:
            self._service.describe_model_package_group(ModelPackageGroupName=self.group)
        except self._service.exceptions.ClientError as error:
            if not _no_group(error):
                raise
            return False
        return True

    def _version(self, arn: str) -> Version:
        found = self._service.describe_model_package(ModelPackageName=arn)
        container = found["InferenceSpecification"]["Containers"][0]
        made_by = found.get("MetadataProperties", {})
        return Version(
            number=found["ModelPackageVersion"],
            arn=arn,
            status=found["ModelApprovalStatus"],
            uri=container["ModelDataSource"]["S3DataSource"]["S3Uri"].rstrip("/"),
            properties=found.get("CustomerMetadataProperties") or {},
            note=found.get("ApprovalDescription", ""),
            commit=made_by.get("CommitId", ""),
            job=made_by.get("GeneratedBy", ""),
        )

    def current(self) -> Version | None:
        """The newest approved version; None: there is none."""
        return next((version for version in self.versions() if version.status == APPROVED), None)

    def find(self, number: int) -> Version:
        """A version by its number.

        Raises:
            Failure: there is none.
        """
        versions = self.versions()
        for version in versions:
            if version.number == number:
                return version
        known = ", ".join(str(version.number) for version in versions) or "none"
        raise Failure(f"the registry {self.group} has no version {number}; known: {known}")

    def add(
        self, uri: str, image: str, metrics: str, properties: Mapping[str, str], *, name: str, commit: str, job: str
    ) -> Version:
        """Registers a bundle, to be approved.

        Args:
            uri: S3 address of the folder.
            image: container that made it; SageMaker asks for one.
            metrics: S3 address of its figures.
            properties: see `Version`.
            name: for people.
            commit: of the code that trained it.
            job: that trained it.
        """
        with explained(f"the registry {self.group}"):
            if not self._has_group():
                self._service.create_model_package_group(
                    ModelPackageGroupName=self.group, ModelPackageGroupDescription="Encoders of cardrec"
                )
            source = {"S3Uri": f"{uri}/", "S3DataType": "S3Prefix", "CompressionType": "None"}
            made_by = {key: value for key, value in (("CommitId", commit), ("GeneratedBy", job)) if value}
            arn = self._service.create_model_package(
                ModelPackageGroupName=self.group,
                ModelPackageDescription=name,
                ModelApprovalStatus=PENDING,
                InferenceSpecification={
                    "Containers": [{"Image": image, "ModelDataSource": {"S3DataSource": source}}],
                    "SupportedContentTypes": ["application/x-npy"],
                    "SupportedResponseMIMETypes": ["application/x-npy"],
                },
                ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": metrics}}},
                MetadataProperties=made_by,
                CustomerMetadataProperties={
                    key: value[:_VALUE_CHARACTERS] for key, value in list(properties.items())[:_VALUES]
                },
            )["ModelPackageArn"]
            return self._version(arn)

    def set_status(self, version: Version, status: str, note: str) -> None:
        """Approves or rejects a version."""
        with explained(f"version {version.number} of {self.group}"):
            self._service.update_model_package(
                ModelPackageArn=version.arn,
                ModelApprovalStatus=status,
                ApprovalDescription=note[:1024],
                CustomerMetadataProperties=dict(version.properties),
            )

    def roll_back(self, to: int | None = None) -> tuple[list[Version], Version]:
        """Makes an earlier version count again; returns those that were rejected for it, and it.

        Args:
            to: its number; None: the approved one before the one that counts.

        Raises:
            Failure: there is no such version, or none before.
        """
        approved = [version for version in self.versions() if version.status == APPROVED]
        if to is None:
            if len(approved) < 2:
                raise Failure(f"the registry {self.group} has no approved version before the one that counts")
            target = approved[1]
        else:
            target = self.find(to)
        newer = [version for version in approved if version.number > target.number]
        if target.status != APPROVED:
            self.set_status(target, APPROVED, "approved by a roll back")
        for version in reversed(newer):  # the newest last, so that none between it and the target counts meanwhile
            self.set_status(version, REJECTED, f"rolled back to version {target.number}")
        return newer, target


def _no_group(error: Exception) -> bool:
    return error_code(error) in ("ValidationException", "ResourceNotFound", "ResourceNotFoundException")
