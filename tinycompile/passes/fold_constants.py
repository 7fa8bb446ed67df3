"""fold_constants: quantisation and movement of constants happen at compile time.

`dequantize` of a constant stays: fuse_qdq takes the integers behind it. Movement passes through it.
"""

from __future__ import annotations

import numpy as np

from tinycompile.errors import QuantError
from tinycompile.ir.graph import Array, Graph, Node
from tinycompile.ir.quant import Quant
from tinycompile.passes.rewriter import MOVES, Rewriter


def _quantized(node: Node, quant: Quant) -> Array:
    """The constant in the output's quantisation: divided in float32, halves to even (ONNX QuantizeLinear)."""
    data = node.const(0)
    if not np.all(np.isfinite(data)):
        raise QuantError("a constant that is not finite is quantised", str(node.op.source), "check the model's weights")
    broadcast = [1] * data.ndim
    if quant.axis is not None:
        broadcast[quant.axis] = -1
    scale = np.array(quant.scale, dtype=np.float32).reshape(broadcast)
    zero_point = np.array(quant.zero_point, dtype=np.int64).reshape(broadcast)
    low, high = node.out.dtype.int_range
    with np.errstate(over="ignore"):
        ratio = (data / scale).astype(np.float64)
    return np.clip(np.rint(np.clip(ratio, -(2.0**40), 2.0**40)) + zero_point, low, high).astype(node.out.dtype.numpy)


def fold_constants(graph: Graph) -> Graph:
    """A graph without `quantize`, `reshape` or `transpose` of constants."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        node = rewriter.node(op)
        if op.kind in MOVES:
            rewriter.replace(op.outputs[0], rewriter.move_like(op.inputs[0], op, op))
        elif op.kind == "quantize" and node.tensor(0).is_const and node.out.quant is not None:
            data = _quantized(node, node.out.quant)
            rewriter.replace(op.outputs[0], rewriter.constant(data, node.out.quant, op.outputs[0]))
        else:
            rewriter.keep(op)
    return rewriter.finish()
