"""The trained parts that need torch; skipped where it is not installed (`pip install -e .[training]`)."""

from __future__ import annotations

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
if find_spec("timm") is None:  # only looked for: importing it is `import_timm`'s business
    pytest.skip("timm is not installed", allow_module_level=True)

import onnx  # noqa: E402
from refusals import files_up_to, refused  # noqa: E402

from cardrec.embed import open_encoder  # noqa: E402
from cardrec.encode import unit  # noqa: E402
from cardrec.model import BUNDLED, PREPROCESSING, Model  # noqa: E402
from training import export, quantize  # noqa: E402
from training.export import (  # noqa: E402
    Inference,
    check_agreement,
    describe,
    energy,
    leading_first,
    smooth_pictures,
    write_onnx,
)
from training.hailo_graph import cut, run  # noqa: E402
from training.losses import Classes, distance, map_regression, relations, soft_classes  # noqa: E402
from training.model import GRID, CardEncoder, pool  # noqa: E402
from training.objective import Objective, weights  # noqa: E402
from training.settings import Phase  # noqa: E402
from training.start import begin, go_on_from  # noqa: E402

SMALL = "mobilenetv3_small_050"
"""Where an encoder is exported again and again, it need not be the real one."""


def trained_enough(encoder: CardEncoder) -> CardEncoder:
    """The encoder with statistics other than the initial ones, so that folding them wrongly would show."""
    torch.manual_seed(0)
    encoder.train()
    with torch.no_grad():
        for _ in range(2):
            encoder(torch.randint(0, 256, (4, 128, 128, 3), dtype=torch.uint8))
        encoder.centre.weight.uniform_(0.5, 2.0)
        encoder.centre.bias.uniform_(-1.0, 1.0)
    return encoder.eval()


@pytest.mark.parametrize("size", [128, 224])
def test_embeddings_are_unit_vectors(size: int) -> None:
    encoder = CardEncoder(dimension=48, channels=4).eval()
    with torch.no_grad():
        vectors = encoder(torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8))
    assert vectors.shape == (2, 48)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


@pytest.mark.parametrize(("opset", "backbone"), [(11, SMALL), (17, "efficientnet_lite0")])
def test_exported_graph_agrees_with_torch(opset: int, backbone: str, tmp_path: Path) -> None:
    encoder = trained_enough(CardEncoder(dimension=32, channels=4, backbone=backbone))
    network = tmp_path / "model.onnx"
    write_onnx(Inference(encoder), network, opset)
    assert check_agreement(encoder, network) < 2e-4
    assert onnx.load(str(network)).opset_import[0].version == opset
    details = describe(network, "test", 32, {})
    assert details["preprocessing"] == dict(PREPROCESSING) and len(details["fingerprint"]) == 32
    part, pixels = cut(network), smooth_pictures().numpy()  # as Hailo's compiler gets it
    with torch.no_grad():
        assert np.allclose(run(part, pixels), encoder(torch.from_numpy(pixels)).numpy(), atol=2e-4)


def test_the_first_systems_form_takes_normalised_planes(tmp_path: Path) -> None:
    encoder = trained_enough(CardEncoder(dimension=32, channels=4, backbone=SMALL))
    rotation = leading_first(np.random.default_rng(0).normal(size=(90, 32)).astype(np.float32))
    write_onnx(Inference(encoder, rotation, "original"), tmp_path / "original.onnx")
    (given,), (said,) = (getattr(onnx.load(str(tmp_path / "original.onnx")).graph, end) for end in ("input", "output"))
    shapes = [[axis.dim_value or axis.dim_param for axis in end.type.tensor_type.shape.dim] for end in (given, said)]
    assert (given.name, said.name, shapes) == ("image", "embedding", [["n", 3, 224, 224], ["n", 32]])
    assert given.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert check_agreement(encoder, tmp_path / "original.onnx", rotation, form="original") < 2e-4
    with pytest.raises(ValueError, match="differs from torch"):
        check_agreement(encoder, tmp_path / "original.onnx", form="original")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = {"dimension": 32, "channels": 4, "backbone": SMALL}
    encoder = trained_enough(CardEncoder(dimension=32, channels=4, backbone=SMALL))
    path = tmp_path_factory.mktemp("run") / "checkpoint.pt"
    torch.save({"config": {"model": model}, "average": encoder.state_dict(), "total": 9}, path)
    return path


