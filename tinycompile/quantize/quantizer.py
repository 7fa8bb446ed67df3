"""Post-training quantisation from end to end: samples -> statistics -> scales and weights -> a QDQ ONNX file.

The file is the result: a build compiles it as any other, so that what is shipped, what onnxruntime runs and what the
report measures are one thing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinycompile.errors import UnsupportedError
from tinycompile.frontends import load_model
from tinycompile.frontends.onnx import load_onnx
from tinycompile.ir.graph import Graph, Node
from tinycompile.ir.quant import Quant
from tinycompile.passes import PASSES
from tinycompile.passes.fuse_qdq import LAYERS
from tinycompile.passes.lowering_check import check_supported
from tinycompile.passes.run_passes import run_passes
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.equalize import equalized
from tinycompile.quantize.insert import insert_qdq
from tinycompile.quantize.moments import Moments, input_moments
from tinycompile.quantize.prepare import complete, prepare
from tinycompile.quantize.ranges import Histogram, calibrated
from tinycompile.quantize.scheme import FIXED, SHARING, Scheme, make_scheme
from tinycompile.quantize.statistics import extremes, histograms
from tinycompile.quantize.weights import layer_weights
from tinycompile.quantize.write_onnx import write_onnx
from tinycompile.watch import Watch

MUCH_FINER = 4.0
"""How much finer a calibrated scale must be to replace LiteRT's: a softmax over many places gives small values."""


@dataclass(frozen=True)
class QuantizeOptions:
    """`calibrator`: a name in `CALIBRATORS`. `correct_bias` and `adaptive_rounding`: see `quantize.weights`;
    `equalize`: see `quantize.equalize`. `wide`: tensors that become int16, None for all; the others are int8."""

    calibrator: str = "mse"
    correct_bias: bool = True
    adaptive_rounding: bool = True
    equalize: bool = True
    wide: frozenset[str] | None = frozenset()


@dataclass(frozen=True, eq=False)
class Quantized:
    """`data`: the QDQ ONNX file. `reference`: the float graph, fully lowered, whose tensors `scheme` names; `lowered`:
    the integer graph that a build makes of the file."""

    data: bytes
    reference: Graph
    lowered: Graph
    scheme: Scheme


def load_float_model(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """The float graph of a `.onnx` or `.tflite` file, prepared. Raises ModelError or UsageError."""
    graph = load_model(path, shape_overrides=shapes)
    if graph.states:
        raise UnsupportedError(
            "quantisation of a model that keeps variables between inferences",
            str(path),
            "build it in float, or export it with its variables as inputs and outputs and give --state",
        )
    return prepare(graph)


def choose_quants(graph: Graph, scheme: Scheme, found: Mapping[str, Histogram], calibrator: str) -> dict[str, Quant]:
    """The scale and zero point of each group of tensors, by the one that stands for it."""
    quants = {}
    producers = graph.producers()
    for root, group in scheme.groups().items():
        makers = [producers[n].kind if n in producers else "input" for n in group]
        made = {kind for kind in makers if kind not in SHARING}
        dtype = scheme.dtype(root)
        fixed = {FIXED[dtype].get(kind) for kind in made}
        known = fixed.pop() if len(fixed) == 1 else None
        measured = calibrated(found[root], calibrator, dtype)
        finer = known is None or measured.scale[0] * MUCH_FINER < known.scale[0]
        quants[root] = measured if finer or known is None else known
    return quants


def layers(graph: Graph, scheme: Scheme) -> list[Node]:
    """The nodes whose weights become int8."""
    return [n for n in graph.nodes() if n.op.kind in LAYERS and n.out.name in scheme.integer]


def quantize_graph(
    graph: Graph, samples: Sequence[Sample], options: QuantizeOptions, watch: Watch, floats: Collection[str] = ()
) -> Quantized:
    """A prepared graph quantised by what it does with `samples`."""
    if options.equalize:
        graph = equalized(graph, complete(graph), samples, watch)
    reference, scheme = complete(graph), make_scheme(graph, floats, options.wide)
    ranges = extremes(reference, samples, list(scheme.stored), watch)
    found = histograms(reference, samples, scheme.groups(), ranges, watch)
    watch.phase("scales")
    quants = choose_quants(graph, scheme, found, options.calibrator)
    nodes = layers(graph, scheme)
    moments: dict[str, Moments] = {}
    if options.adaptive_rounding or options.correct_bias:
        moments = input_moments(reference, nodes, samples, options.adaptive_rounding, watch)
    weights = {}
    for k, node in enumerate(nodes):
        watch.phase(f"weights, layer {k + 1} of {len(nodes)}")
        x_scale, name = quants[scheme.stored[node.tensor(0).name]].scalar()[0], node.out.name
        weights[name] = layer_weights(node, x_scale, moments.get(name), options.adaptive_rounding, options.correct_bias)
    data = write_onnx(insert_qdq(graph, scheme, quants, weights))
    return Quantized(data, reference, lowered(data, graph.name), scheme)


def lowered(data: bytes, name: str) -> Graph:
    """The graph that a build makes of an ONNX file."""
    graph = run_passes(load_onnx(data, Path(f"{name}.onnx")), PASSES)
    check_supported(graph)
    return graph
