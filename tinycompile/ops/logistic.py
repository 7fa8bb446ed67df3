"""logistic (sigmoid): ``1 / (1 + exp(-x))``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Node
from tinycompile.ops.float_table import FloatTableOperator


class Logistic(FloatTableOperator):
    kind = "logistic"

    def real(self, node: Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
        exponential = np.exp(-np.clip(x.astype(np.float64), -80.0, 80.0)).astype(np.float32)
        return np.asarray(np.float32(1.0) / (np.float32(1.0) + exponential))
