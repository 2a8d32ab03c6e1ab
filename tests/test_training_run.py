"""A whole training, small: resuming, several processes, running out of memory, losses that are no numbers, logs."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("timm", "tensorboard"):
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)

from torch import Tensor, nn  # noqa: E402

from training.cards import load_cards  # noqa: E402
from training.distributed import Group  # noqa: E402
from training.logs import Log  # noqa: E402
from training.objective import Batch  # noqa: E402
from training.run import Run  # noqa: E402
from training.samples import Samples, look_alikes, numbers  # noqa: E402
from training.settings import Phase, Settings, read_settings  # noqa: E402
from training.teacher import open_teacher, stacked  # noqa: E402
from training.train import main, train  # noqa: E402

ALONE = Group(0, 1, torch.device("cpu"))

CONFIG = """
seed = 3
held_out = 0.3
workers = 0
precision = "fp32"
evaluate_every = 2

[model]
dimension = 16
channels = 2
grid = 2

[[source]]
folder = "cards"

[[phase]]
name = "small"
size = 64
steps = 3
warm_up_steps = 1
batch = 4
lr = 1e-3
ema = 0.9

[[phase]]
name = "larger"
size = 96
steps = 2
warm_up_steps = 1
batch = 4
micro_batch = 2
lr = 1e-3
angle = "arc"
margin = 0.2
look_alikes = 0.5
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with sixteen cards, and the config."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "cards").mkdir()
    for number in range(16):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"cards/{number}.png"), cv2.resize(coarse, (70, 98), interpolation=cv2.INTER_CUBIC))
    (folder / "config.toml").write_text(CONFIG)
    torch.set_num_threads(1)
    return folder


def run(data: Path, out: Path, settings: Settings | None = None, resume: Path | None = None) -> dict[str, Tensor]:
    """Trains; the weights that came of it."""
    out.mkdir(exist_ok=True)
    done = train(settings or read_settings(data / "config.toml"), data, out, ALONE, resume)
    return {name: value.clone() for name, value in done.objective.state_dict().items()}


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor], *, atol: float = 0.0) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.allclose(value.float(), b[name].float(), rtol=0, atol=atol), name


def test_resuming_gives_the_same_numbers(data: Path, tmp_path: Path) -> None:
    whole = run(data, tmp_path / "whole")
    again = run(data, tmp_path / "again")
    assert_same(whole, again)
    interrupted = read_settings(data / "config.toml")
    first = replace(interrupted.phase[0], stop=2)
    run(data, tmp_path / "part", replace(interrupted, phase=(first,)))
    assert_same(whole, run(data, tmp_path / "part", resume=tmp_path / "part" / "checkpoint.pt"))
    assert_same(whole, run(data, tmp_path / "other", resume=tmp_path / "whole" / "checkpoint-1.pt"))


def test_other_cards_are_noticed_when_resuming(data: Path, tmp_path: Path) -> None:
    settings = read_settings(data / "config.toml")
    run(data, tmp_path, replace(settings, phase=settings.phase[:1]))
    fewer = replace(settings, source=({"folder": "cards", "prefixes": ["1"]},))
    with pytest.raises(ValueError, match="trained on other cards"):
        run(data, tmp_path, fewer, tmp_path / "checkpoint.pt")


def test_two_processes_train_as_one_does_in_halves(data: Path, tmp_path: Path) -> None:
    """Each normalises its half by itself and the gradients are averaged, as one process does with two micro-batches."""
    settings = read_settings(data / "config.toml")
    one = run(data, tmp_path / "one", replace(settings, phase=tuple(replace(p, micro_batch=2) for p in settings.phase)))
    module = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "training.train"]
    arguments = [str(data / "config.toml"), "--data", str(data), "--out", str(tmp_path / "two"), "--threads", "1"]
    subprocess.run([sys.executable, *module, *arguments], check=True, timeout=240, cwd=Path(__file__).parents[1])
    two = torch.load(tmp_path / "two" / "checkpoint.pt", weights_only=True)["objective"]
    learned = {name: value for name, value in one.items() if "running" not in name and "tracked" not in name}
    assert_same(learned, {name: two[name] for name in learned}, atol=2e-5)


def test_a_student_starts_with_what_its_teacher_knows(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "teacher")
    settings = read_settings(data / "config.toml")
    phase = Phase(size=64, steps=1, batch=4, lr=1e-12, class_weight=(0.0, 0.0), embedding_weight=0.7, logits_weight=0.3)
    table = {"kind": "encoder", "checkpoint": str(tmp_path / "teacher" / "checkpoint.pt"), "size": 64}
    settings = replace(settings, seed=4, phase=(phase,), teacher=table, augment_on="device")
    learned = run(data, tmp_path / "student", settings)
    cards = load_cards(settings, data)
    expected = open_teacher(table, data)(stacked([card.pixels for card in cards.shown], 64))
    assert torch.allclose(learned["classes.proxies"][cards.labels], expected, atol=2e-3)  # they are kept in float16
    assert any(name.startswith("judge.") for name in learned)


