"""Builds int8 graphs of convolutional networks with seeded weights, calibrated as they are built.

Weights are uniform int8. Each layer is run twice by its operator's own reference on one seeded random image: once over
a wide range, to see the mean and spread of every channel's sums, and once with the weight scales and biases that bring
each channel to a drawn mean and spread, as a trained batch normalisation does. So no activation is saturated or
constant, at any depth. Everything that decides a bit of the graph is integer arithmetic, exact in floating point, or
correctly rounded by IEEE 754 (sums, quotients, square roots): the same graph on every machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Graph, Node, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2dAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.resize import ResizeAttrs
from tinycompile.ops.transpose import TransposeAttrs

SEED = 20
INPUT_QUANT = Quant((153 / 8192,), (-14,))  # photographs less their mean, by their deviation: -2.13 .. 2.63
RELU6_MAX = 6.0
MEASURED_SPREADS = 8.0  # half the range of the first run, in root mean squares of the sums
LINEAR_RANGE = 13.0  # of an output without activation, whose channels spread by 0.5 to 1.5
MARGIN = 1.5  # of ranges behind the mean, where one image says little about the next


def float32(value: float) -> float:
    """`value` as a quantisation scale: rounded to float32."""
    return float(np.float32(value))


def quant_for(values: NDArray[np.float64], margin: float = 1.0) -> Quant:
    """The quantisation whose 256 values span `margin` times the range of `values` and zero."""
    low, high = margin * min(float(values.min()), 0.0), margin * max(float(values.max()), 0.0)
    scale = float32((high - low) / 255 or 1.0)
    return Quant((scale,), (max(-128, min(127, round(-128 - low / scale))),))


def dequantized(quant: Quant, values: Array) -> NDArray[np.float64]:
    """The real numbers that int8 `values` stand for."""
    scale, zero_point = quant.scalar()
    return scale * (values.astype(np.float64) - zero_point)


def channel_statistics(values: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every channel (the last dimension) of int8 `values`, from integer sums."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.int64)
    count, total, squares = len(rows), rows.sum(0), (rows * rows).sum(0)
    return total / count, np.sqrt(count * squares - total * total) / count


class NetworkBuilder:
    """Each method appends a layer that it names, and returns the name of its output; `graph` finishes.

    `activation` of a convolution clamps at 0 and 6: ReLU6, or a ReLU that was calibrated to that range, which in int8
    are the same. Convolutions are padded by half of the odd kernel on every side.
    """

    def __init__(self, name: str, resolution: int, seed: int = SEED) -> None:
        self.name = name
        self.random = np.random.RandomState(seed)  # NumPy promises that its streams never change
        shape = (1, resolution, resolution, 3)
        self.input = "image"
        self.tensors = {self.input: Tensor(self.input, shape, DType.INT8, INPUT_QUANT)}
        self.values: dict[str, Array] = {self.input: self.random.randint(-128, 128, shape).astype(np.int8)}
        self.ops: list[Op] = []

    def graph(self, output: str) -> Graph:
        return Graph(self.name, dict(self.tensors), tuple(self.ops), (self.input,), (output,), "zoo")

    def channels(self, name: str) -> int:
        return self.tensors[name].shape[-1]

    def quant(self, name: str) -> Quant:
        quant = self.tensors[name].quant
        assert quant is not None
        return quant

    def conv(
        self, name: str, x: str, channels: int, kernel: int = 1, stride: int = 1, *, activation: bool, groups: int = 1
    ) -> str:
        """A convolution to `channels` channels, by default 1x1."""
        weights = self._weights((channels, kernel, kernel, self.channels(x) // groups))
        attrs = Conv2dAttrs((stride, stride), (1, 1), (kernel // 2,) * 4, groups, (-128, 127) if activation else None)
        return self._normalised("conv2d", name, x, weights, 0, attrs, activation)

    def depthwise(self, name: str, x: str, kernel: int, stride: int = 1) -> str:
        """A depthwise convolution and its activation."""
        weights = self._weights((1, kernel, kernel, self.channels(x)))
        attrs = DepthwiseConv2dAttrs((stride, stride), (1, 1), (kernel // 2,) * 4, (-128, 127))
        return self._normalised("depthwise_conv2d", name, x, weights, 3, attrs, activation=True)

    def add(self, name: str, a: str, b: str) -> str:
        total = dequantized(self.quant(a), self.values[a]) + dequantized(self.quant(b), self.values[b])
        return self._append("add", name, (a, b), AddAttrs(), quant_for(total))

    def resize(self, name: str, x: str, size: tuple[int, int]) -> str:
        """Bilinear resizing to `size` rows and columns."""
        return self._append("resize_bilinear", name, (x,), ResizeAttrs(size), self.quant(x))

    def shuffle(self, name: str, x: str, groups: int) -> str:
        """Channel shuffle: the channels as a matrix of `groups` rows, transposed."""
        shape, quant = self.tensors[x].shape, self.quant(x)
        rows = ReshapeAttrs((*shape[:3], groups, shape[3] // groups))
        x = self._append("reshape", f"{name}_groups", (x,), rows, quant)
        x = self._append("transpose", name, (x,), TransposeAttrs((0, 1, 2, 4, 3)), quant)
        return self._append("reshape", f"{name}_channels", (x,), ReshapeAttrs(shape), quant)

    def mean(self, name: str, x: str) -> str:
        """The mean of every channel over the map: [1,C]."""
        means = dequantized(self.quant(x), self.values[x].astype(np.int64).mean((1, 2)))
        return self._append("mean", name, (x,), MeanAttrs((1, 2), False), quant_for(means, MARGIN))

    def dense(self, name: str, x: str, units: int) -> str:
        """Fully connected, without an activation."""
        weights = self._weights((units, self.channels(x)))
        relative, noise = self._drawn(0.5, 1.0, units), self._drawn(-1.0, 1.0, units)
        spread = self._spread(x, weights, 0)
        scales = [float32(r / (spread * self.quant(x).scale[0])) for r in relative]
        inputs = self._constants(name, x, weights, 0, scales, np.round(noise * spread))
        wide = Quant((MEASURED_SPREADS / 127,), (0,))
        logits = dequantized(wide, self._run("fully_connected", name, inputs, FullyConnectedAttrs(), wide)[1])
        return self._append("fully_connected", name, inputs, FullyConnectedAttrs(), quant_for(logits, MARGIN))

    def _weights(self, shape: tuple[int, ...]) -> Array:
        return self.random.randint(-127, 128, shape).astype(np.int8)

    def _drawn(self, low: float, high: float, count: int) -> NDArray[np.float64]:
        """Uniform between `low` and `high`, in steps that are exact."""
        return np.asarray(low + (high - low) * (self.random.randint(0, 1025, count) / 1024))

    def _spread(self, x: str, weights: Array, axis: int) -> float:
        """The root mean square that sums of independent products of `weights` and values of `x` have."""
        values = self.values[x].astype(np.int64) - self.quant(x).zero_point[0]
        squares = weights.astype(np.int64) ** 2
        power = int((values * values).sum()) / values.size * int(squares.sum()) / weights.shape[axis]
        return math.sqrt(max(power, 1.0))

    def _normalised(
        self, kind: str, name: str, x: str, weights: Array, axis: int, attrs: Attrs, activation: bool
    ) -> str:
        """A convolution whose output channels get a drawn mean and deviation each, by scale and bias."""
        count, scale = weights.shape[axis], self.quant(x).scale[0]
        spread = self._spread(x, weights, axis)
        step = MEASURED_SPREADS * spread / 127
        inputs = self._constants(name, x, weights, axis, [1.0] * count, np.zeros(count))
        _, sums = self._run(kind, name, inputs, attrs, Quant((float32(scale * step),), (0,)))
        mean, deviation = (step * s for s in channel_statistics(sums))
        deviation = np.maximum(deviation, spread / 64)  # a channel that is constant stays nearly so
        if activation:
            means, deviations = self._drawn(-0.5, 1.5, count), self._drawn(1.5, 2.5, count)
            quant = Quant((float32(RELU6_MAX / 255),), (-128,))
        else:
            means, deviations = self._drawn(-0.5, 0.5, count), self._drawn(0.5, 1.5, count)
            quant = Quant((float32(LINEAR_RANGE / 255),), (int(self.random.randint(1, 25)),))
        scales = [float32(s) for s in deviations / (scale * deviation)]
        inputs = self._constants(name, x, weights, axis, scales, np.round(means / deviations * deviation - mean))
        return self._append(kind, name, inputs, attrs, quant)

    def _constants(
        self, name: str, x: str, weights: Array, axis: int, scales: list[float], bias: Array
    ) -> tuple[str, str, str]:
        """Files a layer's weights and bias; returns the layer's inputs."""
        zeros = (0,) * len(scales)
        biases = Quant(tuple(float32(self.quant(x).scale[0] * s) for s in scales), zeros, 0)
        for tensor in (
            const_tensor(f"{name}_weights", weights, Quant(tuple(scales), zeros, axis)),
            const_tensor(f"{name}_bias", bias.astype(np.int32), biases),
        ):
            self.tensors[tensor.name] = tensor
        return x, f"{name}_weights", f"{name}_bias"

    def _run(self, kind: str, name: str, inputs: tuple[str, ...], attrs: Attrs, quant: Quant) -> tuple[Node, Array]:
        """A node of the operator, its shape inferred, and what it makes of the calibration image."""
        op = Op(kind, name, inputs, (name,), attrs, SourceLoc(kind, name))
        rules, sources = operator(kind), tuple(self.tensors[i] for i in inputs)
        shape, dtype = rules.infer(Node(op, sources, (Tensor(name, (1,), DType.INT8, quant),)))
        node = Node(op, sources, (Tensor(name, shape, dtype, quant),))
        return node, rules.reference(node, [self.values.get(i) for i in inputs])

    def _append(self, kind: str, name: str, inputs: tuple[str, ...], attrs: Attrs, quant: Quant) -> str:
        node, self.values[name] = self._run(kind, name, inputs, attrs, quant)
        self.tensors[name] = node.out
        self.ops.append(node.op)
        return name
