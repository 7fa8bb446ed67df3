"""Logistic function and hyperbolic tangent. LiteRT tabulates int8 in float32, ``round(f(s_x * (q - zp_x)) / s_y) +
zp_y`` for each input; int16 it interpolates, in Q0.15, which is requantised for other output scales (ONNX)."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ir.types import DType
from tinycompile.ops.base import ConstArray, KernelCall, RowWindow
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.interpolation import SIGMOID, sigmoid
from tinycompile.ops.table import TableOperator

FAR = 1024.0  # beyond any output, whatever its zero point
_UNITS = 3 * 4096.0  # of the interpolation, in 1
_Q15 = 2.0**-15
_LARGEST_FACTOR = 32767.0


class FloatTableOperator(TableOperator):
    """LiteRT ``PopulateLookupTable``; any output quantisation. `tangent`: which of the two functions it is."""

    tangent: ClassVar[bool]

    @abc.abstractmethod
    def real(self, node: Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The function, each operation rounded to float32 as LiteRT's code does. Transcendental functions are taken in
        double precision and rounded, so that the table does not depend on a machine's float32 routines."""

    def unsupported(self, node: Node) -> str | None:
        x = node.tensor(0)
        if x.dtype == DType.INT16 and x.quant is not None and tensor_quant(node, x)[0] * _UNITS > _LARGEST_FACTOR:
            return f"{self.kind} of int16 values with a scale above {_LARGEST_FACTOR / _UNITS:.1f}"
        return super().unsupported(node)

    def _input_factor(self, node: Node) -> tuple[int, int]:
        """Factor and right shift from the input to the interpolation's units (LiteRT ``SigmoidPrepare``)."""
        real, shift = tensor_quant(node, node.tensor(0))[0] * _UNITS, 0
        while real <= _LARGEST_FACTOR / 2 and shift <= 30:
            real, shift = real * 2, shift + 1
        return int(real), shift

    def int16_call(self, node: Node, elems: int) -> KernelCall | None:
        factor, right = self._input_factor(node)
        s_y, _ = tensor_quant(node, node.out)
        multiplier, shift = quantize_multiplier(_Q15 / s_y)
        consts = (
            ("elems", elems),
            ("tangent", int(self.tangent)),
            ("in_multiplier", factor),
            ("in_shift", right),
            ("rescale", int(s_y != _Q15)),
            ("multiplier", multiplier),
            ("shift", shift),
        )
        return KernelCall("tc_sigmoid_s16", (RowWindow(0),), (ConstArray("table", SIGMOID.astype(np.uint16)),), consts)

    def _int16_values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        factor, right = self._input_factor(node)
        y = sigmoid((x * factor + ((1 << right) >> 1)) >> right, self.tangent)
        s_y, _ = tensor_quant(node, node.out)
        return (
            y
            if s_y == _Q15
            else np.clip(
                multiply_by_quantized_multiplier(y, *quantize_multiplier(_Q15 / s_y)), *node.out.dtype.int_range
            )
        )

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        if node.tensor(0).dtype == DType.INT16:
            return self._int16_values(node, x)
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        real = np.float32(s_x) * (x - zp_x).astype(np.float32)
        scaled = self.real(node, real).astype(np.float64) * float(np.float32(1.0) / np.float32(s_y))
        scaled = np.clip(scaled, -FAR, FAR).astype(np.float32).astype(np.float64)
        rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
        return np.asarray(np.clip(rounded.astype(np.int64) + zp_y, -128, 127))
