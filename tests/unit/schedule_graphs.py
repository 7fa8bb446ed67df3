"""Small graphs for the scheduler's tests, built op by op."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from tinycompile.ir.graph import Array, Attrs, Graph, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.add import AddAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.conv2d import Conv2dAttrs
from tinycompile.ops.fully_connected import FullyConnectedAttrs
from tinycompile.ops.mean import MeanAttrs
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.ops.registry import operator
from tinycompile.ops.reshape import ReshapeAttrs

QUANT = Quant((0.05,), (3,))
Shape = tuple[int, ...]


@dataclass(frozen=True)
class PlainTarget:
    name: str = "plain"
    features: frozenset[str] = frozenset()


@dataclass
class GraphBuilder:
    """Each method adds an op and returns its output's name; shapes are what the operator infers.

    `dtype`: that of quantised activations; of int16 the scales are finer and zero points 0.
    """

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    dtype: DType = DType.INT8

    def quant(self, quant: Quant | None) -> Quant | None:
        """The quantisation of an activation that would have `quant` in int8."""
        if quant is None or self.dtype is DType.INT8:
            return quant
        return Quant(tuple(s / 256 for s in quant.scale), (0,) * len(quant.scale))

    def input(self, shape: Shape, dtype: DType | None = None) -> str:
        name = f"in{len(self.inputs)}"
        dtype = dtype or self.dtype
        self.tensors[name] = Tensor(name, shape, dtype, self.quant(QUANT) if dtype is self.dtype else None)
        self.inputs.append(name)
        return name

    def const(self, data: Array, quant: Quant | None = None) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = const_tensor(name, data, quant)
        return name

    def op(self, kind: str, inputs: tuple[str, ...], attrs: Attrs, quant: Quant | None = QUANT) -> str:
        out = f"t{len(self.tensors)}"
        op = Op(kind, f"{kind}_{len(self.ops)}", inputs, (out,), attrs, SourceLoc(kind, str(len(self.ops))))
        self.tensors[out] = Tensor(out, (1,), self.dtype, self.quant(quant))
        shape, dtype = operator(kind).infer(self.graph([]).node(op))
        self.tensors[out] = Tensor(out, shape, dtype, self.quant(quant))
        self.ops.append(op)
        return out

    def conv(self, x: str, channels: int, kernel: int = 1, stride: int = 1, pad: int | None = None) -> str:
        ci = self.tensors[x].shape[3]
        weights = self.rng.integers(-127, 128, (channels, kernel, kernel, ci)).astype(np.int8)
        w = self.const(weights, Quant((0.01,) * channels, (0,) * channels, 0))
        b = self.const(self.rng.integers(-500, 500, channels).astype(np.int32))
        before = kernel // 2 if pad is None else pad
        after = (kernel - 1) // 2 if pad is None else pad
        size = self.tensors[x].shape[1]
        if stride == 2 and size % 2 == 0 and kernel == 3 and pad is None:
            before = 0
        return self.op("conv2d", (x, w, b), Conv2dAttrs((stride, stride), (1, 1), (before, after, before, after)))

    def dense(self, x: str, units: int) -> str:
        k = self.tensors[x].shape[-1]
        w = self.const(self.rng.integers(-127, 128, (units, k)).astype(np.int8), Quant((0.01,), (0,)))
        return self.op("fully_connected", (x, w, ""), FullyConnectedAttrs())

    def add(self, a: str, b: str) -> str:
        return self.op("add", (a, b), AddAttrs())

    def relu(self, x: str) -> str:
        return self.op("clip", (x,), ClipAttrs(0.0, math.inf))

    def concat(self, *xs: str, axis: int = 1, quant: Quant = QUANT) -> str:
        return self.op("concat", xs, ConcatAttrs(axis), quant)

    def reshape(self, x: str, shape: Shape) -> str:
        return self.op("reshape", (x,), ReshapeAttrs(shape))

    def quantize(self, x: str) -> str:
        return self.op("quantize", (x,), QuantizeAttrs())

    def dequantize(self, x: str) -> str:
        return self.op("dequantize", (x,), Attrs(), None)

    def mean(self, x: str) -> str:
        return self.op("mean", (x,), MeanAttrs((1, 2), True))

    def graph(self, outputs: list[str]) -> Graph:
        return Graph("small", dict(self.tensors), tuple(self.ops), tuple(self.inputs), tuple(outputs))


def random_graph(seed: int, ops: int = 7) -> Graph:
    """A random DAG of convolutions, additions, clips, reshapes and concats over small maps, some joined at the end."""
    b = GraphBuilder(np.random.default_rng(seed))
    maps = [b.input((1, 4, 3, int(b.rng.integers(1, 4)))) for _ in range(int(b.rng.integers(1, 3)))]
    for _ in range(ops):
        x = maps[int(b.rng.integers(max(0, len(maps) - 4), len(maps)))]
        choice = int(b.rng.integers(0, 7))
        shape = b.tensors[x].shape
        peers = [m for m in maps if b.tensors[m].shape == shape]
        if choice == 0:
            maps.append(b.add(x, peers[int(b.rng.integers(len(peers)))]))
        elif choice == 1:
            maps.append(b.relu(x))
        elif choice == 2:
            maps.append(b.concat(x, peers[int(b.rng.integers(len(peers)))], axis=1))
        elif choice == 3:
            maps.append(b.reshape(x, (1, shape[2], shape[1], shape[3])))
        elif choice == 4:
            maps.append(b.concat(x, x, axis=3))
        else:
            maps.append(b.conv(x, int(b.rng.integers(1, 7)), kernel=1 if choice == 5 else 3))
    used = {i for op in b.ops for i in op.inputs}
    ends = [m for m in maps if m not in used]
    outputs = ends if ends else [maps[-1]]
    return b.graph(outputs)


def random_inputs(graph: Graph, seed: int = 3) -> list[Array]:
    rng = np.random.default_rng(seed)
    result: list[Array] = []
    for name in graph.inputs:
        t = graph.tensors[name]
        if t.dtype is DType.FLOAT32:
            result.append(rng.normal(0, 3, t.shape).astype(np.float32))
        else:
            result.append(rng.integers(*t.dtype.int_range, t.shape, endpoint=True).astype(t.dtype.numpy))
    return result


def resnet8() -> Graph:
    """The shapes of MLPerf Tiny's ResNet-8: 32x32x3, three residual stages of 16, 32 and 64 channels, 10 classes."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 32, 32, 3)), 16, 3)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        main = b.conv(b.conv(x, channels, 3, stride), channels, 3)
        skip = x if stride == 1 else b.conv(x, channels, 1, stride)
        x = b.add(skip, main)
    return b.graph([b.dense(b.reshape(b.mean(x), (1, 64)), 10)])


def autoencoder() -> Graph:
    """The shapes of MLPerf Tiny's anomaly detector: 640-128-128-128-128-8-128-128-128-128-640."""
    b = GraphBuilder()
    x = b.input((1, 640))
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        x = b.dense(x, units)
    return b.graph([x])


def inverted_bottleneck() -> Graph:
    """The block at the peak of MCUNet VWW: 40x40, 8 channels expanded to 48, stride 2, projected to 16."""
    b = GraphBuilder()
    x = b.conv(b.input((1, 80, 80, 3)), 8, 3, 2)
    return b.graph([b.conv(b.conv(b.conv(x, 48), 48, 3, 2), 16)])
