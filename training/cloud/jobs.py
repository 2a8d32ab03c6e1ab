"""Jobs that were launched: how they are, stopping one, fetching what it made.

python -m training.cloud jobs status [JOB]
python -m training.cloud jobs follow JOB --out RUN
python -m training.cloud jobs stop JOB
python -m training.cloud jobs fetch JOB --out RUN [--checkpoint]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from training.cloud.artefact import fetch, fetch_checkpoint
from training.cloud.aws import client, explained
from training.cloud.follow import ENDED, describe, ended_how, follow
from training.cloud.prices import cost_after, read_prices
from training.cloud.settings import Where, add_cloud_option, read_cloud
from training.cloud.store import open_store
from training.failure import Failure, one_line
from training.progress import bar

__all__ = ["status", "stop"]

COMMAND = "python -m training.cloud jobs"

LISTED = 20


def status(where: Where, job: str) -> list[str]:
    """What there is to say of a job, in lines; without a name, one line for each of the last jobs."""
    if not job:
        with explained("the list of jobs"):
            found = client(where, "sagemaker").list_training_jobs(
                NameContains="cardrec", SortBy="CreationTime", SortOrder="Descending", MaxResults=LISTED
            )["TrainingJobSummaries"]
        return [f"{each['TrainingJobName']}  {each['TrainingJobStatus']}" for each in found] or ["no jobs so far"]
    description = describe(where, job)
    lines = [f"{job}: {description['TrainingJobStatus']} ({description.get('SecondaryStatus', '')})"]
    lines += [
        f"  {each['StartTime']:%Y-%m-%d %H:%M:%S} {each['Status']}: {each.get('StatusMessage', '')}"
        for each in description.get("SecondaryStatusTransitions", ())
    ]
    lines.append(cost_after(description, read_prices(where.prices)))
    if description["TrainingJobStatus"] in ("Failed", "Stopped"):
        lines.append(ended_how(description))
    return lines


def stop(where: Where, job: str) -> str:
    """Stops a job, which has two minutes to end.

    Raises:
        Failure: there is no such job, or it has ended.
    """
    before = describe(where, job)["TrainingJobStatus"]
    if before in ENDED:
        raise Failure(f"{job} has ended already: {before}")
    with explained(f"stopping {job}"):
        client(where, "sagemaker").stop_training_job(TrainingJobName=job)
    return f"{job} is being stopped; its last checkpoint stays: jobs fetch {job} --checkpoint, or launch --resume {job}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("status", "follow", "stop", "fetch"))
    parser.add_argument("job", nargs="?", default="", help="its name; `status` alone lists the last ones")
    parser.add_argument("--out", type=Path, help="folder for what is fetched; must not be there")
    parser.add_argument(
        "--checkpoint", action="store_true", help="fetch the last checkpoint, whatever became of the job"
    )
    parser.add_argument("--poll", type=float, default=10.0, metavar="SECONDS", help="between looks at the job")
    add_cloud_option(parser)
    options = parser.parse_args(given)
    if options.action != "status" and not options.job:
        parser.error(f"{options.action} needs the name of a job")
    if options.action in ("fetch", "follow") and options.out is None:
        parser.error(f"{options.action} needs --out")

    with one_line(COMMAND):
        where = read_cloud(options.cloud).cloud
        if options.action == "status":
            print("\n".join(status(where, options.job)))
        elif options.action == "stop":
            print(stop(where, options.job))
        else:
            store = open_store(where)
            if options.action == "follow":
                with bar() as progress:
                    follow(where, options.job, read_prices(where.prices), poll_s=options.poll, progress=progress)
            (fetch_checkpoint if options.checkpoint else fetch)(where, store, options.job, options.out)
            print(f"{options.out}: complete")


if __name__ == "__main__":
    main()
