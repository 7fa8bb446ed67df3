"""Bounds on what a model file may ask for. Files are untrusted: sizes are checked before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tinycompile.errors import MalformedModelError, ShapeError
from tinycompile.ir.types import row_form

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_TENSOR_ELEMS = 16 * 1024 * 1024
MAX_DIM = 2**24
MAX_RANK = 8
MAX_CONSTANT_BYTES = MAX_FILE_BYTES  # of a graph: importers compute some, such as matrices of transforms
MAX_INDICES = 4 * 1024 * 1024  # of all selections; each is an object of Python
MAX_OPS = 20_000
MAX_TENSORS = 50_000
MAX_OPERANDS = 2048  # of one operator, and as many results
MAX_ROWS = 65_536  # of a computed tensor; planning takes time and memory per row
MIN_SCALE, MAX_SCALE = 1e-12, 1e12  # ratios and products of three scales stay finite in float32


class Budget:
    """An amount that all of a file may use up together: many requests that are small enough by themselves add up."""

    def __init__(self, amount: int, what: str) -> None:
        self._amount = self._left = amount
        self._what = what

    def take(self, amount: int, where: str) -> None:
        """Uses up some of it; MalformedModelError when less is left."""
        self._left -= amount
        if self._left < 0:
            raise MalformedModelError(
                f"more than {self._amount} {self._what}", where, "use a model for microcontrollers"
            )


def composition_budget(nodes: int) -> Budget:
    """For the operators that importers make of a file's `nodes`, one each and others: some compose many."""
    return Budget(nodes + MAX_OPS, "operators once composed")


def constants_budget() -> Budget:
    """For all constants of a graph: those of the file, and those that importers compute."""
    return Budget(MAX_CONSTANT_BYTES, "bytes of constants")


def selection_budget() -> Budget:
    """For the indices of all selections of a file."""
    return Budget(MAX_INDICES, "indices of selected elements")


def checked_shape(shape: Sequence[int], where: str) -> tuple[int, ...]:
    """`shape` as a tuple; ShapeError when a dimension is zero, negative or too large."""
    dims = tuple(int(d) for d in shape)
    if len(dims) > MAX_RANK:
        raise ShapeError(
            f"{len(dims)} dimensions (at most {MAX_RANK})", where, "reshape the tensor to fewer dimensions"
        )
    if any(d < 0 for d in dims):
        raise ShapeError(
            f"the shape {list(dims)} is not static",
            where,
            "export the model with fixed shapes, or pass --shape NAME=1,...",
        )
    if any(d == 0 for d in dims):
        raise ShapeError(f"the shape {list(dims)} has no elements", where, "remove the empty tensor from the model")
    if any(d > MAX_DIM for d in dims) or math.prod(dims) > MAX_TENSOR_ELEMS:
        raise ShapeError(
            f"the shape {list(dims)} is too large (at most {MAX_TENSOR_ELEMS} elements)",
            where,
            "no microcontroller holds such a tensor: use a smaller model",
        )
    return dims


def checked_activation(shape: tuple[int, ...], where: str) -> None:
    """ShapeError when a computed tensor has more rows than can be planned."""
    rows = row_form(shape).rows
    if rows > MAX_ROWS:
        raise ShapeError(
            f"the shape {list(shape)} has {rows} rows (at most {MAX_ROWS})",
            where,
            "process the input in shorter pieces",
        )


def read_file(path: Path) -> bytes:
    """The bytes of a model file; MalformedModelError when it is missing, no file, empty or too large."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise MalformedModelError("this is not a file", str(path), "give the path of a .tflite or .onnx file")
        if size > MAX_FILE_BYTES:
            raise MalformedModelError(
                f"the file has {size} bytes (at most {MAX_FILE_BYTES})", str(path), "use a model for microcontrollers"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MalformedModelError(
            f"cannot read the model: {reason}", str(path), "check the path and its rights"
        ) from None
    if not data:
        raise MalformedModelError("the file is empty", str(path), "export the model again")
    return data
