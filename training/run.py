"""What a training changes, step by step: weights, their running average, the optimiser; kept in checkpoints."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.distributed import Group
from training.fitting import update_average, warm_cosine
from training.objective import Batch, Objective, weights
from training.settings import Phase, Settings

__all__ = ["Run"]

REMEDIES = (
    "lower the learning rate (1e-4 to 5e-5), lengthen the warm-up, lower gradient_norm, train with precision = 'fp32', "
    "or look at the pictures of the batch"
)


class Run:
    """What is trained, the encoder's running average, the optimiser; and how far it is.

    Args:
        settings: of the training.
        objective: on the group's device.
        group: the processes that train together.
        digest: of the cards.
        out: folder for checkpoints.
    """

    def __init__(self, settings: Settings, objective: Objective, group: Group, digest: str, out: Path) -> None:
        self.settings, self.group, self.digest, self.out = settings, group, digest, out
        self.objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(objective.encoder)
        if settings.compile:
            objective.encoder.maps = torch.compile(objective.encoder.maps)  # type: ignore[method-assign]
        self.together = group.wrap(self.objective)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(objective.encoder.parameters()), "factor": 1.0},
                {
                    "params": list(objective.classes.parameters()),
                    "factor": settings.proxy_lr_factor,
                    "weight_decay": 0.0,
                },
            ]
        )
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=settings.precision == "fp16")
        self.phase, self.step, self.total, self.micro_batch = 0, 0, 0, 0

    def _parts(self) -> dict[str, Any]:
        return {
            "objective": self.objective, "average": self.average, "optimizer": self.optimizer, "scaler": self.scaler,
        }  # fmt: skip

    def save(self, name: str = "checkpoint") -> None:
        """Writes the checkpoint beside the old one, then swaps them."""
        state = {part: value.state_dict() for part, value in self._parts().items()}
        state |= {"phase": self.phase, "step": self.step, "total": self.total, "micro_batch": self.micro_batch}
        state |= {"config": asdict(self.settings), "cards": self.digest, "random": torch.get_rng_state()}
        torch.save(state, self.out / f"{name}.tmp")
        (self.out / f"{name}.tmp").rename(self.out / f"{name}.pt")

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint: the next steps are those that would have followed it.

        Raises:
            ValueError: it is of other cards.
        """
        state = torch.load(path, map_location=self.group.device, weights_only=True)
        if state["cards"] != self.digest:
            raise ValueError(f"{path} was trained on other cards than the config and the data folder name now")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.phase, self.step, self.total = state["phase"], state["step"], state["total"]
        self.micro_batch = state["micro_batch"]
        torch.set_rng_state(state["random"].cpu())

    def update(self, batch: Batch, phase: Phase, pictures: int) -> dict[str, float]:
        """One optimiser step on this process's part of a batch; returns the parts of its loss, and `hit`.

        Out of memory, half as many pictures go through at a time, from then on; the batch stays what it is.

        Raises:
            FloatingPointError: the loss is not finite; the batch lies in `bad_batch.pt`.
            MemoryError: not even one picture fits, or one process among several ran out.
        """
        rate = phase.batch / 64 * warm_cosine(
            self.step, phase.length(pictures), warm_up=phase.warm_up(pictures), highest=phase.lr, last=phase.lr_end
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate
        self.optimizer.param_groups[0]["weight_decay"] = phase.weight_decay
        self.together.train()
        part = weights(phase, self.step / phase.length(pictures))
        share = len(batch["label"])
        size = min(self.micro_batch or phase.micro_batch or share, share)
        while True:
            self.optimizer.zero_grad(set_to_none=True)
            try:
                losses = self._gradients(batch, phase, part, size)
                break
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if size == 1 or self.group.world > 1:
                    raise MemoryError(f"{size} pictures at a time do not fit; set a smaller micro_batch") from error
            size = self.micro_batch = size // 2
            torch.cuda.empty_cache()
        self._move(phase)
        self.step += 1
        self.total += 1
        return losses | {"lr": rate}

    def _gradients(self, batch: Batch, phase: Phase, part: Mapping[str, float], size: int) -> dict[str, float]:
        """Adds up the gradients of a batch, `size` pictures at a time; returns the parts of its loss."""
        share = len(batch["label"])
        sums: dict[str, float] = {}
        for start in range(0, share, size):
            piece = {name: values[start : start + size] for name, values in batch.items()}
            counts = len(piece["label"]) / share
            last = start + size >= share
            quiet = contextlib.nullcontext() if last or self.group.world == 1 else self.together.no_sync()  # type: ignore[operator]
            with quiet:
                losses = self.together(piece, phase)
                loss = torch.stack([part[name] * value for name, value in losses.items() if part.get(name)]).sum()
                if not torch.isfinite(loss):
                    self._stop(batch, loss.item())
                self.scaler.scale(loss * counts).backward()
            for name, value in (losses | {"loss": loss}).items():
                sums[name] = sums.get(name, 0.0) + counts * value.item()
        return sums

    def _stop(self, batch: Batch, loss: float) -> None:
        """Keeps the batch that gave a loss that is no number, and says what to do."""
        path = self.out / (f"bad_batch_{self.group.rank}.pt" if self.group.world > 1 else "bad_batch.pt")
        torch.save({"batch": batch, "phase": self.phase, "step": self.step}, path)
        raise FloatingPointError(
            f"the loss is {loss} in phase {self.phase + 1} at step {self.step}; the batch is in {path}; {REMEDIES}"
        )

    def _move(self, phase: Phase) -> None:
        """Takes the optimiser's step along the clipped gradients, and moves the average."""
        self.scaler.unscale_(self.optimizer)
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, self.settings.gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        update_average(self.average, self.objective.encoder, min(phase.ema, (1 + self.total) / (10 + self.total)))


def out_of_memory(error: RuntimeError) -> bool:
    """Whether this is what torch raises on a GPU, or on a CPU, that has no more memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
