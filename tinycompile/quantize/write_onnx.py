"""A graph as an ONNX file: the writer that `onnx_nodes` gives a node for each operator kind to.

Graphs are channels-last, ONNX's spatial operators channels-first. A tensor of four dimensions may be written in either
layout, and in both where its readers differ: the transpose between them is made when it is first asked for. Constants
are transposed at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tinycompile import __version__
from tinycompile.errors import UnsupportedError
from tinycompile.frontends.naming import UniqueNames
from tinycompile.ir.graph import Array, Graph, Node, Tensor
from tinycompile.ir.quant import NARROW_BITS
from tinycompile.ir.types import DType
from tinycompile.passes.layout import to_first, to_last

OPSET, IR_VERSION = 20, 9
NEWER_OPSET, NEWER_IR_VERSION = 21, 10  # the first with tensors of 4 bits, and quantisation to 16
FIRST, LAST = "channels first", "channels last"


def in_halves(values: Array) -> bytes:
    """Integers of 4 bits two to a byte, the first in the low half, as ONNX and TFLite files hold them."""
    halves = np.append(values.reshape(-1), [0] * (values.size % 2)).astype(np.uint8) & 15
    return (halves[::2] | halves[1::2] << 4).tobytes()


class Writer:
    """The ONNX graph while it is written. `values`: (tensor, layout) -> its ONNX name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: dict[tuple[str, str], str] = {}
        self.dequantized: dict[str, Tensor] = {}
        self.free = set(graph.tensors) - set(graph.inputs)
        self.names = UniqueNames()
        wide = any(t.dtype == DType.INT16 for t in graph.tensors.values())
        self.versions = (NEWER_OPSET, NEWER_IR_VERSION) if wide else (OPSET, IR_VERSION)
        for name in graph.tensors:
            self.names.take(name)
        for name in graph.inputs:
            self.values[name, LAST] = name

    def name(self, wish: str) -> str:
        """`wish` where it is a tensor's own name and still free, else one that nothing else has."""
        if wish in self.free:
            self.free.remove(wish)
            return wish
        return self.names.take(wish)

    def constant(self, value: Array, wish: str) -> str:
        name = self.name(wish)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def integer_constant(self, value: Array, wish: str, narrow: bool) -> str:
        """Stored values or their zero points, `narrow`: two of 4 bits to a byte."""
        if not narrow:
            return self.constant(value, wish)
        name = self.name(wish)
        self.initializers.append(helper.make_tensor(name, TensorProto.INT4, value.shape, in_halves(value), raw=True))
        self.versions = NEWER_OPSET, NEWER_IR_VERSION
        return name

    def integers(self, values: Sequence[int], wish: str) -> str:
        return self.constant(np.array(values, dtype=np.int64), wish)

    def emit(self, kind: str, inputs: Sequence[str], wish: str, *unread: str, **attributes: Any) -> str:
        """The last output of a node, whose name is as close to `wish` as possible; `unread`: those before it."""
        out = self.name(wish)
        self.nodes.append(helper.make_node(kind, list(inputs), [*unread, out], name=out, **attributes))
        return out

    def take(self, tensor: Tensor, layout: str = LAST) -> str:
        """The tensor's ONNX name in a layout; ranks other than 4 have but one."""
        layout = layout if len(tensor.shape) == 4 else LAST
        known = self.values.get((tensor.name, layout))
        if known is None:
            if tensor.data is not None:
                data = tensor.data if layout == LAST else tensor.data.transpose(to_first(4))
                known = self.constant(data, f"{tensor.name}/value")
            elif tensor.name in self.dequantized:
                known = self.dequantize_constant(tensor.name, to_first(4) if layout == FIRST else None)
            else:
                other = self.values[tensor.name, FIRST if layout == LAST else LAST]
                perm = to_first(4) if layout == FIRST else to_last(4)
                known = self.emit("Transpose", [other], f"{tensor.name}/moved", perm=perm)
            self.values[tensor.name, layout] = known
        return known

    def layout_of(self, *tensors: Tensor) -> str:
        """The layout in which all of them are there already: channels first where that is so."""
        computed = [t for t in tensors if t.data is None and t.name not in self.dequantized]
        return FIRST if computed and all((t.name, FIRST) in self.values for t in computed) else LAST

    def give(self, node: Node, made: str, layout: str = LAST) -> None:
        """The ONNX value `made` is the output of `node`."""
        self.values[node.out.name, layout if len(node.out.shape) == 4 else LAST] = made

    def dequantize_constant(
        self, name: str, perm: Sequence[int] | None = None, shape: Sequence[int] | None = None
    ) -> str:
        """The real values of an integer constant, moved: first reshaped, then transposed."""
        tensor = self.dequantized[name]
        assert tensor.data is not None
        assert tensor.quant is not None
        data, axis = tensor.data, tensor.quant.axis
        if shape is not None:
            data = data.reshape(shape)
        if perm is not None:
            data = data.transpose(perm)
            axis = None if axis is None else tuple(perm).index(axis)
        scale = np.array(tensor.quant.scale, dtype=np.float32)
        zero_point = np.array(tensor.quant.zero_point, dtype=tensor.dtype.numpy)
        if axis is None:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        narrow = tensor.quant.bits == NARROW_BITS and not any(tensor.quant.zero_point)
        inputs = [
            self.integer_constant(data, tensor.name, narrow),
            self.constant(scale, f"{name}/scale"),
            self.integer_constant(zero_point, f"{name}/zero_point", narrow),
        ]
        return self.emit("DequantizeLinear", inputs, name, **({} if axis is None else {"axis": axis}))

    def weights(self, tensor: Tensor, perm: Sequence[int]) -> str:
        """A layer's constant, float or dequantised, with its dimensions permuted."""
        if tensor.data is not None:
            return self.constant(tensor.data.transpose(perm), f"{tensor.name}/value")
        return self.dequantize_constant(tensor.name, perm)

    def finish(self) -> bytes:
        """The file. Inputs and outputs keep their names and shapes."""
        for name in self.graph.outputs:
            self._name_output(name, self.take(self.graph.tensors[name]))
        ports = [[self._port(n) for n in names] for names in (self.graph.inputs, self.graph.outputs)]
        graph = helper.make_graph(self.nodes, self.graph.name, *ports, self.initializers)
        opset, version = self.versions
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)
        model.producer_name, model.producer_version = "tinycompile", __version__
        data: bytes = model.SerializeToString(deterministic=True)
        return data

    def _name_output(self, name: str, made: str) -> None:
        """The value `made` as the output `name`, which its other layout may have been called."""
        if made == name:
            return
        if name not in self.free:
            self._rename(name, self.names.take(name))
        if made in (*self.graph.inputs, *self.graph.outputs) or not any(made in node.output for node in self.nodes):
            self.nodes.append(helper.make_node("Identity", [made], [name], name=f"{name}/identity"))
        else:
            self._rename(made, name)

    def _rename(self, old: str, new: str) -> None:
        for node in self.nodes:
            node.input[:] = [new if i == old else i for i in node.input]
            node.output[:] = [new if o == old else o for o in node.output]
        self.values = {key: new if value == old else value for key, value in self.values.items()}

    def _port(self, name: str) -> Any:
        tensor = self.graph.tensors[name]
        kind = helper.np_dtype_to_tensor_dtype(tensor.dtype.numpy)
        return helper.make_tensor_value_info(name, kind, tensor.shape)


def write_onnx(graph: Graph) -> bytes:
    """`graph`, of the kinds that exist before floats are lowered, as an ONNX file. Raises UnsupportedError for what
    ONNX cannot say."""
    from tinycompile.quantize.onnx_nodes import NODES

    writer = Writer(graph)
    for node in graph.nodes():
        if node.op.kind not in NODES:
            raise UnsupportedError(
                f"{node.op.kind} cannot be written to ONNX", str(node.op.source), "keep the model in its own format"
            )
        NODES[node.op.kind](writer, node)
    return writer.finish()
