"""What an operator module declares: everything that the compiler may ask about an operator kind.

One module per operator; `Operator` is its interface and `tinycompile.ops.registry` lists the instances. Operators know
the IR and NumPy, never templates or the scheduler.

Regions. An operator computes any rectangle of its output's row form (`Region`: rows and columns, all channels).
`in_region` says which rectangle of each activation input that needs, clipped to the input, and how much padding lies
outside; `compute` makes the output rectangle from exactly those input rectangles. Patches, line buffers and halo
recompute all follow from this pair.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinycompile.ir.graph import Array, Attrs, Node, Tensor
from tinycompile.ir.types import DType, Region


@dataclass(frozen=True)
class Need:
    """The part of an input that an output region needs: a clipped `region` and the padding outside it."""

    region: Region
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


def whole(tensor: Tensor) -> Region:
    """All of a tensor."""
    return Region(0, tensor.form.rows, 0, tensor.form.width)


SCRATCH_ALIGN = 4  # bytes: kernels may hold int32 in scratch
OWN_OUTPUT = -1  # `RowWindow.index` of the operator's own output, for the row made before (see `Operator.carries`)


@dataclass(frozen=True)
class RowWindow:
    """How the rows of activation input `index`, or of the output itself (OWN_OUTPUT), reach the kernel for row `y`.

    Row pointer `j` (0 <= j < count) is input row ``first + dilation * j`` with ``first = y * stride - pad``, or
    ``first = table[y]`` when a table is given (resize). A row outside the tensor is a NULL pointer: padding.
    `array` passes an array of `count` row pointers, otherwise (`count` is 1) the one row pointer itself.
    `whole`: one pointer to the tensor's first byte; the plan must then place its rows contiguously.
    """

    index: int
    count: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    array: bool = False
    table: tuple[int, ...] | None = None
    whole: bool = False


def window_tensor(node: Node, window: RowWindow) -> Tensor:
    """The tensor whose rows a window passes to the kernel."""
    return node.out if window.index == OWN_OUTPUT else node.tensor(window.index)


@dataclass(frozen=True, eq=False)
class ConstArray:
    """Flash data of one kernel call: ``const T *<param>`` with T from ``data.dtype``, packed as the kernel reads it.

    `packed_elems`: how many values are in `data`, where it holds several in a byte; None: one an element."""

    param: str
    data: Array
    packed_elems: int | None = None


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One call of a row kernel, as data. The C signature follows from it, in this order::

        kernel(T *out, <one per input: const T *in<i> or const T *const *in<i>>, [int32_t y,] [uint8_t *scratch,]
               <const T *array>..., <int32_t const>...)

    `out_rows`: the kernel makes that many rows (`Operator.step_rows`) and takes an array of pointers to them,
    ``T *const *out``, NULL for rows beyond the output; None: one row, by its pointer. `consts` are compile-time
    constants in the order of the kernel's parameters (their names appear as comments in the generated code). `element`
    overrides the C type of output and input pointers (data movement works on ``uint8_t``).
    `row_index` passes the output row `y`. `stack_bytes`: of an array on the stack, ``int8_t *stack`` behind `scratch`,
    for what a few pixels need and registers cannot hold: scratch that no plan places. `include`: the kernel's header,
    where it is not one of its own.

    `arguments`: the input pointers and arrays that the kernel takes after `out`, in this order, each advanced by so
    many elements per output row (of `row_index`, which the kernel itself then does not take); None: as above.
    """

    kernel: str
    inputs: tuple[RowWindow, ...]
    arrays: tuple[ConstArray, ...] = ()
    consts: tuple[tuple[str, int], ...] = ()
    scratch_bytes: int = 0
    row_index: bool = False
    element: str | None = None
    out_rows: int | None = None
    include: str | None = None
    arguments: tuple[tuple[str, int], ...] | None = None
    stack_bytes: int = 0

    @property
    def header(self) -> str:
        """The one C header of the kernel, in ``runtime_c/include``."""
        return self.include or f"{self.kernel}.h"

    def ordered(self, given: Sequence[str]) -> list[str]:
        """The C arguments of the kernel, constants left out, from `given`: those that a caller gives it, by name."""
        if self.arguments is None:
            return list(given)
        first = [name for name in given if name in ("out", "scratch")]
        return [*first, *(name if not pitch else f"{name} + {pitch} * y" for name, pitch in self.arguments)]


