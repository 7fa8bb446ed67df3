"""What int8 costs the digits example: accuracy of the float network, of its int8 forms made by `tinycompile quantize`,
with weights of 8 bits, of 4, and of both where the constants are to be a given number of bytes, and of the committed
one made by onnxruntime's quantiser, on images that neither training nor calibration saw.

Trains the network first (a minute; wants scikit-learn and onnxruntime), calibrates with the 360 validation images, and
runs the graphs that are compiled: the C code gives their bits.

    python benchmarks/digits_accuracy.py [-o FILE.json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from tinycompile.ir.graph import Graph
from tinycompile.ops.evaluate import evaluate
from tinycompile.pipeline import ImportOptions, import_model
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.mixed import AccuracyBudget, quantize_within
from tinycompile.quantize.quantizer import Quantized, QuantizeOptions, load_float_model, quantize_graph
from tinycompile.quantize.ranges import CALIBRATORS
from tinycompile.quantize.widths import Excess, narrow_layers
from tinycompile.report.quantization import weight_bytes
from tinycompile.watch import Watch
from tinycompile.zoo import digits_model_path
from tinycompile.zoo.digits_data import LabelledImages, load_split
from tinycompile.zoo.digits_model import float_model
from tinycompile.zoo.digits_network import train


def accuracy(graph: Graph, data: LabelledImages) -> float:
    """The share of images, 0..1, whose most probable class is the label."""
    (name,) = graph.inputs
    found = [evaluate(graph, {name: x[np.newaxis]}, graph.outputs)[graph.outputs[0]].argmax() for x in data.images]
    return float((np.array(found) == data.labels).mean())


def within(graph: Graph, samples: Sequence[Sample], allowed: int) -> Quantized:
    """The network whose constants take no more than `allowed` bytes."""

    def fit(lowered: Graph) -> Excess:
        return Excess(0, max(weight_bytes(lowered) - allowed, 0))

    return quantize_within(graph, samples, samples, QuantizeOptions(weights="auto"), AccuracyBudget(), fit, Watch())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    split = load_split()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.onnx"
        onnx.save(float_model(train(split.train)), path)
        graph = load_float_model(path)
    (name,) = graph.inputs
    samples = [{name: image[np.newaxis]} for image in split.validation.images]
    plain = QuantizeOptions(correct_bias=False, adaptive_rounding=False, equalize=False)
    settings = {f"int8, {c}": replace(plain, calibrator=c) for c in CALIBRATORS}
    settings["int8, mse, biases corrected"] = replace(plain, correct_bias=True)
    settings["int8, mse, biases corrected, adaptive rounding"] = replace(
        plain, correct_bias=True, adaptive_rounding=True
    )
    settings["int8"], settings["int4"] = QuantizeOptions(), QuantizeOptions(weights="int4")
    made = {how: quantize_graph(graph, samples, options, Watch()) for how, options in settings.items()}
    most, least = (weight_bytes(made[how].lowered) for how in ("int8", "int4"))
    for share in (2 / 3, 1 / 3):
        allowed = round(least + share * (most - least))
        made[f"int8 and int4 within {allowed:,} B"] = within(graph, samples, allowed)
    graphs = {
        "float32": next(iter(made.values())).reference,
        **{how: m.lowered for how, m in made.items()},
        "int8, onnxruntime's quantiser": import_model(digits_model_path(), ImportOptions()),
    }
    rows = []
    for how, g in graphs.items():
        narrow = len(narrow_layers(made[how])) if how in made else 0
        rows.append(
            {"network": how, "accuracy": accuracy(g, split.test), "weight_bytes": weight_bytes(g), "int4": narrow}
        )
        print(f"| {how} | {rows[-1]['accuracy']:.2%} | {rows[-1]['weight_bytes']:,} | {narrow} |", flush=True)
    if args.output:
        args.output.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
