"""split_dequantize: every reader of a dequantised tensor gets a `dequantize` of its own.

The source formats share them. Once they are apart, each is a pure annotation of its one reader, so that data movement can
pass it for one reader without disturbing the others.
"""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType
from tinycompile.passes.rewriter import Rewriter


def split_dequantize(graph: Graph) -> Graph:
    """A graph in which a `dequantize` output is read by one op at most."""
    rewriter = Rewriter(graph)
    read: set[str] = set(graph.outputs)
    for op in graph.ops:
        for name in dict.fromkeys(op.inputs):
            made = rewriter.made_by(name) if name else None
            if made is None or made.kind != "dequantize":
                continue
            original = made.outputs[0]
            if original in read:
                rewriter.replace(name, rewriter.emit("dequantize", made.inputs, made.attrs, made, dtype=DType.FLOAT32))
            read.add(rewriter.current(name))
        rewriter.keep(op)
    for port in graph.outputs:
        rewriter.restore(port)
    return rewriter.finish()
