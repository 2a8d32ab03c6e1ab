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

from training.features import BATCH, kept, key_of, project, projection, unit
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


def litert_maps(network: Path, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The last maps (n, 1280, 7, 7) that the interpreter computes in integers, dequantised."""
    from ai_edge_litert.interpreter import Interpreter

    judge = Interpreter(str(network), num_threads=1, experimental_preserve_all_tensors=True)
    judge.allocate_tensors()
    last = [tensor for tensor in judge.get_tensor_details() if tuple(tensor["shape"]) == (1, 7, 7, 1280)][-1]
    scale, zero = last["quantization"]
    maps = []
    for square in squares:
        judge.set_tensor(judge.get_input_details()[0]["index"], square[None])
        judge.invoke()
        maps.append((judge.get_tensor(last["index"])[0].astype(np.float32) - zero) * scale)
    return np.stack(maps).transpose(0, 3, 1, 2)


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
def test_maps_are_those_that_litert_computes() -> None:
    needs("torch", "timm", "ai_edge_litert")
    import torch

    from training.data import read_rgb
    from training.mobilenet import load_mobilenet, normalised
    from training.teacher import SIZE, stacked

    network = data_file(MOBILENET)
    cards = [read_rgb(path) for path in sorted(data_file("cards/pocket-en").iterdir())[::34][:20]]
    squares = stacked(cards, SIZE)
    with torch.no_grad():
        maps = load_mobilenet(network).forward_features(normalised(squares))
    expected = torch.from_numpy(litert_maps(network, squares.numpy()))
    cosines = torch.nn.functional.cosine_similarity(maps.flatten(1), expected.flatten(1))
    assert cosines.mean() > 0.985 and cosines.min() > 0.97  # measured: 0.992 and 0.989; two different cards: 0.33


def test_features_are_kept_for_the_same_pictures_and_teacher_only(tmp_path: Path) -> None:
    pictures = smooth_pictures(BATCH + 3)
    asked: list[int] = []

    def means(batch: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        asked.append(len(batch))
        return np.array([picture.mean(axis=(0, 1)) for picture in batch])

    def ask(identity: str, shown: list[NDArray[np.uint8]]) -> NDArray[np.float16]:
        return kept(tmp_path / "made" / "teacher.npy", identity, shown, (3,), means)

    first = ask("one", pictures)
    assert asked == [BATCH, 3] and first.dtype == np.float16
    assert np.allclose(first, means(pictures), atol=0.1)
    asked.clear()
    assert np.array_equal(ask("one", pictures), first) and asked == []
    changed = [*pictures[:-1], 255 - pictures[-1]]  # as many cards of the same size, one of them another
    assert not np.array_equal(ask("one", changed)[-1], first[-1]) and asked == [BATCH, 3]
    asked.clear()
    ask("two", pictures)
    ask("one", pictures[::-1])
    assert asked == [BATCH, 3] * 2
    assert len(list((tmp_path / "made").glob("teacher-*.npy"))) == len(list((tmp_path / "made").iterdir())) == 4


def test_unfinished_features_are_computed_again(tmp_path: Path) -> None:
    def fails(batch: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        raise RuntimeError(f"out of memory after {len(batch)}")

    pictures = smooth_pictures(3)
    with pytest.raises(RuntimeError, match="out of memory"):
        kept(tmp_path / "t.npy", "one", pictures, (2,), fails)
    assert kept(tmp_path / "t.npy", "one", pictures, (2,), lambda batch: np.ones((len(batch), 2))).min() == 1


def test_the_shape_of_pictures_is_part_of_the_key() -> None:
    flat = np.arange(36, dtype=np.uint8)
    assert key_of("x", [flat.reshape(3, 4, 3)]) != key_of("x", [flat.reshape(4, 3, 3)])
    assert key_of("x", [flat.reshape(3, 4, 3)]) == key_of("x", [flat.reshape(4, 3, 3).reshape(3, 4, 3)])


@pytest.mark.parametrize("dimension", [24, 32])
def test_projection_to_as_many_or_more_dimensions_keeps_every_number(dimension: int) -> None:
    features = np.random.default_rng(0).normal(2, 1, (10, 24)).astype(np.float16)
    projected = project(features, dimension)
    assert projected.shape == (10, dimension) and projected.dtype == np.float32
    assert np.allclose(projected[:, :24], unit(features), atol=1e-6) and not projected[:, 24:].any()


def test_projection_to_fewer_dimensions_keeps_cosines() -> None:
    rng = np.random.default_rng(0)
    low = rng.normal(0, 1, (200, 8)) @ rng.normal(0, 1, (8, 40)) + 0.01 * rng.normal(0, 1, (200, 40))
    projected, cosines = project(low, 8), unit(low) @ unit(low).T
    assert np.allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)
    assert np.abs(projected @ projected.T - cosines).max() < 0.01
    matrix = projection(low, 8)
    assert np.allclose(matrix.T @ matrix, np.eye(8), atol=1e-5)
    assert np.array_equal(matrix, projection(low, 8))
    assert np.allclose(unit(unit(low[:3]) @ matrix), projected[:3], atol=1e-6)


def test_rows_of_zeros_stay() -> None:
    assert not unit(np.zeros((2, 3))).any()


def small_dinov2(folder: Path) -> Any:
    """A folder with a tiny network at random."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14, mlp_ratio=2
    )
    network = transformers.Dinov2Model(config).eval()
    network.save_pretrained(folder)
    return network


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dinov2_gives_its_cls_token(tmp_path: Path) -> None:
    needs("torch", "timm", "transformers")
    import torch

    from training.mobilenet import normalised
    from training.teacher import open_teacher, stacked

    network = small_dinov2(tmp_path / "dino")
    teacher = open_teacher({"kind": "dinov2", "name": "dino", "size": 56}, tmp_path)
    pixels = stacked(smooth_pictures(3), 56)
    features = teacher(pixels)
    with torch.no_grad():
        expected = network(pixel_values=normalised(pixels)).last_hidden_state[:, 0]
    assert features.shape == (3, teacher.features) == (3, 16) and features.dtype == torch.float32
    assert torch.allclose(features, expected, atol=1e-5)
    student = torch.randn(3, 16, requires_grad=True)
    ((student - features) ** 2).sum().backward()  # would fail for a tensor of inference mode
    assert student.grad is not None
    assert open_teacher({"kind": "dinov2", "name": "dino", "size": 28}, tmp_path).identity != teacher.identity


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_that_are_not_to_be_had_are_one_error_with_remedies(tmp_path: Path) -> None:
    needs("torch", "timm", "transformers")
    from training.teacher import open_teacher

    absent = str(tmp_path / "absent")  # no name of a repository either, so nothing is asked of a network
    with pytest.raises(OSError, match=r"absent.*are not here.*name the folder.*another teacher"):
        open_teacher({"kind": "dinov2", "name": absent}, tmp_path)


