"""The comparison: each operator on the reference's own inputs, and the whole network from end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tinycompile.emulate.compare import Comparison, compare_arrays
from tinycompile.emulate.interpreter import run_plan
from tinycompile.ir.graph import Array, Graph, Tensor
from tinycompile.ir.plan import Plan
from tinycompile.ir.quant import signed_values
from tinycompile.ir.states import initial_values
from tinycompile.ops.elementwise import ACTIVATIONS
from tinycompile.ops.evaluate import node_result


class Reference(Protocol):
    """A runtime that gives every tensor's value."""

    name: str

    def run(self, inputs: Sequence[Array]) -> dict[str, Array]: ...


@dataclass(frozen=True)
class LayerResult:
    """The worst difference of one operator over all samples, when it reads the reference's inputs."""

    index: int
    kind: str
    source: str
    tensor: str
    elems: int
    differing: int
    max_difference: float


@dataclass(frozen=True)
class Verification:
    """`layers`: operators whose tensor the reference has, too. `outputs`: network outputs end to end, in LSB of the
    output's quantisation (or of its own unit). `skipped`: operators without a counterpart (fused or made by a pass).

    Where layers may differ by a bit, these bits add up through the network: the outputs are then shown and not judged.
    """

    reference: str
    tolerance: float
    samples: int
    layers: tuple[LayerResult, ...]
    outputs: tuple[LayerResult, ...]
    skipped: int

    @property
    def first_difference(self) -> LayerResult | None:
        """The first result beyond the tolerance."""
        judged = (*self.layers, *self.outputs) if self.tolerance == 0 else self.layers
        return next((r for r in judged if r.max_difference > self.tolerance), None)


def _matching(tensor: Tensor, values: Mapping[str, Array]) -> Array | None:
    """The reference's value of a tensor in the compiled model's layout; None when it has none of that type and size.

    Passes name a fused operator's result after the quantised tensor, with a suffix where the layout changed, and the
    signed form of an unsigned output with another.
    """
    quantized = tensor.name.removesuffix("/quantize")
    names = (tensor.name, quantized, quantized.removesuffix(f"/{tensor.dtype.value}"))
    value = next((values[n] for n in names if n in values), None)
    if value is not None and tensor.dtype in ACTIVATIONS:
        value = signed_values(value)
    if value is None or value.size != tensor.elems or value.dtype != tensor.dtype.numpy:
        return None
    if value.shape != tensor.shape and len(tensor.shape) == 4 and value.ndim in (3, 4):
        nchw = value.reshape(*value.shape, *[1] * (4 - value.ndim))
        moved = nchw.transpose(0, 2, 3, 1)
        if moved.shape == tensor.shape:
            return np.ascontiguousarray(moved)
    return value.reshape(tensor.shape)


def _scale(graph: Graph, name: str) -> float:
    """One LSB of a float output that a dequantise operator makes; 1 otherwise."""
    producer = graph.producers().get(name)
    if producer is not None and producer.kind == "dequantize":
        quant = graph.tensors[producer.inputs[0]].quant
        if quant is not None:
            return quant.scale[0]
    return 1.0


def verify_layers(
    plan: Plan, reference: Reference, inputs: Sequence[Array], tolerance: float, exact_floats: bool
) -> Verification:
    """Run `inputs` (per network input an array (samples, *shape)) through both.

    `tolerance` in LSB; with `exact_floats`, float outputs must be equal to the bit, too.
    """
    graph = plan.graph
    worst: dict[str, Comparison] = {}
    ends: dict[str, tuple[Comparison, float]] = {}
    # Every inference begins with the states that the reference ended the one before with, ours where it has no such.
    kept = dict(zip((s.input for s in graph.states), initial_values(graph), strict=True))
    seen = [name for name in graph.inputs if name not in kept]
    for k in range(len(inputs[0])):
        begins = {**kept, **{name: a[k] for name, a in zip(seen, inputs, strict=True)}}
        sample = [begins[name] for name in graph.inputs]
        values = reference.run(sample)
        known = {n: m for n, t in graph.tensors.items() if not t.is_const and (m := _matching(t, values)) is not None}
        known.update({n: s.reshape(graph.tensors[n].shape) for n, s in zip(graph.inputs, sample, strict=True)})
        ours: dict[str, Array] = dict(known)
        for node in graph.nodes():
            got = node_result(node, ours)
            name = node.out.name
            if name in known:
                found = compare_arrays(got, known[name])
                if name not in worst or found.max_difference > worst[name].max_difference:
                    worst[name] = found
            else:
                ours[name] = got
        kept = {
            s.input: values.get(s.output, ours[s.output]).reshape(graph.tensors[s.input].shape) for s in graph.states
        }
        for name, got in zip(graph.outputs, run_plan(plan, sample), strict=True):
            want = values.get(name)
            if want is None:
                continue
            found = compare_arrays(got, np.asarray(want, dtype=got.dtype))
            lsb = found.max_difference / (1.0 if exact_floats else _scale(graph, name))
            if name not in ends or lsb > ends[name][1]:
                ends[name] = found, lsb
    layers = [
        LayerResult(i, n.op.kind, str(n.op.source), n.out.name, c.elems, c.differing, c.max_difference)
        for i, n in enumerate(graph.nodes())
        if (c := worst.get(n.out.name)) is not None and n.out.dtype.is_integer
    ]
    outputs = [
        LayerResult(len(graph.ops), "output", "network output", name, c.elems, c.differing, round(lsb, 4))
        for name, (c, lsb) in ends.items()
    ]
    skipped = len(graph.ops) - len(layers)
    return Verification(reference.name, tolerance, len(inputs[0]), tuple(layers), tuple(outputs), skipped)
