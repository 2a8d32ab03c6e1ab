"""A stand-in for `hailo_platform` without a device: for benchmarks and tests. No backend ever chooses it by itself.

It has the part of HailoRT 4.23's InferModel interface that cardrec uses, computes with ONNX Runtime, takes as long for
each card as it is told, one after the other, and enforces HailoRT's rules: memory that starts on a page, its size, its
output one job's at a time, readiness asked for before each run, the depth of the queue, a pipeline that goes down with
the first error, answers in order, callbacks on a thread of its own that must not raise, a device that stays taken while
a network of it lives. Breaking a rule is an error here even where HailoRT would only be slow, or would end the process.

It says nothing about the speed of a real device. What is measured with it is the host's work.
"""

from cardrec.backends.simulated.bundle import Compiled, compiled, make_bundle, write_bundle
from cardrec.backends.simulated.faults import Fault
from cardrec.backends.simulated.platform import SimulatedPlatform

__all__ = ["Compiled", "Fault", "SimulatedPlatform", "compiled", "make_bundle", "write_bundle"]
