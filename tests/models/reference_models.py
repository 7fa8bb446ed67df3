"""The real models of ``../shared/models``, their golden data, and LiteRT's reference interpreter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinycompile.pipeline import ImportOptions, build_model
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target

MODELS = Path(__file__).parents[2].parent / "shared" / "models"
Arrays = list[np.ndarray[Any, Any]]

# Peak arena, whole buffers: file stem -> (io, bytes).
WHOLE_BUFFER_BYTES = {
    "mlperf_kws_int8": 16_000,
    "mlperf_vww96_int8": 55_296,
    "mlperf_resnet8_int8": 49_152,
    "mlperf_ad01_int8": 768,
    "mcunet_vww": 96_000,
}
INT8_MODELS = tuple(WHOLE_BUFFER_BYTES)


def model_path(stem: str) -> Path:
    """The `.tflite` or `.onnx` of that stem; skips the test when the models are not on this machine."""
    for suffix in (".tflite", ".onnx"):
        path = MODELS / f"{stem}{suffix}"
        if path.is_file():
            return path
    pytest.skip(f"{stem}: the shared model folder {MODELS.parent.name}/{MODELS.name} is not beside this checkout")


def golden(path: Path) -> tuple[Arrays, Arrays]:
    """Inputs and outputs, each (samples, *shape)."""
    with np.load(path.with_suffix(".npz")) as data:
        ins = [data[k] for k in sorted(data.files) if k.startswith("in_")]
        outs = [data[k] for k in sorted(data.files) if k.startswith("out_")]
    return ins, outs


def random_inputs(path: Path, like: Arrays, samples: int, seed: int = 7) -> Arrays:
    """`samples` random inputs of the same types: uniform over the integers, or over the range of the golden floats."""
    rng = np.random.default_rng([seed, len(path.name)])
    result = []
    for a in like:
        shape = (samples, *a.shape[1:])
        if a.dtype == np.float32:
            result.append(rng.uniform(a.min(), a.max(), shape).astype(np.float32))
        else:
            info = np.iinfo(a.dtype)
            result.append(rng.integers(info.min, info.max + 1, shape).astype(a.dtype))
    return result


def litert(path: Path, inputs: Arrays) -> Arrays:
    """Outputs of LiteRT's reference kernels (no optimised ones), sample by sample."""
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    interpreter = module.Interpreter(
        model_path=str(path), experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    outputs: list[list[Any]] = [[] for _ in interpreter.get_output_details()]
    for sample in zip(*inputs, strict=True):
        for detail, value in zip(interpreter.get_input_details(), sample, strict=True):
            interpreter.set_tensor(detail["index"], value)
        interpreter.invoke()
        for k, detail in enumerate(interpreter.get_output_details()):
            outputs[k].append(interpreter.get_tensor(detail["index"]).copy())
    return [np.stack(o) for o in outputs]


@dataclass(frozen=True)
class Built:
    """A model built into a folder, with its reference data."""

    path: Path
    folder: Path
    plan: Any


def build_into(path: Path, folder: Path, target: str = "cortex-m7", io: str = "model") -> Built:
    build = build_model(path, load_target(target), Budgets(None, None), ImportOptions(io=io))
    for name, text in build.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return Built(path, folder, build.plan)
