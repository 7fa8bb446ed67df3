"""split_dequantize: every reader of a dequantised tensor gets a `dequantize` of its own.

The source formats share them. Once they are apart, each is a pure annotation of its one reader, so that data movement
can pass it for one reader without disturbing the others.
"""

from __future__ import annotations

from dataclasses import replace

from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType
from tinycompile.passes.rewriter import Rewriter


def split_dequantize(graph: Graph) -> Graph:
    """A graph in which a `dequantize` output is read by one op at most."""
    rewriter = Rewriter(graph)
    taken: set[str] = set(graph.outputs)

    def own(name: str) -> str:
        made = rewriter.made_by(name) if name else None
        if made is None or made.kind != "dequantize":
            return name
        if name in taken:
            return rewriter.emit("dequantize", made.inputs, made.attrs, made, dtype=DType.FLOAT32)
        taken.add(name)
        return name

    for op in graph.ops:
        renamed = {name: own(name) for name in dict.fromkeys(op.inputs)}
        rewriter.keep(replace(op, inputs=tuple(renamed[name] for name in op.inputs)))
    return rewriter.finish()
