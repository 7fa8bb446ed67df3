"""add and subtract: LiteRT's int8 kernel; both operands shifted left by 20, scaled to a common scale, added,
rescaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import Region
from tinycompile.ops.base import DSP, GENERIC, MVE, KernelCall, Variant
from tinycompile.ops.binary import Binary
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.dsp_output import dsp_stage_fits

LEFT_SHIFT = 20


@dataclass(frozen=True)
class AddAttrs(Attrs):
    """`subtract`: first operand minus second."""

    subtract: bool = False
    clamp: tuple[float, float] | None = None


class Add(Binary):
    kind = "add"
    attrs_class = AddAttrs
    kernel = "tc_add_s8"

    def _multipliers(self, node: Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
        """Multiplier and shift of the first operand, the second, and the output."""
        s_a, s_b = tensor_quant(node, node.tensor(0))[0], tensor_quant(node, node.tensor(1))[0]
        s_y, _ = tensor_quant(node, node.out)
        twice_max = 2.0 * max(s_a, s_b)
        return (
            quantize_multiplier(s_a / twice_max),
            quantize_multiplier(s_b / twice_max),
            quantize_multiplier(twice_max / ((1 << LEFT_SHIFT) * s_y)),
        )

    def combine(self, node: Node, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        m_a, m_b, m_y = self._multipliers(node)
        scaled_a = multiply_by_quantized_multiplier(a << LEFT_SHIFT, *m_a)
        scaled_b = multiply_by_quantized_multiplier(b << LEFT_SHIFT, *m_b)
        total = scaled_a - scaled_b if node.attrs.subtract else scaled_a + scaled_b
        return np.asarray(multiply_by_quantized_multiplier(total, *m_y) + tensor_quant(node, node.out)[1])

    def _plain(self, node: Node) -> bool:
        """Whether both operands are maps of the output's shape, made at run time."""
        return len(node.activations) == 2 and all(node.tensor(k).shape == node.out.shape for k in (0, 1))

    def variants(self, node: Node) -> tuple[Variant, ...]:
        multipliers = self._multipliers(node)
        if not self._plain(node) or any(shift > 0 for _, shift in multipliers):
            return (GENERIC,)
        multiplier, shift = multipliers[2]
        most = sum((255 << LEFT_SHIFT) * m >> 31 - s for m, s in multipliers[:2]) + 2
        fits = shift < 0 and dsp_stage_fits(most, multiplier, -shift, tensor_quant(node, node.out)[1])
        return (MVE, DSP, GENERIC) if fits else (MVE, GENERIC)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        (call,) = super().calls(node, out, variant)
        if variant == GENERIC.name:
            return (call,)
        consts = dict(call.consts)
        elems = consts.pop("pixels") * consts.pop("ch")
        if variant == DSP.name:
            consts["multiplier"], consts["shift"] = 2 * consts["multiplier"] - (1 << 32), -consts["shift"]
        kept = ((name, value) for name, value in consts.items() if "_step" not in name)
        return (KernelCall(f"tc_add_s8_{variant}", call.inputs, (), (("elems", elems), *kept)),)

    def numbers(self, node: Node, first: int) -> tuple[tuple[str, int], ...]:
        multipliers = self._multipliers(node)
        numbers: list[tuple[str, int]] = []
        for position, k in enumerate((first, 1 - first)):
            multiplier, shift = multipliers[k]
            numbers += [
                (f"zero_point{position}", tensor_quant(node, node.tensor(k))[1]),
                (f"multiplier{position}", multiplier),
                (f"shift{position}", shift),
                (f"sign{position}", -1 if node.attrs.subtract and k == 1 else 1),
            ]
        multiplier, shift = multipliers[2]
        _, zero_point = tensor_quant(node, node.out)
        return (*numbers, ("multiplier", multiplier), ("shift", shift), ("out_zero_point", zero_point))
