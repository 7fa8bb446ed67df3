"""transpose: any permutation of the dimensions, of elements of any size. Needs its whole input: a barrier to
streaming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole

FEW_LOOPS, MAX_LOOPS = 4, 8


@dataclass(frozen=True)
class TransposeAttrs(Attrs):
    """Output dimension d is input dimension ``perm[d]``."""

    perm: tuple[int, ...] = ()


class Transpose(Operator):
    kind = "transpose"
    attrs_class = TransposeAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, perm = node.tensor(0), node.attrs.perm
        if sorted(perm) != list(range(len(x.shape))):
            raise ShapeError(
                f"permutation {list(perm)} of a tensor of shape {list(x.shape)}",
                str(node.op.source),
                "name each dimension once",
            )
        return tuple(x.shape[p] for p in perm), x.dtype

    def _loops(self, node: Node) -> tuple[list[tuple[int, int]], int]:
        """Loops (count, input byte stride) from the outermost, and the bytes copied as one block at the innermost.

        Dimensions of size 1 drop out and neighbours that stay neighbours merge.
        """
        x = node.tensor(0)
        strides = [x.dtype.itemsize] * len(x.shape)
        for d in range(len(x.shape) - 2, -1, -1):
            strides[d] = strides[d + 1] * x.shape[d + 1]
        loops: list[tuple[int, int]] = []
        for p in node.attrs.perm:
            if x.shape[p] == 1:
                continue
            if loops and loops[-1][1] == strides[p] * x.shape[p]:
                loops[-1] = (loops[-1][0] * x.shape[p], strides[p])
            else:
                loops.append((x.shape[p], strides[p]))
        block = x.dtype.itemsize
        if loops and loops[-1][1] == block:
            block *= loops.pop()[0]
        return loops, block

    def unsupported(self, node: Node) -> str | None:
        loops, _ = self._loops(node)
        return f"transpose that needs {len(loops)} loops (at most {MAX_LOOPS})" if len(loops) > MAX_LOOPS else None

    def view(self, node: Node) -> int | None:
        return 0 if not self._loops(node)[0] else None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (Need(whole(node.tensor(0))),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x, form = inputs[0], node.out.form
        assert x is not None
        y = np.transpose(x.reshape(node.tensor(0).shape), node.attrs.perm)
        return y.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        loops, block = self._loops(node)
        few = len(loops) <= FEW_LOOPS
        padded = [(1, 0)] * ((FEW_LOOPS if few else MAX_LOOPS) - len(loops)) + loops
        consts = [c for i, (n, stride) in enumerate(padded) for c in ((f"n{i}", n), (f"stride{i}", stride))]
        window = RowWindow(0, whole=True)
        kernel = "tc_transpose" if few else "tc_transpose8"
        return (KernelCall(kernel, (window,), (), (*consts, ("block", block)), element="uint8_t"),)
