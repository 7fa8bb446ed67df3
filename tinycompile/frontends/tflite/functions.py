"""Functions and reductions of floats, comparisons and logic: tables of the operators `elementwise` and `reduce`.

Integers that stand for real numbers are refused where LiteRT computes on them in a way that no operator here has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinycompile.frontends.tflite.builder import Builder, Importer
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.frontends.tflite.selection import axis_in, reshaped
from tinycompile.ir.graph import Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.binary import BinaryAttrs
from tinycompile.ops.clip import ClipAttrs
from tinycompile.ops.cumsum import CumsumAttrs
from tinycompile.ops.elementwise_functions import SUFFIX
from tinycompile.ops.elementwise_operator import ElementwiseAttrs
from tinycompile.ops.reduce import ReduceAttrs, arrangement
from tinycompile.ops.table_function import TableFunctionAttrs
from tinycompile.ops.transpose import TransposeAttrs

Function = Callable[[Builder, SourceOp, list[Tensor]], Tensor]
_FLOAT, _WHOLE = frozenset({DType.FLOAT32}), frozenset({DType.INT32, DType.INT64})
_NUMBER, _BOOL = _FLOAT | _WHOLE, frozenset({DType.BOOL})
_NO_ACTIVATION = "use a separate activation operator"


def _checked(b: Builder, op: SourceOp, tensors: Sequence[Tensor], types: frozenset[DType]) -> None:
    """Refuses types that the operator has no function for, and every scale."""
    wrong = sorted({t.dtype.value for t in tensors if t.dtype not in types or t.quant is not None})
    if wrong:
        raise b.unsupported(
            op,
            f"type {', '.join(wrong)}, quantised or not",
            f"compute it in {', '.join(sorted(d.value for d in types))}",
        )


def apply(
    b: Builder,
    op: SourceOp,
    function: str,
    *operands: Tensor,
    params: tuple[float, ...] = (),
    quant: Quant | None = None,
) -> Tensor:
    return b.step(op, "elementwise", ElementwiseAttrs(function, params), *operands, quant=quant)


def number(b: Builder, op: SourceOp, value: float) -> Tensor:
    """A float constant of one element."""
    return b.constant(op, np.array(value, dtype=np.float32))


def to_type(b: Builder, op: SourceOp, x: Tensor, dtype: DType, quant: Quant | None = None) -> Tensor:
    """`x` as another type; the integers of that then have the scale `quant`."""
    return x if x.dtype == dtype else apply(b, op, f"to_{SUFFIX[dtype]}", x, quant=quant)


def _named(function: str, count: int, types: frozenset[DType] = _FLOAT, params: tuple[float, ...] = ()) -> Importer:
    """One function of `count` operands of one of `types`."""
    return _made_of(lambda b, op, given: apply(b, op, function, *given, params=params), count, types)


def _made_of(make: Function, count: int, types: frozenset[DType] = _FLOAT) -> Importer:
    def importer(b: Builder, op: SourceOp) -> None:
        operands = [b.tensor(op, k) for k in range(count)]
        _checked(b, op, operands, types)
        b.give(op, make(b, op, operands))

    return importer


def _tabulated(function: str) -> Importer:
    """A function of one float, or of int8 as LiteRT has it."""

    def importer(b: Builder, op: SourceOp) -> None:
        x = b.tensor(op, 0)
        if x.dtype == DType.INT8:
            b.emit(op, "table_function", TableFunctionAttrs(function), (x,), b.output(op))
        else:
            _named(function, 1, params=(1.0,) if function == "elu" else ())(b, op)

    return importer


def _of_int8(kind: str, otherwise: Importer) -> Importer:
    """An operator of two int8 tensors that LiteRT computes in its own way."""

    def importer(b: Builder, op: SourceOp) -> None:
        if b.tensor(op, 0).dtype == DType.FLOAT32:
            otherwise(b, op)
        else:
            b.emit(op, kind, BinaryAttrs(), (b.tensor(op, 0), b.tensor(op, 1)), b.output(op))

    return importer


def _square(b: Builder, op: SourceOp, x: Tensor) -> Tensor:
    return apply(b, op, "mul", x, x)


def _squared_difference(b: Builder, op: SourceOp, given: list[Tensor]) -> Tensor:
    return _square(b, op, apply(b, op, "sub", *given))


def _extreme(function: str) -> Importer:
    """The larger or smaller of two: of int8 too, where all have one scale."""

    def importer(b: Builder, op: SourceOp) -> None:
        first, second, out = b.tensor(op, 0), b.tensor(op, 1), b.output(op)
        if first.dtype != DType.INT8 or not first.quant == second.quant == out.quant:
            _checked(b, op, [first, second], _NUMBER)
        b.give(op, apply(b, op, function, first, second))

    return importer


def gelu(b: Builder, op: SourceOp) -> None:
    (approximate,) = b.options(op, "GeluOptions", "Approximate")
    _tabulated("gelu_tanh" if approximate else "gelu")(b, op)


def div(b: Builder, op: SourceOp) -> None:
    (activation,) = b.options(op, "DivOptions", "FusedActivationFunction")
    operands, clamp = [b.tensor(op, 0), b.tensor(op, 1)], b.clamp(op, activation, b.output(op))
    _checked(b, op, operands, _FLOAT)
    quotient = apply(b, op, "div", *operands)
    b.give(op, quotient if clamp is None else b.step(op, "clip", ClipAttrs(*clamp), quotient))


def select(b: Builder, op: SourceOp) -> None:
    """SELECT takes whole rows by a vector of conditions, which SELECT_V2 broadcasts like any operand. What they choose
    from may be int8 of one scale."""
    condition, first, second = (b.tensor(op, k) for k in range(3))
    _checked(b, op, [condition], _BOOL)
    if first.dtype != DType.INT8 or not first.quant == second.quant == b.output(op).quant:
        _checked(b, op, [first, second], _NUMBER | _BOOL)
    if op.builtin == "SELECT" and (first.shape != second.shape or condition.shape not in ((), first.shape)):
        raise b.unsupported(op, "operands of different shapes", "use SELECT_V2")
    b.give(op, apply(b, op, "where", condition, first, second, quant=first.quant))


def cast(b: Builder, op: SourceOp) -> None:
    x, out = b.tensor(op, 0), b.output(op)
    _checked(b, op, [x, out], frozenset(SUFFIX))
    b.give(op, to_type(b, op, x, out.dtype))


def reduce(b: Builder, op: SourceOp, function: str, x: Tensor, axes: set[int], keep: bool = True) -> Tensor:
    """A reduction over `axes`, which stay with size 1 where they are kept."""
    if not axes:
        return x
    perm, first, end = arrangement(x.shape, axes)
    moved = x if perm == tuple(range(len(perm))) else b.step(op, "transpose", TransposeAttrs(perm), x)
    result = b.step(op, "reduce", ReduceAttrs(function, first, end), moved)
    return reshaped(b, op, result, [1 if a in axes else d for a, d in enumerate(x.shape) if keep or a not in axes])


def _reduction(function: str, types: frozenset[DType] = _FLOAT) -> Importer:
    """Extremes of int8 too, where the output has the input's scale."""

    def importer(b: Builder, op: SourceOp) -> None:
        (keep,) = b.options(op, "ReducerOptions", "KeepDims")
        x, out = b.tensor(op, 0), b.output(op)
        if x.dtype != DType.INT8 or function not in ("max", "min") or x.quant != out.quant:
            _checked(b, op, [x], types)
        axes = {axis_in(b, op, a, len(x.shape)) for a in b.integers(op, 1)}
        b.give(op, reduce(b, op, function, x, axes, bool(keep)))

    return importer


