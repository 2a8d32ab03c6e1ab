"""A bundle in 8-bit integers: what is in integers, what is drawn for its ranges, what is compared, and the choice."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bundles import FLOATS
from numpy.typing import NDArray
from pictures import card_picture
from refusals import files_up_to
from small_encoder import DIMENSION, small_encoder

from cardrec.decide import Calibration
from cardrec.embed import Embedder, open_encoder
from cardrec.model import BUNDLED, Model
from training import measure_engines, quantize
from training.calibration_pictures import chosen_evenly, draw, sets_of
from training.compare_networks import Compared, lines
from training.data import CardImage, load_folder
from training.engines import time_in_turn
from training.material import read_material
from training.quantize import norm_of

CARDS, ASKED = 14, 3


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "shop"
    folder.mkdir()
    for seed in range(CARDS):
        cv2.imwrite(str(folder / f"c{seed:02}.png"), card_picture(seed))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_encoder(tmp_path_factory.mktemp("small") / "bundle", folded=True)


def asked(model: Model, shop: Path, out: Path, *more: str) -> None:
    quantize.main([str(model.network.parent), "--images", str(shop), "--out", str(out), "--processes", "0", *more])


@pytest.fixture(scope="module")
def integers(model: Model, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("integers") / "bundle"
    asked(model, shop, out, "--pictures", "16", "--count", str(ASKED))
    return out


def tensors(network: Path) -> tuple[Any, dict[str, NDArray[Any]]]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(network)).graph
    return graph, {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def quantised_weights(network: Path) -> list[NDArray[Any]]:
    """Weights in integers, which have a scale for each channel."""
    graph, held = tensors(network)
    found = [node for node in graph.node if node.op_type == "DequantizeLinear" and held[node.input[1]].size > 1]
    return [held[node.input[0]] for node in found if held[node.input[0]].dtype == np.int8]


def test_layers_are_in_integers_and_the_norm_is_not(integers: Path) -> None:
    graph, held = tensors(integers / "model.onnx")
    assert len(quantised_weights(integers / "model.onnx")) == 2
    makers = {name: node.op_type for node in graph.node for name in node.output}
    linear = {"Conv", "Gemm", "MatMul"}
    assert {makers[node.input[0]] for node in graph.node if node.op_type in linear} == {"DequantizeLinear"}
    points = [held[node.input[2]].dtype for node in graph.node if node.op_type == "QuantizeLinear"]
    assert points and set(points) == {np.dtype(np.uint8)}
    assert graph.node[-1].op_type not in ("QuantizeLinear", "DequantizeLinear")


def test_what_makes_the_vectors_unit_length_stays_in_floats() -> None:
    graph, _ = tensors(Model.load(FLOATS).network)
    kinds = [node.op_type for node in norm_of(graph.node)]
    assert kinds[0] == "ReduceL2" and kinds[-1] == "Div" and "Clip" in kinds  # which would be in integers


@pytest.mark.parametrize(("more", "bits", "most"), [([], 7, 64), (["--full-range"], 8, 127)])
def test_weights_have_seven_bits_or_eight(
    more: list[str], bits: int, most: int, model: Model, shop: Path, tmp_path: Path
) -> None:
    asked(model, shop, tmp_path / "out", "--pictures", "4", "--count", "0", *more)
    largest = max(np.abs(weights.astype(int)).max() for weights in quantised_weights(tmp_path / "out" / "model.onnx"))
    assert most - 1 <= largest <= most
    made = Model.load(tmp_path / "out")
    assert made.details["integers"] == {"bits": 8, "weight_bits": bits, "pictures": 4} and not made.calibration


def test_the_bundle_is_one_of_its_own(integers: Path, model: Model, shop: Path) -> None:
    made = Model.load(integers)
    assert made.fingerprint != model.fingerprint and made.preprocessing_hash == model.preprocessing_hash
    Calibration.from_numbers(made.calibration)
    floats, whole = made.details["integers"]["figures"]
    assert (floats["photos"], whole["photos"], whole["crops"]) == (2 * ASKED, 2 * ASKED, 2 * ASKED)
    assert floats["cosine"] == [1.0] * 4 and floats["loss_points"] == 0
    assert 0.97 < whole["cosine"][0] < 1
    pictures = [card.pixels for card in load_folder(shop)]
    with Embedder(open_encoder(model)) as before, Embedder(open_encoder(made)) as after:
        old, new = before.encode(pictures), after.encode(pictures)
    assert new.shape == (CARDS, DIMENSION) and np.allclose(np.linalg.norm(new, axis=1), 1, atol=1e-5)
    assert 0.97 < (old * new).sum(axis=1).min() < 0.99999


def test_the_other_bundles_networks_are_not_taken_over(model: Model, shop: Path, tmp_path: Path) -> None:
    home = tmp_path / "bundle"
    small_encoder(home)
    details = json.loads((home / "model.json").read_text())
    (home / "model.json").write_text(json.dumps(details | {"hailo": [{"architecture": "hailo8"}], "figures": {}}))
    asked(Model.load(home), shop, tmp_path / "out", "--pictures", "2", "--count", "0")
    assert not {"hailo", "figures"} & set(Model.load(tmp_path / "out").details)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--images", "{shop}", "--out", "{bundle}"], ["is the bundle itself"]),
        (["--images", "{shop}", "--out", "{out}", "--count", "14"], ["too few", "--count"]),
        (["--images", "{out}", "--out", "{out}"], ["No such file"]),
        (["--out", "{out}"], ["either --images FOLDER, or --config"]),
    ],
)
def test_what_can_not_be_done_is_said_on_one_line(
    more: list[str], words: list[str], model: Model, shop: Path, tmp_path: Path
) -> None:
    places = {"shop": shop, "bundle": model.network.parent, "out": tmp_path / "out"}
    with pytest.raises(SystemExit) as caught:
        quantize.main([str(model.network.parent), *(word.format(**places) for word in more)])
    line = str(caught.value)
    assert list(tmp_path.iterdir()) == [] and "\n" not in line
    assert line.startswith("python -m training.quantize: ") and all(word in line for word in words)


@pytest.mark.parametrize("fault", ["damaged", "no linear layer", "full disk"])
def test_nothing_is_left_of_what_failed(
    fault: str, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small_encoder(tmp_path / "bundle")
    if fault == "damaged":
        made.network.write_bytes(made.network.read_bytes()[:-9])
    elif fault == "no linear layer":
        monkeypatch.setattr(quantize, "norm_of", lambda nodes: norm_of([n for n in nodes if n.op_type != "Gemm"]))
    room = files_up_to(20_000) if fault == "full disk" else contextlib.nullcontext()
    with room, pytest.raises(SystemExit) as caught:
        asked(made, shop, tmp_path / "out", "--pictures", "2", "--count", "0")
    said = {"damaged": "is damaged", "no linear layer": "no linear layer", "full disk": "free some space"}
    assert said[fault] in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# What is drawn and asked


def card(name: str) -> CardImage:
    return CardImage(name, name, card_picture(len(name)))


def test_sets_are_what_names_say() -> None:
    names = (
        [f"game/A1-{n}" for n in range(9)] + [f"game/B2-{n}/x" for n in range(9)] + ["art/Name-of-one", "art/Other-x"]
    )
    assert Counter(sets_of(names)) == {("game", "A1"): 9, ("game", "B2"): 9, ("art", ""): 2}


def test_sources_and_sets_come_in_turn() -> None:
    cards = [card(f"big/A-{n}") for n in range(30)] + [card(f"big/B-{n}") for n in range(10)]
    cards += [card(f"small/x{n}") for n in range(4)]
    chosen = chosen_evenly(cards, 40, np.random.default_rng(0))
    assert Counter(one.card_id.rsplit("-", 1)[0] for one in chosen if one.card_id < "s") == {"big/A": 10, "big/B": 10}
    counts = Counter(one.card_id for one in chosen)
    assert {counts[f"small/x{n}"] for n in range(4)} == {5} and max(counts[f"big/A-{n}"] for n in range(30)) == 1


def test_pictures_have_every_strength_and_are_the_same_again(shop: Path) -> None:
    cards = load_folder(shop)
    drawn, again, other = (list(draw(cards, 30, seed=seed)) for seed in (1, 1, 2))
    strengths = sorted(one.strength for one in drawn if one.strength)
    assert [one.strength for one in draw(cards, 1)] == [0]
    assert len(strengths) == 24 and strengths == pytest.approx(np.linspace(1.1 / 24, 1.1, 24))
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(drawn, again, strict=True))
    assert not all(np.array_equal(a.pixels, b.pixels) for a, b in zip(drawn, other, strict=True))


def test_each_source_is_drawn_clean_and_captured() -> None:
    cards = [card(f"game{source}/x{n}") for source in range(5) for n in range(2)]
    clean = Counter(one.group for one in draw(cards, 100) if one.strength == 0)
    assert len(clean) == 5 and sum(clean.values()) == 20 and max(clean.values()) < 10


def test_calibration_does_not_see_what_is_asked(shop: Path) -> None:
    material = read_material(argparse.Namespace(images=shop, config=None, data=None), ASKED)
    seen, questions = ({one.face for one in group} for group in (material.seen, material.asked))
    assert len(questions) == ASKED and not seen & questions and len(seen | questions) == len(material.catalog) == CARDS


# The comparison and the choice


def test_losses_are_counted_photo_by_photo() -> None:
    before = Compared("floats", {}, [1.0] * 4, [True] * 4, [True, True, False, True], [True] * 4)
    after = Compared("integers", {}, [0.9, 1.0, 1.0, 1.0], [True] * 4, [True, False, True, False], [False] * 4)
    found = after.figures(before)
    assert (found["lost"], found["gained"], found["loss_points"]) == (2, 1, 25.0)
    assert found["loss_error_points"] == pytest.approx(100 * 3**0.5 / 4, abs=0.01)
    assert found["cosine"][0] == 0.9 and found["named"] == 0
    assert "+25.00 +- 43.30 points (2 lost, 1 gained)" in lines([found])[-1]


def test_the_fastest_of_those_that_lose_little_is_chosen() -> None:
    times = [
        {"name": name, "threads": threads, "ms": ms / threads}
        for name, ms in (("floats", 5.0), ("integers", 2.0), ("worse", 1.0))
        for threads in (1, 2)
    ]
    losses = {"floats": 0.0, "integers": 0.29, "worse": 0.3}
    accuracy = [{"name": name, "loss_points": loss} for name, loss in losses.items()]
    assert measure_engines.fastest(times, accuracy) == "integers"


class Counted:
    """An encoder whose cards take as long as it is told."""

    def __init__(self, order: list[str], name: str) -> None:
        self.order, self.label = order, name
        self.pixels = np.zeros((1, 224, 224, 3), np.uint8)

    def slot(self) -> Any:
        return self

    def __enter__(self) -> Counted:
        self.order.append(self.label)
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, count: int) -> None: ...

    def wait(self) -> None: ...


def test_networks_are_timed_in_turn() -> None:
    order: list[str] = []
    encoders: Any = {name: Counted(order, name) for name in "abc"}
    took = time_in_turn(encoders, np.zeros((224, 224, 3), np.uint8), 3)
    assert "".join(order) == "abccbaabc" and {len(each) for each in took.values()} == {3}


def test_engines_are_measured(
    integers: Path, model: Model, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "engines.json"
    numbers = ["--count", "2", "--rounds", "2", "--processes", "0"]
    bundles = [str(model.network.parent), str(integers)]
    measure_engines.main([*bundles, "--engines", "onnxruntime", "--images", str(shop), *numbers, "--out", str(out)])
    found = json.loads(out.read_text())
    names = ["small, onnxruntime", "small, 8 bits, onnxruntime"]
    assert [one["name"] for one in found["accuracy"]] == names
    assert [(one["name"], one["threads"]) for one in found["times"]] == [(n, t) for t in (1, 2) for n in names]
    assert all(one["ms"] > 0 for one in found["times"]) and found["times"][0]["ratio"] == 1
    assert f"fastest with one thread that loses less than {measure_engines.LARGEST_LOSS} points: small" in (
        capsys.readouterr().out
    )


def test_an_engine_that_is_missing(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(SystemExit, match="pip install openvino"):
        measure_engines.main([str(BUNDLED), "--engines", "openvino", "--images", str(shop), "--count", "0"])
