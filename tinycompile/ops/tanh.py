"""tanh: the hyperbolic tangent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ops.float_table import FloatTableOperator


class Tanh(FloatTableOperator):
    kind = "tanh"

    def real(self, node: Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.tanh(x.astype(np.float64)).astype(np.float32))
