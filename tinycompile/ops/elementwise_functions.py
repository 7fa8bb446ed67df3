"""The functions of the `elementwise` operator: what each computes, on which types, in which header its kernels are.

A kernel is ``tc_elementwise_<function>_<type>`` (``tc_elementwise.h``, ``tc_elementwise_math.h``). Float functions are
defined as the nearest float32 to the exact value; kernels made of the C library's functions come within `ulp` of it.
Integers wrap, and a division by zero gives 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, erfc, pi, sqrt
from typing import Any

import numpy as np

from tinycompile.ir.graph import Array
from tinycompile.ir.types import DType

SUFFIX = {
    DType.FLOAT32: "f32",
    DType.BOOL: "bool",
    **{d: d.value.replace("uint", "u").replace("int", "s") for d in DType if d.is_integer},
}
FLOAT = frozenset({DType.FLOAT32})
UNSIGNED = frozenset({DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64})
SIGNED = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64})
INTEGER = SIGNED | UNSIGNED
NUMBER = FLOAT | INTEGER
BOOL = frozenset({DType.BOOL})
ANY = NUMBER | BOOL
PLAIN, MATH = "tc_elementwise", "tc_elementwise_math"


@dataclass(frozen=True)
class Function:
    """`compute` takes the operands and then the parameters, all of the operands' type; `types` are those of the last
    operand. `result`: the output's type, None for that of the last operand. `header`: where the float kernel is."""

    operands: int
    types: frozenset[DType]
    compute: Callable[..., Any]
    params: int = 0
    result: DType | None = None
    header: str = PLAIN
    ulp: int = 0

    def kernel_header(self, dtype: DType) -> str:
        """The header of the kernel for operands of `dtype`."""
        return self.header if dtype == DType.FLOAT32 else PLAIN


def _divide(a: Array, b: Array) -> Array:
    """Towards zero for integers."""
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    quotient = np.where(b == 0, 0, a // np.where(b == 0, 1, b)).astype(a.dtype)
    inexact = np.asarray(a - quotient * b != 0) & ((a < 0) != (b < 0)) & (b != 0)
    return np.asarray(quotient + inexact.astype(a.dtype))


def _whole_divisor(function: Callable[..., Any]) -> Callable[[Array, Array], Array]:
    """A remainder that is 0 for an integer divisor 0, and for -1, where NumPy's may trap."""

    def remainder(a: Array, b: Array) -> Array:
        if a.dtype.kind == "f":
            return np.asarray(function(a, b))
        no = (b == 0) | (b == -1) if a.dtype.kind == "i" else b == 0
        return np.where(no, 0, function(a, np.where(no, 1, b))).astype(a.dtype)

    return remainder


def _power(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(np.power(a, b))
    a, b = np.broadcast_arrays(a, b)
    whole = np.power(a, np.where(b < 0, 0, b).astype(a.dtype))
    reciprocal = np.where(a == 1, 1, np.where(a + 1 == 0, np.where(b % 2 == 0, 1, -1), 0))
    return np.where(b < 0, reciprocal, whole).astype(a.dtype)


def _shifted(shift: Callable[..., Any]) -> Callable[[Array, Array], Array]:
    """By less than 0, or by all bits or more, all bits leave; the sign fills those of a right shift."""

    def shifted(a: Array, b: Array) -> Array:
        bits = 8 * a.itemsize
        beyond = np.where(a < 0, -1, 0).astype(a.dtype) if shift is np.right_shift else np.zeros_like(a)
        return np.where((b >= 0) & (b < bits), shift(a, np.clip(b, 0, bits - 1)), beyond).astype(a.dtype)

    return shifted


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return np.vectorize(function, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0.0)


def _hard_sigmoid(x: Array, slope: Any, offset: Any) -> Array:
    return np.asarray(np.clip(slope * x + offset, 0.0, 1.0))


def _clip(x: Array, lo: Any, hi: Any) -> Array:
    return np.asarray(np.minimum(np.maximum(x, lo), hi))


def _shrink(x: Array, bound: Any, bias: Any) -> Array:
    return np.where(x < -bound, x + bias, np.where(x > bound, x - bias, 0.0))


def _cast(dtype: DType) -> Callable[[Array], Array]:
    """Integers wrap; floats round towards zero and saturate, NaN gives 0."""

    def cast(x: Array) -> Array:
        if x.dtype.kind != "f" or not dtype.is_integer:
            return np.asarray(x.astype(dtype.numpy))
        low, high = dtype.int_range
        inside = np.where((x < float(low)) | (x >= float(high + 1)) | np.isnan(x), 0.0, x).astype(dtype.numpy)
        ends = np.array([low, high], dtype=dtype.numpy)
        return np.where(x < float(low), ends[0], np.where(x >= float(high + 1), ends[1], inside))

    return cast


_MATH: dict[str, tuple[Callable[..., Any], int, int]] = {  # function of one operand, parameters, ULP
    "exp": (np.exp, 0, 2),
    "log": (np.log, 0, 2),
    "sqrt": (np.sqrt, 0, 0),
    "floor": (np.floor, 0, 0),
    "ceil": (np.ceil, 0, 0),
    "round": (np.rint, 0, 0),
    "sin": (np.sin, 0, 2),
    "cos": (np.cos, 0, 2),
    "tan": (np.tan, 0, 2),
    "asin": (np.arcsin, 0, 2),
    "acos": (np.arccos, 0, 2),
    "atan": (np.arctan, 0, 2),
    "sinh": (np.sinh, 0, 3),
    "cosh": (np.cosh, 0, 3),
    "tanh": (np.tanh, 0, 3),
    "asinh": (np.arcsinh, 0, 3),
    "acosh": (np.arccosh, 0, 3),
    "atanh": (np.arctanh, 0, 3),
    "erf": (_each(erf), 0, 2),
    "sigmoid": (_sigmoid, 0, 4),
    "softplus": (_softplus, 0, 4),
    "mish": (lambda x: x * np.tanh(_softplus(x)), 0, 8),
    "gelu": (_each(lambda x: 0.5 * x * erfc(-x / sqrt(2))), 0, 64),
    "gelu_tanh": (lambda x: x * _sigmoid(np.sqrt(8 / pi) * (x + 0.044715 * x**3)), 0, 256),
    "hard_swish": (lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5), 0, 256),
    "swish": (lambda x, alpha: x * _sigmoid(alpha * x), 1, 64),
    "hard_sigmoid": (_hard_sigmoid, 2, 256),
    "elu": (lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x), 1, 4),
    "selu": (lambda x, alpha, gamma: gamma * np.where(x < 0, alpha * np.expm1(x), x), 2, 4),
    "celu": (lambda x, alpha: np.where(x < 0, alpha * np.expm1(x / alpha), x), 1, 4),
}
_COMPARISONS = {
    "equal": np.equal,
    "less": np.less,
    "less_or_equal": np.less_equal,
    "greater": np.greater,
    "greater_or_equal": np.greater_equal,
}

