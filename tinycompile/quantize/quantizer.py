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
from tinycompile.quantize.insert import LayerWeights, insert_qdq
from tinycompile.quantize.moments import Moments, input_moments
from tinycompile.quantize.prepare import complete, prepare
from tinycompile.quantize.ranges import Histogram, calibrated
from tinycompile.quantize.scheme import FIXED, SHARING, Scheme, make_scheme
from tinycompile.quantize.statistics import extremes, histograms
from tinycompile.quantize.weights import layer_weights
from tinycompile.quantize.write_onnx import write_onnx
from tinycompile.watch import Watch

AUTO = "auto"
WEIGHTS = {AUTO: 8, "int8": 8, "int4": 4}
"""Bits of weights to begin with, by the name of what is asked for."""

MUCH_FINER = 4.0
"""How much finer a calibrated scale must be to replace LiteRT's: a softmax over many places gives small values."""


@dataclass(frozen=True)
class QuantizeOptions:
    """`calibrator`: a name in `CALIBRATORS`. `correct_bias` and `adaptive_rounding`: see `quantize.weights`;
    `equalize`: see `quantize.equalize`. `weights`: a name in `WEIGHTS`; AUTO is int8, and int4 in as many layers as the
    flash given asks for (`quantize.widths`)."""

    calibrator: str = "mse"
    correct_bias: bool = True
    adaptive_rounding: bool = True
    equalize: bool = True
    weights: str = "int8"


@dataclass(frozen=True, eq=False)
class Quantized:
    """`data`: the QDQ ONNX file. `reference`: the float graph, fully lowered, whose tensors `scheme` names; `lowered`:
    the int8 graph that a build makes of the file. `weight_bits`: of each int8 layer, by its output."""

    data: bytes
    reference: Graph
    lowered: Graph
    scheme: Scheme
    weight_bits: dict[str, int]


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
        fixed = {FIXED.get(kind) for kind in made}
        known = fixed.pop() if len(fixed) == 1 else None
        measured = calibrated(found[root], calibrator)
        finer = known is None or measured.scale[0] * MUCH_FINER < known.scale[0]
        quants[root] = measured if finer or known is None else known
    return quants


def layers(graph: Graph, scheme: Scheme) -> list[Node]:
    """The nodes whose weights become int8."""
    return [n for n in graph.nodes() if n.op.kind in LAYERS and n.out.name in scheme.integer]


class Calibration:
    """What samples say of a prepared `graph`, from which its integer forms are made: `reference`, it fully lowered, the
    `scheme`, and a scale for each group of its tensors (`quants`)."""

    def __init__(
        self, graph: Graph, samples: Sequence[Sample], options: QuantizeOptions, watch: Watch, floats: Collection[str]
    ) -> None:
        if options.equalize:
            graph = equalized(graph, complete(graph), samples, watch)
        self.graph, self.reference, self.scheme = graph, complete(graph), make_scheme(graph, floats)
        ranges = extremes(self.reference, samples, list(self.scheme.stored), watch)
        found = histograms(self.reference, samples, self.scheme.groups(), ranges, watch)
        watch.phase("scales")
        self.quants = choose_quants(graph, self.scheme, found, options.calibrator)
        self.layers = {node.out.name: node for node in layers(graph, self.scheme)}
        self._options, self._watch = options, watch
        self._moments: dict[str, Moments] = {}
        if options.adaptive_rounding or options.correct_bias:
            nodes = list(self.layers.values())
            self._moments = input_moments(self.reference, nodes, samples, options.adaptive_rounding, watch)
        self._weights: dict[tuple[str, int], LayerWeights] = {}

    def weights(self, name: str, bits: int) -> LayerWeights:
        """Those of the layer that makes tensor `name`, as integers of 8 or 4 bits."""
        if (name, bits) not in self._weights:
            self._watch.phase(f"weights, layer {list(self.layers).index(name) + 1} of {len(self.layers)}")
            node, o = self.layers[name], self._options
            x_scale = self.quants[self.scheme.stored[node.tensor(0).name]].scalar()[0]
            self._weights[name, bits] = layer_weights(
                node, x_scale, self._moments.get(name), o.adaptive_rounding, o.correct_bias, bits
            )
        return self._weights[name, bits]

    def quantized(self, widths: Mapping[str, int] | None = None) -> Quantized:
        """The integer network. `widths`: bits of the weights of layers that have other ones than the options say."""
        bits = {name: (widths or {}).get(name, WEIGHTS[self._options.weights]) for name in self.layers}
        weights = {name: self.weights(name, wide) for name, wide in bits.items()}
        data = write_onnx(insert_qdq(self.graph, self.scheme, self.quants, weights))
        return Quantized(data, self.reference, lowered(data, self.graph.name), self.scheme, bits)


def quantize_graph(
    graph: Graph, samples: Sequence[Sample], options: QuantizeOptions, watch: Watch, floats: Collection[str] = ()
) -> Quantized:
    """A prepared graph quantised by what it does with `samples`."""
    return Calibration(graph, samples, options, watch, floats).quantized()


def lowered(data: bytes, name: str) -> Graph:
    """The graph that a build makes of an ONNX file."""
    graph = run_passes(load_onnx(data, Path(f"{name}.onnx")), PASSES)
    check_supported(graph)
    return graph
