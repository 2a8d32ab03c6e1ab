"""A job as it runs: what SageMaker says of it, its log, and how far it is."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from training.cloud.aws import client, error_code, explained
from training.cloud.prices import Prices, cost_after
from training.cloud.settings import Where
from training.failure import Failure
from training.progress import Progress

__all__ = ["ENDED", "LogReader", "describe", "follow"]

ENDED = ("Completed", "Failed", "Stopped")
GROUP = "/aws/sagemaker/TrainingJobs"

_STEP = re.compile(r"^(?P<phase>.+), step (?P<step>\d+) of (?P<last>\d+): ")
"""What `training.train` prints after each check on held-out cards."""

_REMEDIES = {
    "CapacityError": "there is no such instance free: wait, choose another one, or another region",
    "Capacity": "there is no such instance free: wait, choose another one, or another region",
    "memory": "a smaller micro_batch, or an instance with more memory",
    "No space left": "more volume_gb under [job]",
    "AccessDenied": "let the role read and write the bucket",
    "MaxWaitTimeExceeded": "more max_wait_hours under [job], or --on-demand; --resume goes on from the checkpoint",
    "MaxRuntimeExceeded": "more max_hours under [job]; --resume goes on from the checkpoint",
}


def describe(where: Where, job: str) -> dict[str, Any]:
    """SageMaker's description of a job.

    Raises:
        Failure: there is no such job, or SageMaker can't be asked.
    """
    service = client(where, "sagemaker")
    with explained(f"the job {job}"):
        try:
            return dict(service.describe_training_job(TrainingJobName=job))
        except service.exceptions.ClientError as error:
            if error_code(error) not in ("ValidationException", "ResourceNotFound", "ResourceNotFoundException"):
                raise
            raise Failure(
                f"there is no job {job} in this region; look at `python -m training.cloud jobs status`"
            ) from error


class LogReader:
    """Reads on in a job's log, each line once, from all of its instances.

    Args:
        where: settings.
        job: its name.
    """

    def __init__(self, where: Where, job: str) -> None:
        self._logs, self._job = client(where, "logs"), job
        self._after: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """What has come since the last call; with several instances, each line begins with which."""
        for stream in self._streams():
            short = stream.removeprefix(f"{self._job}/").split("-", 2)
            before = "" if len(self._after) < 2 else "-".join(short[:2]) + ": "
            for line in self._rest(stream):
                yield before + line

    def _streams(self) -> list[str]:
        with explained(f"the log of {self._job}"):
            try:
                pages = self._logs.get_paginator("describe_log_streams").paginate(
                    logGroupName=GROUP, logStreamNamePrefix=f"{self._job}/"
                )
                found = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
            except self._logs.exceptions.ResourceNotFoundException:
                return []  # until the first container of the account runs, there is no group
        for stream in found:
            self._after.setdefault(stream, "")
        return found

    def _rest(self, stream: str) -> Iterator[str]:
        while True:
            token = {"nextToken": self._after[stream]} if self._after[stream] else {}
            with explained(f"the log of {self._job}"):
                page = self._logs.get_log_events(logGroupName=GROUP, logStreamName=stream, startFromHead=True, **token)
            yield from (event["message"] for event in page["events"])
            before, self._after[stream] = self._after[stream], page["nextForwardToken"]
            if self._after[stream] == before or not page["events"]:
                return


def follow(where: Where, job: str, prices: Prices, *, poll_s: float, progress: Progress) -> dict[str, Any]:
    """Shows a job's states and its log until it has ended, then what it has cost; returns its description.

    Raises:
        Failure: it failed or was stopped.
    """
    reader = LogReader(where, job)
    shown = ""
    while True:
        description = describe(where, job)
        state = _state(description)
        if state != shown:
            print(state, flush=True)
            shown = state
        for line in reader.lines():
            print(line, flush=True)
            if match := _STEP.match(line.split(": ", 1)[-1] if line.startswith("algo-") else line):
                progress(match["phase"], int(match["step"]), int(match["last"]))
        if description["TrainingJobStatus"] in ENDED:
            break
        time.sleep(poll_s)
    print(cost_after(description, prices), flush=True)
    if description["TrainingJobStatus"] != "Completed":
        raise Failure(f"{job} {ended_how(description)}")
    return description


def _state(description: dict[str, Any]) -> str:
    transitions = description.get("SecondaryStatusTransitions") or [{}]
    message = transitions[-1].get("StatusMessage", "")
    state = str(description.get("SecondaryStatus", description["TrainingJobStatus"]))
    return f"{state}: {message}" if message else state


def ended_how(description: dict[str, Any]) -> str:
    """Why a job did not complete, and what to do."""
    status, secondary = description["TrainingJobStatus"], description.get("SecondaryStatus", "")
    reason = " ".join(description.get("FailureReason", "").split()) or secondary
    remedy = next((text for sign, text in _REMEDIES.items() if sign in reason or sign in secondary), "")
    return f"{status.lower()}: {reason}" + (f"; {remedy}" if remedy else "; its log says more")
