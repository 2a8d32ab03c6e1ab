"""Trains the encoder: each face is a class, each sample a simulated photo of it. Reads top to bottom.

    python -m training.train CONFIG --data DATA --out RUN [--resume [CHECKPOINT]] [--threads N]
    torchrun --nproc-per-node 4 -m training.train CONFIG --data DATA --out RUN

A config (`training/configs/`, explained in `training/settings.py`) starts from nothing or from a bundle (`[start]`) and
has phases: direct, by the classes; distilled, by a teacher; or both. RUN receives `checkpoint.pt` to resume from, one
more at the end of each phase, and the logs.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training.augment import clean, photo
from training.augment_torch import OVERSIZE
from training.augment_torch import samples as on_device_samples
from training.data import CardImage, split_sources
from training.distributed import Group, join, leave
from training.fitting import update_average, warm_cosine
from training.logs import Log
from training.losses import Classes
from training.model import CardEncoder
from training.norms import SAMPLE
from training.objective import Batch, Objective, weights
from training.render import deck, render
from training.samples import Samples, numbers
from training.settings import Phase, Settings, read_settings
from training.start import begin
from training.teaching import Lessons, prepare_lessons

LOG_EVERY = 25
REMEDIES = (
    "lower the learning rate (1e-4 to 5e-5), lengthen the warm-up, lower gradient_norm, train with precision = 'fp32', "
    "or look at the pictures of the batch"
)


@dataclass(frozen=True, slots=True)
class Cards:
    """What is trained on: real cards first, then rendered ones; and the real ones held out.

    Attributes:
        shown: pictures to train on.
        real: how many of them are real.
        labels: class of each.
        unseen: held out.
    """

    shown: list[CardImage]
    real: int
    labels: list[int]
    unseen: list[CardImage]

    def of(self, phase: Phase) -> list[CardImage]:
        """The pictures that a phase shows."""
        return self.shown if phase.rendered else self.shown[: self.real]

    def digest(self) -> str:
        """Of what is trained on, so that a checkpoint of other cards is noticed."""
        names = "\n".join(f"{card.card_id}\t{card.face}" for card in self.shown)
        return hashlib.sha256(names.encode()).hexdigest()


def load_cards(settings: Settings, data: Path) -> Cards:
    """Loads the sources, splits them by face, and renders the fictional cards."""
    train, unseen = split_sources(settings.source, data, settings.held_out)
    rendered = list(draw(**settings.rendered)) if settings.rendered else []
    shown = train + rendered
    number = {face: n for n, face in enumerate(sorted({card.face for card in shown}))}
    return Cards(shown, len(train), [number[card.face] for card in shown], unseen)


def draw(count: int, seed: int, height: int) -> Iterator[CardImage]:
    """The first cards of a fictional deck."""
    specs = deck(count, seed=seed)
    with ProcessPoolExecutor() as pool:
        pictures = pool.map(partial(render, height_px=height), specs, chunksize=32)
        for spec, pixels in zip(specs, pictures, strict=True):
            yield CardImage(f"rendered/{spec.card_id}", f"rendered/{spec.card_id}", pixels)


@torch.no_grad()
def embed(encoder: CardEncoder, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Unit vectors (n, d) of equally sized RGB pictures, in evaluation mode."""
    encoder.eval()
    batches = (torch.from_numpy(np.stack(pictures[i : i + 64])) for i in range(0, len(pictures), 64))
    return torch.cat([encoder(batch.to(encoder.mean.device)).cpu() for batch in batches]).numpy()