def test_export_checks_itself_on_cards(
    checkpoint: Path, npu_cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    export.main([str(checkpoint), "--images", str(npu_cards), "--out", str(out), "--name", "x", "--opset", "13"])
    training = Model.load(out).details["training"]
    assert training["agreement"]["pictures_of_cards"] == export.CHECKED and training["opset"] == 13
    assert 0 < training["agreement"]["cards"] < training["agreement"]["tolerance"] == export.TOLERANCE
    assert "on 40 pictures of cards" in capsys.readouterr().out
    quantize.main(
        [str(out), "--images", str(npu_cards), "--out", str(tmp_path / "q"), "--pictures", "4", "--count", "0"]
    )
    with open_encoder(Model.load(tmp_path / "q"), backend="onnx").slot() as slot:
        slot.submit(1)
        assert np.linalg.norm(unit(slot.wait())) == pytest.approx(1, abs=1e-5)


def test_export_finds_a_graph_that_differs_on_cards_alone(
    checkpoint: Path, npu_cards: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Where random pictures show nothing, the check on cards refuses the export."""

    def spoiled(network: Inference, path: Path, opset: int) -> None:
        write_onnx(network, path, opset)
        graph = onnx.load(str(path))
        weights = next(t for t in graph.graph.initializer if t.name == "bias")
        weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) + np.float32(0.1), "bias"))
        onnx.save(graph, str(path))

    def on_cards(*given: Any, pictures: Any = None, **more: Any) -> float:
        return 0.0 if pictures is None else check_agreement(*given, pictures=pictures, **more)

    monkeypatch.setattr(export, "write_onnx", spoiled)
    monkeypatch.setattr(export, "check_agreement", on_cards)
    with refused(tmp_path / "out", "differs from torch"):
        export.main([str(checkpoint), "--images", str(npu_cards), "--out", str(tmp_path / "out"), "--name", "x"])


@pytest.mark.parametrize("fault", ["cut off", "no checkpoint", "another model", "missing", "opset", "full disk"])
def test_exports_that_fail_say_why_and_leave_nothing(
    fault: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, more = tmp_path / "own.pt", ["--opset", "10"] if fault == "opset" else []
    if fault == "another model":
        torch.save({"config": {"model": {"dimension": 8}}, "average": {}, "total": 0}, own)
    elif fault != "missing":
        data = b"not a checkpoint" if fault == "no checkpoint" else checkpoint.read_bytes()
        own.write_bytes(data[: len(data) // 2] if fault == "cut off" else data)
    words = {"missing": "No such file", "opset": "expected 11 to 17", "full disk": "free some space"}
    room = files_up_to(300_000) if fault == "full disk" else contextlib.nullcontext()
    with refused(tmp_path / "out", words.get(fault, "no sound checkpoint")), room:
        export.main([str(own), "--out", str(tmp_path / "out"), "--name", "x", *more])


def test_an_encoder_goes_on_from_a_bundle(tmp_path: Path) -> None:
    """It says what the bundle says, in evaluation and, on the pictures that it was given, in training."""
    encoder = trained_enough(CardEncoder(dimension=32, channels=4))
    write_onnx(Inference(encoder), tmp_path / "model.onnx")
    pixels = torch.randint(0, 256, (12, 128, 128, 3), dtype=torch.uint8)
    other = CardEncoder(dimension=32, channels=4)
    go_on_from(tmp_path, other, list(pixels.numpy()))
    with torch.no_grad():
        assert torch.allclose(other.eval()(pixels), encoder(pixels), atol=1e-4)
        assert (other.train()(pixels) * encoder(pixels)).sum(dim=1).min() > 0.99


def test_a_bundle_of_another_architecture_is_refused(tmp_path: Path) -> None:
    write_onnx(Inference(CardEncoder(dimension=32, channels=4).eval()), tmp_path / "model.onnx")
    wider = CardEncoder(dimension=32, channels=4, backbone="efficientnet_lite1")
    with pytest.raises(ValueError, match=r"no convolution|expected"):
        go_on_from(tmp_path, wider, [np.zeros((64, 64, 3), np.uint8)])


def test_a_bundle_in_integers_is_refused() -> None:
    with pytest.raises(ValueError, match="is in integers; name the bundle in floats"):
        go_on_from(BUNDLED, CardEncoder(dimension=32, channels=4), [np.zeros((64, 64, 3), np.uint8)])


def test_the_rotation_sorts_coordinates_and_keeps_cosines() -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 24)) @ np.random.default_rng(1).normal(size=(24, 24)) ** 3
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rotation = leading_first(unit).numpy()
    rotated = unit @ rotation.T
    assert np.allclose(unit @ unit.T, rotated @ rotated.T, atol=1e-5)
    held = np.square(rotated).mean(axis=0)
    assert (np.diff(held) <= 1e-6).all() and energy(rotated, 6) > energy(unit, 6) + 0.1


def test_a_rotated_graph_agrees_with_torch(tmp_path: Path) -> None:
    encoder = trained_enough(CardEncoder(dimension=32, channels=4))
    rotation = leading_first(np.random.default_rng(0).normal(size=(90, 32)).astype(np.float32))
    write_onnx(Inference(encoder, rotation), tmp_path / "model.onnx")
    assert check_agreement(encoder, tmp_path / "model.onnx", rotation) < 2e-4
    with pytest.raises(ValueError, match="differs from torch"):
        check_agreement(encoder, tmp_path / "model.onnx")


@pytest.mark.parametrize("grid", [1, 2, 4])
def test_pooling(grid: int) -> None:
    encoder = CardEncoder(dimension=8, channels=4, grid=grid)
    maps = encoder.eval().maps(torch.zeros(2, 128, 128, 3, dtype=torch.uint8))
    assert maps.shape == (2, 1280, grid, grid) and encoder.embed(maps).shape == (2, 8)
    features = torch.rand(2, 3, 7, 7)
    assert torch.allclose(pool(features, 1)[..., 0, 0], features.mean(dim=(2, 3)))
    assert torch.equal(pool(features, 7), features)


def test_nothing_to_begin_with() -> None:
    with pytest.raises(ValueError, match="expected 'bundle' or 'mobilenet'"):
        begin({"network": "x"}, CardEncoder(dimension=8, channels=4), [], Path())


@pytest.mark.parametrize("angle", ["cosine", "arc"])
def test_margin_raises_the_loss_and_falls_away_smoothly(angle: Literal["cosine", "arc"]) -> None:
    classes = Classes(torch.eye(5, 8))
    near_ties = torch.nn.functional.normalize(1 + 0.1 * torch.eye(5, 8), dim=1)
    cosine, label = classes.cosines(near_ties), torch.arange(5)
    assert torch.equal(cosine.argmax(1), label)
    assert classes(cosine, label, 0.3, angle) > classes(cosine, label, 0.0, angle)
    ends = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]], requires_grad=True)
    Classes(torch.eye(3))(ends, torch.zeros(2, dtype=torch.long), 0.5, angle).backward()
    assert ends.grad is not None and torch.isfinite(ends.grad).all() and ends.grad[0, 0] < 0


def test_the_arc_margin_is_an_angle() -> None:
    classes, label = Classes(torch.eye(2), scale=1.0), torch.tensor([0])
    for degrees in (20.0, 70.0):
        turned = torch.tensor(degrees + 30).deg2rad().cos()
        plain = classes(torch.tensor([[turned, 0.0]]), label, 0.0, "arc")
        margin = classes(torch.tensor([[torch.tensor(degrees).deg2rad().cos(), 0.0]]), label, np.deg2rad(30.0), "arc")
        assert margin == pytest.approx(float(plain), abs=1e-5)


def test_the_nearest_centre_of_a_class_counts() -> None:
    torch.manual_seed(0)
    classes = Classes(torch.eye(3, 6), centres=2)
    with torch.no_grad():
        classes.proxies[1, 0] = torch.eye(6)[5]
    cosine = classes.cosines(torch.eye(6)[[0, 5]])
    assert cosine.argmax(1).tolist() == [0, 0] and torch.allclose(cosine[:, 0], torch.ones(2))


def test_losses_of_a_teacher_are_least_where_it_is_reached() -> None:
    torch.manual_seed(0)
    taught, other = (torch.nn.functional.normalize(torch.randn(6, 9), dim=1) for _ in range(2))
    turn = torch.linalg.qr(torch.randn(9, 9))[0]
    logits = torch.randn(6, 20) * 5
    assert distance(taught, taught) == 0 and distance(taught, -taught) == pytest.approx(4)
    assert relations(taught @ turn, taught) == pytest.approx(0, abs=1e-9) and relations(other, taught) > 0.01
    assert soft_classes(logits, logits, 4.0) == pytest.approx(0, abs=1e-6)
    assert soft_classes(logits + 3, logits, 4.0) == pytest.approx(0, abs=1e-5)  # softmax does not see a shift
    assert soft_classes(logits.flip(0), logits, 4.0) > 1


def test_parts_of_the_loss_are_those_that_the_phase_counts() -> None:
    encoder = CardEncoder(dimension=8, channels=4, grid=2)
    judge = torch.nn.Linear(8, 5)
    objective = Objective(encoder, Classes(torch.eye(5, 8)), precision="bf16", recompute=True, judge=judge)
    batch = {
        "pixels": torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8), "label": torch.tensor([0, 1, 4]),
        "embedding": torch.eye(3, 8), "maps": torch.rand(3, 1280, 2, 2),
    }  # fmt: skip
    assert set(objective(batch, Phase())) == {"class", "hit"}
    assert set(objective(batch, Phase(map_weight=(1.0, 0.0)))) == {"class", "hit", "map"}
    parts = objective(batch, Phase(embedding_weight=0.7, logits_weight=0.3))
    assert set(parts) == {"class", "hit", "embedding", "logits", "relation"}
    parts["logits"].backward()
    assert encoder.linear.weight.grad is not None and all(p.grad is None for p in judge.parameters())
    phase = Phase(class_weight=(1.0, 0.0), logits_weight=0.3)
    assert weights(phase, 0.25) == {"class": 0.75, "map": 0.0, "embedding": 0.0, "logits": 0.3, "relation": 0.0}


def test_map_regression_ignores_scale() -> None:
    maps = torch.rand(2, 6, GRID, GRID)
    assert map_regression(maps, 3 * maps) == pytest.approx(0, abs=1e-6)
    assert map_regression(maps, -maps) == pytest.approx(2, abs=1e-6)
