"""quantized_io (``--io quantized``): drops the outer quantise and dequantise operators.

The graph's float32 inputs and outputs become the int8 tensors behind them, under the names of the source file. A port
whose float values are used in any other way keeps its type.
"""

from __future__ import annotations

from dataclasses import replace

from tinycompile.ir.graph import Graph, Op, Tensor


def _renamed(op: Op, names: dict[str, str]) -> Op:
    return replace(
        op, inputs=tuple(names.get(i, i) for i in op.inputs), outputs=tuple(names.get(o, o) for o in op.outputs)
    )


def quantized_io(graph: Graph) -> Graph:
    """A graph whose ports are quantised wherever an outer `quantize` or `dequantize` is all that stood before them."""
    producers, consumers = graph.producers(), graph.consumers()
    dropped: set[str] = set()
    names: dict[str, str] = {}
    ports: list[Tensor] = []

    def quantise_port(port: str, inner: str, op: Op) -> None:
        dropped.add(op.outputs[0])
        names[inner] = port
        ports.append(replace(graph.tensors[inner], name=port))

    for port in graph.inputs:
        users = consumers[port]
        if len(users) == 1 and users[0].kind == "quantize" and users[0].outputs[0] not in graph.outputs:
            quantise_port(port, users[0].outputs[0], users[0])
    for port in graph.outputs:
        op = producers.get(port)
        if op is None or op.kind != "dequantize" or consumers[port]:
            continue
        inner = op.inputs[0]
        if inner in producers and inner not in graph.outputs and inner not in names:
            quantise_port(port, inner, op)
    ops = [_renamed(op, names) for op in graph.ops if op.outputs[0] not in dropped]
    return graph.rebuild(ops, ports)
