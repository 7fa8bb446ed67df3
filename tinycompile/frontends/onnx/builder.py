"""Builder: the graph while an ONNX file is imported.

A value is a NumPy array as long as it is constant (shapes, scales and weights of any type) and a `Tensor` once an
operator computes it. Shapes come from the operator modules' own inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinycompile.errors import MalformedModelError, QuantError, UnsupportedError, one_line
from tinycompile.frontends.limits import checked_activation, checked_shape, selection_budget
from tinycompile.frontends.naming import UniqueNames, plain_name
from tinycompile.frontends.onnx.folding import folding_budget
from tinycompile.frontends.onnx.model import ModelFolder
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Attrs, Graph, Op, SourceLoc, Tensor, const_tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.construct import constant_result, make_op
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.reshape import ReshapeAttrs
from tinycompile.ops.select import SelectAttrs
from tinycompile.ops.transpose import TransposeAttrs

Value = Tensor | Array
_DTYPES = {d.value: d for d in DType}
# Operators that run at import where all they work on is constant.
_FOLDED = ("reshape", "transpose", "select", "concat", "reduce", "cumsum", "take", "put", "top_k", "matmul")
# Movement of stored values: quantisation passes through unchanged.
_COPYING = ("reshape", "transpose", "max_pool2d", "pad", "concat", "select", "resize_nearest")


class Builder:
    """Collects tensors and ops; `values` maps the file's names to what they stand for. `four_bit`: the file's names of
    constants that it holds in 4 bits."""

    def __init__(self, folder: ModelFolder) -> None:
        self.folder = folder
        self.folding = folding_budget()
        self.indices = selection_budget()
        self.values: dict[str, Value] = {}
        self.four_bit: set[str] = set()
        self._names = UniqueNames()
        self._tensors: dict[str, Tensor] = {}
        self._ops: list[Op] = []
        self._weights: set[str] = set()
        self._dequantized: dict[str, Tensor] = {}
        # By identity; the array is kept so that its identity stays its own.
        self._constants: dict[tuple[int, Quant | None], tuple[Array, Tensor]] = {}

    def new_name(self, wish: str) -> str:
        return self._names.take(plain_name(wish) or "tensor")

    def add_input(self, name: str, shape: Sequence[int], dtype: DType) -> Tensor:
        tensor = Tensor(self.new_name(name), checked_shape(shape, f"input '{one_line(name, 80)}'"), dtype)
        self._tensors[tensor.name] = tensor
        self.values[name] = tensor
        return tensor

    def value(self, n: SourceNode, index: int) -> Value:
        """Input `index` of the node, which must be present."""
        if index >= len(n.inputs) or not n.inputs[index]:
            raise MalformedModelError(f"input {index} is missing", str(n), "export the model again")
        return self.values[n.inputs[index]]

    def optional(self, n: SourceNode, index: int) -> Value | None:
        """Input `index`, None when it is absent."""
        return self.value(n, index) if index < len(n.inputs) and n.inputs[index] else None

    def constant(self, n: SourceNode, index: int, what: str) -> Array:
        """Input `index`, which must be known at compile time; a dequantised constant is its real values."""
        value = self.value(n, index)
        known = self.known(value) if isinstance(value, Tensor) else value
        if known is None:
            raise n.unsupported(
                f"{what} computed at run time", "make it a constant; tensors given as inputs can be frozen"
            )
        return known

    def known(self, tensor: Tensor) -> Array | None:
        """The value of a tensor that is constant, or a dequantised constant (its real values)."""
        integers = self._dequantized.get(tensor.name)
        return tensor.data if integers is None else real_values(integers)

    def integers(self, n: SourceNode, index: int, what: str) -> tuple[int, ...]:
        """Constant input `index` as a flat list of integers."""
        value = self.constant(n, index, what)
        if value.dtype.kind not in "iu" or value.size > 64:
            raise MalformedModelError(f"{what} must be a short list of integers", str(n), "export the model again")
        return tuple(int(v) for v in value.reshape(-1))

    def tensor(self, n: SourceNode, index: int) -> Tensor:
        """Input `index` as a tensor: constants are added to the graph."""
        value = self.value(n, index)
        return value if isinstance(value, Tensor) else self.add_constant(value, n.inputs[index], n)

    def add_constant(self, value: Array, name: str, n: SourceNode, quant: Quant | None = None) -> Tensor:
        """A constant of the graph; one array makes one constant however often it is used."""
        known = self._constants.get((id(value), quant))
        if known is not None:
            return known[1]
        if value.dtype.name not in _DTYPES:
            raise n.unsupported(
                f"a constant of type {value.dtype.name}", "export the model with float32 or int8 tensors"
            )
        shape = checked_shape(value.shape, f"constant '{one_line(name, 80)}'")
        tensor = const_tensor(self.new_name(name), value.reshape(shape), quant)
        self._tensors[tensor.name] = tensor
        self._constants[id(value), quant] = (value, tensor)
        return tensor

    def emit(
        self,
        n: SourceNode,
        kind: str,
        inputs: Sequence[Tensor | None],
        attrs: Attrs,
        *,
        dtype: DType = DType.FLOAT32,
        quant: Quant | None = None,
    ) -> Tensor:
        """A new op; its output gets the inferred shape, and quantisation passes through operators that copy values."""
        if quant is None and kind in _COPYING and inputs[0] is not None:
            quant = inputs[0].quant
        wish = n.outputs[0] if n.outputs else n.op_type
        out = Tensor(self.new_name(f"{wish}/{kind}"), (), dtype, quant)
        op, tensor = make_op(kind, inputs, attrs, n.loc, out)
        shape = checked_shape(tensor.shape, str(n))
        if kind in _FOLDED and all(t is not None and t.data is not None and t.quant is None for t in inputs):
            checked_activation(shape, str(n))
            return self.add_constant(constant_result(op, inputs, tensor), f"{wish}/{kind}", n)
        if kind in ("dequantize", *_COPYING) and all(t is None or self.is_weight(t) for t in inputs):
            self._weights.add(tensor.name)
        else:
            checked_activation(shape, str(n))
        self._tensors[tensor.name] = tensor
        self._ops.append(op)
        if kind == "dequantize" and inputs[0] is not None and inputs[0].is_const:
            self._dequantized[tensor.name] = inputs[0]
        return tensor

    def real(self, n: SourceNode, index: int) -> Tensor:
        """Input `index`, which must be float32 (what stands between quantise and dequantise operators)."""
        x = self.tensor(n, index)
        if x.dtype != DType.FLOAT32:
            raise n.unsupported(f"arithmetic on {x.dtype.value}", "quantise the model in QDQ or QOperator format")
        return x

    def _output(self, kind: str, x: Tensor, attrs: Attrs, name: str) -> Tensor:
        """A network output that no node makes."""
        out = Tensor(self.new_name(name), (), x.dtype, x.quant)
        op, tensor = make_op(kind, [x], attrs, SourceLoc("Identity", out.name), out)
        self._tensors[tensor.name] = tensor
        self._ops.append(op)
        return tensor

    def _output_constant(self, value: Array, port: str) -> Tensor:
        if value.dtype.name not in _DTYPES:
            raise UnsupportedError(
                f"a constant output of type {value.dtype.name}",
                f"output '{one_line(port, 80)}'",
                "remove this output from the model",
            )
        shape = checked_shape(value.shape, f"output '{one_line(port, 80)}'")
        constant = const_tensor(self.new_name(f"{port}/value"), value.reshape(shape))
        self._tensors[constant.name] = constant
        return self._output("constant", constant, Attrs(), port)

    def is_weight(self, tensor: Tensor) -> bool:
        """Whether the value is known at compile time: a constant, or one that is dequantised."""
        return tensor.is_const or tensor.name in self._weights

    def reshape(self, n: SourceNode, x: Tensor, shape: Sequence[int]) -> Tensor:
        if tuple(shape) == x.shape:
            return x
        return self.emit(n, "reshape", [x], ReshapeAttrs(checked_shape(shape, str(n))))

    def transpose(self, n: SourceNode, x: Tensor, perm: Sequence[int]) -> Tensor:
        if tuple(perm) == tuple(range(len(x.shape))):
            return x
        return self.emit(n, "transpose", [x], TransposeAttrs(tuple(perm)))

    def concat(self, n: SourceNode, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors side by side; the only one itself."""
        return parts[0] if len(parts) == 1 else self.emit(n, "concat", parts, ConcatAttrs(axis), dtype=parts[0].dtype)

    def to_map(self, n: SourceNode, x: Tensor) -> Tensor:
        """[N,C,H,W] as NHWC; [N,C,T] as a map of height T and width 1."""
        if len(x.shape) == 3:
            x = self.reshape(n, x, (*x.shape, 1))
        if len(x.shape) != 4:
            raise n.unsupported(f"an input of {len(x.shape)} dimensions: only 1-D and 2-D maps are supported")
        return self.transpose(n, x, (0, 2, 3, 1))

    def from_map(self, n: SourceNode, y: Tensor, rank: int) -> Tensor:
        """The inverse of `to_map` for an output of `rank` dimensions."""
        y = self.transpose(n, y, (0, 3, 1, 2))
        return self.reshape(n, y, y.shape[:3]) if rank == 3 else y

    def assign_quant(self, n: SourceNode, x: Tensor, quant: Quant) -> Tensor:
        """`x` with the quantisation that a reader states for it, and so everything it was copied from.

        Raises QuantError when it already has another.
        """
        if x.quant is not None:
            if x.quant != quant:
                raise QuantError(
                    f"'{x.name}' is quantised with {_words(x.quant)} and read with {_words(quant)}",
                    str(n),
                    "use the same scale and zero point on both sides",
                )
            return x
        producers = {o: op for op in self._ops for o in op.outputs}
        name = x.name
        while True:
            self._retype(replace(self._tensors[name], quant=quant))
            op = producers.get(name)
            if op is None or op.kind not in _COPYING or self._tensors[op.inputs[0]].quant is not None:
                return self._tensors[x.name]
            name = op.inputs[0]

    def _retype(self, tensor: Tensor) -> None:
        self._tensors[tensor.name] = tensor
        for name, value in self.values.items():
            if isinstance(value, Tensor) and value.name == tensor.name:
                self.values[name] = tensor

    def mark(self) -> int:
        """The number of ops so far, for `name_output`."""
        return len(self._ops)

    def name_output(self, tensor: Tensor, name: str, mark: int) -> Tensor:
        """`tensor` under the file's name for it, when an op made since `mark` makes it."""
        made = next((k for k in range(mark, len(self._ops)) if tensor.name in self._ops[k].outputs), None)
        if made is None:
            return tensor
        named = replace(tensor, name=self.new_name(name))
        self._ops[made] = replace(self._ops[made], name=named.name, outputs=(named.name,))
        for k in range(made + 1, len(self._ops)):
            op = self._ops[k]
            if tensor.name in op.inputs:
                inputs = tuple(named.name if i == tensor.name else i for i in op.inputs)
                self._ops[k] = replace(op, inputs=inputs)
        if tensor.name in self._weights:
            self._weights.add(named.name)
        if tensor.name in self._dequantized:
            self._dequantized[named.name] = self._dequantized[tensor.name]
        del self._tensors[tensor.name]
        self._tensors[named.name] = named
        return named

    def finish(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[str], where: str) -> Graph:
        """The graph. Raises UnsupportedError when an output is a constant."""
        made = {o for op in self._ops for o in op.outputs}
        ports = []
        for port in outputs:
            value = self.values[port]
            if isinstance(value, Tensor) and value.data is not None:
                value = value.data
            if isinstance(value, Tensor) and value.name not in made:  # a copy of an input
                indices = tuple(tuple(range(d)) for d in value.shape)
                value = self._output("select", value, SelectAttrs(indices), port)
            if not isinstance(value, Tensor):
                value = self._output_constant(value, port)
            ports.append(value.name)
        graph = Graph(name, self._tensors, tuple(self._ops), tuple(t.name for t in inputs), tuple(ports), "onnx")
        return graph.rebuild(_needed(graph))


def _needed(graph: Graph) -> list[Op]:
    alive, ops = set(graph.outputs), []
    for op in reversed(graph.ops):
        if alive & set(op.outputs):
            alive |= set(op.inputs)
            ops.append(op)
    return ops[::-1]


def _words(quant: Quant) -> str:
    return f"scale {np.float32(quant.scale[0])}, zero point {quant.zero_point[0]}"
