"""Constant folding: nodes whose inputs are all known are run by ONNX's own reference implementation.

Only operators of a fixed list run, and the size of the result is bounded before anything is computed: a few bytes of
ConstantOfShape, Expand, Tile or Range can ask for terabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import helper

from tinycompile.errors import MalformedModelError, ShapeError, one_line
from tinycompile.frontends.limits import MAX_TENSOR_ELEMS, checked_shape
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array

MAX_FOLDED_ELEMS = MAX_TENSOR_ELEMS // 4
Inputs = Sequence[Array | None]


def _product(values: Array | None) -> int:
    return math.prod(max(int(v), 0) for v in np.asarray(values).reshape(-1)) if values is not None else 1


def _broadcast(inputs: Inputs) -> int:
    return math.prod(np.broadcast_shapes(*(v.shape for v in inputs if v is not None)))


def _total(inputs: Inputs) -> int:
    return sum(v.size for v in inputs if v is not None)


def _expanded(inputs: Inputs) -> int:
    if inputs[0] is None or inputs[1] is None:
        return 0
    return math.prod(np.broadcast_shapes(inputs[0].shape, tuple(int(v) for v in inputs[1].reshape(-1)[:16])))


def _tiled(inputs: Inputs) -> int:
    return _total(inputs[:1]) * _product(inputs[1])


def _range(inputs: Inputs) -> int:
    start, stop, step = (float(np.asarray(v).reshape(-1)[0]) for v in inputs)
    return math.ceil(abs((stop - start) / step)) if step else 0


def _window(inputs: Inputs) -> int:
    return max(_product(inputs[0]), 0)


def _mel(inputs: Inputs) -> int:
    return _product(inputs[0]) * (_product(inputs[1]) // 2 + 1)


def _gathered(inputs: Inputs) -> int:
    data, indices = inputs[0], inputs[1]
    return 0 if data is None or indices is None else data.size * max(indices.size, 1)


# Elements of the result, an upper bound, for each operator that may be folded.
_BROADCASTING = "Add Sub Mul Div Pow Min Max Mod Equal Less Greater LessOrEqual GreaterOrEqual And Or Where"
_NOT_GROWING = (
    "Cast Ceil Floor Round Neg Abs Sqrt Reciprocal Exp Log Not Identity Shape Size Slice Concat Reshape Flatten "
    "Squeeze Unsqueeze Transpose ReduceProd ReduceSum ReduceMax ReduceMin"
)
_SIZES: dict[str, Callable[[Inputs], int]] = {
    **dict.fromkeys(_BROADCASTING.split(), _broadcast),
    **dict.fromkeys(_NOT_GROWING.split(), _total),
    "Gather": _gathered,
    "ConstantOfShape": lambda inputs: _product(inputs[0]),
    "Expand": _expanded,
    "Tile": _tiled,
    "Range": _range,
    "BlackmanWindow": _window,
    "HammingWindow": _window,
    "HannWindow": _window,
    "MelWeightMatrix": _mel,
}


def foldable(node: SourceNode) -> bool:
    """Whether the node may be computed at import when its inputs are constant."""
    return node.domain == "" and node.op_type in _SIZES and not any(a.HasField("g") for a in node.proto.attribute)


def fold(node: SourceNode, inputs: Inputs) -> list[Array]:
    """The outputs of a foldable node. Raises ShapeError when they would be too large, MalformedModelError when ONNX's
    reference implementation rejects the node."""
    from onnx.reference import ReferenceEvaluator

    try:
        size = _SIZES[node.op_type](inputs)
        if size > MAX_FOLDED_ELEMS:
            raise ShapeError(
                f"a constant expression of {size} elements (at most {MAX_FOLDED_ELEMS})",
                str(node),
                "no microcontroller holds such a tensor: use a smaller model",
            )
        names = [f"i{k}" if v is not None else "" for k, v in enumerate(inputs)]
        proto = helper.make_node(node.op_type, names, [f"o{k}" for k in range(len(node.outputs))])
        proto.attribute.extend(node.proto.attribute)
        ports = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in zip(names, inputs, strict=True)
            if v is not None
        ]
        results = [helper.make_value_info(o, helper.make_tensor_type_proto(1, None)) for o in proto.output]
        graph = helper.make_graph([proto], "fold", ports, results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
        feeds = {n: v for n, v in zip(names, inputs, strict=True) if v is not None}
        with np.errstate(all="ignore"):
            values = [np.asarray(v) for v in ReferenceEvaluator(model).run(None, feeds)]
    except ShapeError:
        raise
    except Exception as error:  # the reference implementation raises whatever NumPy raises
        raise MalformedModelError(
            f"this constant expression cannot be computed: {one_line(str(error), 200)}",
            str(node),
            "export the model again",
        ) from None
    for value in values:
        if value.size:
            checked_shape(value.shape, str(node))
    return values
