"""Resize and Upsample: every mode, any axes.

Maps whose height and width are resized to their neighbours' values or between them keep an operator of their own, which
may become an integer one. All else is separable: nearest neighbours are a selection along each axis, and every
interpolation a product with a constant matrix along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.frontends.limits import MAX_DIM
from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.selection import select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Tensor
from tinycompile.ir.types import DType
from tinycompile.ops.matmul import MatmulAttrs
from tinycompile.ops.resize import ResizeAttrs

Reals = NDArray[np.float64]
_NEAREST: dict[str, Callable[[Reals], Reals]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}
_OF_MAPS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_COORDINATES = (*_OF_MAPS, "half_pixel_symmetric", "tf_crop_and_resize")
_MAX_WEIGHTS = 1 << 22  # elements of the matrix of one axis


@dataclass(frozen=True)
class Axis:
    """One resized axis: from `size` to `out` elements, by `scale`, of the part `roi` (in lengths of the axis)."""

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    @property
    def changes(self) -> bool:
        return self.size != self.out or self.scale != 1.0 or self.roi != (0.0, 1.0)

    def coordinates(self, mode: str) -> Reals:
        """Where in the input each output lies (ONNX Resize, coordinate_transformation_mode). The length by which the
        formulas divide is that before it is rounded down, as ONNX's reference implementation has it."""
        at = np.arange(self.out, dtype=np.float64)
        length = self.scale * self.size
        if mode == "align_corners":
            return at * 0.0 if length == 1 else at * ((self.size - 1) / (length - 1))
        if mode == "asymmetric":
            return at / self.scale
        if mode == "tf_crop_and_resize":
            part, last = self.roi[1] - self.roi[0], self.size - 1
            start = self.roi[0] * last
            return at * 0.0 + start + part * last / 2 if length == 1 else at * (part * last / (length - 1)) + start
        if mode == "pytorch_half_pixel" and length == 1:
            return at * 0.0
        shift = self.size / 2 * (1 - self.out / length) if mode == "half_pixel_symmetric" else 0.0
        return shift + (at + 0.5) / self.scale - 0.5


def _hat(x: Reals) -> Reals:
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _cubic(a: float) -> Callable[[Reals], Reals]:
    """Keys's kernel (1981, "Cubic convolution interpolation for digital image processing")."""

    def kernel(x: Reals) -> Reals:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0.0))

    return kernel


def _weights(axis: Axis, at: Reals, reach: int, kernel: Callable[[Reals], Reals], wide: bool, inside: bool) -> Reals:
    """(out, size): how much of each input is in each output. `reach`: the kernel is 0 from there on. `wide`: it is
    stretched where the axis shrinks (antialias). `inside`: what lies outside counts for nothing, not as the edge."""
    scale = min(axis.scale, 1.0) if wide else 1.0
    first = math.floor(-reach / scale) + 1
    below = np.ceil(at) - 1  # an exact position is the upper one of its two neighbours
    places = below[:, None] + np.arange(first, 2 - first)
    weights = kernel((places - at[:, None]) * scale)
    if inside:
        weights = np.where((places < 0) | (places >= axis.size), 0.0, weights)
    if inside or wide:
        weights = weights / weights.sum(axis=1, keepdims=True)
    result = np.zeros((axis.out, axis.size))
    np.add.at(result, (np.arange(axis.out)[:, None], np.clip(places, 0, axis.size - 1).astype(np.int64)), weights)
    return result


def _along(b: Builder, n: SourceNode, x: Tensor, axis: int, weights: Reals) -> Tensor:
    """`x` with `weights`, (out, in), applied along one axis."""
    shape = x.shape
    w = b.add_constant(weights.astype(np.float32), f"{n.loc.node}/weights{axis}", n)
    outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if inner == 1:
        y = b.emit(n, "matmul", [b.reshape(n, x, (outer, shape[axis])), w], MatmulAttrs(transpose_b=True))
    else:
        y = b.emit(n, "matmul", [w, b.reshape(n, x, (outer, shape[axis], inner))], MatmulAttrs())
    return b.reshape(n, y, (*shape[:axis], len(weights), *shape[axis + 1 :]))


