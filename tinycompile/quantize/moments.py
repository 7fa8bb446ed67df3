"""A layer as a product of matrices, and the moments of its inputs over samples.

Whatever the layer, an output is a sum over the taps of its window: with the taps of every output pixel as a row of X,
it is ``X W^T`` for each group of channels. What an error D in the weights does to the outputs then follows from two
moments of X alone: the mean output moves by ``D mean(X)``, the squared error is ``D (X^T X / pixels) D^T``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Graph, Node
from tinycompile.ops.base import WeightAxes, pad_region, whole
from tinycompile.ops.evaluate import evaluate
from tinycompile.ops.float_layers import taps
from tinycompile.ops.registry import operator
from tinycompile.quantize.calibration import Sample, spread
from tinycompile.watch import Watch

F64 = NDArray[np.float64]
MOST_SAMPLES = 16


@dataclass(frozen=True, eq=False)
class Moments:
    """`mean` (groups, taps) and `second` (groups, taps, taps) of the inputs of a layer, over pixels and samples; the
    second where it was asked for."""

    mean: F64
    second: F64 | None


def _axes(node: Node) -> WeightAxes:
    axes = operator(node.op.kind).weight_axes
    assert axes is not None  # asked of layers
    return axes


def groups(node: Node) -> int:
    """How many groups of channels a layer has, each of which reads its own."""
    return node.tensor(0).shape[-1] // node.tensor(1).shape[_axes(node).inputs]


def as_matrices(node: Node, weights: Array) -> F64:
    """A layer's weights as (groups, outputs of a group, taps)."""
    by_output = np.moveaxis(weights, _axes(node).outputs, 0)
    return by_output.reshape(groups(node), len(by_output) // groups(node), -1).astype(np.float64)


def from_matrices(node: Node, matrices: F64) -> F64:
    """The inverse of `as_matrices`."""
    outputs, shape = _axes(node).outputs, node.tensor(1).shape
    rest = shape[:outputs] + shape[outputs + 1 :]
    return np.moveaxis(matrices.reshape(shape[outputs], *rest), 0, outputs)


def _rows(node: Node, x: Array) -> F64:
    """The taps of every output pixel: (groups, pixels, taps)."""
    if len(node.tensor(1).shape) == 2:  # no window
        return x.reshape(1, -1, x.shape[-1]).astype(np.float64)
    count, form = groups(node), node.tensor(0).form
    region = whole(node.out)
    need = operator(node.op.kind).in_region(node, region)[0]
    assert need is not None
    r = need.region
    padded = pad_region(x.reshape(form.rows, form.width, form.channels)[r.y0 : r.y1, r.x0 : r.x1], need, 0)
    _, kh, kw, _ = node.tensor(1).shape
    parts = [taps(padded, region, ky, kx, node) for ky in range(kh) for kx in range(kw)]
    rows = np.stack(parts, axis=2).reshape(region.rows * region.cols, kh * kw, form.channels)
    split = rows.reshape(len(rows), kh * kw, count, form.channels // count)
    return split.transpose(2, 0, 1, 3).reshape(count, len(rows), -1).astype(np.float64)


def input_moments(
    reference: Graph, layers: Sequence[Node], samples: Sequence[Sample], with_second: bool, watch: Watch
) -> dict[str, Moments]:
    """Of each layer, by its output; `layers` are of the prepared graph, `reference` the same lowered. Of at most
    MOST_SAMPLES samples: each gives as many pixels as its maps have."""
    samples = spread(samples, MOST_SAMPLES)
    means: dict[str, F64] = {}
    seconds: dict[str, F64] = {}
    names: Collection[str] = {node.tensor(0).name for node in layers}
    for k, sample in enumerate(samples):
        watch.phase(f"inputs of layers, sample {k + 1} of {len(samples)}")
        values = evaluate(reference, sample, names)
        for node in layers:
            name, rows = node.out.name, _rows(node, values[node.tensor(0).name])
            share = 1 / (rows.shape[1] * len(samples))
            means[name] = means.get(name, 0.0) + rows.sum(axis=1) * share
            if with_second:
                seconds[name] = seconds.get(name, 0.0) + rows.transpose(0, 2, 1) @ rows * share
    return {name: Moments(mean, seconds.get(name)) for name, mean in means.items()}
