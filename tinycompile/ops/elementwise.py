"""What operators that treat every pixel alike share: one input pixel to one output pixel, or broadcasts of it."""

from __future__ import annotations

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Node, Tensor
from tinycompile.ir.types import DType, Region, row_parts
from tinycompile.ops.base import Need


def int8_unsupported(node: Node) -> str | None:
    """Why an int8 elementwise kernel cannot run this node, or None."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    if any(t.dtype == DType.FLOAT32 for t in tensors):
        return "float32 compute has no kernel: quantise the model to int8"
    wrong = sorted({t.dtype.value for t in tensors if t.dtype != DType.INT8})
    return f"type {', '.join(wrong)}: only int8 has a kernel" if wrong else None


def same_region(node: Node, out: Region) -> tuple[Need | None, ...]:
    """The same pixels of input 0; nothing of the other inputs."""
    return (Need(out), *(None for _ in node.inputs[1:]))


def broadcast_shape(node: Node) -> tuple[int, ...]:
    """NumPy broadcasting of the inputs' shapes; ShapeError when they do not fit."""
    shapes = [t.shape for t in node.inputs if t is not None]
    rank = max(len(s) for s in shapes)
    result = []
    for dims in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        sizes = {d for d in dims if d != 1}
        if len(sizes) > 1:
            raise ShapeError(
                f"{node.op.kind}: shapes {' and '.join(str(list(s)) for s in shapes)} do not broadcast",
                str(node.op.source),
                "make the operands' shapes equal or 1 in each dimension",
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def row_broadcast(tensor: Tensor, out: Tensor) -> tuple[bool, bool, bool] | None:
    """Whether `tensor` has (rows, columns, channels) of its own against `out`'s row form; None when the broadcast is
    no product of the three (some leading dimension is 1 and another is not)."""
    padded = (1,) * (len(out.shape) - len(tensor.shape)) + tensor.shape
    form, (begin, end) = out.form, row_parts(out.shape)

    def own(dims: slice, size: int) -> bool | None:
        if padded[dims] == out.shape[dims]:
            return size > 1
        return False if all(d == 1 for d in padded[dims]) else None

    rows, columns = own(slice(begin), form.rows), own(slice(begin, end), form.width)
    channels = own(slice(end, None), form.channels)
    return None if rows is None or columns is None or channels is None else (rows, columns, channels)
