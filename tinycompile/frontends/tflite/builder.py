"""The graph under construction: checked access to an operator's tensors and options, LiteRT's padding and ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinycompile.errors import MalformedModelError, QuantError, ShapeError, UnsupportedError
from tinycompile.frontends.limits import Budget, checked_activation, checked_shape, selection_budget
from tinycompile.frontends.naming import UniqueNames
from tinycompile.frontends.tflite.reader import SourceModel, SourceOp, read_options
from tinycompile.ir.graph import Array, Attrs, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.clip import quantized_range
from tinycompile.ops.construct import constant_result, make_op
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.reshape import ReshapeAttrs

AS_FLOATS = "Integer weights of dynamic range quantisation are stored as float32, and their layers computed in float."
EXPORT_AGAIN = "export the model again"
Padding = tuple[int, int, int, int]
# ActivationFunctionType -> real bounds.
_ACTIVATIONS = {1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
_SAME, _VALID = 0, 1
_MAX_FOLDED = 1024  # elements; shape arithmetic needs a handful


@dataclass
class Builder:
    """`tensors` are by file index, None for types that no operator supports; folded results replace them. `as_floats`:
    whether float layers with integer weights are computed in float; `notes`: what the report says of operators."""

    path: Path
    model: SourceModel
    tensors: list[Tensor | None]
    names: UniqueNames
    as_floats: bool = False
    notes: dict[int, str] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    extra: list[Tensor] = field(default_factory=list)
    indices: Budget = field(default_factory=selection_budget)

    def tensors_by_name(self) -> dict[str, Tensor]:
        return {t.name: t for t in (*self.tensors, *self.extra) if t is not None}

    def where(self, op: SourceOp) -> str:
        return f"{self.path}, operator {op.index} ({op.builtin})"

    def malformed(self, op: SourceOp, what: str) -> MalformedModelError:
        return MalformedModelError(what, self.where(op), EXPORT_AGAIN)

    def bad_shape(self, op: SourceOp, what: str) -> ShapeError:
        return ShapeError(what, self.where(op), EXPORT_AGAIN)

    def unsupported(self, op: SourceOp, what: str, fix: str) -> UnsupportedError:
        return UnsupportedError(what, self.where(op), fix)

    def has(self, op: SourceOp, position: int) -> bool:
        return position < len(op.inputs) and op.inputs[position] >= 0

    def tensor(self, op: SourceOp, position: int) -> Tensor:
        """Input `position`, which must be present."""
        if not self.has(op, position):
            raise self.malformed(op, f"input {position} is missing")
        tensor = self.tensors[op.inputs[position]]
        assert tensor is not None  # the importer refuses such operators first
        return tensor

    def half(self, op: SourceOp, position: int) -> Array | None:
        """Data of a float16 constant, None when the input is anything else."""
        return self.model.tensors[op.inputs[position]].half if self.has(op, position) else None

    def output(self, op: SourceOp) -> Tensor:
        """The one output."""
        if len(op.outputs) != 1:
            raise self.malformed(op, f"{len(op.outputs)} outputs, expected one")
        tensor = self.tensors[op.outputs[0]]
        assert tensor is not None
        return tensor

    def const(self, op: SourceOp, position: int) -> Array:
        """Data of a constant input."""
        data = self.tensor(op, position).data
        if data is None:
            raise self.unsupported(op, f"input {position} is computed at run time", "make it a constant of the model")
        return data

    def integers(self, op: SourceOp, position: int) -> list[int]:
        """A short constant list of integers: axes, a permutation, begins and ends."""
        data = self.const(op, position)
        if data.dtype.kind != "i" or data.ndim > 1 or data.size > 64:
            raise self.malformed(op, f"input {position} is no short list of integers")
        return [int(v) for v in data.reshape(-1)]

    def options(self, op: SourceOp, name: str, *getters: str) -> tuple[Any, ...]:
        return read_options(op, name, self.path, *getters)

    def source(self, op: SourceOp, name: str) -> SourceLoc:
        return SourceLoc(op.builtin, f"{op.index} {name}", self.notes.get(op.index, ""))

    def emit(self, op: SourceOp, kind: str, attrs: Attrs, inputs: Sequence[Tensor | None], out: Tensor) -> None:
        names = tuple("" if t is None else t.name for t in inputs)
        name = self.names.take(f"{op.builtin}_{op.index}")
        self.ops.append(Op(kind, name, names, (out.name,), attrs, self.source(op, out.name)))

    def move(self, op: SourceOp, kind: str, attrs: Attrs) -> None:
        """An operator that copies values of input 0: LiteRT never looks at the scales, so they must agree."""
        x, out = self.tensor(op, 0), self.output(op)
        if x.quant != out.quant:
            raise self.other_scales(op)
        self.emit(op, kind, attrs, (x,), out)

    def step(self, op: SourceOp, kind: str, attrs: Attrs, *inputs: Tensor | None, quant: Quant | None = None) -> Tensor:
        """One of the ops that an operator is made of. Its tensor has the inferred shape and type, and the quantisation
        `quant`, or that of the first input where it has its type; that of constants is a constant."""
        wish = self.names.take(f"{op.builtin}_{op.index}/{kind}")
        first = inputs[0]
        assert first is not None
        like = Tensor(wish, (), first.dtype, first.quant)
        made, out = make_op(kind, inputs, attrs, self.source(op, wish), like)
        if quant is not None or out.dtype != like.dtype:
            out = replace(out, quant=quant)
        checked_activation(checked_shape(out.shape, self.where(op)), self.where(op))
        if all(t is None or t.is_const for t in inputs):
            if max(out.elems, *(t.elems for t in inputs if t is not None)) > _MAX_FOLDED:
                raise self.unsupported(op, f"{out.elems} constant elements", "compute this constant before the export")
            out = replace(out, data=constant_result(made, inputs, out))
        else:
            self.ops.append(made)
        self.extra.append(out)
        return out

    def constant(self, op: SourceOp, value: Array, quant: Quant | None = None) -> Tensor:
        """A constant that the operator brings along."""
        tensor = const_tensor(self.names.take(f"{op.builtin}_{op.index}/constant"), value, quant)
        self.extra.append(tensor)
        return tensor

    def give(self, op: SourceOp, *values: Tensor) -> None:
        """The operator's outputs, of tensors that it was given or that `step` made. What the last step made takes the
        output's name, under which `verify` finds it; others are moved."""
        if len(op.outputs) != len(values):
            raise self.malformed(op, f"{len(op.outputs)} outputs, expected {len(values)}")
        for index, value in zip(op.outputs, values, strict=True):
            out = self.tensors[index]
            assert out is not None  # the importer refuses such operators first
            if (value.shape, value.dtype) != (out.shape, out.dtype):
                raise self.bad_shape(
                    op,
                    f"{out.dtype.value} output {list(out.shape)}; its inputs give {value.dtype.value} "
                    f"{list(value.shape)}",
                )
            if value.quant != out.quant:
                raise self.other_scales(op)
            if value.is_const:
                self.tensors[index] = replace(out, data=value.data)
            elif self.extra[-1:] == [value] and self.ops[-1].outputs == (value.name,) and values.count(value) == 1:
                self.ops[-1] = replace(self.ops[-1], outputs=(out.name,))
            else:
                self.emit(op, "reshape", ReshapeAttrs(out.shape), (value,), out)

    def other_scales(self, op: SourceOp) -> UnsupportedError:
        return self.unsupported(
            op, "other quantisation parameters on its output than on its input", "quantise the model again"
        )

    def fold(self, op: SourceOp, value: Array) -> None:
        """The result of an operator that is known at compile time."""
        out = self.output(op)
        if value.shape != out.shape or value.size > _MAX_FOLDED:
            raise self.bad_shape(op, f"output {list(out.shape)}; its inputs give {list(value.shape)}")
        data = value.astype(out.dtype.numpy)
        self.tensors[op.outputs[0]] = Tensor(out.name, out.shape, out.dtype, out.quant, data)

    def intermediate(self, like: Tensor, shape: tuple[int, ...], suffix: str) -> Tensor:
        tensor = Tensor(self.names.take(f"{like.name}{suffix}"), shape, like.dtype, like.quant)
        self.extra.append(tensor)
        return tensor

    def clamp(self, op: SourceOp, activation: int, out: Tensor) -> tuple[float, float] | None:
        """The fused activation's range in quantised units (LiteRT CalculateActivationRangeQuantized), of a float output
        in real ones; None for none."""
        if activation == 0:
            return None
        if activation not in _ACTIVATIONS:
            raise self.unsupported(
                op, f"fused activation {activation}", "use relu, relu6 or relu_n1_to_1, or a separate operator"
            )
        if out.dtype == DType.FLOAT32:
            return _ACTIVATIONS[activation]
        if out.quant is None or out.quant.per_channel:
            raise QuantError(
                "an activation without one scale and zero point", self.where(op), "quantise the model again"
            )
        scale, zero_point = out.quant.scalar()
        # quantized_range works in int8 units; uint8 is the same range 128 higher.
        offset = 128 if out.dtype == DType.UINT8 else 0
        low, high = quantized_range(*_ACTIVATIONS[activation], scale, zero_point - offset)
        return low + offset, high + offset

    def weights(self, op: SourceOp, x: Tensor, w: Tensor) -> Tensor:
        """Weights `w` of a layer on `x`. Integer ones of a float layer (dynamic range quantisation) become floats where
        that is wanted: LiteRT quantises the layer's input as it runs, so that its results are others."""
        if x.dtype != DType.FLOAT32 or w.dtype == DType.FLOAT32:
            return w
        if not self.as_floats or w.data is None or w.quant is None:
            raise self.unsupported(
                op,
                f"float32 input with {w.dtype.value} weights (dynamic range quantisation)",
                "quantise the activations too, full-integer int8 with a representative dataset; or compute such layers "
                "in float, with float32 weights: --dynamic-range float",
            )
        self.notes[op.index] = AS_FLOATS
        return self.constant(op, real_values(w))

    def one_scale(self, op: SourceOp, quant: Quant | None) -> tuple[float, int]:
        """The one scale and zero point of a tensor, where LiteRT reads only one."""
        if quant is None or quant.per_channel:
            raise self.unsupported(op, "a tensor without one scale", "quantise each tensor of this operator with one")
        return quant.scalar()

    def symmetric_scale(self, op: SourceOp, quant: Quant | None) -> float:
        """The same where LiteRT takes the zero point for 0."""
        scale, zero_point = self.one_scale(op, quant)
        if zero_point:
            raise self.unsupported(
                op, "weights or a state with a zero point that is not 0", "quantise these symmetrically"
            )
        return scale

    def padding(
        self, op: SourceOp, mode: int, x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> Padding:
        """SAME or VALID as explicit padding; LiteRT puts the odd element after (ComputePaddingHeightWidth)."""
        if mode not in (_SAME, _VALID):
            raise self.malformed(op, f"padding mode {mode}")
        if any(v < 1 or v > 65535 for v in (*kernel, *stride, *dilation)):
            raise self.malformed(
                op, f"kernel {list(kernel)}, stride {list(stride)} and dilation {list(dilation)} must be positive"
            )
        result = []
        for axis in (0, 1):
            size = x.shape[1 + axis]
            extent = (kernel[axis] - 1) * dilation[axis] + 1
            total = max((-(-size // stride[axis]) - 1) * stride[axis] + extent - size, 0) if mode == _SAME else 0
            result += [total // 2, total - total // 2]
        return result[0], result[1], result[2], result[3]

    def map_input(self, op: SourceOp) -> Tensor:
        x = self.tensor(op, 0)
        if len(x.shape) != 4:
            raise self.bad_shape(op, f"input of shape {list(x.shape)} is no NHWC map")
        return x


Importer = Callable[[Builder, SourceOp], None]