def test_configs_of_no_teacher_are_refused(tmp_path: Path) -> None:
    needs("torch", "timm")
    from training.teacher import open_teacher

    with pytest.raises(ValueError, match="kind = 'clip'; expected one of dinov2, timm, encoder, mobilenet"):
        open_teacher({"kind": "clip"}, tmp_path)
    with pytest.raises(ValueError, match="expected bundle or checkpoint"):
        open_teacher({"kind": "encoder", "name": "x"}, tmp_path)


def test_timm_teachers_take_weights_from_a_file(tmp_path: Path) -> None:
    needs("torch", "timm")
    import torch

    from training.model import import_timm
    from training.teacher import open_teacher, stacked

    torch.manual_seed(0)
    network: Any = import_timm().create_model("lcnet_035", num_classes=7)  # type: ignore[attr-defined]
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    config = {"kind": "timm", "name": "lcnet_035", "weights": "weights.pth", "size": 64}
    teacher = open_teacher(config, tmp_path)
    pixels = stacked(smooth_pictures(2), 64)
    again = open_teacher(config, tmp_path)
    assert torch.equal(teacher(pixels), again(pixels)) and teacher.identity == again.identity
    assert teacher(pixels).shape == (2, teacher.features)
    assert isinstance(teacher.network, torch.nn.Module)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    torch.save({"classifier.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="no weights of timm's lcnet_035"):
        open_teacher(config, tmp_path)


def test_a_checkpoint_is_a_teacher(tmp_path: Path) -> None:
    needs("torch", "timm")
    import torch

    from training.model import CardEncoder
    from training.teacher import cached, open_teacher, stacked

    torch.manual_seed(0)
    encoder = CardEncoder(dimension=12, channels=4).eval()
    state = {"config": {"model": {"dimension": 12, "channels": 4}}, "average": encoder.state_dict()}
    torch.save(state, tmp_path / "checkpoint.pt")
    teacher = open_teacher({"kind": "encoder", "checkpoint": "checkpoint.pt", "size": 128}, tmp_path)
    pictures = smooth_pictures(2)
    with torch.no_grad():
        expected = encoder(stacked(pictures, 128))
    assert torch.allclose(teacher(stacked(pictures, 128)), expected, atol=1e-6)
    assert np.allclose(cached(teacher, pictures, tmp_path / "t.npy", 128), expected, atol=1e-3)
    with torch.no_grad():
        encoder.linear.weight.mul_(-1)
    torch.save(state | {"average": encoder.state_dict()}, tmp_path / "checkpoint.pt")
    other = open_teacher({"kind": "encoder", "checkpoint": "checkpoint.pt", "size": 128}, tmp_path)
    assert np.allclose(cached(other, pictures, tmp_path / "t.npy", 128), -expected, atol=1e-3)


def test_a_bundle_is_a_teacher() -> None:
    needs("torch", "timm", "onnxruntime")
    import torch

    from cardrec.model import BUNDLED
    from training.teacher import open_teacher, stacked

    teacher = open_teacher({"kind": "encoder", "bundle": str(BUNDLED)}, Path())
    features = teacher(stacked(smooth_pictures(2), 128))
    assert features.shape == (2, teacher.features) == (2, 768)
    assert torch.allclose(features.norm(dim=1), torch.ones(2), atol=1e-4)


def test_mobilenet_gives_features_and_maps(tmp_path: Path) -> None:
    needs("torch", "timm", "ai_edge_litert")
    import torch

    from training.model import GRID
    from training.teacher import MapTeacher, map_vectors, open_teacher, stacked, targets

    network = data_file(MOBILENET)
    pictures = smooth_pictures(3)
    teacher = open_teacher({"network": str(network)}, tmp_path)
    assert isinstance(teacher, MapTeacher)
    maps = teacher.maps(stacked(pictures, 224))
    assert maps.shape == (3, 1280, GRID, GRID) and teacher(stacked(pictures, 224)).shape == (3, 1280)
    kept_maps = targets(pictures, network, tmp_path / "teacher.npy")
    assert np.allclose(kept_maps, maps, atol=0.01)
    many = np.random.default_rng(0).random((50, 8, GRID, GRID)).astype(np.float16)
    vectors = map_vectors(many, 40, 6)
    assert vectors.shape == (50, 6) and torch.allclose(vectors.norm(dim=1), torch.ones(50), atol=1e-5)


def test_the_classifier_names_each_class_and_knows_which_are_alike() -> None:
    needs("torch", "timm")
    import torch

    from training.teacher_classifier import entropy, fit_classifier

    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(20, 64, generator=generator).repeat_interleave(2, 0)  # 0 and 1 look alike, 2 and 3, ...
    features = 3 + pairs + 0.5 * torch.randn(40, 64, generator=generator)
    labels = torch.arange(40)
    model = fit_classifier(features, labels, 40, steps=100)
    logits = model.logits(features)
    assert torch.equal(logits.argmax(1), labels) and not logits.requires_grad
    others = logits - 1e3 * torch.eye(40)
    assert torch.equal(others.argmax(1), labels ^ 1)
    assert 0.5 < entropy(logits, 4.0).mean() < float(np.log(40)) - 0.05
    assert torch.equal(fit_classifier(features, labels, 40, steps=100).logits(features), logits)