FUNCTIONS: dict[str, Function] = {
    "add": Function(2, NUMBER, np.add),
    "sub": Function(2, NUMBER, np.subtract),
    "mul": Function(2, NUMBER, np.multiply),
    "div": Function(2, NUMBER, _divide),
    "min": Function(2, NUMBER, np.minimum),
    "max": Function(2, NUMBER, np.maximum),
    "mod": Function(2, NUMBER, _whole_divisor(np.mod), header=MATH, ulp=1),
    "fmod": Function(2, NUMBER, _whole_divisor(np.fmod), header=MATH),
    "pow": Function(2, NUMBER, _power, header=MATH, ulp=4),
    "prelu": Function(2, FLOAT | SIGNED, lambda a, b: np.where(a < 0, a * b, a)),
    "bit_and": Function(2, INTEGER, np.bitwise_and),
    "bit_or": Function(2, INTEGER, np.bitwise_or),
    "bit_xor": Function(2, INTEGER, np.bitwise_xor),
    "shift_left": Function(2, INTEGER, _shifted(np.left_shift)),
    "shift_right": Function(2, INTEGER, _shifted(np.right_shift)),
    "and": Function(2, BOOL, np.logical_and),
    "or": Function(2, BOOL, np.logical_or),
    "xor": Function(2, BOOL, np.logical_xor),
    **{k: Function(2, ANY if k == "equal" else NUMBER, f, result=DType.BOOL) for k, f in _COMPARISONS.items()},
    **{f"to_{s}": Function(1, ANY - {d}, _cast(d), result=d) for d, s in SUFFIX.items()},
    "where": Function(3, ANY, np.where),
    "relu": Function(1, FLOAT | SIGNED, lambda x: np.where(x < 0, 0, x)),
    "neg": Function(1, FLOAT | SIGNED, np.negative),
    "abs": Function(1, FLOAT | SIGNED, np.abs, header=MATH),
    "sign": Function(1, NUMBER, np.sign),
    "reciprocal": Function(1, FLOAT, lambda x: 1.0 / x),
    "softsign": Function(1, FLOAT, lambda x: x / (1.0 + np.abs(x)), ulp=1),
    "bit_not": Function(1, INTEGER, np.invert),
    "not": Function(1, BOOL, np.logical_not),
    "isnan": Function(1, FLOAT, np.isnan, result=DType.BOOL),
    "bits": Function(1, FLOAT, lambda x: x.astype(np.float32).view(np.uint32), result=DType.UINT32),
    "from_bits": Function(1, frozenset({DType.UINT32}), lambda x: x.view(np.float32), result=DType.FLOAT32),
    "isinf": Function(1, FLOAT, lambda x, lo, hi: (x <= lo) | (x >= hi), 2, DType.BOOL),
    "clip": Function(1, NUMBER, _clip, 2),
    "leaky_relu": Function(1, FLOAT, lambda x, alpha: np.where(x < 0, alpha * x, x), 1),
    "thresholded_relu": Function(1, FLOAT, lambda x, alpha: np.where(x > alpha, x, 0.0), 1),
    "shrink": Function(1, FLOAT, _shrink, 2),
    **{k: Function(1, FLOAT, f, p, header=MATH, ulp=ulp) for k, (f, p, ulp) in _MATH.items()},
}


def evaluate(name: str, operands: list[Array], params: tuple[int | float, ...]) -> Array:
    """The function of whole or broadcast operands, in the output's type."""
    function, dtype = FUNCTIONS[name], operands[-1].dtype
    values = [np.asarray(p, dtype=dtype) for p in params]
    with np.errstate(all="ignore"):
        if dtype == np.float32:
            wide = [v.astype(np.float64) if v.dtype == np.float32 else v for v in (*operands, *values)]
            result = np.asarray(function.compute(*wide))
        else:
            result = np.asarray(function.compute(*operands, *values))
        return result.astype(dtype if function.result is None else function.result.numpy)
