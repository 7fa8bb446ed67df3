"""table_function: an int8 function of one value, by name: LiteRT tabulates it in float32, or requantises it (abs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.float_table import FloatTableOperator

F32 = NDArray[np.float32]
ONE, HALF = np.float32(1.0), np.float32(0.5)
LOWEST = np.float32(-1e30)  # instead of no number and of minus infinity: below any output


def _rounded(function: Callable[..., Any], x: F32) -> F32:
    """A function of the C library to the nearest float32."""
    return np.asarray(function(x.astype(np.float64))).astype(np.float32)


def _log(x: F32) -> F32:
    return np.where(x > 0, _rounded(np.log, np.where(x > 0, x, ONE)), LOWEST)


def _gelu(x: F32) -> F32:
    return np.asarray(HALF * x * _rounded(np.vectorize(erfc), x * np.float32(-sqrt(0.5))))


def _gelu_tanh(x: F32) -> F32:
    inner = np.float32(sqrt(2.0 / pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(HALF * x * (ONE + _rounded(np.tanh, inner)))


def _elu(x: F32) -> F32:
    return np.where(x < 0, _rounded(np.exp, np.minimum(x, 0)) - ONE, x)


FUNCTIONS: dict[str, Callable[[F32], F32]] = {
    "elu": _elu,
    "exp": lambda x: _rounded(np.exp, x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "log": _log,
}


@dataclass(frozen=True)
class TableFunctionAttrs(Attrs):
    """A name in `FUNCTIONS`, or "abs"."""

    function: str = "abs"


class TableFunction(FloatTableOperator):
    kind = "table_function"
    attrs_class = TableFunctionAttrs

    def real(self, node: Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore"):
            return FUNCTIONS[node.attrs.function](x)

    def int16_call(self, node: Node, elems: int) -> None:
        return None

    def values(self, node: Node, x: NDArray[np.int64]) -> NDArray[np.int64]:
        if node.attrs.function != "abs":
            return super().values(node, x)
        (s_x, zp_x), (s_y, zp_y) = tensor_quant(node, node.tensor(0)), tensor_quant(node, node.out)
        pair = quantize_multiplier(float(np.float32(s_x) / np.float32(s_y)))
        return np.clip(multiply_by_quantized_multiplier(np.abs(x - zp_x), *pair) + zp_y, -128, 127)
