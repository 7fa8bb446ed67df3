"""Every value of a graph by the operators' references: the meaning of a graph, without arena or plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tinycompile.ir.graph import Array, Graph, Node
from tinycompile.ops.registry import operator


def node_result(node: Node, values: Mapping[str, Array]) -> Array:
    """The node's output, in its own shape, from the values of its run-time inputs."""
    given = [None if t is None or t.is_const else values[t.name] for t in node.inputs]
    return operator(node.op.kind).reference(node, given).reshape(node.out.shape)


def evaluate(graph: Graph, inputs: Mapping[str, Array], keep: Collection[str] | None = None) -> dict[str, Array]:
    """Run-time tensors of `graph` by name: those of `keep`, or all; `inputs` in the shapes of the graph's.

    A value that is not kept is forgotten after its last reader.
    """
    values = dict(inputs)
    last_read = {name: op for op in graph.ops for name in op.inputs if name}
    for node in graph.nodes():
        values[node.out.name] = node_result(node, values)
        if keep is not None:
            for name in (*node.op.inputs, *node.op.outputs):
                if last_read.get(name, node.op) is node.op and name not in keep:
                    values.pop(name, None)
    return values if keep is None else {name: values[name] for name in keep}