def test_what_is_compiled_is_what_runs(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def counted(pixels: Tensor) -> Tensor:
            ran.append(len(pixels))
            return function(pixels)

        return counted

    monkeypatch.setattr(torch, "compile", compiled)
    settings = read_settings(data / "config.toml")
    run(data, tmp_path, replace(settings, phase=(replace(settings.phase[0], stop=1),), compile=True))
    assert ran == [4]


def test_the_sequence_of_samples(data: Path) -> None:
    cards = load_cards(replace(read_settings(data / "config.toml"), held_out=0.0), data)
    phase = Phase(size=64, look_alikes=0.25, strength=(0.5, 0.5))
    samples = Samples(cards.shown, cards.labels, phase, count=64, seed=1)
    shown = [samples[number] for number in range(64)]
    again = Samples(cards.shown, cards.labels, phase, count=64, seed=1)[37]
    assert np.array_equal(shown[37][0], again[0]) and shown[37][1:] == again[1:]
    alike = look_alikes(cards.shown, cards.labels)
    pairs = [shown[n + 1][2] == alike[shown[n][2]] for n in range(0, 64, 2)]
    assert 8 <= sum(pairs) <= 24
    assert (alike != np.arange(16)).all()
    plain = Samples(cards.shown, cards.labels, replace(phase, look_alikes=0.0), count=64, seed=1)
    assert sorted(plain[number][2] for number in range(16, 32)) == list(range(16))


def test_processes_share_every_batch() -> None:
    parts = [numbers(range(3, 5), 6, rank, 3) for rank in range(3)]
    assert parts == [[18, 19, 24, 25], [20, 21, 26, 27], [22, 23, 28, 29]]
    with pytest.raises(ValueError, match="multiple of 4"):
        numbers(range(1), 6, 0, 4)


class Line(nn.Module):
    """The least that can be trained: one weight, and a loss by picture."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classes = nn.Linear(1, 1, bias=False), nn.Linear(1, 1)
        nn.init.ones_(self.encoder.weight)
        self.fits = 1000

    def forward(self, batch: Batch, _phase: Phase) -> dict[str, Tensor]:
        if len(batch["label"]) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        said = self.encoder(batch["pixels"])[:, 0]
        loss = (said - batch["label"]).square().mean()
        return {"class": loss, "map": loss * 100, "hit": torch.tensor(0.5)}


def line_run(out: Path, *, fits: int = 1000) -> tuple[Run, Batch]:
    settings = Settings(source=({"folder": "cards"},), phase=(Phase(steps=10, batch=7),), gradient_norm=1e9)
    line = Line()
    line.fits = fits
    batch = {"pixels": torch.arange(7.0)[:, None], "label": torch.linspace(-3, 4, 7)}
    return Run(settings, line, ALONE, "cards", out), batch  # type: ignore[arg-type]


@pytest.mark.parametrize("fits", [6, 3, 1])
def test_out_of_memory_the_pictures_go_in_smaller_lots(tmp_path: Path, fits: int) -> None:
    roomy, batch = line_run(tmp_path)
    tight, _ = line_run(tmp_path, fits=fits)
    phase = roomy.settings.phase[0]
    for _ in range(3):
        expected, given = roomy.update(batch, phase, 100), tight.update(batch, phase, 100)
        assert given == pytest.approx(expected, rel=1e-5)
    assert 1 <= tight.micro_batch <= fits < 7 and tight.step == 3
    assert torch.allclose(tight.objective.encoder.weight, roomy.objective.encoder.weight, rtol=1e-5)


def test_nothing_fits(tmp_path: Path) -> None:
    nothing, batch = line_run(tmp_path, fits=0)
    with pytest.raises(MemoryError, match="smaller micro_batch"):
        nothing.update(batch, nothing.settings.phase[0], 100)


def test_a_loss_that_is_no_number_stops_and_keeps_the_batch(tmp_path: Path) -> None:
    line, batch = line_run(tmp_path)
    before = line.objective.encoder.weight.clone()
    batch["pixels"][4] = float("nan")
    with pytest.raises(FloatingPointError, match=r"the loss is nan in phase 1 at step 0; .*lower the learning rate"):
        line.update(batch, line.settings.phase[0], 100)
    kept = torch.load(tmp_path / "bad_batch.pt", weights_only=True)
    assert torch.equal(kept["batch"]["label"], batch["label"]) and torch.equal(before, line.objective.encoder.weight)


def test_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, Any]] = []
    wandb, mlflow = ModuleType("wandb"), ModuleType("mlflow")
    wandb.init = lambda **given: SimpleNamespace(  # type: ignore[attr-defined]
        log=lambda values, step: written.append(("wandb", (given["mode"], step, values))), finish=lambda: None
    )
    for name in ("set_tracking_uri", "set_experiment", "start_run", "log_text", "end_run"):
        setattr(mlflow, name, lambda *_, **__: None)
    mlflow.log_metrics = lambda values, step: written.append(("mlflow", (step, values)))  # type: ignore[attr-defined]
    for module in (wandb, mlflow):
        module.__spec__ = SimpleNamespace()  # type: ignore[assignment]  # what find_spec looks at
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with Log(tmp_path, {"seed": 1}) as log:
        log.write(25, {"train/class": 1.5})
    assert written == [("wandb", ("offline", 25, {"train/class": 1.5})), ("mlflow", (25, {"train/class": 1.5}))]
    with (tmp_path / "log.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["25", "train/class", "1.5"]]
    assert list((tmp_path / "tensorboard").iterdir())
    with Log(tmp_path / "nowhere", {}, enabled=False) as silent:
        silent.write(1, {"train/class": 1.0})
    assert not (tmp_path / "nowhere").exists()


def test_a_config_that_is_not_there_is_said_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^python -m training.train: .*no\.toml: No such file or directory$"):
        main([str(tmp_path / "no.toml"), "--data", str(tmp_path), "--out", str(tmp_path / "run")])
    assert list(tmp_path.iterdir()) == []
