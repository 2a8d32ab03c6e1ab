"""The trained parts that need torch; skipped where it is not installed (`pip install -e .[training]`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
if find_spec("timm") is None:  # only looked for: importing it is `import_timm`'s business
    pytest.skip("timm is not installed", allow_module_level=True)

from cardrec.model import PREPROCESSING  # noqa: E402
from training.export import Inference, check_agreement, describe, write_onnx  # noqa: E402
from training.losses import CosFace, map_regression  # noqa: E402
from training.model import GRID, CardEncoder  # noqa: E402
from training.start import go_on_from  # noqa: E402
from training.train import between, learning_rate  # noqa: E402


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


def test_exported_graph_agrees_with_torch(tmp_path: Path) -> None:
    encoder = trained_enough(CardEncoder(dimension=32, channels=4))
    network = tmp_path / "model.onnx"
    write_onnx(Inference(encoder), network)
    assert check_agreement(encoder, network) < 2e-4
    details = describe(network, "test", 32, {})
    assert details["preprocessing"] == dict(PREPROCESSING) and len(details["fingerprint"]) == 32


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


def test_margin_raises_the_loss_and_proxies_are_found() -> None:
    head = CosFace(torch.eye(5, 8))
    near_ties = torch.nn.functional.normalize(1 + 0.1 * torch.eye(5, 8), dim=1)
    loss, hit = head(near_ties, torch.arange(5), 0.0)
    harder, _ = head(near_ties, torch.arange(5), 0.3)
    assert hit == 1 and harder > loss


def test_map_regression_ignores_scale() -> None:
    maps = torch.rand(2, 6, GRID, GRID)
    assert map_regression(maps, 3 * maps) == pytest.approx(0, abs=1e-6)
    assert map_regression(maps, -maps) == pytest.approx(2, abs=1e-6)


def test_schedule() -> None:
    stage = {"steps": 100, "lr": 1.0, "lr_end": 0.1}
    rates = np.array([learning_rate(stage, step, 10) for step in range(100)])
    assert rates[0] == pytest.approx(0.1) and rates.max() <= 1.0 and rates[-1] < 0.11
    assert between([2.0, 4.0], 0.5) == 3.0
