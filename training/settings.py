"""What a training's TOML file says, checked: names, types and ranges, before anything is loaded.

The defaults of a phase are the recipe of the first system: AdamW at 1e-4, weight decay 0.01, 5 epochs of warm-up in 50,
batches of 64 pictures of 224x224.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

__all__ = ["Phase", "Settings", "between", "checked", "read_settings"]

CELL_PX = 32
"""Of the picture, under each cell of the backbone's last map."""

Pair = tuple[float, float]
"""First and last value of what changes linearly over a phase."""


def between(ends: Pair, progress: float) -> float:
    """From the first value to the last, linearly, as progress goes from 0 to 1."""
    return ends[0] + (ends[1] - ends[0]) * progress


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of a training, a `[[phase]]` table; what the loss consists of is `weights`.

    Attributes:
        name: for logs.
        size: side of the pictures, in pixels.
        epochs: passes over the pictures, where `steps` is 0.
        steps: optimiser steps.
        stop: step after which the phase ends before its schedule does; 0: never.
        batch: pictures a step, over all processes.
        micro_batch: pictures at a time in each process, gradients being summed; 0: all of its share.
        lr: highest learning rate, for batches of 64; others get it in proportion.
        lr_end: learning rate at the end of the cosine.
        warm_up_epochs: linear warm-up, where `warm_up_steps` is 0.
        warm_up_steps: linear warm-up.
        weight_decay: of the encoder; the classes' vectors have none.
        ema: decay of the weights' running average, which is what is kept; 0: the weights themselves.
        augmentation: preset of `training/augment.py`.
        strength: of the photo augmentation, first and last.
        clean_share: of the samples that are catalog pictures, not photos.
        look_alikes: share of the samples that show a look-alike of the sample before them.
        rendered: whether the rendered cards are shown, too.
        angle: margin of the softmax over classes: `cosine` subtracts it from the cosine (CosFace; 0 is plain
            cross-entropy), `arc` adds it to the angle (ArcFace).
        margin: that margin.
        centres: vectors for each class, of which the nearest counts (sub-centre ArcFace).
        class_weight: of the softmax over classes, first and last. These five are the loss.
        map_weight: of the regression of the teacher's feature maps, first and last.
        embedding_weight: of the mean squared distance to the teacher's embedding.
        logits_weight: of T^2 times the divergence from the teacher's softened classes.
        relation_weight: of the mean squared difference between the batch's cosines and the teacher's.
        temperature: T.
    """

    name: str = ""
    size: int = 224
    epochs: int = 50
    steps: int = 0
    stop: int = 0
    batch: int = 64
    micro_batch: int = 0
    lr: float = 1e-4
    lr_end: float = 0.0
    warm_up_epochs: int = 5
    warm_up_steps: int = 0
    weight_decay: float = 0.01
    ema: float = 0.0
    augmentation: Literal["photo", "original"] = "photo"
    strength: Pair = (1.0, 1.0)
    clean_share: float = 0.0
    look_alikes: float = 0.0
    rendered: bool = True
    angle: Literal["cosine", "arc"] = "cosine"
    margin: float = 0.0
    centres: int = 1
    class_weight: Pair = (1.0, 1.0)
    map_weight: Pair = (0.0, 0.0)
    embedding_weight: float = 0.0
    logits_weight: float = 0.0
    relation_weight: float = 0.0
    temperature: float = 4.0

    def teaches(self) -> bool:
        """Whether a part of the loss needs the teacher's embedding."""
        return self.embedding_weight > 0 or self.logits_weight > 0 or self.relation_weight > 0

    def length(self, pictures: int) -> int:
        """Optimiser steps of the whole schedule."""
        return self.steps or max(1, self.epochs * pictures // self.batch)

    def last(self, pictures: int) -> int:
        """The step after which the phase ends."""
        return min(self.stop or self.length(pictures), self.length(pictures))

    def warm_up(self, pictures: int) -> int:
        """Steps of the warm-up, at least 1."""
        return max(1, self.warm_up_steps or self.warm_up_epochs * pictures // self.batch)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole training.

    Attributes:
        seed: of everything random.
        held_out: share of the faces of each source that no training sees.
        model: arguments of `CardEncoder`.
        source: folders or manifests of cards, see `training/data.py`.
        phase: in order.
        start: `bundle`, a folder that `training/export.py` wrote, to go on from.
        teacher: see `training/teacher.py`.
        rendered: `count`, `seed` and `height` of fictional cards.
        augment_on: `workers`, or the `device` that computes; `auto` is the device where that is a GPU.
        workers: processes that make samples, for each process that trains.
        precision: of the forward pass; `bf16` and `fp16` are mixed.
        gradient_checkpointing: recompute activations instead of keeping them: less memory, a third more time.
        compile: through `torch.compile`.
        proxy_lr_factor: learning rate of the classes' vectors relative to the encoder's. Adam moves each of them at
            every step; at full rate they drift apart from their faces.
        scale: inverse temperature of the softmax over classes.
        gradient_norm: where gradients are clipped.
        evaluate_every: steps between checks on held-out cards; a checkpoint is written after each.
    """

    seed: int = 0
    held_out: float = 0.15
    model: Mapping[str, Any] = field(default_factory=dict)
    source: tuple[Mapping[str, Any], ...]
    phase: tuple[Phase, ...]
    start: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    rendered: Mapping[str, Any] = field(default_factory=dict)
    augment_on: Literal["auto", "workers", "device"] = "auto"
    workers: int = 1
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    compile: bool = False
    proxy_lr_factor: float = 1.0
    scale: float = 32.0
    gradient_norm: float = 5.0
    evaluate_every: int = 500


def read_settings(path: Path) -> Settings:
    """Reads a config. Its `base`, another config beside it, says what it does not say itself.

    Raises:
        ValueError: it is not TOML, or something in it is unknown, missing, of the wrong type or out of range; says
            where, what was expected, and what is known.
    """
    table = _read_table(path)
    phases = table.pop("phase", None)
    if not isinstance(phases, list) or not phases:
        raise ValueError(f"{path}: expected at least one [[phase]] table")
    numbered = enumerate(phases, 1)
    ready = tuple(Phase(**checked(Phase, {"name": f"phase {n}"} | p, f"{path}, [[phase]] {n}")) for n, p in numbered)
    settings = Settings(**checked(Settings, table | {"phase": ready}, str(path)))
    for phase in ready:
        for name in ("size", "batch", "centres", "temperature"):
            if getattr(phase, name) < 1:
                raise ValueError(f"{path}, {phase.name}: {name} is {getattr(phase, name)}; expected at least 1")
        if phase.size < CELL_PX * settings.model.get("grid", 1):
            raise ValueError(
                f"{path}, {phase.name}: size is {phase.size}; expected {CELL_PX} for each of the grid's cells"
            )
        if not phase.teaches() and max(*phase.class_weight, *phase.map_weight) == 0:
            raise ValueError(f"{path}, {phase.name}: its loss counts nothing; expected a weight over 0")
    if not settings.teacher and any(phase.teaches() or max(phase.map_weight) > 0 for phase in ready):
        raise ValueError(f"{path}: a phase's loss asks for a teacher; expected a [teacher] table")
    return settings


def _read_table(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    base = table.pop("base", None)
    return table if base is None else _read_table(path.parent / base) | table


def checked(kind: type, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The table's entries as arguments of the dataclass.

    Raises:
        ValueError: one is unknown, missing or of the wrong type; says where, and what was expected.
    """
    known = {entry.name: entry for entry in fields(kind)}
    types = get_type_hints(kind)
    for name in table:
        if name not in known:
            raise ValueError(f"{where}: {name!r} is unknown; known are {', '.join(known)}")
    for name, entry in known.items():
        if entry.default is MISSING and entry.default_factory is MISSING and name not in table:
            raise ValueError(f"{where}: {name!r} is missing")
    return {name: _value(types[name], value, f"{where}: {name}") for name, value in table.items()}


def _value(kind: Any, value: Any, where: str) -> Any:
    """The value as the annotation asks for it."""
    fits, expected = _rule(kind)
    if kind == Pair and _number(value):
        value = [value, value]
    if not fits(value):
        raise ValueError(f"{where} is {value!r}; expected {expected}")
    return tuple(value) if isinstance(value, list) else value


def _rule(kind: Any) -> tuple[Callable[[Any], bool], str]:
    """How a value of this type is told, and in words."""
    if get_origin(kind) is Literal:
        return lambda value: value in get_args(kind), f"one of {', '.join(get_args(kind))}"
    if kind == Pair:
        return lambda v: isinstance(v, list) and len(v) == 2 and all(map(_number, v)), "a number from 0, or two"
    if get_origin(kind) is tuple:
        return lambda value: isinstance(value, list | tuple) and len(value) > 0, "at least one table"
    if get_origin(kind) is Mapping:
        return lambda value: isinstance(value, Mapping), "a table"
    return {
        str: (lambda value: isinstance(value, str), "a text"),
        bool: (lambda value: isinstance(value, bool), "true or false"),
        int: (lambda value: _number(value) and isinstance(value, int), "a whole number from 0"),
        float: (_number, "a number from 0"),
    }[kind]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
