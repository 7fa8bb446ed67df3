"""move_integers: data movement happens on the integers, above `dequantize` and below `quantize`.

Then every float operator sits directly between the two, which is what fuse_qdq looks for.
"""

from __future__ import annotations

from dataclasses import replace

from tinycompile.ir.graph import Graph, Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.pad import PadAttrs
from tinycompile.passes.rewriter import MOVES, Rewriter

# Their output says in which order the values are, and that is the order of their integers.
ORDERED = ("max_pool2d_places",)


def _integer_pad(x: Tensor, attrs: PadAttrs) -> PadAttrs | None:
    """A float padding as one of the quantised tensor `x`; None when its value has no exact counterpart there."""
    if x.quant is None or x.quant.per_channel:
        return None
    scale, zero_point = x.quant.scalar()
    stored = attrs.value / scale + zero_point
    lo, hi = x.dtype.int_range
    return replace(attrs, value=int(stored)) if stored.is_integer() and lo <= stored <= hi else None


def move_integers(graph: Graph) -> Graph:
    """A graph in which no `reshape` or `transpose` follows a `dequantize` or comes before a `quantize`, and no `pad` or
    operator that only orders values follows a `dequantize`."""
    rewriter = Rewriter(graph)
    for op in graph.ops:
        made = rewriter.made_by(op.inputs[0]) if op.inputs[0] else None
        if op.kind in MOVES and made is not None and made.kind == "dequantize":
            moved = rewriter.move_like(made.inputs[0], op, op)
            out = rewriter.emit("dequantize", [moved], made.attrs, made, dtype=DType.FLOAT32)
            rewriter.replace(op.outputs[0], out)
        elif (
            op.kind == "pad"
            and made is not None
            and made.kind == "dequantize"
            and isinstance(op.attrs, PadAttrs)
            and (attrs := _integer_pad(rewriter.tensor(made.inputs[0]), op.attrs)) is not None
        ):
            x = rewriter.tensor(made.inputs[0])
            padded = rewriter.emit("pad", [x.name], attrs, op, quant=x.quant, dtype=x.dtype)
            out = rewriter.emit("dequantize", [padded], made.attrs, made, dtype=DType.FLOAT32)
            rewriter.replace(op.outputs[0], out)
        elif (
            op.kind in ORDERED
            and made is not None
            and made.kind == "dequantize"
            and rewriter.tensor(made.inputs[0]).dtype == DType.INT8
        ):
            rewriter.emit(
                op.kind, made.inputs, op.attrs, op, dtype=rewriter.tensor(op.outputs[0]).dtype, name=op.outputs[0]
            )
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
