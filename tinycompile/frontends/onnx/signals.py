"""Fourier transforms; determinants; grids of points and what lies there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import ShapeError
from tinycompile.frontends.limits import MAX_DIM, checked_shape
from tinycompile.frontends.onnx.builder import Builder
from tinycompile.frontends.onnx.functions import apply, number
from tinycompile.frontends.onnx.selection import axes_in, pick, select
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.ir.graph import Array, Tensor
from tinycompile.ops.concat import ConcatAttrs
from tinycompile.ops.grid_sample import MODES, PADDINGS, GridSampleAttrs
from tinycompile.ops.matmul import MatmulAttrs

_EXPORT_AGAIN = "export the model again"
_SHORT, _LONGEST = 5, 1 << 11  # transforms by a matrix
_MAX_DET = 4


@dataclass(frozen=True)
class Complex:
    """Rows of complex numbers, [M,n] each; without `imaginary` they are real."""

    real: Tensor
    imaginary: Tensor | None = None

    def each(self, function: Callable[[Tensor], Tensor]) -> Complex:
        return Complex(function(self.real), None if self.imaginary is None else function(self.imaginary))


def _times(
    b: Builder, n: SourceNode, x: Complex, factor: Array, product: Callable[[Tensor, Tensor], Tensor]
) -> Complex:
    """`x` times complex constants by a `product` that is linear."""
    cosine, sine = (
        b.add_constant(np.ascontiguousarray(v, dtype=np.float32), f"{n.loc.node}/turns", n)
        for v in (factor.real, factor.imag)
    )
    real, imaginary = product(x.real, cosine), product(x.real, sine)
    if x.imaginary is not None:
        real = apply(b, n, "sub", [real, product(x.imaginary, sine)])
        imaginary = apply(b, n, "add", [imaginary, product(x.imaginary, cosine)])
    return Complex(real, imaginary)


def _fourier(b: Builder, n: SourceNode, x: Complex, sign: int) -> Complex:
    """Each row's transform, exponents of `sign`: even lengths by decimation in frequency (Gentleman and Sande 1966,
    "Fast Fourier Transforms: for fun and profit"), others and short ones by a matrix."""
    rows, length = x.real.shape
    turn = sign * 2j * np.pi / length
    if length % 2 or length <= _SHORT:
        matrix = np.exp(turn * np.outer(np.arange(length), np.arange(length)))
        return _times(b, n, x, matrix, lambda t, w: b.emit(n, "matmul", [t, w], MatmulAttrs()))
    half = length // 2

    def part(first: int) -> Complex:
        return x.each(lambda t: select(b, n, t, [range(rows), range(first, first + half)]))

    low, high = part(0), part(half)

    def combined(name: str) -> Complex:
        def of(a: Tensor | None, c: Tensor | None) -> Tensor | None:
            return None if a is None or c is None else apply(b, n, name, [a, c])

        real = of(low.real, high.real)
        assert real is not None
        return Complex(real, of(low.imaginary, high.imaginary))

    def both(even: Tensor | None, odd: Tensor | None) -> Tensor | None:
        """The rows of the even and of the odd outputs, side by side; where the even ones are real, 0."""
        if odd is None:
            return None
        if even is None:
            zeros_first = [range(rows), (-1, 0), range(half)]
            return b.reshape(n, select(b, n, b.reshape(n, odd, (rows, 1, half)), zeros_first), (2 * rows, half))
        pair = [b.reshape(n, t, (rows, 1, half)) for t in (even, odd)]
        return b.reshape(n, b.emit(n, "concat", pair, ConcatAttrs(1)), (2 * rows, half))

    turned = _times(b, n, combined("sub"), np.exp(turn * np.arange(half)), lambda t, w: apply(b, n, "mul", [t, w]))
    total = combined("add")
    real = both(total.real, turned.real)
    assert real is not None
    made = _fourier(b, n, Complex(real, both(total.imaginary, turned.imaginary)), sign)
    return made.each(
        lambda t: b.reshape(n, b.transpose(n, b.reshape(n, t, (rows, 2, half)), (0, 2, 1)), (rows, length))
    )


def _transform(b: Builder, n: SourceNode, x: Tensor, length: int, inverse: bool, onesided: bool) -> Tensor:
    """`x` [M,size,parts], real numbers or complex ones, transformed to [M,outputs,parts]."""
    rows, size, parts = x.shape
    if not 1 <= length <= MAX_DIM or (length % 2 and length > _LONGEST):
        raise n.unsupported(f"a Fourier transform of {length} elements", "transform powers of 2")
    places = np.arange(length)
    mirrored = places > length // 2
    # A real signal's spectrum is its own mirror image, and where it meets itself it has no imaginary part.
    half = np.where(mirrored, length - places, places)
    alone = (places == 0) | (2 * places == length)
    signs = np.where(alone, 0, np.where(mirrored, -1, 1)).astype(np.float32)

    def reflected(values: Complex) -> Complex:
        """Real signals' spectra from the first half of each."""
        turned = values.each(lambda t: select(b, n, t, [range(rows), np.where(half < t.shape[1], half, -1).tolist()]))
        if turned.imaginary is None:
            return turned
        factors = b.add_constant(signs, f"{n.loc.node}/signs", n)
        return Complex(turned.real, apply(b, n, "mul", [turned.imaginary, factors]))

    of_real = inverse and onesided
    values = Complex(
        *(b.reshape(n, select(b, n, x, [range(rows), range(size), (k,)]), (rows, size)) for k in range(parts))
    )
    if of_real:
        values = reflected(values)
    else:
        values = values.each(lambda t: select(b, n, t, [range(rows), [k if k < size else -1 for k in range(length)]]))
    made = _fourier(b, n, values, 1 if inverse else -1)
    if parts == 1 and not inverse:
        made = reflected(made)
    if inverse:
        made = made.each(lambda t: apply(b, n, "mul", [t, number(b, n, 1 / length)]))
    assert made.imaginary is not None
    outputs = [made.real] if of_real else [made.real, made.imaginary]
    if onesided and not inverse:
        outputs = [select(b, n, t, [range(rows), range(length // 2 + 1)]) for t in outputs]
    columns = [b.reshape(n, t, (*t.shape, 1)) for t in outputs]
    return columns[0] if len(columns) == 1 else b.emit(n, "concat", columns, ConcatAttrs(2))


def dft(b: Builder, n: SourceNode) -> Tensor:
    """The axis is an attribute before opset 20, and an input since."""
    x = b.real(n, 0)
    rank = len(x.shape)
    given = n.integer("axis", 1) if n.opset < 20 else -2
    if n.opset >= 20 and b.optional(n, 2) is not None:
        given = int(b.constant(n, 2, "the axis").reshape(-1)[0])
    (axis,) = axes_in(n, [given], rank)
    if axis == rank - 1 or x.shape[-1] not in (1, 2):
        raise ShapeError(f"a transform of {list(x.shape)} along dimension {axis}", str(n), _EXPORT_AGAIN)
    size, parts = x.shape[axis], x.shape[-1]
    inverse, onesided = bool(n.integer("inverse", 0)), bool(n.integer("onesided", 0))
    length = 2 * (size - 1) if inverse and onesided else size
    if b.optional(n, 1) is not None:
        length = int(b.constant(n, 1, "the length").reshape(-1)[0])
    others = [a for a in range(rank - 1) if a != axis]
    moved = b.transpose(n, x, (*others, axis, rank - 1))
    y = _transform(b, n, b.reshape(n, moved, (moved.elems // (size * parts), size, parts)), length, inverse, onesided)
    y = b.reshape(n, y, (*(x.shape[a] for a in others), *y.shape[1:]))
    back = [*others, axis]
    return b.transpose(n, y, (*(back.index(a) for a in range(rank - 1)), rank - 1))


def stft(b: Builder, n: SourceNode) -> Tensor:
    """Frames of the signal [N,L,parts], each times the window and transformed."""
    x, step = b.real(n, 0), int(b.constant(n, 1, "the step between frames").reshape(-1)[0])
    window = b.real(n, 2) if b.optional(n, 2) is not None else None
    size = window.elems if window is not None else x.shape[1] if len(x.shape) == 3 else 0
    if b.optional(n, 3) is not None:
        size = int(b.constant(n, 3, "the length of frames").reshape(-1)[0])
    if len(x.shape) != 3 or x.shape[2] not in (1, 2) or step < 1 or not 1 <= size <= x.shape[1]:
        raise ShapeError(f"frames of {size} of a signal {list(x.shape)}, {step} apart", str(n), _EXPORT_AGAIN)
    if window is not None and window.elems != size:
        raise ShapeError(f"a window of {window.elems} for frames of {size}", str(n), _EXPORT_AGAIN)
    frames, parts = 1 + (x.shape[1] - size) // step, x.shape[2]
    at = [f * step + k for f in range(frames) for k in range(size)]
    cut = select(b, n, x, [range(x.shape[0]), at, range(parts)])
    cut = b.reshape(n, cut, (x.shape[0] * frames, size, parts))
    if window is not None:
        cut = apply(b, n, "mul", [cut, b.reshape(n, window, (size, 1))])
    y = _transform(b, n, cut, size, False, bool(n.integer("onesided", 1)))
    return b.reshape(n, y, (x.shape[0], frames, *y.shape[1:]))


def determinant(b: Builder, n: SourceNode) -> Tensor:
    """Of small matrices, by cofactors of their first rows."""
    x = b.real(n, 0)
    size = x.shape[-1] if len(x.shape) > 1 else 0
    if len(x.shape) < 2 or x.shape[-2] != size or size > _MAX_DET:
        raise n.unsupported(
            f"the determinant of {list(x.shape)}", f"matrices up to {_MAX_DET}x{_MAX_DET} are supported"
        )
    places = np.arange(x.elems).reshape(x.shape)

    def of(rows: list[int], columns: list[int]) -> Tensor:
        first = [pick(b, n, x, places[..., rows[0], c]) for c in columns]
        if len(rows) == 1:
            return first[0]
        total: Tensor | None = None
        for k, element in enumerate(first):
            term = apply(b, n, "mul", [element, of(rows[1:], columns[:k] + columns[k + 1 :])])
            total = term if total is None else apply(b, n, "sub" if k % 2 else "add", [total, term])
        assert total is not None
        return total

    return of(list(range(size)), list(range(size)))


def affine_grid(b: Builder, n: SourceNode) -> Tensor:
    """Positions of all pixels, in [-1, 1], transformed by each sample's matrix."""
    theta, size = b.real(n, 0), checked_shape(b.integers(n, 1, "the size"), str(n))
    dims = len(size) - 2
    if dims not in (2, 3) or theta.shape != (size[0], dims, dims + 1):
        raise ShapeError(f"matrices {list(theta.shape)} for {list(size)}", str(n), _EXPORT_AGAIN)
    axes = []
    for d in size[2:]:
        at = np.arange(d, dtype=np.float64)
        if n.integer("align_corners", 0):
            if d == 1:
                raise n.unsupported("an affine grid of one element with aligned corners")
            axes.append(at * 2 / (d - 1) - 1)
        else:
            axes.append((2 * at + 1) / d - 1)
    grid = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(size[2:])], axis=-1)
    base = b.add_constant(grid.reshape(-1, dims + 1).astype(np.float32), f"{n.loc.node}/grid", n)
    y = b.emit(n, "matmul", [base, theta], MatmulAttrs(transpose_b=True))
    return b.reshape(n, y, (size[0], *size[2:], dims))


def grid_sample(b: Builder, n: SourceNode) -> Tensor:
    x, grid = b.real(n, 0), b.real(n, 1)
    dims = len(x.shape) - 2
    mode = n.text("mode", "linear").removeprefix("bi")
    padding = n.text("padding_mode", "zeros")
    if mode not in MODES or padding not in PADDINGS or dims not in (1, 2, 3):
        raise n.unsupported(f"samples of {list(x.shape)} in mode {mode}, padding {padding}")
    if len(grid.shape) != dims + 2 or grid.shape[0] != x.shape[0] or grid.shape[-1] != dims:
        raise ShapeError(f"a grid {list(grid.shape)} for {list(x.shape)}", str(n), _EXPORT_AGAIN)
    volume = b.reshape(n, x, (*x.shape[:2], *(1,) * (3 - dims), *x.shape[2:]))
    points = b.reshape(n, grid, (x.shape[0], math.prod(grid.shape[1:-1]), dims))
    attrs = GridSampleAttrs(mode, padding, bool(n.integer("align_corners", 0)))
    y = b.emit(n, "grid_sample", [volume, points], attrs)
    return b.reshape(n, y, (*x.shape[:2], *grid.shape[1:-1]))


SIGNALS: dict[str, Callable[[Builder, SourceNode], Tensor]] = {
    "AffineGrid": affine_grid,
    "Det": determinant,
    "DFT": dft,
    "GridSample": grid_sample,
    "STFT": stft,
}
