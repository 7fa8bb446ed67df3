"""Arrays from `.npz` and `.npy` files that anyone may have made: bounded before memory is taken, nothing unpickled."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tinycompile.errors import UsageError

MOST_BYTES = 1 << 30
# What zipfile and NumPy raise on files that are no archive of arrays.
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_archive(path: Path, left: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` by name. UsageError for anything else, and where they have more bytes together than are
    `left` of MOST_BYTES."""
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = {}
            for member in archive.infolist():
                with archive.open(member) as stream:
                    array = _array(stream, member.file_size, left, path)
                arrays[member.filename.removesuffix(".npy")] = array
                left -= array.nbytes
            return arrays
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def read_arrays(path: Path, left: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """As `read_archive`, and the one array of a `.npy` as ``in_0``."""
    try:
        with path.open("rb") as stream:
            if stream.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX:
                stream.seek(0)
                return {"in_0": _array(stream, path.stat().st_size, left, path)}
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    return read_archive(path, left)


def _array(stream: IO[bytes], stored: int, left: int, path: Path) -> NDArray[Any]:
    """The array of a `.npy` file of `stored` bytes; UsageError when it has more than are `left`."""
    version = npy.read_magic(stream)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise ValueError(f"version {version} of the .npy format")
    shape, fortran_order, dtype = read_header(stream)
    nbytes = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or nbytes > stored:
        raise ValueError(f"an array of {dtype} {list(shape)} in {stored} bytes")
    if nbytes > left:
        raise UsageError(f"more than {MOST_BYTES:,} bytes of arrays", str(path), "give fewer samples")
    flat = np.frombuffer(stream.read(nbytes), dtype, math.prod(shape))
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"cannot read the arrays: {error}", str(path), "save them with numpy.savez")