@dataclass(frozen=True)
class WeightAxes:
    """The dimensions of a layer's weights, its input 1, along which are its output channels, and the input channels of
    one group; the others are the taps of its window, rows before columns."""

    outputs: int
    inputs: int


class Grain(enum.Enum):
    """What one kernel call makes."""

    ROW = "row"  # one output row, or `Operator.step_rows` of them
    FLAT = "flat"  # one row, or any run of adjacent rows as one long row: each pixel depends on the same pixel
    WHOLE = "whole"  # the whole output, from whole contiguous inputs (a barrier to streaming)


@dataclass(frozen=True)
class Variant:
    """A kernel choice of an operator: usable when the target has all of `requires`. Earlier in the list is better."""

    name: str
    requires: frozenset[str] = field(default_factory=frozenset)


GENERIC = Variant("generic")
DSP = Variant("dsp", frozenset({"dsp"}))
MVE = Variant("mve", frozenset({"mve"}))


def is_plain(variant: str) -> bool:
    """Whether a kernel keeps to a core's base instructions; the names of others end in the feature that they need."""
    return variant.split(", ")[-1] not in (DSP.name, MVE.name)


class Operator(abc.ABC):
    """One operator kind. Instances are stateless singletons."""

    kind: ClassVar[str]
    attrs_class: ClassVar[type[Attrs]] = Attrs
    scale_free: ClassVar[bool] = False
    """Whether it makes sense of int8 values of unknown scale: as integers, or as bytes that it moves or compares."""

    weight_axes: ClassVar[WeightAxes | None] = None
    """Of a layer: an operator whose outputs are sums of products of weights with the channels, the last dimension, of
    input 0, and of a bias per output channel (input 2). None: it is no layer."""

    of_constants: ClassVar[bool] = False
    """Whether its kernel reads no tensor that is made at run time."""

    @abc.abstractmethod
    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        """Shape and dtype of the output, from inputs and attrs. Raises ShapeError or QuantError when they do not
        fit."""

    def unsupported(self, node: Node) -> str | None:
        """Why no kernel can run this node, in words for the user, or None when one can (asked of lowered graphs)."""
        return None

    def variants(self, node: Node) -> tuple[Variant, ...]:
        """The kernels that can run this node, better ones first; the last one runs on any target."""
        return (GENERIC,)

    @abc.abstractmethod
    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        """What each input contributes to region `out` of the output; None for constants, absent inputs, and inputs that
        this region does not read."""

    @abc.abstractmethod
    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        """The exact output region, shape (out.rows, out.cols, channels), from arrays that hold exactly `in_region`'s
        regions in row form (rows, cols, channels). The definition of correct."""

    def in_place(self, node: Node) -> tuple[int, ...]:
        """Activation inputs whose bytes the output may overwrite during the call, as long as each output row starts at
        or below the input row it is made from (kernels run from low to high addresses)."""
        return ()

    def over_window(self, node: Node) -> tuple[Variant, ...]:
        """The kernels that may write an output row over any one of the rows of input 0 that it is made from, both
        beginning at the same byte and the output row no longer: better ones first, the last one for any target; none
        when there is none. Of several rows made in one step, the j-th may lie over the j-th row of input 0 that the
        step reads."""
        return ()

    def carries(self, node: Node) -> bool:
        """Whether output row y is made from output row y - 1 as well, row 0 from the inputs alone (running sums).

        Its kernels take that row by a ``RowWindow(OWN_OUTPUT, stride=1, pad=1)``, NULL for row 0, and may write row y
        over row y - 1. `compute` is asked only for regions that begin at row 0, `advance` for the others.
        """
        return False

    def advance(self, node: Node, out: Region, inputs: Sequence[Array | None], previous: Array) -> Array:
        """As `compute`, for a region below row 0 of an operator that carries. `previous`: the columns of `out` of row
        ``out.y0 - 1`` of the output, shape (1, out.cols, channels)."""
        raise NotImplementedError(self.kind)

    def keeps(self, node: Node) -> bool:
        """Whether scratch keeps its contents from one output row to the next. Rows are then made in order, each once
        and whole, with scratch in one place; row 0 finds anything there. Its grain is ROW.

        `compute` and `in_region` are as for others (any rectangle, from the inputs alone).
        """
        return False

    def step_rows(self, node: Node) -> int:
        """Output rows that one kernel call makes where the grain is ROW: rows [0, n), [n, 2n)..., the last ones fewer
        where the output ends. More than one where rows made together share work."""
        return 1

    def step_region(self, node: Node, y: int) -> tuple[Need | None, ...]:
        """What the step that makes row `y` first reads of each input: `in_region` of its rows, less what scratch keeps
        of it."""
        form = node.out.form
        return self.in_region(node, Region(y, min(y + self.step_rows(node), form.rows), 0, form.width))

    def advance_kept(self, node: Node, y: int, inputs: Sequence[Array | None], kept: Array) -> Array:
        """Row `y` of an operator that keeps scratch, shape (1, width, channels), from arrays that hold exactly
        `step_region`'s regions and from the bytes `kept` (uint8) as the row before left them, which are brought up to
        date."""
        raise NotImplementedError(self.kind)

    def view(self, node: Node) -> int | None:
        """The input whose bytes are the output, unchanged and in order (reshape), or None."""
        return None

    def row_view_offsets(self, node: Node) -> tuple[int, ...] | None:
        """Byte offset of each input inside the output when all are contiguous runs of it, unchanged (concat): it may be
        laid out around them. Else None."""
        return None

    def rectangle(self, node: Node) -> Region | None:
        """The rectangle of input 0 that the output is, unchanged (crop): a view inside the input's rows. Else None."""
        return None

    def tile(self, node: Node, needs: Sequence[Need | None]) -> Attrs | None:
        """Attributes of this operator making one rectangle of its output from tensors that hold just the rectangle's
        `needs` (of `in_region`); None when it cannot be cut."""
        return None

    def grain(self, node: Node) -> Grain:
        """What one kernel call makes."""
        return Grain.ROW

    def scratch_bytes(self, node: Node) -> int:
        """Scratch that `calls` want in the arena, at a multiple of SCRATCH_ALIGN."""
        return 0

    def macs(self, node: Node) -> int:
        """Multiply-accumulates to compute the whole output (0 for operators that are not counted in MACs)."""
        return 0

    def ulp(self, node: Node) -> int:
        """How far a kernel's floats may be from those of `compute`, in units of the last place: more than 0 where the
        kernel calls functions of the C library."""
        return 0

    def inner_elems(self, node: Node) -> int:
        """Elements that the kernel puts out on the way, beside those of the output (fused operators)."""
        return 0

    @abc.abstractmethod
    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        """The kernel calls that make one row (or `step_rows`) of columns [out.x0, out.x1), in order, all given the same
        output row.

        Where the grain is FLAT and rows are merged, the row is ``out.rows * out.cols`` pixels long; where it is WHOLE
        the calls make the whole output. Empty for a view.
        """

    def reference(self, node: Node, inputs: Sequence[Array | None]) -> Array:
        """The whole output, in the output's own shape, from whole inputs in their own shapes (None for constants)."""
        forms: list[Array | None] = []
        for tensor, array in zip(node.inputs, inputs, strict=True):
            if tensor is None or array is None or tensor.is_const:
                forms.append(None)
            else:
                forms.append(array.reshape(tensor.form.rows, tensor.form.width, tensor.form.channels))
        region = whole(node.out)
        needs = self.in_region(node, region)
        parts = [
            None if a is None or n is None else a[n.region.y0 : n.region.y1, n.region.x0 : n.region.x1]
            for a, n in zip(forms, needs, strict=True)
        ]
        return self.compute(node, region, parts).reshape(node.out.shape)


def pad_region(array: Array, need: Need, value: int | float) -> Array:
    """`array` (rows, cols, channels) of `need.region` with its padding filled with `value`."""
    return np.pad(
        array, ((need.top, need.bottom), (need.left, need.right), (0, 0)), mode="constant", constant_values=value
    )


def window_1d(
    out0: int, out1: int, size: int, kernel: int, stride: int, dilation: int, pad: int
) -> tuple[int, int, int, int]:
    """Input range [i0, i1) that outputs [out0, out1) need along one axis of `size`, and the padding before and after.

    The range may be empty (i0 == i1) when the whole window lies in the padding.
    """
    first = out0 * stride - pad
    last = (out1 - 1) * stride - pad + (kernel - 1) * dilation + 1
    i0, i1 = min(max(first, 0), size), max(min(last, size), 0)
    i1 = max(i0, i1)
    before = min(max(0, -first), last - first)
    return i0, i1, before, (last - first) - before - (i1 - i0)
