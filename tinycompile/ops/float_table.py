"""int8 functions that LiteRT tabulates in float32: ``round(f(s_x * (q - zp_x)) / s_y) + zp_y`` for each input."""

from __future__ import annotations

import abc

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.table import TableOperator

FAR = 1024.0  # beyond any output, whatever its zero point


class FloatTableOperator(TableOperator):
    """LiteRT ``PopulateLookupTable``; any output quantisation."""

    @abc.abstractmethod
    def real(self, node: Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The function, each operation rounded to float32 as LiteRT's code does. Transcendental functions are taken in
        double precision and rounded, so that the table does not depend on a machine's float32 routines."""

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        real = np.float32(s_x) * (x - zp_x).astype(np.float32)
        scaled = self.real(node, real).astype(np.float64) * float(np.float32(1.0) / np.float32(s_y))
        scaled = np.clip(scaled, -FAR, FAR).astype(np.float32).astype(np.float64)
        rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
        return np.asarray(np.clip(rounded.astype(np.int64) + zp_y, -128, 127))
