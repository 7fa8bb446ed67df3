"""fold_dequantize: integer constants that no integer operator took become the floats that they stand for.

After `fuse_qdq`: what is left computes in float32 (weights stored as integers, activations in float).
"""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.ops.dequantize import real_values
from tinycompile.passes.rewriter import Rewriter


def fold_dequantize(graph: Graph) -> Graph:
    """A graph without `dequantize` of constants."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        source = rewriter.tensor(op.inputs[0]) if op.kind == "dequantize" else None
        if source is None or source.data is None or source.quant is None:
            rewriter.keep(op)
            continue
        rewriter.replace(op.outputs[0], rewriter.constant(real_values(source), None, op.outputs[0]))
    return rewriter.finish()
