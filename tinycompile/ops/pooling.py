"""What average and maximum pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Need, Operator
from tinycompile.ops.elementwise import ACTIVATIONS, integer_unsupported
from tinycompile.ops.float_layers import Clamp, float_unsupported, is_float
from tinycompile.ops.geometry import Padding, Pair, tile_padding, window_need, windowed_shape


@dataclass(frozen=True)
class PoolAttrs(Attrs):
    """`pad` is (top, bottom, left, right); `clamp` the activation's range in quantised output units, of floats in real
    ones."""

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Padding = (0, 0, 0, 0)
    clamp: Clamp = None
    dilation: Pair = (1, 1)


class Pool(Operator):
    """A window over a map, each channel by itself."""

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        a = node.attrs
        channels = node.tensor(0).form.channels
        return windowed_shape(node, a.kernel, a.stride, node.attrs.dilation, a.pad, channels), node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        return float_unsupported(node) if is_float(node) else integer_unsupported(node, ACTIVATIONS)

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        a = node.attrs
        return (window_need(node, out, a.kernel, a.stride, node.attrs.dilation, a.pad),)

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        pad = tile_padding(needs)
        return None if pad is None else replace(node.attrs, pad=pad)

    def window_consts(self, node: Node, out: Region) -> tuple[tuple[str, int], ...]:
        """The kernel parameters that both poolings begin with, for one row of `out`."""
        need = self.in_region(node, out)[0]
        assert need is not None
        return (
            ("in_w", need.region.cols),
            ("ch", node.out.form.channels),
            ("out_w", out.cols),
            ("kernel_h", node.attrs.kernel[0]),
            ("kernel_w", node.attrs.kernel[1]),
            ("stride_w", node.attrs.stride[1]),
            ("pad_left", need.left),
        )
