"""A stand-in for Hailo's Dataflow Compiler (`hailo_sdk_client` and the command `hailo`), with the real one's rules.

Calls come in order, the network takes one batch of float planes and has only operations that the compiler takes in,
the model script is parsed, the calibration set is NHWC. The optimisation level drops without a GPU and with fewer than
1,024 pictures, and 64 of them count where nothing is said: both are only in the log, in the real one's words. The
emulator runs the network by ONNX Runtime on what the script makes of bytes, in the 8 bits of the ranges that the
calibration caused.

    FAKE_DFC     words for what this machine has or does: gpu, fails, killed, nan, shuffled, no-hef, not-a-hef, silent
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import signal
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

CHIPS = ("hailo8", "hailo8l", "hailo8r")
TAKEN_IN = {"Conv", "Clip", "Relu", "Add", "AveragePool", "GlobalAveragePool", "Flatten", "Gemm", "MatMul", "Constant"}
DEFAULT_LEVEL, DEFAULT_PICTURES, FULL = 2, 64, 1024
LOOKED_AT = 16
"""Pictures whose ranges are really taken: the rest would only take time."""
HEF = b"\x01HEF" + bytes(8)

ARITIES = {"normalization": 2, "model_optimization_flavor": 0, "model_optimization_config": 1, "quantization_param": 1}


class InferenceContext(Enum):
    SDK_NATIVE = 0
    SDK_FP_OPTIMIZED = 1
    SDK_QUANTIZED = 2


class BackendError(Exception):
    """What the real one raises has other names; all derive from Exception."""


def does(word: str) -> bool:
    return word in os.environ.get("FAKE_DFC", "").split()


def log(level: str, text: str) -> None:
    if not does("silent"):
        print(f"[{level}] {text}", flush=True)


class Script:
    """A model script, parsed."""

    def __init__(self, text: str) -> None:
        self.normalisations: list[tuple[list[float], list[float]]] = []
        self.level: int | None = None
        self.pictures: int | None = None
        for line in filter(None, (line.split("#")[0].strip() for line in text.splitlines())):
            self._take(line)

    def _take(self, line: str) -> None:
        match = re.fullmatch(r"(?:\w+\s*=\s*)?(\w+)\((.*)\)", line)
        if match is None or match[1] not in ARITIES:
            raise BackendError(f"Invalid command in model script: {line}")
        call = ast.parse(f"f({match[2]})", mode="eval").body
        assert isinstance(call, ast.Call)
        options = {word.arg: _value(word.value) for word in call.keywords}
        if len(call.args) != ARITIES[match[1]]:
            raise BackendError(f"Wrong number of arguments: {line}")
        if match[1] == "normalization":
            mean, deviation = (ast.literal_eval(value) for value in call.args)
            self.normalisations.append((mean, deviation))
        elif match[1] == "model_optimization_flavor":
            self.level = options["optimization_level"]
        elif match[1] == "model_optimization_config":
            self.pictures = options.get("calibset_size", self.pictures)


def _value(node: ast.expr) -> Any:
    """A literal, or the bare word that it is."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


