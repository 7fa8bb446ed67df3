"""The operators that an inverted bottleneck stands for, as nodes of their own: three convolutions, and the addition of
the block's input where it has one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinycompile.ir.graph import Attrs, Node, Op, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType, Region
from tinycompile.ops.add import Add, AddAttrs
from tinycompile.ops.base import Operator
from tinycompile.ops.conv2d import Conv2d, Conv2dAttrs
from tinycompile.ops.depthwise_conv2d import DepthwiseConv2d, DepthwiseConv2dAttrs
from tinycompile.ops.geometry import Pair

EXPAND, DEPTHWISE, PROJECT, ADD = Conv2d(), DepthwiseConv2d(), Conv2d(), Add()
STAGES: tuple[tuple[str, Conv2d | DepthwiseConv2d], ...] = (
    ("expand", EXPAND),
    ("depthwise", DEPTHWISE),
    ("project", PROJECT),
)
Parts = tuple[Node, Node, Node]


@dataclass(frozen=True)
class InvertedBottleneckAttrs(Attrs):
    """The attributes of the operators, and the quantisation of what is between them. Its type is the input's.

    `residual`: the projected map, of quantisation `projected`, has the input added to it: output pixel (y, x) input
    pixel (y + residual_at[0], x + residual_at[1]). `kept`: expanded pixels stay in scratch from one output row to the
    next, so that none is expanded twice. Otherwise `rows` output rows are made in one step, which expands the rows of
    their windows once.
    """

    expand: Conv2dAttrs
    depthwise: DepthwiseConv2dAttrs
    project: Conv2dAttrs
    expanded: Quant
    filtered: Quant
    residual: AddAttrs | None = None
    projected: Quant | None = None
    residual_at: Pair = (0, 0)
    kept: bool = False
    rows: int = 1


def convolutions(node: Node) -> Parts:
    """The three convolutions."""
    a: InvertedBottleneckAttrs = node.attrs
    expanded = _inner(node, "expanded", a.expanded)
    filtered = _inner(node, "filtered", a.filtered)
    projected = node.out if a.residual is None else _inner(node, "projected", a.projected)
    expand = _part(EXPAND, node, (node.inputs[0], *node.inputs[1:3]), a.expand, expanded)
    depthwise = _part(DEPTHWISE, node, (expand.out, *node.inputs[3:5]), a.depthwise, filtered)
    project = _part(PROJECT, node, (depthwise.out, *node.inputs[5:7]), a.project, projected)
    return expand, depthwise, project


def addition(node: Node, project: Node) -> Node | None:
    """The addition of the projected map and the pixels of the input that lie there, None where there is none."""
    a: InvertedBottleneckAttrs = node.attrs
    if a.residual is None:
        return None
    there = replace(project.out, name=f"{node.out.name}/residual", quant=node.tensor(0).quant)
    return _part(ADD, node, (project.out, there), a.residual, node.out)


def why_not_one(parts: Parts) -> str | None:
    """Why three convolutions in a row are no inverted bottleneck, or None."""
    expand, depthwise, project = parts
    for part in (expand, project):
        kernel, a = part.tensor(1).shape[1:3], part.attrs
        if kernel != (1, 1) or a.stride != (1, 1) or a.pad != (0, 0, 0, 0) or a.groups != 1:
            return "the first and the last convolution must be 1x1, ungrouped, without stride or padding"
    if depthwise.out.form.channels != depthwise.tensor(0).form.channels:
        return "the depthwise convolution must make one channel of each"
    return None


def why_not_added(parts: Parts, at: Pair = (0, 0)) -> str | None:
    """Why the input from (row, column) `at` on cannot be added to what three convolutions make of it, or None.

    Each pixel that is added must lie inside the input and among the rows and columns of its output pixel's window.
    """
    expand, depthwise, project = parts
    x, y, a = expand.tensor(0).form, project.out.form, depthwise.attrs
    kernel = depthwise.tensor(1).shape[1:3]
    sizes = ((x.rows, y.rows, a.pad[0]), (x.width, y.width, a.pad[2]))
    reach = [(k - 1) * d for k, d in zip(kernel, a.dilation, strict=True)]
    inside = all(
        0 <= first <= taken - made and 0 <= first + pad <= r
        for first, (taken, made, pad), r in zip(at, sizes, reach, strict=True)
    )
    if a.stride != (1, 1) or x.channels != y.channels or not inside:
        return "what is added must be as many pixels of the input, without stride, each in its own window"
    return None


def parts_unsupported(parts: Parts) -> str | None:
    """Why the kernel cannot compute these convolutions, or None."""
    for (_, oper), part in zip(STAGES, parts, strict=True):
        reason = oper.unsupported(part)
        if reason is not None:
            return reason
        if part.tensor(0).dtype != DType.INT8:
            return f"activations of {part.tensor(0).dtype.value}"
        if oper.calls(part, Region(0, 1, 0, 1))[0].arrays[0].data.dtype != np.int8:
            return "weights that their zero points take out of int8"
    return None


def _inner(node: Node, name: str, quant: Quant | None) -> Tensor:
    return Tensor(f"{node.out.name}/{name}", (), DType.INT8, quant)


def _part(oper: Operator, node: Node, inputs: tuple[Tensor | None, ...], attrs: Attrs, out: Tensor) -> Node:
    names = tuple("" if t is None else t.name for t in inputs)
    op = Op(oper.kind, out.name, names, (out.name,), attrs, node.op.source)
    shape, dtype = oper.infer(Node(op, inputs, (out,)))
    return Node(op, inputs, (replace(out, shape=shape, dtype=dtype),))
