"""The ONNX nodes of operators that move or copy values; see `onnx_nodes`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinycompile.ir.graph import Node
from tinycompile.passes.layout import to_first
from tinycompile.passes.rewriter import only_units_move
from tinycompile.quantize.write_onnx import FIRST, LAST, Writer


def axis_in(layout: str, axis: int) -> int:
    """An axis of a tensor in the layout that it is written in."""
    return to_first(4).index(axis) if layout == FIRST else axis


def _in_layout(layout: str, values: Sequence[Any]) -> list[Any]:
    """One value per dimension, in the order of the layout."""
    return [values[a] for a in to_first(4)] if layout == FIRST else list(values)


def concat(w: Writer, node: Node) -> None:
    tensors = [t for t in node.inputs if t is not None]
    layout = w.layout_of(*tensors)
    w.give(
        node,
        w.emit("Concat", [w.take(t, layout) for t in tensors], node.out.name, axis=axis_in(layout, node.attrs.axis)),
        layout,
    )


def pad(w: Writer, node: Node) -> None:
    x, a = node.tensor(0), node.attrs
    layout = w.layout_of(x)
    amounts = (*_in_layout(layout, a.before), *_in_layout(layout, a.after))
    value = w.constant(np.array(a.value, dtype=x.dtype.numpy), f"{node.out.name}/fill")
    inputs = [w.take(x, layout), w.integers(amounts, f"{node.out.name}/pads"), value]
    w.give(node, w.emit("Pad", inputs, node.out.name, mode="constant"), layout)


def select(w: Writer, node: Node) -> None:
    """A slice where every axis takes a regular run of indices; else axis by axis, filled places behind the last one."""
    x, size = node.tensor(0), len(node.tensor(0).shape)
    layout = w.layout_of(x)
    made, shape = w.take(x, layout), _in_layout(layout, x.shape)
    indices = _in_layout(layout, node.attrs.indices)
    changed = [axis for axis in range(size) if indices[axis] != tuple(range(shape[axis]))]
    name = node.out.name
    runs = [_run(indices[axis]) for axis in changed]
    if changed and all(run is not None for run in runs):
        parts = [[run[k] for run in runs if run is not None] for k in range(3)]
        starts, ends, steps = (
            w.integers(p, f"{name}/{what}") for p, what in zip(parts, ("starts", "ends", "steps"), strict=True)
        )
        axes = w.integers(changed, f"{name}/axes")
        w.give(node, w.emit("Slice", [made, starts, ends, axes, steps], name), layout)
        return
    for count, axis in enumerate(changed):
        taken = np.array(indices[axis], dtype=np.int64)
        if taken.min() < 0:
            after = [int(a == axis) for a in range(size)]
            fill = w.constant(np.array(node.attrs.value, dtype=x.dtype.numpy), f"{name}/fill")
            made = w.emit(
                "Pad", [made, w.integers((*[0] * size, *after), f"{name}/pads"), fill], f"{name}/filled{axis}"
            )
            taken = np.where(taken < 0, shape[axis], taken)
        wish = name if count == len(changed) - 1 else f"{name}/axis{axis}"
        made = w.emit("Gather", [made, w.constant(taken, f"{name}/indices")], wish, axis=axis)
    w.give(node, made if changed else w.emit("Identity", [made], name), layout)


def _run(indices: Sequence[int]) -> tuple[int, int, int] | None:
    """Start, end and step of a slice that takes `indices`, None when it is no such run."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if min(indices) < 0 or step == 0 or any(b - a != step for a, b in itertools.pairwise(indices)):
        return None
    end = indices[-1] + (1 if step > 0 else -1)
    return indices[0], end if end >= 0 else -(2**31), step


def resize(mode: str) -> Callable[[Writer, Node], None]:
    def write(w: Writer, node: Node) -> None:
        x, a = node.tensor(0), node.attrs
        name, coordinates, nearest = node.out.name, a.mode, a.nearest_mode
        if coordinates == "litert":
            coordinates = "align_corners" if a.align_corners else "half_pixel" if a.half_pixel else "asymmetric"
            nearest = "floor" if coordinates == "asymmetric" else "round_prefer_ceil"
        inputs = [w.take(x, FIRST), ""]
        if a.scales is not None:
            inputs.append(w.constant(np.array([1, 1, *a.scales], dtype=np.float32), f"{name}/scales"))
        else:
            inputs += ["", w.integers((1, x.shape[3], *a.size), f"{name}/size")]
        how = {"nearest_mode": nearest} if mode == "nearest" else {}
        made = w.emit("Resize", inputs, name, mode=mode, coordinate_transformation_mode=coordinates, **how)
        w.give(node, made, FIRST)

    return write


def reshape(w: Writer, node: Node) -> None:
    """Of a channels-first map whose dimensions only change places with those of size 1, without a transpose."""
    x = node.tensor(0)
    same = len(x.shape) == 4 and only_units_move(x.shape, to_first(4))
    given = w.take(x, w.layout_of(x) if same else LAST)
    w.give(node, w.emit("Reshape", [given, w.integers(node.out.shape, f"{node.out.name}/shape")], node.out.name))


def transpose(w: Writer, node: Node) -> None:
    """Between the two layouts, another name for the same value."""
    x, perm = node.tensor(0), node.attrs.perm
    for layout, other, change in ((FIRST, LAST, (0, 3, 1, 2)), (LAST, FIRST, (0, 2, 3, 1))):
        if perm == change and (layout == LAST or w.layout_of(x) == FIRST):
            w.give(node, w.take(x, layout), other)
            return
    w.give(node, w.emit("Transpose", [w.take(x)], node.out.name, perm=perm))
