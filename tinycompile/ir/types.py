"""Element types and the row form of a tensor. Imports nothing from the package but errors."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np


class DType(enum.Enum):
    """Element type of a tensor; the value is the NumPy name."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    BOOL = "bool"
    FLOAT32 = "float32"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        return np.dtype(self.value)

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize

    @property
    def c_type(self) -> str:
        """The C99 type of one element."""
        return {"float32": "float", "bool": "uint8_t"}.get(self.value, f"{self.value}_t")

    @property
    def is_integer(self) -> bool:
        return self not in (DType.FLOAT32, DType.BOOL)

    @property
    def int_range(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type."""
        info = np.iinfo(self.value)
        return int(info.min), int(info.max)


@dataclass(frozen=True)
class RowForm:
    """A tensor seen as `rows` rows of `width` pixels of `channels` elements, all contiguous.

    The row axis is the one that everything streams along: H of an image, time of a sequence. It is a function of the
    shape alone, and always the slowest-varying part of a row-major tensor, so row `r` is the `r`-th run of
    `width * channels` elements whatever the rank.
    """

    rows: int
    width: int
    channels: int

    @property
    def row_elems(self) -> int:
        return self.width * self.channels


def row_parts(shape: tuple[int, ...]) -> tuple[int, int]:
    """Where the dimensions of columns and those of channels begin in a shape; those of rows come first."""
    rank = len(shape)
    if rank < 2:
        return 0, 0
    return rank - 1 if rank == 2 or (rank == 3 and shape[0] == 1) else rank - 2, rank - 1


def row_form(shape: tuple[int, ...]) -> RowForm:
    """The row form of a row-major `shape`.

    NHWC -> (N*H, W, C); [1,T,C] -> (T, 1, C); [M,C] -> (M, 1, C); [C] -> (1, 1, C).
    """
    columns, channels = row_parts(shape)
    return RowForm(math.prod(shape[:columns]), math.prod(shape[columns:channels]), math.prod(shape[channels:]))


@dataclass(frozen=True)
class Region:
    """Rows [y0, y1) x columns [x0, x1) of a tensor's row form, all channels."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def rows(self) -> int:
        return self.y1 - self.y0

    @property
    def cols(self) -> int:
        return self.x1 - self.x0

    def around(self, other: Region) -> Region:
        """The least rectangle that holds both."""
        return Region(min(self.y0, other.y0), max(self.y1, other.y1), min(self.x0, other.x0), max(self.x1, other.x1))
