"""Networks on the CPU: how ONNX Runtime opens them; the detector's, which take any batch and size, as functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cardrec.errors import DeviceError, ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

__all__ = ["Network", "open_network", "open_session"]

Network: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From (n, H, W, 3) pictures to what the network says of them; thread-safe."""


def open_session(path: Path, threads: int) -> InferenceSession:
    """Opens an ONNX file on the CPU; ``threads``: for one call, 0 lets ONNX Runtime choose (all cores).

    Raises:
        ModelError: the file can't be read.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Spinning threads would take the cores from the caller's other work between two frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise ModelError(f"{path} can't be loaded by ONNX Runtime: {error}") from error


def open_network(path: Path, *, threads: int) -> Network:
    """Opens an ONNX file with one input and one output in ONNX Runtime.

    Args:
        path: the file.
        threads: threads for one call; 0 lets ONNX Runtime choose (all cores).

    Raises:
        ModelError: the file can't be read, or has other inputs and outputs.
    """
    session = open_session(path, threads)
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
