"""The float graph that is quantised: imported and folded, every operator still of the kind of its integer form."""

from __future__ import annotations

from dataclasses import replace

from tinycompile.errors import UsageError
from tinycompile.frontends.naming import UniqueNames
from tinycompile.ir.graph import Graph
from tinycompile.ir.types import DType
from tinycompile.passes import PASSES
from tinycompile.passes.lowering_check import check_supported
from tinycompile.passes.run_passes import run_passes

_LOWERING = [name for name, _ in PASSES].index("lower_float_reductions")
_LONGEST_NAME = 96  # what is made beside a tensor gets a suffix, and the ONNX importer cuts names at 120


def prepare(graph: Graph) -> Graph:
    """`graph` as imported, with batch norms, biases, activations, padding and layout folded.

    Raises UsageError when it is quantised already or takes inputs that are no floats.
    """
    where = f"model '{graph.name}'"
    if any(op.kind in ("quantize", "dequantize", "requantize") for op in graph.ops):
        raise UsageError("the model is quantised already", where, "build it as it is, or give the float model")
    if any(graph.tensors[name].dtype != DType.FLOAT32 for name in graph.inputs):
        raise UsageError("an input that is no float32", where, "only models of float32 inputs can be quantised")
    return _short_names(run_passes(graph, PASSES[:_LOWERING]))


def complete(graph: Graph) -> Graph:
    """What `prepare` made, lowered to operators that all have kernels; its tensors keep their names."""
    graph = run_passes(graph, PASSES[_LOWERING:])
    check_supported(graph)
    return graph


def _short_names(graph: Graph) -> Graph:
    """No name so long that others could not be told from it once they are cut. Inputs and outputs keep theirs."""
    names = UniqueNames()
    kept = {*graph.inputs, *graph.outputs}
    for name in sorted(kept):
        names.take(name)
    short = {
        n: n if n in kept else names.take(f"{n[:60]}..{n[-30:]}" if len(n) > _LONGEST_NAME else n)
        for n in graph.tensors
    }
    if all(old == new for old, new in short.items()):
        return graph
    tensors = {short[n]: replace(t, name=short[n]) for n, t in graph.tensors.items()}
    ops = tuple(
        replace(
            op,
            inputs=tuple(short[i] if i else "" for i in op.inputs),
            outputs=tuple(short[o] for o in op.outputs),
        )
        for op in graph.ops
    )
    return replace(graph, tensors=tensors, ops=ops)
