"""move_integers: data movement happens on the integers, above `dequantize` and below `quantize`.

Then every float operator sits directly between the two, which is what fuse_qdq looks for.
"""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType
from tinycompile.passes.rewriter import MOVES, Rewriter


def move_integers(graph: Graph) -> Graph:
    """A graph in which no `reshape` or `transpose` follows a `dequantize` or comes before a `quantize`."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        made = rewriter.made_by(op.inputs[0]) if op.inputs[0] else None
        if op.kind in MOVES and made is not None and made.kind == "dequantize":
            moved = rewriter.move_like(made.inputs[0], op, op)
            out = rewriter.emit("dequantize", [moved], made.attrs, made, dtype=DType.FLOAT32)
            rewriter.replace(op.outputs[0], out)
        elif op.kind in MOVES:
            rewriter.replace(op.outputs[0], rewriter.move_like(op.inputs[0], op, op))
        elif op.kind == "quantize" and made is not None and made.kind in MOVES:
            moves = []
            name = rewriter.current(op.inputs[0])
            while (move := rewriter.made_by(name)) is not None and move.kind in MOVES:
                moves.append(move)
                name = move.inputs[0]
            old = rewriter.tensor(op.outputs[0])
            out = rewriter.emit("quantize", [name], op.attrs, op, quant=old.quant, dtype=old.dtype)
            for move in reversed(moves):
                out = rewriter.move_like(out, move, op)
            rewriter.replace(op.outputs[0], out)
        else:
            rewriter.keep(op)
    return rewriter.finish()
