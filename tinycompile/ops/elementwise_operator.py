"""elementwise: a function of one to three operands, element by element, with NumPy broadcasting of them.

Operands are given to the kernels in their order, with a step per pixel and per channel (0 where they are broadcast);
constants among them as arrays. What does not broadcast by rows, columns and channels is expanded by a pass before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, RowWindow
from tinycompile.ops.elementwise import Broadcast, broadcast_shape, row_broadcast
from tinycompile.ops.elementwise_functions import FUNCTIONS, SUFFIX, evaluate


@dataclass(frozen=True)
class ElementwiseAttrs(Attrs):
    """`function`: a name in `FUNCTIONS`. `params`: its parameters, exact in the operands' type."""

    function: str = "add"
    params: tuple[int | float, ...] = ()


def own_parts(node: Node, k: int) -> tuple[bool, bool, bool] | None:
    """Whether operand `k` has rows, columns and channels of its own; None when it does not broadcast by these."""
    tensor, form = node.tensor(k), node.out.form
    own = row_broadcast(tensor, node.out)
    if own is None:
        return None
    sizes = tuple(size if has else 1 for has, size in zip(own, (form.rows, form.width, form.channels), strict=True))
    fits = tensor.is_const or sizes == (tensor.form.rows, tensor.form.width, tensor.form.channels)
    return own if fits else None


class Elementwise(Broadcast):
    kind = "elementwise"
    attrs_class = ElementwiseAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        function, last = FUNCTIONS[node.attrs.function], node.tensor(len(node.inputs) - 1).dtype
        types = [t.dtype for t in node.inputs if t is not None]
        expected = [DType.BOOL, last, last] if node.attrs.function == "where" else [last] * function.operands
        if last not in function.types or types != expected:
            raise UnsupportedError(
                f"{node.attrs.function} of types {', '.join(t.value for t in types)}",
                str(node.op.source),
                "cast the operands to one type that the operator has a kernel for",
            )
        return broadcast_shape(node), function.result or last

    def unsupported(self, node: Node) -> str | None:
        for k in range(len(node.inputs)):
            if own_parts(node, k) is None:
                return f"broadcasting {list(node.tensor(k).shape)} to {list(node.out.shape)}"
        return None

    def _own(self, node: Node, k: int) -> tuple[bool, bool, bool]:
        own = own_parts(node, k)
        assert own is not None
        return own

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        operands = [self._const_part(node, k, out) if x is None else x for k, x in enumerate(inputs)]
        shape = (out.rows, out.cols, node.out.form.channels)
        return np.broadcast_to(evaluate(node.attrs.function, operands, node.attrs.params), shape)

    def in_place(self, node: Node) -> tuple[int, ...]:
        """Other element types of the same bytes only where they are bytes: these may alias anything in C."""
        out = node.out.dtype
        return tuple(
            k for k in node.activations if self._full(node, k) and (node.tensor(k).dtype == out or out.itemsize == 1)
        )

    def ulp(self, node: Node) -> int:
        function, last = FUNCTIONS[node.attrs.function], node.tensor(len(node.inputs) - 1)
        return function.ulp if last.dtype == DType.FLOAT32 else 0

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        function, dtype = FUNCTIONS[node.attrs.function], node.tensor(len(node.inputs) - 1).dtype
        flat, form = self.grain(node) is Grain.FLAT, node.out.form
        pixels = out.rows * out.cols if flat else out.cols
        windows: list[RowWindow] = []
        arrays: list[ConstArray] = []
        arguments: list[tuple[str, int]] = []
        steps: list[tuple[int, int]] = []
        for k in range(len(node.inputs)):
            rows, columns, channels = self._own(node, k)
            name = f"in{len(windows)}"
            pitch = 0
            if node.tensor(k).is_const:
                name = f"operand{k}"
                data = np.ascontiguousarray(self._const_part(node, k, Region(0, form.rows, out.x0, out.x1)))
                arrays.append(ConstArray(name, data))
                pitch = int(data[0].size) if rows and form.rows > 1 else 0
            else:
                windows.append(RowWindow(k, stride=1 if rows or form.rows == 1 else 0))
            own_channels = form.channels if channels else 1
            pixel_step = own_channels if columns or (flat and self._full(node, k)) else 0
            arguments.append((name, pitch))
            steps.append((pixel_step, int(channels)))
        if node.attrs.params:
            arrays.append(ConstArray("params", np.array(node.attrs.params, dtype=dtype.numpy)))
            arguments.append(("params", 0))
        consts: tuple[tuple[str, int], ...] = (("pixels", pixels), ("ch", form.channels))
        if function.operands == 1:
            consts = (("elems", pixels * form.channels),)
        elif all(s in ((0, 0), (form.channels, 1)) for s in steps):  # the whole run as one long pixel
            consts = (("pixels", 1), ("ch", pixels * form.channels))
            steps = [(0, s) for _, s in steps]
        if function.operands > 1:
            named = (((f"pixel_step{k}", p), (f"ch_step{k}", c)) for k, (p, c) in enumerate(steps))
            consts = (*consts, *(pair for both in named for pair in both))
        return (
            KernelCall(
                f"tc_elementwise_{node.attrs.function}_{SUFFIX[dtype]}",
                tuple(windows),
                tuple(arrays),
                consts,
                row_index=any(pitch for _, pitch in arguments),
                include=f"{function.kernel_header(dtype)}.h",
                arguments=tuple(arguments),
            ),
        )
