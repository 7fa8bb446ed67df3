"""Samples to and from the binary files that the test harnesses read and write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinycompile.errors import UsageError
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
    samples = len(inputs[0]) if inputs else 1
    columns = []
    for port, value in zip(interface.inputs, inputs, strict=True):
        array = np.asarray(value)
        if len(array) != samples or array.size != samples * port.elems or array.dtype != port.dtype.numpy:
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
