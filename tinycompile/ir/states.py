"""What a network keeps between inferences: pairs of its inputs and outputs, and the values that they begin with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tinycompile.errors import UsageError, one_line
from tinycompile.ir.graph import Array, Graph, State, Tensor
from tinycompile.ir.quant import signed_values

OPTION = "--state"


def with_states(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """`graph` with more states: input name -> the output that it is in the next inference. They begin with zeros.

    UsageError for a name that is no input or output, one that is used twice, and a pair of different shapes or types.
    """
    states = list(graph.states)
    for name, output in pairs.items():
        where = f"{OPTION} {one_line(name, 60)}={one_line(output, 60)}"
        for word, port, ports in (("input", name, graph.inputs), ("output", output, graph.outputs)):
            if port not in ports:
                known = ", ".join(one_line(p, 60) for p in ports[:8])
                raise UsageError(f"the model has no {word} '{one_line(port, 60)}'", where, f"its {word}s are: {known}")
        if any(name == s.input or output == s.output for s in states):
            raise UsageError("an input or output of another state", where, "name each of them once")
        a, b = graph.tensors[name], graph.tensors[output]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise UsageError(
                f"{a.dtype.value} {list(a.shape)} cannot be {b.dtype.value} {list(b.shape)} in the next inference",
                where,
                "pair the input with the output that has its shape and type",
            )
        states.append(State(name, output))
    return replace(graph, states=tuple(states))


def initial_value(state: State, tensor: Tensor) -> Array:
    """With which a state begins, as `tensor` (its input, when all passes are done) holds it."""
    quant = tensor.quant
    if state.initial is None:
        fill = quant.zero_point[0] if quant is not None and tensor.dtype.is_integer else 0
        return np.full(tensor.shape, fill, dtype=tensor.dtype.numpy)
    given = state.initial.reshape(tensor.shape)
    signed = signed_values(given)
    if signed.dtype == tensor.dtype.numpy:
        return signed
    if given.dtype == np.float32 and tensor.dtype.is_integer:
        assert quant is not None
        low, high = tensor.dtype.int_range
        steps = np.rint(given / np.float32(quant.scale[0])) + quant.zero_point[0]
        steps = np.clip(steps, low, high)
        return np.asarray(steps, dtype=tensor.dtype.numpy)
    return given.astype(tensor.dtype.numpy)


def initial_values(graph: Graph) -> list[Array]:
    """`initial_value` of every state of a graph, in their order."""
    return [initial_value(s, graph.tensors[s.input]) for s in graph.states]


def state_outputs(graph: Graph) -> list[int]:
    """Which of the graph's outputs each state is: the last of its name, as far as states share none."""
    left = list(enumerate(graph.outputs))
    found = []
    for state in reversed(graph.states):
        at = max(k for k, (_, name) in enumerate(left) if name == state.output)
        found.append(left.pop(at)[0])
    return found[::-1]
