"""insert_qdq: a prepared float graph with `quantize` and `dequantize` around every operator of integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Array, Attrs, Graph, Op, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.quantize import QuantizeAttrs
from tinycompile.passes.function_tables import is_uniform
from tinycompile.passes.fuse_qdq import BINARY, LAYERS
from tinycompile.passes.rewriter import MOVES
from tinycompile.quantize.ranges import quant_of_range, stored_values, symmetric_quant
from tinycompile.quantize.scheme import Scheme, is_wide

STORED, REAL, RAW = "/stored", "/real", "/raw"


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """int8 weights of a layer in the IR's layout, with their scales (one per output channel), and the float bias that
    is stored as int32 at scale s_x * s_w; None for no bias."""

    values: NDArray[np.int8]
    quant: Quant
    bias: NDArray[np.float32] | None


class _Inserter:
    def __init__(self, graph: Graph, scheme: Scheme, quants: Mapping[str, Quant]) -> None:
        self.graph, self.scheme, self.quants = graph, scheme, quants
        self.moved = {op.outputs[0] for op in graph.ops if op.kind in MOVES and op.outputs[0] in scheme.integer}
        self.ops: list[Op] = []
        self.tensors: dict[str, Tensor] = {}

    def add(self, kind: str, x: str, attrs: Attrs, like: Op, out: Tensor) -> None:
        self.tensors[out.name] = out
        self.ops.append(Op(kind, out.name, (x,), (out.name,), attrs, like.source))

    def store(self, name: str, raw: str, like: Op) -> None:
        """`raw` through integers and back; the name of a network output stays that of its final value."""
        tensor, quant = self.graph.tensors[name], self.quants[self.scheme.stored[name]]
        stored = Tensor(f"{name}{STORED}", tensor.shape, self.scheme.dtype(name), quant)
        real = Tensor(self.real(name), tensor.shape, DType.FLOAT32)
        self.add("quantize", raw, QuantizeAttrs(half_even=True), like, stored)
        self.add("dequantize", stored.name, Attrs(), like, real)

    def real(self, name: str) -> str:
        """What integer readers of a stored tensor read: moves of a `dequantize` are moves of its integers."""
        output = name in self.scheme.integer and name in self.graph.outputs
        return name if output or name in self.moved else f"{name}{REAL}"

    def constant(self, data: Array, quant: Quant, wish: str, like: Op) -> str:
        """The real values of an integer constant."""
        stored = const_tensor(f"{wish}{STORED}", data, quant)
        self.tensors[stored.name] = stored
        self.add("dequantize", stored.name, Attrs(), like, Tensor(f"{wish}{REAL}", stored.shape, DType.FLOAT32))
        return f"{wish}{REAL}"

    def operand(self, op: Op, k: int) -> str:
        """Constant operand `k` of an addition or a product."""
        tensor = self.graph.tensors[op.inputs[k]]
        assert tensor.data is not None
        if is_uniform(tensor):
            return tensor.name
        extremes, dtype = (float(tensor.data.min()), float(tensor.data.max())), DType.INT8
        quant = quant_of_range(*extremes)
        if is_wide(op, self.scheme):
            dtype, quant = DType.INT16, symmetric_quant(*extremes)
        return self.constant(stored_values(quant, tensor.data, dtype), quant, f"{op.outputs[0]}/operand{k}", op)

    def layer(self, op: Op, x: str, weights: LayerWeights) -> tuple[str, ...]:
        """The inputs of a layer."""
        names = [x, self.constant(weights.values, weights.quant, f"{op.outputs[0]}/weights", op)]
        if weights.bias is not None:
            s_x, _ = self.quants[self.scheme.stored[op.inputs[0]]].scalar()
            scales = np.float32(s_x) * np.array(weights.quant.scale, dtype=np.float32)
            stored = np.rint(weights.bias.astype(np.float64) / scales).astype(np.int32)
            quant = Quant(tuple(float(s) for s in scales), (0,) * scales.size, 0)
            names.append(self.constant(stored, quant, f"{op.outputs[0]}/bias", op))
        return tuple(names)

    def inputs(self, op: Op, weights: Mapping[str, LayerWeights]) -> tuple[str, ...]:
        """What the operator reads now: values that went through integers where it computes in them, or nothing else is
        there."""
        integer, names = op.outputs[0] in self.scheme.integer, list(op.inputs)
        for k, name in enumerate(op.inputs):
            if name in self.scheme.stored and (integer or name in self.scheme.integer):
                names[k] = self.real(name)
            elif integer and op.kind in BINARY and self.graph.tensors[name].is_const:
                names[k] = self.operand(op, k)
        if integer and op.kind in LAYERS:
            return self.layer(op, names[0], weights[op.outputs[0]])
        return tuple(names)


def insert_qdq(graph: Graph, scheme: Scheme, quants: Mapping[str, Quant], weights: Mapping[str, LayerWeights]) -> Graph:
    """The graph of the same ports in which integer operators stand between `dequantize` and `quantize`.

    `quants`: for each tensor that stands for a scale (`Scheme.stored`); `weights`: by the output of each int8 layer.
    """
    made = _Inserter(graph, scheme, quants)
    consumers = graph.consumers()
    for port in graph.inputs:
        if port in scheme.stored:
            made.store(port, port, consumers[port][0])
    for op in graph.ops:
        out = op.outputs[0]
        stored = out in scheme.stored and out not in made.moved
        raw = f"{out}{RAW}" if stored and made.real(out) == out else out
        made.tensors[raw] = replace(graph.tensors[out], name=raw)
        made.ops.append(replace(op, inputs=made.inputs(op, weights), outputs=(raw,), name=raw))
        if stored:
            made.store(out, raw, op)
    return graph.rebuild(made.ops, made.tensors.values())
