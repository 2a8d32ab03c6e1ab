"""Teachers of the encoder. Parts that need torch, timm, transformers or LiteRT are skipped where those are missing.

With CARDREC_DATA, the folder that configs start from, the ImageNet network in it is tested as well.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.tflite import Convolution, Network, dequantise, read_network

MOBILENET = "weights/tf2_mobilenet_v2_1.0_224_ptq.tflite"


def smooth_pictures(count: int, height: int = 88, width: int = 63) -> list[NDArray[np.uint8]]:
    """Coarse noise, which excites filters of every frequency more evenly than white noise does."""
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (count, 9, 6, 3), dtype=np.uint8)
    return [np.asarray(cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8) for c in coarse]


def data_file(name: str) -> Path:
    """A file of the training data, which lies outside the repository."""
    path = Path(os.environ.get("CARDREC_DATA", "/nonexistent")) / name
    if not path.exists():
        pytest.skip(f"CARDREC_DATA names no folder with {name}")
    return path


def needs(*modules: str) -> None:
    """Skips where one of the modules is not installed; timm is only looked for, `import_timm` imports it."""
    from importlib.util import find_spec

    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")


def test_levels_are_dequantised_one_scale_for_all_or_one_a_channel() -> None:
    levels = np.array([[0, 1], [2, 255]], np.uint8)
    one = dequantise(levels, np.array([0.5], np.float32), np.array([1]), 0)
    assert one.tolist() == [[-0.5, 0.0], [0.5, 127.0]]
    columns = dequantise(levels.view(np.int8), np.array([0.5, 2.0], np.float32), np.array([0, 1]), 1)
    assert columns.tolist() == [[0.0, 0.0], [1.0, -4.0]] and columns.dtype == np.float32


def write_tflite(path: Path, *, with_scale: bool = True) -> None:
    """A file with a convolution of 3 to 4 channels (scale and zero point for all), then 4 filters of their own."""
    pytest.importorskip("ai_edge_litert")
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, graph.tensors = 3, [graph], [schema.BufferT()], []
    tensor_types = schema.TensorType

    def tensor(name: str, kind: int, shape: tuple[int, ...], scale: list[float], axis: int, values: Any = None) -> int:
        made, quantisation = schema.TensorT(), schema.QuantizationParametersT()
        made.name, made.type, made.shape, made.buffer = name.encode(), kind, list(shape), 0
        if scale and with_scale:
            zero = 3 if kind == tensor_types.UINT8 else 0
            quantisation.scale, quantisation.zeroPoint = scale, [zero] * len(scale)
            quantisation.quantizedDimension, made.quantization = axis, quantisation
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [output]
        return made

    unsigned, signed, whole = tensor_types.UINT8, tensor_types.INT8, tensor_types.INT32
    picture = tensor("picture", unsigned, (1, 8, 8, 3), [0.25], 0)
    dense = tensor("w0", unsigned, (4, 1, 2, 3), [0.5], 0, np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3))
    offset = tensor("b0", whole, (4,), [0.125], 0, np.arange(4, dtype=np.int32))
    between = tensor("first", unsigned, (1, 8, 8, 4), [0.1], 0)
    own = tensor("w1", signed, (1, 1, 2, 4), [1.0, 2.0, 3.0, 4.0], 3, np.arange(-4, 4, dtype=np.int8))
    own_offset = tensor("b1", whole, (4,), [1.0, 2.0, 3.0, 4.0], 0, np.ones(4, np.int32))
    last = tensor("second", signed, (1, 8, 8, 4), [0.1], 0)
    codes = []
    for kind in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        codes.append(code)
    model.operatorCodes = codes
    graph.inputs, graph.outputs = [picture], [last]
    graph.operators = [operator(0, [picture, dense, offset], between), operator(1, [between, own, own_offset], last)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def test_convolutions_are_read_from_a_tflite_file(tmp_path: Path) -> None:
    write_tflite(tmp_path / "tiny.tflite")
    network = read_network(tmp_path / "tiny.tflite")
    assert (network.scale, network.zero) == (0.25, 3)
    dense, own = network.convolutions
    levels = np.arange(24).reshape(4, 1, 2, 3)
    assert np.array_equal(dense.weight, (levels.transpose(0, 3, 1, 2) - 3) * 0.5)
    assert np.array_equal(dense.bias, np.arange(4) * 0.125)
    assert own.weight.shape == (4, 1, 1, 2)
    assert own.weight.reshape(4, 2).tolist() == [[-4, 0], [-6, 2], [-6, 6], [-4, 12]]
    assert own.bias.tolist() == [1, 2, 3, 4]


def test_files_that_are_no_integer_networks_are_refused(tmp_path: Path) -> None:
    write_tflite(tmp_path / "float.tflite", with_scale=False)
    with pytest.raises(ValueError, match="not quantised"):
        read_network(tmp_path / "float.tflite")
    (tmp_path / "other.tflite").write_bytes(b"not a network")
    with pytest.raises(ValueError, match="expected a TFLite file"):
        read_network(tmp_path / "other.tflite")


def folded(network: Any) -> list[Convolution]:
    """What a TFLite file would hold of the network: the norms folded into the convolutions."""
    import torch

    layers = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    convolutions = []
    for layer, norm in zip(layers, norms, strict=True):
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = (layer.weight * factor[:, None, None, None]).detach().numpy()
        convolutions.append(Convolution("", weight, (norm.bias - norm.running_mean * factor).detach().numpy()))
    return convolutions


def test_folded_convolutions_make_the_same_network_which_can_be_trained() -> None:
    """With a quantisation of the input that is ImageNet's normalisation but for one number for all colours."""
    needs("torch", "timm")
    import torch

    from training.mobilenet import new_mobilenet, normalised, put_in
    from training.norms import take_statistics

    torch.manual_seed(0)
    original, other = new_mobilenet(), new_mobilenet()
    pixels = torch.from_numpy(np.stack(smooth_pictures(8, 64, 64)))
    planes = normalised(pixels)
    with torch.no_grad():
        for norm in (m for m in original.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(0, 1)
        original.train()(planes)
        given = Network(1 / 58.0, 114, folded(original.eval()))
        own_planes = (pixels.permute(0, 3, 1, 2).float() - given.zero) * given.scale
        put_in(other, given)
        take_statistics(other, planes)
        stems = [net.eval().bn1(net.conv_stem(given)) for net, given in ((original, own_planes), (other, planes))]
        expected, again = original.forward_features(own_planes), other.forward_features(planes)
        trained = other.train().forward_features(planes)
    assert torch.allclose(stems[0][..., :-1, :-1], stems[1][..., :-1, :-1], atol=1e-4)  # beyond, the padding differs
    assert expected.shape == again.shape == (8, 1280, 2, 2)
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(expected.flatten(1), again.flatten(1)).min() > 0.99
    assert cosine(trained.flatten(1), again.flatten(1)).min() > 0.999


def test_networks_of_another_architecture_are_refused() -> None:
    needs("torch", "timm")
    from training.mobilenet import new_mobilenet, put_in

    convolution = Convolution("stem", np.zeros((8, 3, 3, 3), np.float32), np.zeros(8, np.float32))
    with pytest.raises(ValueError, match="1 convolutions; expected MobileNet v2 with 52"):
        put_in(new_mobilenet(), Network(1 / 128, 128, [convolution]))
    with pytest.raises(ValueError, match=r"expected \(32, 3, 3, 3\)"):
        put_in(new_mobilenet(), Network(1 / 128, 128, [convolution] * 52))


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
def test_maps_are_those_that_litert_computes() -> None:
    needs("torch", "timm", "ai_edge_litert")
    import cv2
    import torch

    from training.data import read_rgb
    from training.mobilenet import SIZE, load_mobilenet, normalised
    from training.teacher import MobileNetTeacher

    network = data_file(MOBILENET)
    cards = [read_rgb(path) for path in sorted(data_file("cards/pocket-en").iterdir())[::34][:20]]
    judge = MobileNetTeacher(network, threads=1)
    squares = np.stack([cv2.resize(card, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for card in cards])
    with torch.no_grad():
        maps = load_mobilenet(network, cards).forward_features(normalised(torch.from_numpy(squares)))
    expected = torch.from_numpy(np.stack([judge.levels(card) for card in cards]).transpose(0, 3, 1, 2))
    cosines = torch.nn.functional.cosine_similarity(maps.flatten(1), expected.flatten(1))
    assert cosines.mean() > 0.985 and cosines.min() > 0.97  # measured: 0.992 and 0.989; two different cards: 0.33
