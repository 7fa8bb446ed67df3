"""square_plus: ``x * x + bias`` of floats, an operator that tinycompile does not have.

In ONNX the node SquarePlus of domain ``com.example``, with an attribute `bias`; in TFLite the custom operator
SquarePlus, whose bias is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.tflite.builder import Builder as TfliteBuilder
from tinycompile.frontends.tflite.reader import SourceOp
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import ConstArray, Grain, KernelCall, Need, Operator, RowWindow
from tinycompile.ops.extensions import Extension


@dataclass(frozen=True)
class SquarePlusAttrs(Attrs):
    bias: float = 0.0


class SquarePlus(Operator):
    kind = "square_plus"
    attrs_class = SquarePlusAttrs

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        return node.tensor(0).shape, node.tensor(0).dtype

    def unsupported(self, node: Node) -> str | None:
        return None if node.tensor(0).dtype == DType.FLOAT32 else "only float32 has a kernel"

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (Need(out),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        x = inputs[0]
        assert x is not None
        return np.asarray(x * x + np.float32(node.attrs.bias))

    def in_place(self, node: Node) -> tuple[int, ...]:
        return (0,)

    def grain(self, node: Node) -> Grain:
        return Grain.FLAT

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        bias = ConstArray("bias", np.array([node.attrs.bias], dtype=np.float32))
        values = out.rows * out.cols * node.out.form.channels
        return (KernelCall("tc_square_plus_f32", (RowWindow(0),), (bias,), (("n", values),)),)


def from_onnx(b: Builder, n: SourceNode) -> Value:
    return b.emit(n, SquarePlus.kind, [b.real(n, 0)], SquarePlusAttrs(n.real("bias", 0.0)))


def from_tflite(b: TfliteBuilder, op: SourceOp) -> None:
    b.emit(op, SquarePlus.kind, SquarePlusAttrs(), (b.tensor(op, 0),), b.output(op))


EXTENSION = Extension(
    operators=(SquarePlus(),),
    headers=(Path(__file__).parent / "tc_square_plus_f32.h",),
    onnx={("com.example", "SquarePlus"): from_onnx},
    tflite={"SquarePlus": from_tflite},
)
