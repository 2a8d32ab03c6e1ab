"""One step of Hailo's compiler, in the Python that has it: that one may be older than ours, and pins its NumPy.

    PYTHON_OF_THE_COMPILER training/hailo_worker.py JOB.json

The job says what to do: `optimise` (an ONNX file to an optimised HAR), `emulate` (pictures to what the quantised
network says of them) or `compile` (the HAR to a HEF). Nothing of this project is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def optimise(job: dict[str, Any]) -> None:
    import numpy as np
    from hailo_sdk_client import ClientRunner

    runner = ClientRunner(hw_arch=job["architecture"])
    runner.translate_onnx_model(
        job["onnx"],
        job["name"],
        start_node_names=[job["start"]],
        end_node_names=[job["end"]],
        net_input_shapes={job["start"]: job["shape"]},
    )
    runner.load_model_script(Path(job["script"]).read_text(encoding="utf-8"))
    runner.optimize(np.load(job["calibration"]))
    runner.save_har(job["har"])


def emulate(job: dict[str, Any]) -> None:
    import numpy as np
    from hailo_sdk_client import ClientRunner, InferenceContext

    runner = ClientRunner(har=job["har"], hw_arch=job["architecture"])
    with runner.infer_context(InferenceContext.SDK_QUANTIZED) as context:
        said = runner.infer(context, np.load(job["pictures"]))
    if isinstance(said, (list, tuple)):
        (said,) = said
    np.save(job["answers"], np.asarray(said, np.float32).reshape(len(said), -1))


def compile_har(job: dict[str, Any]) -> None:
    from hailo_sdk_client import ClientRunner

    runner = ClientRunner(har=job["har"], hw_arch=job["architecture"])
    Path(job["hef"]).write_bytes(runner.compile())


STEPS = {"optimise": optimise, "emulate": emulate, "compile": compile_har}


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    STEPS[job["step"]](job)


if __name__ == "__main__":
    here = str(Path(__file__).parent)
    sys.path[:] = [place for place in sys.path if place != here]  # this project's modules are none of the compiler's
    main()
