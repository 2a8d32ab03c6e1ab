"""Trains the encoder: each face is a class, each sample a simulated photo of it. Reads top to bottom.

    python -m training.train training/configs/first.toml --data DATA --out RUN [--threads N] [--resume]

The loss is CosFace over all faces. A config starts either from nothing, with a teacher whose feature maps of the clean
cards are regressed, or from a bundle (`[start]`). Small pictures first, full size last. RUN receives `checkpoint.pt`
(to resume from) and `log.csv`.
"""

from __future__ import annotations

import argparse
import copy
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.augment import clean, photo
from training.data import CardImage, load_source, split
from training.fitting import update_average, warm_cosine
from training.losses import CosFace, map_regression
from training.model import CardEncoder
from training.render import deck, render
from training.start import SAMPLE, go_on_from
from training.teacher import first_proxies, targets


class Samples(Dataset[tuple[NDArray[np.uint8], int, int]]):
    """An endless, seeded sequence of augmented cards: (pixels, class, image)."""

    def __init__(
        self, cards: list[CardImage], labels: list[int], stage: dict[str, Any], *, first: int, count: int, seed: int
    ) -> None:
        self.cards, self.labels, self.stage = cards, labels, stage
        self.first, self.count, self.seed = first, count, seed

    def __len__(self) -> int:
        return self.count - self.first

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int, int]:
        number = self.first + index
        epoch, place = divmod(number, len(self.cards))
        image = int(np.random.default_rng([self.seed, epoch]).permutation(len(self.cards))[place])
        rng = np.random.default_rng([self.seed, number])
        card, size = self.cards[image].pixels, self.stage["size"]
        if rng.random() < self.stage["clean_share"]:
            return clean(card, size, rng), self.labels[image], image
        strength = between(self.stage["strength"], number / self.count)
        return photo(card, size, rng, strength), self.labels[image], image


def load_cards(config: dict[str, Any], data: Path) -> tuple[list[CardImage], list[CardImage], list[CardImage]]:
    """The real cards to train on, the rendered ones, and the real ones held out."""
    train: list[CardImage] = []
    unseen: list[CardImage] = []
    for source in config["source"]:
        parts = split(load_source(source, data), source, config["held_out"])
        train, unseen = train + parts[0], unseen + parts[1]
    specs = deck(config["rendered"]["count"], seed=config["rendered"]["seed"])
    names = [f"rendered/{spec.card_id}" for spec in specs]
    with ProcessPoolExecutor() as pool:
        pictures = pool.map(partial(render, height_px=config["rendered"]["height"]), specs, chunksize=32)
        rendered = [CardImage(name, name, pixels) for name, pixels in zip(names, pictures, strict=True)]
    return train, rendered, unseen


def between(ends: list[float], progress: float) -> float:
    """From the first value to the last, linearly, as progress goes from 0 to 1."""
    return ends[0] + (ends[1] - ends[0]) * progress


def learning_rate(stage: dict[str, Any], step: int, warm_up: int) -> float:
    """Linear warm-up, then half a cosine from ``lr`` to ``lr_end``."""
    return warm_cosine(step, stage["steps"], warm_up=warm_up, highest=stage["lr"], last=stage["lr_end"])


def last_step(stage: dict[str, Any]) -> int:
    """Where a stage ends: after all of its steps, or at its ``stop``, before the learning rate is at its end."""
    return int(stage.get("stop", stage["steps"]))


@torch.no_grad()
def embed(model: torch.nn.Module, pictures: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Unit vectors (n, d) of equally sized RGB pictures, in evaluation mode."""
    model.eval()
    batches = (torch.from_numpy(np.stack(pictures[i : i + 64])) for i in range(0, len(pictures), 64))
    return torch.cat([model(batch) for batch in batches]).numpy()


def quick_accuracy(model: torch.nn.Module, unseen: list[CardImage], size: int, count: int = 400) -> float:
    """Top-1 of photos of held-out cards among the clean pictures of all of the first ``count``."""
    rng = np.random.default_rng(1)
    chosen = unseen[:: max(1, len(unseen) // count)]
    references = embed(model, [clean(card.pixels, size, np.random.default_rng(0)) for card in chosen])
    queries = embed(model, [photo(card.pixels, size, rng) for card in chosen])
    return float(((queries @ references.T).argmax(1) == np.arange(len(chosen))).mean())


class Run:
    """What is trained: the encoder, its running average, the classifier, the optimiser; and how far it is."""

    def __init__(self, config: dict[str, Any], model: CardEncoder, proxies: Tensor, out: Path) -> None:
        self.config, self.out = config, out
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model)
        self.head = CosFace(proxies)
        slow = {"params": list(self.head.parameters()), "factor": config["proxy_lr_factor"], "weight_decay": 0.0}
        fast = {"params": list(self.model.parameters()), "factor": 1.0, "weight_decay": config["weight_decay"]}
        self.optimizer = torch.optim.AdamW([fast, slow])
        self.stage, self.step, self.total = 0, 0, 0

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "average": self.average, "head": self.head, "optimizer": self.optimizer}

    def save(self) -> None:
        """Writes the checkpoint beside the old one, then swaps them."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        state |= {"stage": self.stage, "step": self.step, "total": self.total, "config": self.config}
        torch.save(state, self.out / "checkpoint.tmp")
        (self.out / "checkpoint.tmp").rename(self.out / "checkpoint.pt")

    def load(self) -> None:
        """Goes on from the checkpoint."""
        state = torch.load(self.out / "checkpoint.pt")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.stage, self.step, self.total = state["stage"], state["step"], state["total"]

    def update(self, pixels: Tensor, label: Tensor, target: Tensor | None) -> dict[str, float]:
        """One optimiser step on a batch; returns the losses and the share of the batch that found its own proxy.

        Args:
            pixels: (n, S, S, 3) uint8.
            label: (n,) classes.
            target: the teacher's maps of the clean cards; None without a teacher.
        """
        stage = self.config["stage"][self.stage]
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(stage, self.step, self.config["warm_up"])
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps = self.model.maps(pixels)
            embedding = self.model.embed(maps)
        loss_class, hit = self.head(embedding, label, stage["margin"])
        loss = loss_class
        losses = {"class": loss_class.item()}
        if target is not None:
            loss_map = map_regression(maps, target)
            loss = loss + between(stage["map_weight"], self.step / stage["steps"]) * loss_map
            losses["map"] = loss_map.item()
        if not torch.isfinite(loss):
            where = f"stage {self.stage}, step {self.step}"
            raise FloatingPointError(f"the loss is {loss.item()} at {where}; lower the learning rate and resume")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, self.config["gradient_norm"])
        self.optimizer.step()
        self.step += 1
        self.total += 1
        update_average(self.average, self.model, min(stage["ema"], (1 + self.total) / (10 + self.total)))
        return losses | {"hit": hit.item()}


