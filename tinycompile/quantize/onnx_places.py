"""The ONNX nodes of operators that read or write at places made at run time, or make such places; see `onnx_nodes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Node
from tinycompile.quantize.write_onnx import FIRST, Writer

_REDUCTIONS = {"set": "none", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def max_pool_places(w: Writer, node: Node, window: dict[str, Any]) -> None:
    """The second output of a MaxPool of this `window`."""
    order = int(node.attrs.by_columns)
    unused = w.name(f"{node.out.name}/largest")
    made = w.emit("MaxPool", [w.take(node.tensor(0), FIRST)], node.out.name, unused, storage_order=order, **window)
    w.give(node, made, FIRST)


def put(w: Writer, node: Node) -> None:
    """A MaxUnpool where it says so: single elements put into zeros. Else a ScatterND of blocks. Constant places outside
    of the data are left out: ONNX would count negative ones from the end."""
    data, places, updates = (node.tensor(k) for k in range(3))
    (n, inner), count, name = data.shape, places.elems, node.out.name
    at, put_there = w.take(places), w.take(updates)
    if places.data is not None and np.any(outside := (places.data < 0) | (places.data >= n)):
        kept = np.flatnonzero(~outside)
        count, at = kept.size, w.constant(places.data[kept], f"{name}/inside")
        put_there = w.emit("Gather", [put_there, w.integers(kept.tolist(), f"{name}/kept")], f"{name}/x", axis=0)
    zeros = data.data is not None and not np.any(data.data)
    if zeros and inner == 1 and count <= n and node.attrs.combination == "set":
        given = [_reshaped(w, v, (1, 1, count), f"{name}/{what}") for v, what in ((put_there, "x"), (at, "i"))]
        made = w.emit("MaxUnpool", given, f"{name}/line", kernel_shape=[n - count + 1])
        w.give(node, _reshaped(w, made, (n, 1), name))
        return
    rows = _reshaped(w, at, (count, 1), f"{name}/places")
    reduction = _REDUCTIONS[node.attrs.combination]
    w.give(node, w.emit("ScatterND", [w.take(data), rows, put_there], name, reduction=reduction))


def take(w: Writer, node: Node) -> None:
    w.give(node, w.emit("Gather", [w.take(t) for t in node.inputs if t], node.out.name, axis=node.attrs.axis))


def grid_sample(w: Writer, node: Node) -> None:
    """Of planes and volumes, which ONNX knows."""
    (n, c, *sizes), (_, count, dims), a = node.tensor(0).shape, node.tensor(1).shape, node.attrs
    if dims < 2:
        raise UnsupportedError(
            "samples along one axis cannot be written to ONNX", str(node.op.source), "keep the model in its own format"
        )
    ones, name = (1,) * (dims - 1), node.out.name
    x = _reshaped(w, w.take(node.tensor(0)), (n, c, *sizes[3 - dims :]), f"{name}/map")
    grid = _reshaped(w, w.take(node.tensor(1)), (n, *ones, count, dims), f"{name}/grid")
    made = w.emit(
        "GridSample",
        [x, grid],
        f"{name}/samples",
        mode=a.mode,
        padding_mode=a.padding,
        align_corners=int(a.align_corners),
    )
    w.give(node, _reshaped(w, made, node.out.shape, name))


def _reshaped(w: Writer, value: str, shape: tuple[int, ...], wish: str) -> str:
    return w.emit("Reshape", [value, w.integers(shape, f"{wish}/shape")], wish)
