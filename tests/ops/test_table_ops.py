"""int8 functions of one value: every one of the 256 inputs, at many scales, against LiteRT's reference kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from litert_models import run_litert, single_op_model
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.types import DType
from tinycompile.ops.base import Operator
from tinycompile.ops.clip import Clip, ClipAttrs
from tinycompile.ops.hard_swish import HardSwish
from tinycompile.ops.leaky_relu import LeakyRelu, LeakyReluAttrs
from tinycompile.ops.logistic import Logistic
from tinycompile.ops.lookup import Lookup, LookupAttrs
from tinycompile.ops.requantize import Requantize
from tinycompile.ops.table_function import FUNCTIONS, TableFunction, TableFunctionAttrs
from tinycompile.ops.tanh import Tanh

SHAPE = (1, 4, 8, 8)
EVERY = np.arange(-128, 128).astype(np.int8).reshape(SHAPE)
SCALES = [0.001, 0.0078125, 0.02, 0.05, 0.0836, 0.1, 0.25, 0.5, 1.0]


def node(
    operator: Operator,
    x: tuple[float, int],
    y: tuple[float, int],
    attrs: Attrs | None = None,
    types: tuple[DType, DType] = (DType.INT8, DType.INT8),
) -> Node:
    out = activation("y", SHAPE, *y, dtype=types[1])
    return make_node(operator, (activation("x", SHAPE, *x, dtype=types[0]),), out, attrs or Attrs())


def cases() -> list[Case]:
    byte = (DType.UINT8, DType.INT8)
    return [
        Case("logistic", Logistic(), node(Logistic(), (0.05, 3), (1 / 256, -128))),
        Case("logistic_onnx", Logistic(), node(Logistic(), (0.05, 3), (0.0041, -120))),
        Case("tanh", Tanh(), node(Tanh(), (0.02, -7), (1 / 128, 0))),
        Case("hard_swish", HardSwish(), node(HardSwish(), (0.05, 3), (0.04, -100))),
        Case("leaky_relu", LeakyRelu(), node(LeakyRelu(), (0.05, 3), (0.04, -10), LeakyReluAttrs(0.2))),
        Case("relu6", Clip(), node(Clip(), (0.05, 3), (0.03, -128), ClipAttrs(0.0, 6.0))),
        Case(
            "lookup",
            Lookup(),
            node(Lookup(), (0.05, 3), (0.3, 7), LookupAttrs(tuple(k * k % 251 - 128 for k in range(256)))),
        ),
        *(
            Case(name, TableFunction(), node(TableFunction(), (0.04, 3), (0.03, -9), TableFunctionAttrs(name)))
            for name in ("abs", *FUNCTIONS)
        ),
        Case("requantize", Requantize(), node(Requantize(), (0.05, 3), (0.03, -10))),
        Case("requantize_u8_s8", Requantize(), node(Requantize(), (0.05, 131), (0.05, 3), types=byte)),
        Case("requantize_s8_u8", Requantize(), node(Requantize(), (0.05, 3), (0.06, 131), types=byte[::-1])),
    ]


def check(n: Node, builtin: str, options: str = "", version: int = 2, **fields: object) -> None:
    got = OPERATORS[n.op.kind].reference(n, [EVERY])
    want = run_litert(single_op_model(builtin, n.inputs, n.out, options, version, **fields), [EVERY])
    np.testing.assert_array_equal(got, want)
    assert len(np.unique(want)) > 1


OPERATORS: dict[str, Operator] = {
    o.kind: o for o in (Logistic(), Tanh(), HardSwish(), LeakyRelu(), Clip(), Requantize(), TableFunction())
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero_point", [-128, -5, 0, 77, 127])
def test_logistic_equals_litert(scale: float, zero_point: int) -> None:
    check(node(Logistic(), (scale, zero_point), (1 / 256, -128)), "LOGISTIC")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("zero_point", [-128, -5, 0, 77, 127])
def test_tanh_equals_litert(scale: float, zero_point: int) -> None:
    check(node(Tanh(), (scale, zero_point), (1 / 128, 0)), "TANH")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("factor", "zero_point"), [(0.3, -100), (1.0, -28), (2.0, 3)])
def test_hard_swish_equals_litert(scale: float, factor: float, zero_point: int) -> None:
    n = node(HardSwish(), (scale, zero_point), (scale * factor, -zero_point - 1))
    check(n, "HARD_SWISH", version=1)


@pytest.mark.parametrize(("builtin", "approximate"), [("ABS", 0), ("EXP", 0), ("LOG", 0), ("GELU", 0), ("GELU", 1)])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("factor", "zero_point"), [(0.3, -100), (1.0, -28), (2.0, 3)])
def test_functions_by_name_equal_litert(
    builtin: str, approximate: int, scale: float, factor: float, zero_point: int
) -> None:
    attrs = TableFunctionAttrs(builtin.lower() + "_tanh" * approximate)
    if builtin in ("EXP", "LOG"):
        factor, zero_point = (0.1 / scale, -100) if builtin == "EXP" else (0.03 / scale, -28)
    n = node(TableFunction(), (scale, zero_point), (scale * factor, -zero_point - 1), attrs)
    options = {"options": "GeluOptions", "approximate": bool(approximate)} if builtin == "GELU" else {}
    check(n, builtin, version=1, **options)


@pytest.mark.parametrize("scale", SCALES)
def test_elu_equals_litert(scale: float) -> None:
    """Whose reference kernels have none."""
    n = node(TableFunction(), (scale, -7), (scale * 0.7, 11), TableFunctionAttrs("elu"))
    model = single_op_model("ELU", n.inputs, n.out, version=1)
    want = run_litert(model, [EVERY], "BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    np.testing.assert_array_equal(TableFunction().reference(n, [EVERY]), want)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.99, 0.0])
@pytest.mark.parametrize(("scale", "out"), [(0.05, 0.05), (0.1, 0.03), (0.02, 0.2)])
def test_leaky_relu_equals_litert(scale: float, out: float, alpha: float) -> None:
    n = node(LeakyRelu(), (scale, -9), (out, 11), LeakyReluAttrs(alpha))
    check(n, "LEAKY_RELU", "LeakyReluOptions", alpha=alpha)


@pytest.mark.parametrize(
    ("builtin", "attrs"),
    [("RELU", ClipAttrs(0.0, math.inf)), ("RELU6", ClipAttrs(0.0, 6.0)), ("RELU_N1_TO_1", ClipAttrs(-1.0, 1.0))],
)
@pytest.mark.parametrize(("scale", "out"), [(0.05, 0.05), (0.1, 0.03), (0.02, 0.2)])
def test_clip_equals_litert(builtin: str, attrs: ClipAttrs, scale: float, out: float) -> None:
    check(node(Clip(), (scale, -9), (out, -20), attrs), builtin, version=1 if builtin == "RELU_N1_TO_1" else 2)


@pytest.mark.parametrize(("x", "y"), [((0.05, 3), (0.03, -10)), ((0.02, -128), (0.3, 5)), ((0.5, 0), (0.001, 0))])
def test_requantize_equals_litert(x: tuple[float, int], y: tuple[float, int]) -> None:
    check(node(Requantize(), x, y), "QUANTIZE")


@pytest.mark.parametrize("types", [(DType.UINT8, DType.INT8), (DType.INT8, DType.UINT8)])
def test_requantize_of_bytes_equals_litert(types: tuple[DType, DType]) -> None:
    shift = {DType.UINT8: 128, DType.INT8: 0}
    n = node(Requantize(), (0.05, 3 + shift[types[0]]), (0.05, 3 + shift[types[1]]), types=types)
    x = np.arange(256).astype(np.uint8).view(types[0].numpy).reshape(SHAPE)
    want = run_litert(single_op_model("QUANTIZE", n.inputs, n.out), [x])
    np.testing.assert_array_equal(Requantize().reference(n, [x]), want)
    assert len(np.unique(want)) == 256


def test_functions_with_other_output_scales_are_the_rounded_real_function() -> None:
    for operator, function in ((Logistic(), lambda v: 1 / (1 + np.exp(-v))), (Tanh(), np.tanh)):
        n = node(operator, (0.05, 3), (0.0083, -7))
        real = function((EVERY.astype(float) - 3) * float(np.float32(0.05))) / float(np.float32(0.0083)) - 7
        got = operator.reference(n, [EVERY]).astype(float)
        assert np.abs(got - np.clip(real, -128, 127)).max() <= 0.5 + 1e-6


def test_a_negative_slope_is_unsupported() -> None:
    n = node(LeakyRelu(), (0.05, 0), (0.05, 0), LeakyReluAttrs(-0.5))
    assert "slope" in (LeakyRelu().unsupported(n) or "")
