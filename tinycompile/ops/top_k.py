"""top_k: the k largest or smallest elements along one dimension, in order; or their places (int64). Of equal ones the
first comes first. NaNs are in no order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import UnsupportedError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import Grain, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.elementwise_functions import NUMBER, SUFFIX


@dataclass(frozen=True)
class TopKAttrs(Attrs):
    """`places`: the output is where the elements are, not what they are."""

    axis: int = 0
    k: int = 1
    largest: bool = True
    places: bool = False


class TopK(Operator):
    kind = "top_k"
    attrs_class = TopKAttrs
    scale_free = True

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, a = node.tensor(0), node.attrs
        if x.dtype not in NUMBER or not 0 <= a.axis < len(x.shape) or not 1 <= a.k <= x.shape[a.axis]:
            raise UnsupportedError(
                f"the first {a.k} of {x.dtype.value} along dimension {a.axis} of {list(x.shape)}",
                str(node.op.source),
                "ask for no more elements than there are",
            )
        return (*x.shape[: a.axis], a.k, *x.shape[a.axis + 1 :]), DType.INT64 if a.places else x.dtype

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        return (Need(whole(node.tensor(0))),)

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        assert inputs[0] is not None
        a = node.attrs
        x = inputs[0].reshape(node.tensor(0).shape)
        if a.largest:  # the last of the sorted are the first; turned round, so that of equal ones the first is last
            turned = np.argsort(np.flip(x, a.axis), axis=a.axis, kind="stable")
            order = x.shape[a.axis] - 1 - np.flip(turned, a.axis)
        else:
            order = np.argsort(x, axis=a.axis, kind="stable")
        order = np.take(order, range(a.k), axis=a.axis)
        result = order.astype(np.int64) if a.places else np.take_along_axis(x, order, axis=a.axis)
        form = node.out.form
        return result.reshape(form.rows, form.width, form.channels)[out.y0 : out.y1, out.x0 : out.x1]

    def grain(self, node: Node) -> Grain:
        return Grain.WHOLE

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        x, a = node.tensor(0), node.attrs
        consts = (
            ("outer", math.prod(x.shape[: a.axis])),
            ("n", x.shape[a.axis]),
            ("inner", math.prod(x.shape[a.axis + 1 :])),
            ("k", a.k),
            ("largest", int(a.largest)),
        )
        kernel = f"tc_top_{'places' if a.places else 'values'}_{SUFFIX[x.dtype]}"
        return (KernelCall(kernel, (RowWindow(0, whole=True),), (), consts, include="tc_top_k.h"),)
