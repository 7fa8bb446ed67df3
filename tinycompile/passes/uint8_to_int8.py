"""uint8_to_int8: quantised uint8 tensors become int8 with the zero point less 128; the real values stay the same. So do
uint16 ones become int16, less 32768.

Kernels then see signed integers alone. Graph inputs and outputs keep the type of the source file behind a `requantize`.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Attrs, Graph, Op, Tensor
from tinycompile.ir.quant import Quant, signed_values
from tinycompile.ir.types import DType
from tinycompile.ops.pad import PadAttrs
from tinycompile.ops.select import SelectAttrs

SIGNED = {DType.UINT8: DType.INT8, DType.UINT16: DType.INT16}


def _offset(dtype: DType) -> int:
    """How much less the signed values are."""
    return -SIGNED[dtype].int_range[0]


def _signed(tensor: Tensor, name: str) -> Tensor:
    assert tensor.quant is not None
    offset = _offset(tensor.dtype)
    quant = replace(tensor.quant, zero_point=tuple(z - offset for z in tensor.quant.zero_point))
    data = None if tensor.data is None else signed_values(tensor.data)
    return replace(tensor, name=name, dtype=SIGNED[tensor.dtype], quant=quant, data=data)


def _shifted(attrs: Any, offset: int) -> Any:
    """Attributes given in quantised units, less `offset`."""
    if isinstance(attrs, PadAttrs | SelectAttrs):
        return replace(attrs, value=attrs.value - offset)
    if any(f.name == "clamp" for f in fields(attrs)) and attrs.clamp is not None:
        return replace(attrs, clamp=(attrs.clamp[0] - offset, attrs.clamp[1] - offset))
    return attrs


# Operators for which plain integers are as good as quantised values: they only compare or move them.
_ORDER_ONLY = frozenset({"max_pool2d", "max_pool2d_places"})
_MOVING = frozenset({"reshape", "transpose", "concat"})
# Operators on the integers as they are.
_INTEGER = frozenset({"elementwise", "reduce", "cumsum", "take", "put", "top_k"})


def _plain_integers(graph: Graph) -> Graph:
    """Unquantised uint8 tensors as values of scale 1, where all operators on them only compare or move them."""
    plain = {n: t for n, t in graph.tensors.items() if t.dtype == DType.UINT8 and t.quant is None}
    kinds = {op.kind for op in graph.ops if any(n in plain for n in (*op.inputs, *op.outputs))}
    if not kinds & _ORDER_ONLY or kinds - _ORDER_ONLY - _MOVING:
        return graph
    return graph.rebuild(graph.ops, [replace(t, quant=Quant((1.0,), (0,))) for t in plain.values()])


def uint8_to_int8(graph: Graph) -> Graph:
    """A graph whose quantised activations and weights are signed."""
    graph = _plain_integers(graph)
    old = {n: t for n, t in graph.tensors.items() if t.dtype in SIGNED and t.quant is not None}
    for op in graph.ops:
        if op.kind in _INTEGER and any(n in old for n in (*op.inputs, *op.outputs)):
            raise UnsupportedError(
                "integer arithmetic on quantised unsigned values",
                str(op.source),
                "quantise to signed integers, or cast them first",
            )
    edges = {n: f"{n}/{SIGNED[old[n].dtype].value}" for n in (*graph.inputs, *graph.outputs) if n in old}
    signed = {n: _signed(t, edges.get(n, n)) for n, t in old.items()}
    producers, consumers = graph.producers(), graph.consumers()

    def edge(port: str, reads: bool) -> Op:
        user = consumers[port][0] if reads else producers[port]
        names = (port, edges[port]) if reads else (edges[port], port)
        return Op("requantize", names[1], (names[0],), (names[1],), Attrs(), user.source)

    before = [edge(n, True) for n in graph.inputs if n in edges and consumers[n]]
    after = [edge(n, False) for n in dict.fromkeys(graph.outputs) if n in edges and n not in graph.inputs]
    ops = []
    for op in graph.ops:
        made = old.get(op.outputs[0])
        attrs = op.attrs if made is None else _shifted(op.attrs, _offset(made.dtype))
        inputs, outputs = (tuple(edges.get(n, n) for n in names) for names in (op.inputs, op.outputs))
        name = edges.get(op.name, op.name)
        ops.append(replace(op, name=name, inputs=inputs, outputs=outputs, attrs=attrs))
    return graph.rebuild([*before, *ops, *after], signed.values())
