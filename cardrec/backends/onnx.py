"""The default backend: ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cardrec.encode import SlottedEncoder, page_aligned
from cardrec.errors import DeviceError, ModelError
from cardrec.model import Model
from cardrec.network import open_session
from cardrec.rectify import INPUT_SIZE

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding

__all__ = ["OnnxEncoder"]

CAPACITY = 16
"""Cards a slot: enough for a binder page in both directions; more gains nothing on a CPU."""
SLOTS = 4
"""Submissions that may be under way at once; each costs 2.4 MB."""


class _OnnxSlot:
    """One slot: an input that ONNX Runtime reads in place, and a binding for each batch size used so far."""

    def __init__(self, session: InferenceSession, input_name: str, output_name: str) -> None:
        self.pixels = page_aligned((CAPACITY, INPUT_SIZE, INPUT_SIZE, 3))
        self._session = session
        self._names = input_name, output_name
        self._bindings: dict[int, IOBinding] = {}
        self._submitted = 0

    def _binding(self, count: int) -> IOBinding:
        if count not in self._bindings:
            binding = self._session.io_binding()
            binding.bind_input(
                self._names[0], "cpu", 0, np.uint8, (count, INPUT_SIZE, INPUT_SIZE, 3), self.pixels.ctypes.data
            )
            binding.bind_output(self._names[1], "cpu")
            self._bindings[count] = binding
        return self._bindings[count]

    def submit(self, count: int) -> None:
        if not 1 <= count <= CAPACITY:
            raise ValueError(f"{count} cards submitted; a slot holds 1 to {CAPACITY}")
        self._submitted = count

    def wait(self) -> NDArray[np.float32]:
        # The CPU that would run the network in the background is the one that waits: nothing to overlap.
        binding = self._binding(self._submitted)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            raise DeviceError(f"ONNX Runtime failed on {self._submitted} cards: {error}") from error
        vectors: NDArray[np.float32] = binding.get_outputs()[0].numpy()
        return vectors.copy()  # the next run of this binding writes to the same memory

    def settle(self) -> None:
        """Nothing runs but in `wait`."""


class OnnxEncoder(SlottedEncoder):
    """Encodes cards with ONNX Runtime's CPU provider.

    Args:
        model: the bundle.
        threads: threads for one inference; 0 lets ONNX Runtime choose (all cores).

    Raises:
        ModelError: the network can't be loaded or has other inputs or outputs than the bundle says.
    """

    name = "onnx"
    capacity = CAPACITY

    def __init__(self, model: Model, *, threads: int = 0) -> None:
        self.model = model
        self._session = open_session(model.network, threads)
        taken, given = self._session.get_inputs(), self._session.get_outputs()
        if (
            len(taken) != 1
            or len(given) != 1
            or taken[0].type != "tensor(uint8)"
            or taken[0].shape[1:] != [INPUT_SIZE, INPUT_SIZE, 3]
            or given[0].shape[1:] != [model.dimension]
        ):
            raise ModelError(
                f"{model.network}: expected one uint8 input (n, {INPUT_SIZE}, {INPUT_SIZE}, 3) and one output "
                f"(n, {model.dimension}); found {[(t.type, t.shape) for t in taken]} and {[g.shape for g in given]}"
            )
        super().__init__(_OnnxSlot(self._session, taken[0].name, given[0].name) for _ in range(SLOTS))
        self._warm_up()

    def _warm_up(self) -> None:
        """Runs one empty card, so that the first frame does not pay for memory planning."""
        with self.slot() as slot:
            slot.submit(1)
            slot.wait()