def quick_accuracy(encoder: CardEncoder, unseen: list[CardImage], size: int, count: int = 400) -> float:
    """Top-1 of photos of held-out cards among the clean pictures of all of the first ``count``."""
    rng = np.random.default_rng(1)
    chosen = unseen[:: max(1, len(unseen) // count)]
    references = embed(encoder, [clean(card.pixels, size, np.random.default_rng(0)) for card in chosen])
    queries = embed(encoder, [photo(card.pixels, size, rng) for card in chosen])
    return float(((queries @ references.T).argmax(1) == np.arange(len(chosen))).mean())


def first_classes(settings: Settings, encoder: CardEncoder, cards: Cards, lessons: Lessons, data: Path) -> Tensor:
    """A vector for each class to start with (classes, d), and the start's weights in the encoder.

    With a start: its embeddings of the clean cards. From nothing: what the teacher knows of them, or chance.
    """
    classes, dimension = max(cards.labels) + 1, encoder.linear.out_features
    if settings.start:
        rng = np.random.default_rng(settings.seed)
        size = settings.phase[0].size
        sample = [cards.shown[i].pixels for i in rng.permutation(len(cards.shown))[:SAMPLE]]
        begin(settings.start, encoder, [photo(card, size, rng) for card in sample], data)
        vectors = torch.from_numpy(embed(encoder, [clean(card.pixels, size, rng) for card in cards.shown]))
    elif (vectors := lessons.first_vectors(cards.real, dimension)) is None:
        return torch.randn(classes, dimension)
    return torch.zeros(classes, dimension).index_add_(0, torch.tensor(cards.labels), vectors)


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
            objective.encoder.backbone.compile()
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
                    self._stop(batch, float(loss))
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


def on_device(settings: Settings, phase: Phase, group: Group) -> bool:
    """Whether the device that trains also augments."""
    wanted = settings.augment_on == "device" or (settings.augment_on == "auto" and group.device.type == "cuda")
    return wanted and phase.augmentation == "photo"


def train_phase(run: Run, cards: Cards, lessons: Lessons, log: Log) -> None:
    """Takes the phase that the run is in to its end."""
    settings, phase, group = run.settings, run.settings.phase[run.phase], run.group
    shown = cards.of(phase)
    last = phase.last(len(shown))
    seed = settings.seed + run.phase
    steps = phase.length(len(shown))
    side = round(phase.size * OVERSIZE) if on_device(settings, phase, group) else 0
    samples = Samples(shown, cards.labels, phase, count=steps * phase.batch, seed=seed, side=side)
    places = numbers(range(run.step, last), phase.batch, group.rank, group.world)
    loader = DataLoader(
        samples, phase.batch // group.world, sampler=places, num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None, pin_memory=group.device.type == "cuda",
    )  # fmt: skip
    begun, first = time.monotonic(), run.step
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not group.leads) as progress:
        task = progress.add_task(phase.name, total=last, completed=run.step)
        for pixels, label, image in loader:
            batch = {"pixels": pixels, "label": label} | lessons.of(image, phase)
            batch = {name: values.to(group.device, non_blocking=True) for name, values in batch.items()}
            if side:
                chance = torch.Generator(group.device).manual_seed(seed + (run.step * group.world + group.rank) * 1000)
                batch["pixels"] = on_device_samples(batch["pixels"], phase, run.step / steps, chance)
            losses = run.update(batch, phase, len(shown))
            progress.update(task, completed=run.step, description=f"{phase.name} hit {losses['hit']:.2f}")
            if run.step % LOG_EVERY == 0:
                rate = phase.batch * (run.step - first) / (time.monotonic() - begun)
                log.write(run.total, {f"train/{k}": v for k, v in losses.items()} | {"train/pictures_per_s": rate})
            if (run.step % settings.evaluate_every == 0 or run.step == last) and group.leads:
                accuracy = quick_accuracy(run.average, cards.unseen, phase.size) if cards.unseen else float("nan")
                progress.console.print(f"{phase.name}, step {run.step}: hit {losses['hit']:.2f}, unseen {accuracy:.4f}")
                log.write(run.total, {"unseen/top1": accuracy})
                run.save()
    if group.leads:
        run.save(f"checkpoint-{run.phase + 1}")
    group.wait()


def train(settings: Settings, data: Path, out: Path, group: Group, resume: Path | None = None) -> Run:
    """Trains from the start, or from a checkpoint, to the end."""
    torch.manual_seed(settings.seed)
    cards = load_cards(settings, data)
    if group.leads:
        faces = max(cards.labels) + 1
        print(f"{len(cards.shown)} pictures of {faces} faces to train on, {len(cards.unseen)} held out", flush=True)
    encoder = CardEncoder(**settings.model)
    lessons = prepare_lessons(settings, [card.pixels for card in cards.shown], cards.labels, data, out)
    if resume:
        proxies = torch.ones(max(cards.labels) + 1, encoder.linear.out_features)  # the checkpoint has them
    else:
        proxies = first_classes(settings, encoder, cards, lessons, data)
    classes = Classes(proxies, settings.scale, max(phase.centres for phase in settings.phase))
    objective = Objective(
        encoder, classes, precision=settings.precision, recompute=settings.gradient_checkpointing, judge=lessons.judge
    )
    run = Run(settings, objective.to(group.device), group, cards.digest(), out)
    if resume:
        run.load(resume)
    with Log(out, asdict(settings), enabled=group.leads) as log:
        for number in range(run.phase, len(settings.phase)):
            if number != run.phase:
                run.phase, run.step = number, 0
            train_phase(run, cards, lessons, log)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: all cores")
    parser.add_argument(
        "--resume", type=Path, nargs="?", const=Path(), help="go on from this checkpoint, or from RUN/checkpoint.pt"
    )
    options = parser.parse_args()

    settings = read_settings(options.config)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    resume = options.out / "checkpoint.pt" if options.resume == Path() else options.resume
    group = join()
    try:
        train(settings, options.data, options.out, group, resume)
    finally:
        leave()


if __name__ == "__main__":
    main()