def _place(function: str) -> Importer:
    """Of int8 too, whatever its scale."""

    def importer(b: Builder, op: SourceOp) -> None:
        x, axes = b.tensor(op, 0), b.integers(op, 1)
        if x.dtype != DType.INT8:
            _checked(b, op, [x], _FLOAT)
        if len(axes) != 1:
            raise b.malformed(op, f"axes {axes}")
        place = reduce(b, op, function, x, {axis_in(b, op, axes[0], len(x.shape))}, keep=False)
        b.give(op, to_type(b, op, place, b.output(op).dtype))

    return importer


def cumsum(b: Builder, op: SourceOp) -> None:
    exclusive, backwards = b.options(op, "CumsumOptions", "Exclusive", "Reverse")
    x, axes = b.tensor(op, 0), b.integers(op, 1)
    _checked(b, op, [x], _NUMBER)
    if len(axes) != 1:
        raise b.malformed(op, f"axes {axes}")
    axis = axis_in(b, op, axes[0], len(x.shape))
    b.give(op, b.step(op, "cumsum", CumsumAttrs(axis, bool(exclusive), bool(backwards)), x))


def l2_normalization(b: Builder, op: SourceOp) -> None:
    """Along the last axis, by a norm of at least 1e-6."""
    (activation,) = b.options(op, "L2NormOptions", "FusedActivationFunction")
    x = b.tensor(op, 0)
    _checked(b, op, [x], _FLOAT)
    if activation:
        raise b.unsupported(op, "a fused activation", _NO_ACTIVATION)
    norm = apply(b, op, "sqrt", reduce(b, op, "sum", _square(b, op, x), {axis_in(b, op, -1, len(x.shape))}))
    b.give(op, apply(b, op, "div", x, apply(b, op, "max", norm, number(b, op, 1e-6))))


