"""Float models of the shared folder after post-training quantisation: close to the floats, and compiled to the bit.

Inputs are noise like that of the golden samples: of other seeds than what calibrates.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference_models import golden, model_path

from tinycompile.codegen.c import emit_c
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.ir.graph import Array, Graph
from tinycompile.pipeline import plan_model
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.measure import measure
from tinycompile.quantize.quantizer import QuantizeOptions, load_float_model, quantize_graph
from tinycompile.schedule import verify_plan
from tinycompile.target import load_target
from tinycompile.watch import Watch

# Least SQNR of the output in dB, and least top-1 agreement where the network was trained.
LEAST: dict[str, tuple[float, float]] = {
    "micro_kws_m_float": (30.0, 0.99),
    "zoo/simplenet_mini": (40.0, 0.0),
}
SLOW: dict[str, tuple[float, float]] = {
    "mlperf_vww96_float": (30.0, 0.99),
    "st_mobilenetv2_035_128": (25.0, 0.99),
    "zoo/efficienttdnn_mini": (25.0, 0.0),
    "zoo/pcdarts_mini": (35.0, 0.0),
    "zoo/segnet_mini_unpool": (35.0, 0.0),
    "zoo/compactflow_mini_64x64": (40.0, 0.0),
}


def noise(path: Path, graph: Graph, count: int, seed: int) -> list[Sample]:
    """Uniform over the range of the golden samples, normal for those of the zoo."""
    rng = np.random.default_rng(seed)
    given, shapes = golden(path)[0][0], {name: graph.tensors[name].shape for name in graph.inputs}
    normal = path.parent.name == "zoo"

    def draw(shape: tuple[int, ...]) -> Array:
        value = rng.standard_normal(shape) if normal else rng.uniform(given.min(), given.max(), shape)
        return value.astype(np.float32)

    return [{name: draw(shape) for name, shape in shapes.items()} for _ in range(count)]


def check(stem: str, least: tuple[float, float], folder: Path) -> None:
    path = model_path(stem)
    graph = load_float_model(path)
    calibration, held_out = (noise(path, graph, n, n) for n in (40, 20))
    made = quantize_graph(graph, calibration, QuantizeOptions(), Watch())
    found = measure(made.reference, made.lowered, held_out, Watch(), layers=False)
    assert found.sqnr >= least[0]
    assert (found.top1 or 0.0) >= least[1]
    (folder / "int8.onnx").write_bytes(made.data)
    plan = plan_model(folder / "int8.onnx", load_target("cortex-m7"))
    verify_plan(plan)
    for file, text in emit_c(plan).files.items():
        (folder / file).write_text(text, encoding="utf-8")
    inputs = [np.stack([s[name] for s in held_out[:3]]) for name in graph.inputs]
    got = run_host(folder, plan.interface, inputs).outputs[0]
    for k, y in enumerate(got):
        (want,) = run_plan(plan, [x[k] for x in inputs])
        np.testing.assert_array_equal(y.reshape(want.shape), want)


@pytest.mark.parametrize("stem", LEAST)
def test_quantised(stem: str, tmp_path: Path) -> None:
    check(stem, LEAST[stem], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stem", SLOW)
def test_quantised_larger_ones(stem: str, tmp_path: Path) -> None:
    check(stem, SLOW[stem], tmp_path)
