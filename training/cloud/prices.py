"""What a job costs: before, from a dated table; after, from the seconds that are billed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.cloud.settings import Job

__all__ = ["BUNDLED", "Prices", "cost_after", "estimate", "read_prices"]

BUNDLED = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices.

    Attributes:
        path: of its file.
        source: where they come from.
        date: when they were written down.
        hour: US dollars an hour, by instance type.
        spot: the least and the greatest share of it that spare capacity costs.
    """

    path: Path
    source: str
    date: str
    hour: dict[str, float]
    spot: tuple[float, float]

    def range(self, instance: str, spot: bool) -> tuple[float, float] | None:
        """The least and the greatest price of an hour; None: the table does not have the instance."""
        if instance not in self.hour:
            return None
        price = self.hour[instance]
        return (price * self.spot[0], price * self.spot[1]) if spot else (price, price)


def read_prices(path: str | Path = "") -> Prices:
    """Reads a table; the bundled one where none is named.

    Raises:
        ValueError: something in it is missing or is no price.
        OSError: it can't be read.
    """
    place = Path(path) if path else BUNDLED
    try:
        table: dict[str, Any] = tomllib.loads(place.read_text(encoding="utf-8"))
        hour = {str(name): _price(price) for name, price in table["hour"].items()}
        spot = (_price(table["spot"]["least"]), _price(table["spot"]["most"]))
        return Prices(place, str(table["source"]), str(table["date"]), hour, spot)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{place} is no table of prices ({error!r}); expected source, date, [spot] with least and most, and [hour] "
            f"with US dollars by instance type, as in {BUNDLED}"
        ) from error


def _price(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise ValueError(f"{value!r} is no price")
    return float(value)


def estimate(job: Job, prices: Prices) -> str:
    """What a job will cost, in words, a line each."""
    what = f"{job.count} x {job.instance}" + (", spot" if job.spot else "")
    per_hour = prices.range(job.instance, job.spot)
    if per_hour is None:
        return f"{what}: {prices.path} has no price for it; look at {prices.source}, or name a table of yours"
    lines = []
    if job.expected_hours:
        lines.append(
            f"{what}, {job.expected_hours:g} hours expected: {_dollars(per_hour, job.expected_hours * job.count)}"
        )
    lines.append(
        f"{what}, stopped after {job.max_hours:g} hours: at most {_dollars(per_hour, job.max_hours * job.count)}"
    )
    lines.append(f"prices of {prices.date} from {prices.source}; storage, transfer and tax come on top")
    return "\n".join(lines)


def cost_after(description: dict[str, Any], prices: Prices) -> str:
    """What a job has cost, in words, from SageMaker's description of it."""
    count, instance = description["ResourceConfig"]["InstanceCount"], description["ResourceConfig"]["InstanceType"]
    billed = description.get("BillableTimeInSeconds")
    if billed is None:
        return "nothing billed so far"
    text = f"{billed:,} s billed on {count} x {instance}"
    if trained := description.get("TrainingTimeInSeconds"):
        text += f", for {trained:,} s of training"
        if trained > billed:
            text += f" ({1 - billed / trained:.0%} saved by spot)"
    # SageMaker takes the discount of spot off the seconds, not off the price
    per_hour = prices.range(instance, spot=False)
    if per_hour is None:
        return f"{text}; {prices.path} has no price for it"
    return f"{text}: {_dollars(per_hour, billed * count / 3600)} at the prices of {prices.date}"


def _dollars(per_hour: tuple[float, float], hours: float) -> str:
    least, most = (price * hours for price in per_hour)
    return f"${most:.2f}" if least == most else f"${least:.2f} to ${most:.2f}"
