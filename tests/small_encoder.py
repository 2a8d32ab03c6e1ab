"""A bundle whose network takes microseconds and tells cards apart: random weights, in the form of the real one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bundles import described
from numpy.typing import NDArray

from cardrec.model import Model
from cardrec.rectify import INPUT_SIZE

CHANNELS, DIMENSION = 12, 24
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def small_encoder(folder: Path, *, folded: bool = False, operation: str = "Clip", seed: int = 0) -> Model:
    """Writes a bundle.

    Args:
        folder: is made.
        folded: whether the deviation is in the first weights, as in exported bundles, or a node of its own.
        operation: between the layers: ``Clip`` as in the real one, or one that takes one input.
        seed: of the weights.
    """
    folder.mkdir(parents=True)
    write_network(folder / "model.onnx", folded=folded, operation=operation, seed=seed)
    return described(folder, "small", DIMENSION)


def write_network(path: Path, *, folded: bool, operation: str, seed: int) -> None:
    from onnx import TensorProto, helper, numpy_helper, save_model

    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.05, (CHANNELS, 3, 32, 32)).astype(np.float32)
    deviation = np.array(DEVIATION, np.float32).reshape(1, 3, 1, 1)
    constants: dict[str, NDArray[np.float32]] = {
        "mean": np.array(MEAN, np.float32).reshape(1, 3, 1, 1),
        "deviation": deviation,
        "weights": weights / deviation if folded else weights,
        "linear": rng.normal(0, 0.1, (DIMENSION, CHANNELS * 36)).astype(np.float32),
        "bias": np.zeros(DIMENSION, np.float32),
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
    }
    limits = ["zero", "six"] if operation == "Clip" else []
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["floats", "mean"], ["less"]),
        *([] if folded else [helper.make_node("Div", ["less", "deviation"], ["normal"])]),
        helper.make_node("Conv", ["less" if folded else "normal", "weights"], ["maps"], strides=[32, 32], name="stem"),
        helper.make_node(operation, ["maps", *limits], ["bent"], name="bend"),
        helper.make_node("AveragePool", ["bent"], ["pooled"], kernel_shape=[2, 2], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["cells"], name="flat"),
        helper.make_node("Gemm", ["cells", "linear", "bias"], ["vector"], transB=1, name="linear"),
        helper.make_node("LpNormalization", ["vector"], ["embedding"], axis=1, p=2, name="norm"),
    ]
    given = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", INPUT_SIZE, INPUT_SIZE, 3])
    said = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])
    initial = [
        numpy_helper.from_array(value, name)
        for name, value in constants.items()
        if not (folded and name == "deviation")
    ]
    graph = helper.make_graph(nodes, "small", [given], [said], initial)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
