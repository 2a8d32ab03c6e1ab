"""The detector's networks on the CPU: uint8 in, float32 out, any batch and size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import DeviceError, ModelError

__all__ = ["Network", "open_network"]

Network: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From (n, H, W, 3) pictures to what the network says of them; thread-safe."""


def open_network(path: Path, *, threads: int) -> Network:
    """Opens an ONNX file with one input and one output in ONNX Runtime.

    Args:
        path: the file.
        threads: threads for one call; 0 lets ONNX Runtime choose (all cores).

    Raises:
        ModelError: the file can't be read, or has other inputs and outputs.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise ModelError(f"{path} can't be opened: {error}; install cardrec again") from error
    given, said = session.get_inputs(), session.get_outputs()
    if len(given) != 1 or len(said) != 1 or given[0].type != "tensor(uint8)" or given[0].shape[-1:] != [3]:
        found = [(one.type, one.shape) for one in (*given, *said)]
        raise ModelError(f"{path}: expected one uint8 input (n, height, width, 3) and one output; found {found}")
    names = given[0].name, said[0].name

    def run(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            (answer,) = session.run([names[1]], {names[0]: pictures})
        except Exception as error:
            raise DeviceError(f"ONNX Runtime failed on {pictures.shape} pictures: {error}") from error
        return np.asarray(answer, np.float32)

    return run
