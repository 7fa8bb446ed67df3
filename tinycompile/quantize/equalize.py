"""Cross-layer equalisation: channels between two layers made alike in size, so that one scale serves all of them.

A channel of a layer's output may be divided by any s > 0 and the weights that read it multiplied by s: what the network
computes stays the same, as far as the activation between commutes with s (none, or ReLU). M. Nagel et al. 2019,
"Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1. There the weights of both layers
are balanced; with a scale per output channel the first layer's need no balance, and what its outputs reached over the
samples takes their place: ``s = sqrt(r_output / r_weights)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Graph, Node, Tensor
from tinycompile.ops.evaluate import evaluate
from tinycompile.ops.registry import operator
from tinycompile.passes.fold_batch_norm import CHANNEL_AXIS
from tinycompile.passes.fuse_qdq import LAYERS
from tinycompile.quantize.calibration import Sample, spread
from tinycompile.quantize.moments import groups
from tinycompile.watch import Watch

_SAMPLES = 16
_LARGEST_FACTOR = 8.0  # rare outliers say little; a channel that is never used says nothing
F64 = NDArray[np.float64]


def equalized(graph: Graph, reference: Graph, samples: Sequence[Sample], watch: Watch) -> Graph:
    """The prepared `graph` with other weights that compute the same; `reference` is it, fully lowered."""
    pairs = _pairs(graph)
    names = {first.out.name for first, _ in pairs}
    reached = {name: np.zeros(graph.tensors[name].shape[-1]) for name in names}
    chosen = spread(samples, _SAMPLES)
    for k, sample in enumerate(chosen):
        watch.phase(f"channels, sample {k + 1} of {len(chosen)}")
        for name, value in evaluate(reference, sample, names).items():
            reached[name] = np.maximum(reached[name], np.abs(value).reshape(-1, value.shape[-1]).max(axis=0))
    changed: dict[str, Tensor] = {}

    def current(node: Node, k: int) -> Array:
        return node.const(k) if node.tensor(k).name not in changed else np.asarray(changed[node.tensor(k).name].data)

    def scale(node: Node, k: int, factors: F64, axis: int) -> None:
        """Constant `k` of a layer times a factor for each index of `axis`."""
        tensor = node.tensor(k)
        shape = [1] * len(tensor.shape)
        shape[axis] = -1
        data = (current(node, k) * factors.reshape(shape)).astype(np.float32)
        changed[tensor.name] = replace(tensor, data=data)

    for first, second in pairs:
        weights = current(second, 1)
        axis = _input_axis(second)
        assert axis is not None  # or it were no pair
        others = tuple(a for a in range(weights.ndim) if a != axis)
        factors = _factors(reached[first.out.name], np.abs(weights).max(axis=others).astype(np.float64))
        scale(first, 1, 1 / factors, CHANNEL_AXIS[first.op.kind])
        if len(first.inputs) > 2 and first.inputs[2] is not None:
            scale(first, 2, 1 / factors, 0)
        scale(second, 1, factors, axis)
    return graph.rebuild(graph.ops, changed.values())


def _factors(reached: F64, weights: F64) -> F64:
    """What each channel's outputs are divided by: powers of two, so that nothing is rounded."""
    usable = (reached > 0) & (weights > 0)
    ratio = np.where(usable, reached / np.maximum(weights, 1e-30), 1.0)
    middle = math.exp(float(np.log(ratio[usable]).mean())) if np.any(usable) else 1.0
    factors = np.clip(np.sqrt(ratio / middle), 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return np.where(usable, np.exp2(np.rint(np.log2(factors))), 1.0)


def _input_axis(node: Node) -> int | None:
    """The dimension of a layer's weights that has an index for each of its input channels; None when there is none."""
    axes, channels = operator(node.op.kind).weight_axes, node.tensor(0).shape[-1]
    assert axes is not None  # asked of layers
    found = axes.inputs if groups(node) == 1 else axes.outputs  # of groups: where each has one input and one output
    return found if groups(node) in (1, channels) and node.tensor(1).shape[found] == channels else None


def _pairs(graph: Graph) -> list[tuple[Node, Node]]:
    """Layers of which the second alone reads the first, channel by channel, with nothing between but a ReLU."""
    consumers = graph.consumers()
    shared = {name for name, users in consumers.items() if len(users) > 1} | set(graph.outputs)
    nodes = {node.out.name: node for node in graph.nodes() if node.op.kind in LAYERS}
    pairs = []
    for second in nodes.values():
        first = nodes.get(second.op.inputs[0])
        if first is None or first.out.name in shared or first.attrs.clamp not in (None, (0.0, math.inf)):
            continue
        constants = (*first.op.inputs[1:], *second.op.inputs[1:])
        if _input_axis(second) is not None and not any(name in shared for name in constants if name):
            pairs.append((first, second))
    return pairs
