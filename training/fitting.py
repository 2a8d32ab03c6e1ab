"""The training loop of the detector's networks: AdamW, warm-up and half a cosine, a running average that is kept."""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 2e-3, 0.02, 300
AVERAGE = 0.999
MOST_GRADIENT = 5.0
REPORT_EVERY, SAVE_EVERY = 100, 1000

Losses = Callable[..., Mapping[str, tuple[float, Tensor]]]
"""From what the network says of a batch, and the rest of the batch, to the weight and the value of each loss."""


def arguments(description: str | None, steps: int) -> argparse.ArgumentParser:
    """What every training asks for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, help="folder that training.outline_frames wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    return parser


def warm_cosine(step: int, steps: int, *, warm_up: int, highest: float, last: float) -> float:
    """Learning rate: linear warm-up, then half a cosine."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
    return min(1.0, (step + 1) / warm_up) * (last + (highest - last) * cosine)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the averaged weights towards the trained ones; running statistics are copied."""
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


def fit(model: nn.Module, batches: Dataset[Any], losses: Losses, options: argparse.Namespace, name: str) -> None:
    """Trains the network on every batch once; writes `<name>.pt` and `<name>.csv`.

    Args:
        model: takes the first array of a batch.
        batches: of arrays.
        losses: what is minimised.
        options: of `arguments`.
        name: of the files.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    if options.start:
        model.load_state_dict(torch.load(options.start, weights_only=True))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    loader = DataLoader(
        batches, batch_size=None, num_workers=options.workers, prefetch_factor=4 if options.workers else None
    )
    seen: dict[str, list[float]] = {}
    began = time.monotonic()
    with (options.out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        log = csv.writer(file)
        for step, (pictures, *wanted) in enumerate(loader):
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(
                    step, options.steps, warm_up=WARM_UP, highest=LEARNING_RATE, last=LEARNING_RATE / 100
                )
            parts = losses(model(pictures), *wanted)
            optimiser.zero_grad(set_to_none=True)
            torch.stack([weight * value for weight, value in parts.values()]).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MOST_GRADIENT)
            optimiser.step()
            update_average(average, model, min(AVERAGE, (step + 1) / (step + 20)))
            for part, (_, value) in parts.items():
                seen.setdefault(part, []).append(value.item())
            if step == 0:
                log.writerow(["step", *parts, "seconds"])
            if (step + 1) % REPORT_EVERY == 0:
                means = [round(float(np.mean(values[-REPORT_EVERY:])), 4) for values in seen.values()]
                log.writerow([step + 1, *means, round(time.monotonic() - began)])
                file.flush()
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == options.steps:
                torch.save(average.state_dict(), options.out / f"{name}.pt")
