"""Samples to and from the binary files that the test harnesses read and write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.errors import CheckFailed, UsageError
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Interface, Port

FILLS = (0xA5, 0x5A)  # an arena full of either must give the same result


def pack_inputs(interface: Interface, inputs: Sequence[Array]) -> tuple[bytes, int]:
    """One record per sample, the inputs one after the other; and the number of samples.

    `inputs`: per network input an array (samples, *shape) of the port's type. UsageError when they do not fit.
    """
    if len(inputs) != len(interface.inputs):
        raise UsageError(
            f"{len(inputs)} inputs given, the model has {len(interface.inputs)}", "inputs", "give one array per input"
        )
    arrays = [np.asarray(value) for value in inputs]
    samples = arrays[0].shape[0] if arrays and arrays[0].ndim else 1
    columns = []
    for port, array in zip(interface.inputs, arrays, strict=True):
        as_expected = array.shape[:1] == (samples,) and array.size == samples * port.elems > 0
        if not as_expected or array.dtype != port.dtype.numpy:
            raise UsageError(
                f"an array {array.dtype} {list(array.shape)}, not {samples} of {port.dtype.value} {list(port.shape)}",
                f"input '{port.name}'",
                "give an array of the input's type with a leading sample axis",
            )
        columns.append(np.ascontiguousarray(array).reshape(samples, -1).view(np.uint8).reshape(samples, -1))
    return np.concatenate(columns, axis=1).tobytes() if columns else b"", samples


def unpack_outputs(ports: Sequence[Port], data: bytes, samples: int) -> list[Array]:
    """The arrays (samples, *shape) of a file of output records; ValueError when its size is wrong."""
    record = sum(p.nbytes for p in ports)
    if len(data) != record * samples:
        raise ValueError(f"{len(data)} bytes of output, expected {record * samples}")
    rows = np.frombuffer(data, dtype=np.uint8).reshape(samples, record)
    result, start = [], 0
    for p in ports:
        part = np.ascontiguousarray(rows[:, start : start + p.nbytes])
        result.append(part.view(p.dtype.numpy).reshape(samples, *p.shape))
        start += p.nbytes
    return result


def check_fills_agree(interface: Interface, first: Sequence[Array], second: Sequence[Array], where: str) -> None:
    """CheckFailed unless the outputs of the runs with either fill are equal to the bit."""
    for port, a, b in zip(interface.outputs, first, second, strict=True):
        if a.tobytes() != b.tobytes():
            raise CheckFailed(
                "the result depends on what the arena held before the run",
                f"output '{port.name}' on {where}",
                "this is a bug in tinycompile: please report it with the model",
            )