def _log_softmax(b: Builder, op: SourceOp, given: list[Tensor]) -> Tensor:
    (x,) = given
    last = {axis_in(b, op, -1, len(x.shape))}
    centred = apply(b, op, "sub", x, reduce(b, op, "max", x, last))
    total = reduce(b, op, "sum", apply(b, op, "exp", centred), last)
    return apply(b, op, "sub", centred, apply(b, op, "log", total))


def add_n(b: Builder, op: SourceOp) -> None:
    given = [b.tensor(op, k) for k in range(len(op.inputs))]
    _checked(b, op, given, _FLOAT)
    if len(given) < 2 or any(x.shape != given[0].shape for x in given):
        raise b.malformed(op, f"a sum of {len(given)} tensors, or of different shapes")
    total = given[0]
    for x in given[1:]:
        total = apply(b, op, "add", total, x)
    b.give(op, total)


FUNCTIONS: dict[str, Importer] = {
    "ABS": _tabulated("abs"),
    "ADD_N": add_n,
    "ARG_MAX": _place("argmax"),
    "ARG_MIN": _place("argmin"),
    "CAST": cast,
    "CEIL": _named("ceil", 1),
    "COS": _named("cos", 1),
    "CUMSUM": cumsum,
    "DIV": div,
    "ELU": _tabulated("elu"),
    "EQUAL": _named("equal", 2, _NUMBER | _BOOL),
    "EXP": _tabulated("exp"),
    "FLOOR": _named("floor", 1),
    "FLOOR_DIV": _made_of(lambda b, op, x: apply(b, op, "floor", apply(b, op, "div", *x)), 2),
    "FLOOR_MOD": _named("mod", 2, _NUMBER),
    "GELU": gelu,
    "GREATER": _named("greater", 2, _NUMBER),
    "GREATER_EQUAL": _named("greater_or_equal", 2, _NUMBER),
    "L2_NORMALIZATION": l2_normalization,
    "LESS": _named("less", 2, _NUMBER),
    "LESS_EQUAL": _named("less_or_equal", 2, _NUMBER),
    "LOG": _tabulated("log"),
    "LOGICAL_AND": _named("and", 2, _BOOL),
    "LOGICAL_NOT": _named("not", 1, _BOOL),
    "LOGICAL_OR": _named("or", 2, _BOOL),
    "LOG_SOFTMAX": _made_of(_log_softmax, 1),
    "MAXIMUM": _extreme("max"),
    "MINIMUM": _extreme("min"),
    "NEG": _named("neg", 1),
    "NOT_EQUAL": _made_of(lambda b, op, x: apply(b, op, "not", apply(b, op, "equal", *x)), 2, _NUMBER | _BOOL),
    "POW": _named("pow", 2),
    "PRELU": _of_int8("prelu", _named("prelu", 2)),
    "REDUCE_ALL": _reduction("min", _BOOL),
    "REDUCE_ANY": _reduction("max", _BOOL),
    "REDUCE_MAX": _reduction("max"),
    "REDUCE_MIN": _reduction("min"),
    "REDUCE_PROD": _reduction("prod"),
    "ROUND": _named("round", 1),
    "RSQRT": _made_of(lambda b, op, x: apply(b, op, "reciprocal", apply(b, op, "sqrt", *x)), 1),
    "SELECT": select,
    "SELECT_V2": select,
    "SIGN": _named("sign", 1),
    "SIN": _named("sin", 1),
    "SQRT": _named("sqrt", 1),
    "SQUARE": _made_of(lambda b, op, x: _square(b, op, *x), 1),
    "SQUARED_DIFFERENCE": _of_int8("squared_difference", _made_of(_squared_difference, 2)),
    "SUM": _reduction("sum"),
}
