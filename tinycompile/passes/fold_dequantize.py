"""fold_dequantize: integer constants that no integer operator took become the floats that they stand for.

After `fuse_qdq`: what is left computes in float32 (weights stored as integers, activations in float).
"""

from __future__ import annotations

import numpy as np

from tinycompile.ir.graph import Graph
from tinycompile.passes.rewriter import Rewriter


def fold_dequantize(graph: Graph) -> Graph:
    """A graph without `dequantize` of constants."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        source = rewriter.tensor(op.inputs[0]) if op.kind == "dequantize" else None
        if source is None or source.data is None or source.quant is None:
            rewriter.keep(op)
            continue
        along = [1] * len(source.shape)
        if source.quant.axis is not None:
            along[source.quant.axis] = -1
        scale = np.array(source.quant.scale, dtype=np.float32).reshape(along)
        zero_point = np.array(source.quant.zero_point, dtype=np.int64).reshape(along)
        values = (source.data.astype(np.int64) - zero_point).astype(np.float32) * scale
        rewriter.replace(op.outputs[0], rewriter.constant(values, None, op.outputs[0]))
    return rewriter.finish()
