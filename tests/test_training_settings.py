"""Configs of a training: what is read, what is refused, and what the defaults are."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.settings import Phase, read_settings

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
LEAST = '[[source]]\nfolder = "cards"\n[[phase]]\n'


def read(folder: Path, text: str) -> None:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    read_settings(path)


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(CONFIGS.rglob("*.toml")) if p.name not in ("data.toml", "pipeline.toml")],
    ids=lambda path: path.stem,
)
def test_every_config_is_read(path: Path) -> None:
    settings = read_settings(path)
    assert settings.source and settings.phase


def test_the_original_recipe() -> None:
    direct, distilled = read_settings(CONFIGS / "original.toml").phase
    for phase in (direct, distilled):
        assert (phase.lr, phase.weight_decay, phase.batch, phase.epochs, phase.warm_up_epochs) == (
            1e-4,
            0.01,
            64,
            50,
            5,
        )
        assert phase.augmentation == "original"
    assert direct.class_weight == (1.0, 1.0)
    assert not direct.teaches()
    assert distilled.class_weight == (0.0, 0.0)
    assert distilled.teaches()
    assert (distilled.embedding_weight, distilled.logits_weight, distilled.temperature) == (0.7, 0.3, 4.0)


def test_a_base_is_gone_on_from(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(LEAST + "steps = 7\n")
    (tmp_path / "config.toml").write_text('base = "base.toml"\nseed = 5\n')
    settings = read_settings(tmp_path / "config.toml")
    assert settings.seed == 5 and settings.phase[0].steps == 7 and settings.phase[0].name == "phase 1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[phase", "not TOML"),
        ('[[source]]\nfolder = "cards"\n', r"at least one \[\[phase\]\]"),
        ("[[phase]]\n", "'source' is missing"),
        (LEAST + "speed = 3\n", "'speed' is unknown; known are name, size"),
        ("colour = 1\n" + LEAST, "'colour' is unknown"),
        (LEAST + 'lr = "fast"\n', "'fast'; expected a number from 0"),
        (LEAST + "lr = -1.0\n", "expected a number from 0"),
        (LEAST + "lr = nan\n", "expected a number from 0"),
        (LEAST + "batch = 2.5\n", "expected a whole number"),
        (LEAST + "batch = 0\n", "batch is 0; expected at least 1"),
        (LEAST + "rendered = 1\n", "expected true or false"),
        (LEAST + "strength = [1, 2, 3]\n", "expected a number from 0, or two"),
        (LEAST + 'angle = "wide"\n', "expected one of cosine, arc"),
        (LEAST + "embedding_weight = 1.0\n", r"expected a \[teacher\] table"),
        ("model.grid = 4\n" + LEAST + "size = 96\n", "expected 32 for each"),
        (LEAST + "class_weight = 0.0\n", "counts nothing"),
    ],
)
def test_bad_configs(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(tmp_path, text)


def test_lengths_in_epochs_and_in_steps() -> None:
    by_epochs = Phase(epochs=10, batch=32, warm_up_epochs=2)
    assert (by_epochs.length(100), by_epochs.warm_up(100), by_epochs.last(100)) == (31, 6, 31)
    by_steps = Phase(steps=40, warm_up_steps=4, stop=30)
    assert (by_steps.length(100), by_steps.warm_up(100), by_steps.last(100)) == (40, 4, 30)
    assert Phase(warm_up_epochs=0).warm_up(100) == 1