def _axes(b: Builder, n: SourceNode, x: Tensor, coordinates: str) -> list[Axis]:
    """How each axis is resized. Raises UnsupportedError for sizes that are out of range."""
    rank = len(x.shape)
    axes = [a % rank if -rank <= a < rank else rank for a in n.ints("axes") or range(rank)]
    if len(set(axes)) != len(axes) or max(axes) >= rank:
        raise n.unsupported(f"resize of axes {axes} of {rank} dimensions")
    policy = n.text("keep_aspect_ratio_policy", "stretch")
    found = [Axis(d, d, 1.0) for d in x.shape]
    scales = _scales(b, n)
    if scales is not None:
        if len(scales) != len(axes) or not all(math.isfinite(s) and 0 < s <= 4096 for s in scales):
            raise n.unsupported("resize with scales out of range")
        sizes: Sequence[int] = [math.floor(x.shape[a] * s + 1e-9) for a, s in zip(axes, scales, strict=True)]
    else:
        sizes = b.integers(n, 3, "resize sizes")
        if len(sizes) != len(axes) or policy not in ("stretch", "not_larger", "not_smaller"):
            raise n.unsupported(f"resize to {list(sizes)} of policy {policy}")
        scales = [s / x.shape[a] for a, s in zip(axes, sizes, strict=True)]
        if policy != "stretch":
            scales = [min(scales) if policy == "not_larger" else max(scales)] * len(axes)
            sizes = [math.floor(s * x.shape[a] + 0.5) for a, s in zip(axes, scales, strict=True)]
    if min(sizes, default=1) < 1 or max(sizes, default=1) > MAX_DIM:
        raise n.unsupported(f"resize of {list(x.shape)} to {list(sizes)}")
    roi = np.array([0.0] * len(axes) + [1.0] * len(axes))
    if coordinates == "tf_crop_and_resize":
        roi = b.constant(n, 1, "the region of interest").astype(np.float64).reshape(-1)
        if roi.size != 2 * len(axes) or not np.all(np.isfinite(roi)):
            raise n.unsupported("resize with a region of interest that does not fit the axes")
    for k, (a, out, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        found[a] = Axis(x.shape[a], int(out), scale, (float(roi[k]), float(roi[k + len(axes)])))
    return found


def _scales(b: Builder, n: SourceNode) -> list[float] | None:
    """The scales: an attribute at first, then input 1, input 2 since opset 11; None where sizes are given."""
    if n.has("scales"):
        return [float(s) for s in n.floats("scales") or ()]
    index = 1 if n.opset < 11 or n.op_type == "Upsample" else 2
    given = b.optional(n, index)
    if given is None or math.prod(given.shape) == 0:
        return None
    return [float(s) for s in b.constant(n, index, "resize scales").astype(np.float64).reshape(-1)]


def resize(b: Builder, n: SourceNode) -> Tensor:
    """Opset 10 has scales alone and asymmetric coordinates."""
    x = b.tensor(n, 0)
    old = n.opset < 11
    mode = n.text("mode", "nearest")
    coordinates = "asymmetric" if old else n.text("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else n.text("nearest_mode", "round_prefer_floor")
    antialias, inside = bool(n.integer("antialias", 0)), bool(n.integer("exclude_outside", 0))
    if (
        mode not in ("nearest", "linear", "cubic")
        or coordinates not in _COORDINATES
        or (mode == "nearest" and antialias)
    ):
        raise n.unsupported(f"resize of mode {mode}, {coordinates}", "resize with mode nearest, linear or cubic")
    if nearest not in _NEAREST:
        raise n.unsupported(f"nearest_mode {nearest}")
    axes = _axes(b, n, x, coordinates)
    extrapolation, coefficient = n.real("extrapolation_value", 0.0), n.real("cubic_coeff_a", -0.75)
    plain = coordinates in _OF_MAPS and mode != "cubic" and not antialias and not inside
    if plain and _is_map(x, axes, coordinates):
        return _resized_map(b, n, x, axes, mode, coordinates, nearest)
    changed = [a for a, axis in enumerate(axes) if axis.changes]
    at = {a: axes[a].coordinates(coordinates) for a in changed}
    indices = [np.arange(axis.out) for axis in axes]
    for a in changed:
        outside = (at[a] < 0) | (at[a] > axes[a].size - 1)
        if mode == "nearest":
            indices[a] = np.clip(_NEAREST[nearest](at[a]), 0, axes[a].size - 1).astype(np.int64)
        if coordinates == "tf_crop_and_resize":
            indices[a] = np.where(outside, -1, indices[a])
    if mode != "nearest":
        if x.dtype != DType.FLOAT32:
            raise n.unsupported(f"interpolation of {x.dtype.value}", "cast the input to float32")
        for a in changed:
            axis = axes[a]
            if axis.out * axis.size > _MAX_WEIGHTS:
                raise n.unsupported(f"resize of {axis.size} to {axis.out} elements in mode {mode}")
            if coordinates == "pytorch_half_pixel" and axis.scale * axis.size == 1 and mode == "cubic":
                # ONNX's text takes the first element, its reference implementation what lies half of one before it.
                raise n.unsupported("cubic resize to one element in mode pytorch_half_pixel")
            kernel, reach = (_hat, 1) if mode == "linear" else (_cubic(coefficient), 2)
            x = _along(b, n, x, a, _weights(axis, at[a], reach, kernel, antialias, inside))
    return select(b, n, x, [i.tolist() for i in indices], extrapolation)


def _is_map(x: Tensor, axes: Sequence[Axis], coordinates: str) -> bool:
    """Whether this is one map, or sequence, of which height and width alone are resized."""
    whole = all(coordinates != "align_corners" or axis.scale * axis.size == axis.out for axis in axes)
    floats_or_bytes = x.dtype in (DType.FLOAT32, DType.INT8, DType.UINT8)
    return (
        len(x.shape) in (3, 4)
        and x.shape[0] == 1
        and not any(a.changes for a in axes[:2])
        and whole
        and floats_or_bytes
    )


def _resized_map(
    b: Builder, n: SourceNode, x: Tensor, axes: Sequence[Axis], mode: str, coordinates: str, nearest: str
) -> Tensor:
    height, width = axes[2], axes[3] if len(axes) == 4 else Axis(1, 1, 1.0)
    given = None if _scales(b, n) is None else (height.scale, width.scale)
    attrs = ResizeAttrs((height.out, width.out), False, False, coordinates, nearest, given)
    kind = "resize_nearest" if mode == "nearest" else "resize_bilinear"
    return b.from_map(n, b.emit(n, kind, [b.to_map(n, x)], attrs, quant=x.quant), len(x.shape))