def train_stage(run: Run, samples: Samples, teacher: NDArray[np.float16] | None, unseen: list[CardImage]) -> None:
    """Takes the stage that the run is in to its end."""
    config, stage = run.config, run.config["stage"][run.stage]
    loader = DataLoader(samples, config["batch"], num_workers=config["workers"], drop_last=True, prefetch_factor=4)
    begun, first = time.monotonic(), run.step
    with (run.out / "log.csv").open("a") as log:
        for pixels, label, image in loader:
            target = None if teacher is None else torch.from_numpy(teacher[image.numpy()])
            losses = run.update(pixels, label, target)
            if run.step % 25 == 0:
                rate = config["batch"] * (run.step - first) / (time.monotonic() - begun)
                numbers = ",".join(f"{value:.4f}" for value in losses.values())
                print(f"{run.stage},{run.step},{numbers},{rate:.1f}", file=log, flush=True)
            if run.step % config["evaluate_every"] == 0 or run.step == last_step(stage):
                accuracy = quick_accuracy(run.average, unseen, stage["size"])
                print(f"stage {run.stage} step {run.step}: {losses}, unseen top-1 {accuracy:.4f}", flush=True)
                run.save()


def start_from_bundle(
    model: CardEncoder, bundle: Path, cards: list[CardImage], labels: list[int], config: dict[str, Any]
) -> Tensor:
    """Loads the bundle's weights; the proxies are its embeddings of the clean cards, their mean for each class."""
    rng = np.random.default_rng(config["seed"])
    stage = config["stage"][0]
    sample = rng.permutation(len(cards))[:SAMPLE]
    go_on_from(bundle, model, [photo(cards[i].pixels, stage["size"], rng) for i in sample])
    vectors = torch.from_numpy(embed(model, [clean(card.pixels, stage["size"], rng) for card in cards]))
    classes = torch.zeros(max(labels) + 1, vectors.shape[1])
    return torch.nn.functional.normalize(classes.index_add_(0, torch.tensor(labels), vectors), dim=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the config's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint and the log")
    parser.add_argument("--threads", type=int, default=0, help="torch threads; 0: all cores")
    parser.add_argument("--resume", action="store_true", help="go on from RUN/checkpoint.pt")
    options = parser.parse_args()

    config = tomllib.loads(options.config.read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads:
        torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    torch.manual_seed(config["seed"])

    real, rendered, unseen = load_cards(config, options.data)
    cards = real + rendered
    faces = {face: number for number, face in enumerate(sorted({card.face for card in cards}))}
    labels = [faces[card.face] for card in cards]
    print(f"{len(cards)} pictures of {len(faces)} faces to train on, {len(unseen)} held out", flush=True)
    model = CardEncoder(**config["model"])
    teacher = None
    if "start" not in config:
        network = options.data / config["teacher"]["network"]
        teacher = targets([card.pixels for card in cards], network, options.out / "teacher.npy")
    if options.resume:
        proxies = torch.zeros(len(faces), config["model"]["dimension"])  # the checkpoint has them
    elif teacher is None:
        proxies = start_from_bundle(model, Path(config["start"]["bundle"]), cards, labels, config)
    else:
        proxies = first_proxies(teacher, labels, len(real), config["model"]["dimension"])
    run = Run(config, model, proxies, options.out)
    if options.resume:
        run.load()
    for number, stage in enumerate(config["stage"][run.stage :], run.stage):
        if number != run.stage:
            run.stage, run.step = number, 0
        first, last = run.step * config["batch"], last_step(stage) * config["batch"]
        shown = cards if stage["rendered"] else real
        samples = Samples(shown, labels, stage, first=first, count=last, seed=config["seed"] + number)
        train_stage(run, samples, teacher, unseen)


if __name__ == "__main__":
    main()
