"""What operators that treat every pixel alike share: one input pixel to one output pixel, or broadcasts of it."""

from __future__ import annotations

import abc
from collections.abc import Collection, Sequence

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.types import DType, Region, row_parts
from tinycompile.ops.base import Grain, Need, Operator

ACTIVATIONS = (DType.INT8, DType.INT16)
"""Types of quantised activations."""


def integer_unsupported(node: Node, types: Collection[DType] = (DType.INT8,)) -> str | None:
    """Why an elementwise kernel of integers, all of one of `types`, cannot run this node, or None. int16 has zero point
    0 where it has a scale."""
    tensors = [t for t in (*node.inputs, *node.outputs) if t is not None]
    found = {t.dtype for t in tensors}
    if DType.FLOAT32 in found:
        return "float32 compute has no kernel: quantise the model to int8"
    if len(found) > 1 or not found <= set(types):
        wanted = " or ".join(t.value for t in types)
        return f"type {', '.join(sorted(t.value for t in found))}: only {wanted} has a kernel"
    if DType.INT16 in found and any(t.quant is not None and any(t.quant.zero_point) for t in tensors):
        return "int16 with a zero point that is not 0"
    return None


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


class Broadcast(Operator):
    """Operands that each have the output's rows, columns and channels, or one of these for all."""

    @abc.abstractmethod
    def _own(self, node: Node, k: int) -> tuple[bool, bool, bool]:
        """Whether operand `k` has rows, columns and channels of its own."""

    def _full(self, node: Node, k: int) -> bool:
        return node.tensor(k).elems == node.out.elems

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        needs: list[Need | None] = []
        for k in range(len(node.inputs)):
            if node.tensor(k).is_const:
                needs.append(None)
                continue
            rows, columns, _ = self._own(node, k)
            y = (out.y0, out.y1) if rows else (0, 1)
            x = (out.x0, out.x1) if columns else (0, 1)
            needs.append(Need(Region(*y, *x)))
        return tuple(needs)

    def _const_part(self, node: Node, k: int, out: Region) -> Array:
        """What region `out` needs of the constant operand `k`, in row form, with 1 where it is broadcast."""
        rows, columns, channels = self._own(node, k)
        form = node.out.form
        full = node.const(k).reshape(
            form.rows if rows else 1, form.width if columns else 1, form.channels if channels else 1
        )
        part: Array = full[
            slice(out.y0, out.y1) if rows else slice(None), slice(out.x0, out.x1) if columns else slice(None)
        ]
        return part

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        attrs: Attrs = node.attrs
        fixed = (k for k in range(len(node.inputs)) if node.tensor(k).is_const)
        return None if any(any(self._own(node, k)[:2]) for k in fixed) else attrs

    def grain(self, node: Node) -> Grain:
        for k in range(len(node.inputs)):
            rows, columns, _ = self._own(node, k)
            if not self._full(node, k) and (rows or columns or not node.tensor(k).is_const):
                return Grain.ROW
            if node.tensor(k).is_const and rows:
                return Grain.ROW
        return Grain.FLAT
