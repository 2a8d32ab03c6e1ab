"""Sessions of AWS, and its errors in words that say what to do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from training.cloud.settings import Where
from training.failure import Failure

__all__ = ["client", "error_code", "explained", "missing", "quiet_imports", "session"]

_SIGN_IN = "run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_REMEDIES = {
    "InvalidAccessKeyId": f"these credentials are not known: {_SIGN_IN}",
    "InvalidClientTokenId": f"these credentials are not known: {_SIGN_IN}",
    "UnrecognizedClientException": f"these credentials are not known: {_SIGN_IN}",
    "SignatureDoesNotMatch": f"the secret key is wrong, or this machine's clock: {_SIGN_IN}",
    "ExpiredToken": f"the credentials have expired: {_SIGN_IN}",
    "ExpiredTokenException": f"the credentials have expired: {_SIGN_IN}",
    "AccessDenied": "these credentials may not do this: ask whoever manages the account for the permission",
    "AccessDeniedException": "these credentials may not do this: ask whoever manages the account for the permission",
    "403": "these credentials are wrong or may not do this: look at `aws sts get-caller-identity`",
    "NoSuchBucket": "there is no such bucket: make it (`aws s3 mb`), or put the right one into [cloud]",
    "PermanentRedirect": "the bucket is in another region: put that into [cloud]",
    "301": "the bucket is in another region: put that into [cloud]",
    "ResourceLimitExceeded": "ask for a higher quota (in the console: Service Quotas), or choose another instance",
    "NotImplemented": "the store does not know this operation: use Amazon S3 itself",
}


def session(where: Where) -> Any:
    """A session of boto3.

    Raises:
        Failure: boto3 is not installed, or there is no such profile.
    """
    try:
        import boto3
        from botocore.exceptions import ProfileNotFound
    except ImportError:
        raise Failure("boto3 is not installed; pip install '.[cloud]'") from None
    try:
        return boto3.Session(profile_name=where.profile or None, region_name=where.region or None)
    except ProfileNotFound as error:
        raise Failure(f"{error}; put the right one under [cloud], or run `aws configure --profile`") from error


def client(where: Where, service: str) -> Any:
    """A client of one service, which tries what failed on the way again."""
    made = session(where)
    from botocore.config import Config

    with explained(service):
        return made.client(service, config=Config(retries={"mode": "standard"}))


def error_code(error: Exception) -> str:
    """What AWS calls an error; empty for those that never reached it."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def missing(error: Exception) -> bool:
    """Whether an error says that there is no such object."""
    return error_code(error) in ("404", "NoSuchKey", "NotFound")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Makes AWS's errors a `Failure` that names what was tried, what AWS said and what to do."""
    try:
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            EndpointConnectionError,
            NoCredentialsError,
            NoRegionError,
            PartialCredentialsError,
        )
    except ImportError:
        raise Failure("boto3 is not installed; pip install '.[cloud]'") from None
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        said = error.response.get("Error", {}).get("Message", "") or code
        remedy = _REMEDIES.get(code, "see the message, and try again")
        raise Failure(f"{what}: {_line(said)} ({code}); {remedy}") from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise Failure(f"{what}: {_line(error)}; {_SIGN_IN}") from error
    except NoRegionError as error:
        raise Failure(f"{what}: no region is set; put `region` under [cloud], or set AWS_DEFAULT_REGION") from error
    except EndpointConnectionError as error:
        raise Failure(f"{what}: {_line(error)}; look at the network and at the region") from error
    except BotoCoreError as error:
        raise Failure(f"{what}: {_line(error)}; try again: what was done is not done twice") from error


def _line(text: object) -> str:
    return " ".join(str(text).split())[:500]


@contextmanager
def quiet_imports() -> Iterator[None]:
    """For importing SageMaker's library, which warns about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