class ClientRunner:
    """The compiler's API, as far as it is used."""

    def __init__(self, hw_arch: str | None = None, har: str | None = None) -> None:
        if hw_arch not in CHIPS:
            raise BackendError(f"Unknown hw_arch {hw_arch}")
        self.state: dict[str, Any] = {"step": "new", "architecture": hw_arch, "script": ""}
        self.onnx = b""
        if har is not None:
            with zipfile.ZipFile(har) as file:
                self.state, self.onnx = json.loads(file.read("state")), file.read("onnx")
            if self.state["architecture"] != hw_arch:
                raise BackendError("the HAR was made for another chip")

    def _after(self, *steps: str) -> None:
        if self.state["step"] not in steps:
            raise BackendError(f"wrong state {self.state['step']}; expected {' or '.join(steps)}")

    def translate_onnx_model(
        self,
        model: str,
        net_name: str,
        start_node_names: list[str],
        end_node_names: list[str],
        net_input_shapes: dict[str, list[int]] | None = None,
    ) -> None:
        self._after("new")
        if does("fails"):
            raise BackendError("UnsupportedModelError: the model cannot be translated")
        if does("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        graph = onnx.load(model).graph
        (given,) = graph.input
        shape = [axis.dim_value for axis in given.type.tensor_type.shape.dim]
        if start_node_names != [given.name] or (net_input_shapes or {given.name: shape}) != {given.name: shape}:
            raise BackendError(f"start nodes {start_node_names} {net_input_shapes}; the model has {given.name} {shape}")
        if given.type.tensor_type.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4 or shape[:2] != [1, 3]:
            raise BackendError(f"expected float NCHW planes of one picture; found {shape}")
        if [graph.node[-1].name] != end_node_names:
            raise BackendError(f"end nodes {end_node_names} were not found at the end")
        if unknown := {node.op_type for node in graph.node} - TAKEN_IN:
            raise BackendError(f"UnsupportedOperation: {sorted(unknown)}")
        self.onnx = Path(model).read_bytes()
        self.state |= {"step": "translated", "name": net_name, "shape": [*shape[2:], 3]}
        log("info", f"Translation completed on ONNX model {net_name}")

    def load_model_script(self, text: str) -> None:
        self._after("translated")
        Script(text)
        self.state["script"] = text

    def optimize(self, pictures: NDArray[Any]) -> None:
        self._after("translated")
        if pictures.ndim != 4 or list(pictures.shape[1:]) != self.state["shape"]:
            raise BackendError(f"the calibration set is {pictures.shape}; expected (n, {self.state['shape']})")
        script = Script(self.state["script"])
        level = self._level(script, len(pictures))
        used = script.pictures or DEFAULT_PICTURES
        if used > len(pictures):
            raise BackendError(f"calibset_size is {used}, the set has {len(pictures)}")
        log("info", f"Using dataset with {used} entries for calibration")
        answers = self._run(pictures[:used][:: max(1, used // LOOKED_AT)], normalised=True)
        span = float(np.abs(answers).max())
        self.state |= {"step": "optimised", "level": level, "used": used, "span": span}

    def _level(self, script: Script, pictures: int) -> int:
        level = DEFAULT_LEVEL if script.level is None else script.level
        if script.level is None:
            log("info", f"Using default optimization level of {level}")
        if level <= 1:
            log("info", "Reducing compression level to 0 because requested optimization level equal or less than 1")
        reasons = ["there's less data than the recommended amount (1024)"] if pictures < FULL else []
        reasons += [] if does("gpu") else ["there's no available GPU"]
        if level and reasons:
            why = ", and ".join(reasons)
            log("warning", f"Reducing optimization level to 0 (the accuracy won't be optimized) because {why}")
            level = 0
        return level

    def _run(self, pictures: NDArray[Any], *, normalised: bool) -> NDArray[np.float32]:
        """The network on bytes, every normalisation of the script applied in turn."""
        session = onnxruntime.InferenceSession(self.onnx, providers=["CPUExecutionProvider"])
        values = pictures.astype(np.float32)
        for mean, deviation in Script(self.state["script"]).normalisations if normalised else []:
            values = np.asarray((values - np.array(mean)) / np.array(deviation), np.float32)
        name = session.get_inputs()[0].name
        planes = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
        return np.concatenate([session.run(None, {name: plane[None]})[0] for plane in planes])

    @contextmanager
    def infer_context(self, context: InferenceContext) -> Iterator[InferenceContext]:
        self._after(*(["optimised"] if context is InferenceContext.SDK_QUANTIZED else ["translated", "optimised"]))
        yield context

    def infer(self, context: InferenceContext, pictures: NDArray[Any]) -> NDArray[np.float32]:
        answers = self._run(pictures, normalised=context is not InferenceContext.SDK_NATIVE)
        if context is InferenceContext.SDK_QUANTIZED:
            scale = self.state["span"] / 127
            answers = np.clip(np.round(answers / scale), -128, 127) * np.float32(scale)
        if does("nan"):
            answers[0] = np.nan
        return (answers[::-1].copy() if does("shuffled") else answers)[:, None, None, :]

    def save_har(self, path: str) -> None:
        self._after("translated", "optimised")
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("state", json.dumps(self.state))
            file.writestr("onnx", self.onnx)

    def compile(self) -> bytes:
        self._after("optimised")
        return (b"FEH\x01" if does("not-a-hef") else HEF) + json.dumps(self.state).encode()


def main(given: list[str]) -> None:
    """The command `hailo`."""
    parser = argparse.ArgumentParser(prog="hailo")
    steps = parser.add_subparsers(dest="step", required=True)
    parse, optimise, compiler = (steps.add_parser(name) for name in ("parser", "optimize", "compiler"))
    for step in (parse, optimise, compiler):
        step.add_argument(*(["framework"] if step is parse else ["har"]))
        step.add_argument("--hw-arch", required=True)
    parse.add_argument("model")
    parse.add_argument("--net-name", required=True)
    parse.add_argument("--har-path", required=True)
    parse.add_argument("--start-node-names", nargs="+")
    parse.add_argument("--end-node-names", nargs="+")
    parse.add_argument("-y", action="store_true", required=True)  # without it the real one waits for an answer
    optimise.add_argument("--calib-set-path", required=True)
    optimise.add_argument("--model-script", required=True)
    optimise.add_argument("--output-har-path", required=True)
    compiler.add_argument("--output-dir", required=True)
    options = parser.parse_args(given)
    if options.step == "parser":
        runner = ClientRunner(hw_arch=options.hw_arch)
        runner.translate_onnx_model(options.model, options.net_name, options.start_node_names, options.end_node_names)
        runner.save_har(options.har_path)
        return
    runner = ClientRunner(hw_arch=options.hw_arch, har=options.har)
    if options.step == "optimize":
        runner.load_model_script(Path(options.model_script).read_text(encoding="utf-8"))
        runner.optimize(np.load(options.calib_set_path))
        runner.save_har(options.output_har_path)
    elif not does("no-hef"):
        (Path(options.output_dir) / f"{runner.state['name']}.hef").write_bytes(runner.compile())


if __name__ == "__main__":
    main(sys.argv[1:])
