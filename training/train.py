"""Trains the encoder: each face is a class, each sample a simulated photo of it. Reads top to bottom.

    python -m training.train CONFIG --data DATA --out RUN [--resume [CHECKPOINT]] [--threads N]
    torchrun --nproc-per-node 4 -m training.train CONFIG --data DATA --out RUN

A config (`training/configs/`, explained in `training/settings.py`) starts from nothing or from a bundle (`[start]`) and
has phases: direct, by the classes; distilled, by a teacher; or both. RUN receives `checkpoint.pt` to resume from, one
more at the end of each phase, and the logs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from training.augment import clean, photo
from training.augment_torch import OVERSIZE
from training.augment_torch import samples as on_device_samples
from training.cards import Cards, load_cards
from training.data import CardImage
from training.distributed import Group, join, leave
from training.failure import one_line
from training.logs import Log
from training.losses import Classes
from training.model import CardEncoder, embed
from training.norms import SAMPLE
from training.objective import Batch, Objective
from training.run import Run
from training.samples import Samples, numbers
from training.settings import Phase, Settings, read_settings
from training.start import begin
from training.teaching import Lessons, prepare_lessons

LOG_EVERY = 25


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
    classes, dimension = cards.classes, encoder.linear.out_features
    if settings.start:
        rng = np.random.default_rng(settings.seed)
        size = settings.phase[0].size
        sample = [cards.shown[i].pixels for i in rng.permutation(len(cards.shown))[:SAMPLE]]
        begin(settings.start, encoder, [photo(card, size, rng) for card in sample], data)
        vectors = torch.from_numpy(embed(encoder, [clean(card.pixels, size, rng) for card in cards.shown]))
    elif (vectors := lessons.first_vectors(cards.real, dimension)) is None:
        return torch.randn(classes, dimension)
    return torch.zeros(classes, dimension).index_add_(0, torch.tensor(cards.labels), vectors)


def on_device(settings: Settings, phase: Phase, group: Group) -> bool:
    """Whether the device that trains also augments."""
    wanted = settings.augment_on == "device" or (settings.augment_on == "auto" and group.device.type == "cuda")
    return wanted and phase.augmentation == "photo"


def batches(run: Run, cards: Cards, lessons: Lessons) -> Iterator[Batch]:
    """This process's part of every batch from where the run is to the end of its phase, on its device."""
    settings, phase, group = run.settings, run.settings.phase[run.phase], run.group
    shown, seed = cards.of(phase), settings.seed + run.phase
    steps = phase.length(len(shown))
    side = round(phase.size * OVERSIZE) if on_device(settings, phase, group) else 0
    samples = Samples(shown, cards.labels, phase, count=steps * phase.batch, seed=seed, side=side)
    left = range(run.step, phase.last(len(shown)))
    loader = DataLoader(
        samples, phase.batch // group.world, sampler=numbers(left, phase.batch, group.rank, group.world),
        num_workers=settings.workers, prefetch_factor=4 if settings.workers else None,
        pin_memory=group.device.type == "cuda",
    )  # fmt: skip
    for step, (pixels, label, image) in zip(left, loader, strict=True):
        batch = {"pixels": pixels, "label": label} | lessons.of(image, phase)
        batch = {name: values.to(group.device, non_blocking=True) for name, values in batch.items()}
        if side:
            chance = torch.Generator(group.device).manual_seed(seed + (step * group.world + group.rank) * 1000)
            batch["pixels"] = on_device_samples(batch["pixels"], phase, step / steps, chance)
        yield batch


def train_phase(run: Run, cards: Cards, lessons: Lessons, log: Log) -> None:
    """Takes the phase that the run is in to its end."""
    settings, phase, group = run.settings, run.settings.phase[run.phase], run.group
    pictures = len(cards.of(phase))
    last = phase.last(pictures)
    begun, first = time.monotonic(), run.step
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not group.leads) as progress:
        task = progress.add_task(phase.name, total=last, completed=run.step)
        for batch in batches(run, cards, lessons):
            losses = run.update(batch, phase, pictures)
            progress.update(task, completed=run.step, description=f"{phase.name} hit {losses['hit']:.2f}")
            if run.step % LOG_EVERY == 0:
                rate = phase.batch * (run.step - first) / (time.monotonic() - begun)
                log.write(run.total, {f"train/{k}": v for k, v in losses.items()} | {"train/pictures_per_s": rate})
            if (run.step % settings.evaluate_every == 0 or run.step == last) and group.leads:
                accuracy = quick_accuracy(run.average, cards.unseen, phase.size) if cards.unseen else float("nan")
                progress.console.print(
                    f"{phase.name}, step {run.step} of {last}: hit {losses['hit']:.2f}, unseen {accuracy:.4f}"
                )
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
        print(
            f"{len(cards.shown)} pictures of {cards.classes} faces to train on, {len(cards.unseen)} held out",
            flush=True,
        )
    encoder = CardEncoder(**settings.model)
    lessons = prepare_lessons(settings, cards, encoder.linear.out_features, data, out)
    if resume:
        proxies = torch.ones(cards.classes, encoder.linear.out_features)  # the checkpoint has them
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


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and logs")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: all cores")
    parser.add_argument(
        "--resume", type=Path, nargs="?", const=Path(), help="go on from this checkpoint, or from RUN/checkpoint.pt"
    )
    options = parser.parse_args(given)

    with one_line("python -m training.train"):
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
