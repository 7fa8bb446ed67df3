"""Elementwise functions of any type: a table of ONNX operators, and those that need more than a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tinycompile.frontends.limits import checked_shape
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.construct import make_op
from tinycompile.ops.elementwise_functions import SUFFIX, evaluate
from tinycompile.ops.elementwise_operator import ElementwiseAttrs

# ONNX operator -> function; parameters are attributes with their default values.
_NAMED: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Abs": ("abs", ()),
    "Acos": ("acos", ()),
    "Acosh": ("acosh", ()),
    "And": ("and", ()),
    "Asin": ("asin", ()),
    "Asinh": ("asinh", ()),
    "Atan": ("atan", ()),
    "Atanh": ("atanh", ()),
    "BitwiseAnd": ("bit_and", ()),
    "BitwiseNot": ("bit_not", ()),
    "BitwiseOr": ("bit_or", ()),
    "BitwiseXor": ("bit_xor", ()),
    "Ceil": ("ceil", ()),
    "Celu": ("celu", (("alpha", 1.0),)),
    "Cos": ("cos", ()),
    "Cosh": ("cosh", ()),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Equal": ("equal", ()),
    "Erf": ("erf", ()),
    "Exp": ("exp", ()),
    "Floor": ("floor", ()),
    "Greater": ("greater", ()),
    "GreaterOrEqual": ("greater_or_equal", ()),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "IsNaN": ("isnan", ()),
    "Less": ("less", ()),
    "LessOrEqual": ("less_or_equal", ()),
    "Log": ("log", ()),
    "Mish": ("mish", ()),
    "Neg": ("neg", ()),
    "Not": ("not", ()),
    "Or": ("or", ()),
    "PRelu": ("prelu", ()),
    "Reciprocal": ("reciprocal", ()),
    "Round": ("round", ()),
    "Selu": ("selu", (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
    "Shrink": ("shrink", (("lambd", 0.5), ("bias", 0.0))),
    "Sign": ("sign", ()),
    "Sin": ("sin", ()),
    "Sinh": ("sinh", ()),
    "Softplus": ("softplus", ()),
    "Softsign": ("softsign", ()),
    "Sqrt": ("sqrt", ()),
    "Swish": ("swish", (("alpha", 1.0),)),
    "Tan": ("tan", ()),
    "ThresholdedRelu": ("thresholded_relu", (("alpha", 1.0),)),
    "Where": ("where", ()),
    "Xor": ("xor", ()),
}


def apply(b: Builder, n: SourceNode, name: str, operands: Sequence[Tensor], *params: int | float) -> Tensor:
    """An elementwise function of tensors; of constants at import."""
    attrs = ElementwiseAttrs(name, params)
    values = [t.data for t in operands if t.data is not None]
    if len(values) < len(operands):
        return b.emit(n, "elementwise", operands, attrs)
    _, out = make_op("elementwise", operands, attrs, n.loc, operands[0])
    checked_shape(out.shape, str(n))
    return b.add_constant(np.broadcast_to(evaluate(name, values, params), out.shape), f"{n.loc.node}/{name}", n)


def operands_of(b: Builder, n: SourceNode) -> list[Tensor]:
    """All inputs of the node."""
    return [b.tensor(n, k) for k in range(len(n.inputs))]


def number(b: Builder, n: SourceNode, value: float, dtype: DType = DType.FLOAT32) -> Tensor:
    """A constant of one element."""
    return b.add_constant(np.array(value, dtype=dtype.numpy), f"{n.loc.node}/{value:g}", n)


def power_of(b: Builder, n: SourceNode, x: Tensor, exponent: float) -> Tensor:
    """`x` to a constant power."""
    if exponent == 1:
        return x
    if exponent == 2:
        return apply(b, n, "mul", [x, x])
    return apply(b, n, "sqrt", [x]) if exponent == 0.5 else apply(b, n, "pow", [x, number(b, n, exponent)])


def _named(name: str, params: tuple[tuple[str, float], ...]) -> Callable[[Builder, SourceNode], Tensor]:
    def importer(b: Builder, n: SourceNode) -> Tensor:
        return apply(b, n, name, operands_of(b, n), *(n.real(key, default) for key, default in params))

    return importer


def _chain(name: str) -> Callable[[Builder, SourceNode], Value]:
    """A function of two operands over any number of them, from the left."""

    def importer(b: Builder, n: SourceNode) -> Value:
        result, *others = operands_of(b, n)
        for other in others:
            result = apply(b, n, name, [result, other])
        return result

    return importer


def mean(b: Builder, n: SourceNode) -> Tensor:
    total = _chain("add")(b, n)
    assert isinstance(total, Tensor)
    count = b.add_constant(np.array(len(n.inputs), dtype=np.float32), f"{n.loc.node}/count", n)
    return apply(b, n, "div", [total, count])


def mod(b: Builder, n: SourceNode) -> Tensor:
    return apply(b, n, "fmod" if n.integer("fmod", 0) else "mod", operands_of(b, n))


def bit_shift(b: Builder, n: SourceNode) -> Tensor:
    direction = n.text("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise n.unsupported(f"a shift of direction '{direction}'")
    return apply(b, n, "shift_left" if direction == "LEFT" else "shift_right", operands_of(b, n))


def swiglu(b: Builder, n: SourceNode) -> Tensor:
    x, gate = operands_of(b, n)
    return apply(b, n, "mul", [apply(b, n, "swish", [x], n.real("alpha", 1.0)), gate])


def gelu(b: Builder, n: SourceNode) -> Tensor:
    approximate = n.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise n.unsupported(f"Gelu of approximation '{approximate}'")
    return apply(b, n, "gelu" if approximate == "none" else "gelu_tanh", operands_of(b, n))


def is_inf(b: Builder, n: SourceNode) -> Tensor:
    low = -math.inf if n.integer("detect_negative", 1) else math.nan
    high = math.inf if n.integer("detect_positive", 1) else math.nan
    return apply(b, n, "isinf", operands_of(b, n), low, high)


def to_type(b: Builder, n: SourceNode, x: Tensor, dtype: DType) -> Tensor:
    """`x` in another type: integers wrap, floats round towards zero and saturate."""
    return x if x.dtype == dtype else apply(b, n, f"to_{SUFFIX[dtype]}", [x])


def power(b: Builder, n: SourceNode) -> Tensor:
    """The result has the base's type. An exponent of another type is brought to it, where no value can be lost."""
    base, exponent = operands_of(b, n)
    if base.dtype == exponent.dtype:
        return apply(b, n, "pow", [base, exponent])
    if base.dtype == DType.FLOAT32:
        return apply(b, n, "pow", [base, to_type(b, n, exponent, base.dtype)])
    wide, values = DType.INT64, b.known(exponent)
    if exponent.dtype == DType.FLOAT32 and values is not None and np.all(values == np.rint(np.clip(values, -1e9, 1e9))):
        exponent = b.add_constant(values.astype(np.int64), f"{exponent.name}/whole", n)
    if DType.UINT64 in (base.dtype, exponent.dtype) or exponent.dtype == DType.FLOAT32:
        raise n.unsupported(f"{base.dtype.value} to the power of {exponent.dtype.value}", "cast the exponent")
    return to_type(b, n, apply(b, n, "pow", [to_type(b, n, base, wide), to_type(b, n, exponent, wide)]), base.dtype)


FUNCTIONS: dict[str, Callable[[Builder, SourceNode], Value]] = {
    **{kind: _named(*what) for kind, what in _NAMED.items()},
    "BitShift": bit_shift,
    "Gelu": gelu,
    "IsInf": is_inf,
    "Max": _chain("max"),
    "Mean": mean,
    "Min": _chain("min"),
    "Mod": mod,
    "Pow": power,
    "Sum": _chain("add"),
    "SwiGLU": swiglu,
}
