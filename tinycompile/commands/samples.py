"""Samples from and to `.npz` files, by tensor name or position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinycompile.array_files import read_archive
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Interface


def read_inputs(path: Path, interface: Interface) -> list[Array]:
    """One array (samples, *shape) per network input: by tensor name, or by position ``in_0``, ``in_1``, ...

    UsageError when the file cannot be read or an array is missing or of another type or shape.
    """
    arrays = read_archive(path)
    result = []
    for k, port in enumerate(interface.inputs):
        value = arrays.get(port.name, arrays.get(f"in_{k}"))
        if value is None:
            raise UsageError(
                f"no array for input '{port.name}'",
                str(path),
                f"name it '{port.name}' or 'in_{k}'; leading axis: samples",
            )
        if value.dtype != port.dtype.numpy or value.shape[1:] != port.shape:
            raise UsageError(
                f"array '{port.name}' is {value.dtype} {list(value.shape)}",
                str(path),
                f"it must be {port.dtype.value} [samples,{','.join(str(d) for d in port.shape)}]",
            )
        result.append(value)
    if len({len(a) for a in result}) > 1:
        raise UsageError("the inputs have different numbers of samples", str(path), "give each the same leading axis")
    return result


def random_inputs(interface: Interface, samples: int, seed: int = 1) -> list[Array]:
    """Reproducible random samples: integers over their whole range, floats uniform in [-1, 1)."""
    rng = np.random.default_rng(seed)
    result: list[Array] = []
    for port in interface.inputs:
        shape = (samples, *port.shape)
        if port.dtype.is_integer:
            lo, hi = port.dtype.int_range
            result.append(rng.integers(lo, hi, shape, endpoint=True).astype(port.dtype.numpy))
        else:
            result.append(rng.uniform(-1.0, 1.0, shape).astype(port.dtype.numpy))
    return result


def write_outputs(path: Path, outputs: Sequence[Array]) -> None:
    """``out_0``, ``out_1``, ... with a leading sample axis."""
    try:
        np.savez(path, **{f"out_{k}": value for k, value in enumerate(outputs)})  # type: ignore[arg-type]
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", str(path), "give a path that can be written") from None
