"""Samples of a network's inputs: from `.npz`/`.npy` files, a folder of them, or a function of the user's own.

A sample is one array per network input, float32 and in the input's shape. The order is that of the file, of the sorted
file names, or of the function, so that equal data gives equal results.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.array_files import MOST_BYTES, read_arrays
from tinycompile.errors import UsageError, one_line
from tinycompile.ir.graph import Array, Tensor

Sample = Mapping[str, Array]
_FORMS = "give a .npz or .npy file, a folder of them, or module:function"
HELD_OUT_EVERY = 5


def read_samples(source: str, inputs: Sequence[Tensor], limit: int) -> list[Sample]:
    """At most `limit` samples, from evenly spread places of a file that holds more.

    `source`: an `.npz` with an array per input, named after it or `in_0`, `in_1`..., alone or stacked along a leading
    axis; a `.npy` for a network of one input; a folder of such files; or ``module:function``, a function that gives
    dictionaries of input name -> array, or the arrays themselves for one input. Raises UsageError, also for files of
    more than MOST_BYTES of arrays.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".npy"))
        samples = _samples_of_files(spread(files, limit), inputs)
    elif path.is_file():
        samples = samples_of(read_arrays(path), inputs, str(path))
    elif ":" in source:
        samples = [_sample(given, inputs, source) for given in islice(_generated(source), limit)]
    else:
        raise UsageError("there is no such file or folder", one_line(source, 200), _FORMS)
    if not samples:
        raise UsageError("no samples", one_line(source, 200), _FORMS)
    return spread(samples, limit)


def _samples_of_files(files: Sequence[Path], inputs: Sequence[Tensor]) -> list[Sample]:
    """Of all files, which have MOST_BYTES of arrays together at most."""
    samples, left = [], MOST_BYTES
    for file in files:
        arrays = read_arrays(file, left)
        left -= sum(a.nbytes for a in arrays.values())
        samples += samples_of(arrays, inputs, str(file))
    return samples


def split_held_out(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Samples to calibrate with, and every fifth to judge by; all of them for both where there are fewer than five."""
    if len(samples) < HELD_OUT_EVERY:
        return list(samples), list(samples)
    held_out = samples[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    return [s for k, s in enumerate(samples) if k % HELD_OUT_EVERY != HELD_OUT_EVERY - 1], list(held_out)


def load_function(source: str) -> Callable[..., Any]:
    """The function that ``module:function`` names; modules of the working folder are found, too. UsageError else."""
    module, _, name = source.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise UsageError(f"cannot import it: {error}", one_line(source, 200), "write it as module:function") from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise UsageError("it is no function", one_line(source, 200), "name a function without arguments")
    return found  # type: ignore[no-any-return]


def _generated(source: str) -> Iterator[Any]:
    given = load_function(source)()
    if not isinstance(given, Iterable):
        raise UsageError("the function gives no samples", one_line(source, 200), "let it yield dictionaries of arrays")
    return iter(given)


def spread(items: Sequence[Any], limit: int) -> list[Any]:
    """At most `limit` of them, in their order."""
    if len(items) <= limit:
        return list(items)
    return [items[k * len(items) // limit] for k in range(limit)]


def samples_of(arrays: Mapping[str, Array], inputs: Sequence[Tensor], where: str) -> list[Sample]:
    """The samples of an array per input, named and stacked as in a file of `read_samples`. Raises UsageError."""
    stacks = [_stack(_named(arrays, tensor, k, where), tensor, where) for k, tensor in enumerate(inputs)]
    if len({len(stack) for stack in stacks}) > 1:
        raise UsageError("the inputs have different numbers of samples", where, "give each the same leading axis")
    return [{t.name: stack[k] for t, stack in zip(inputs, stacks, strict=True)} for k in range(len(stacks[0]))]


def _named(arrays: Mapping[str, Array], tensor: Tensor, k: int, where: str) -> Array:
    """The array of input number `k`: by its name, its position, both, or the only one there is."""
    for name, value in arrays.items():
        if name in (tensor.name, f"in_{k}") or name.startswith(f"in_{k}_"):
            return value
    if len(arrays) == 1 and k == 0:
        return next(iter(arrays.values()))
    raise UsageError(f"no array for input '{tensor.name}'", where, f"name it '{tensor.name}' or 'in_{k}'")


def _stack(value: Array, tensor: Tensor, where: str) -> Array:
    """(samples, *shape): of one sample, of a stack of them, or of a batch in the place of a first dimension of 1."""
    shape = tensor.shape
    batch = shape[:1] == (1,) and value.ndim == len(shape) and value.shape[1:] == shape[1:]
    if value.shape != shape and value.shape[1:] != shape and not batch:
        raise UsageError(
            f"an array of shape {list(value.shape)} for input '{tensor.name}' of shape {list(shape)}",
            where,
            f"give [samples,{','.join(str(d) for d in shape)}]",
        )
    return _real(value, tensor, where).reshape(-1, *shape)


def _sample(given: Any, inputs: Sequence[Tensor], where: str) -> Sample:
    """What a user's function gave, as a sample."""
    if not isinstance(given, Mapping):
        given = {inputs[0].name: given}
    sample = {}
    for k, tensor in enumerate(inputs):
        value = np.asarray(_named(given, tensor, k, where))
        if value.size != tensor.elems:
            raise UsageError(
                f"an array of shape {list(value.shape)} for input '{tensor.name}'", where, f"give {list(tensor.shape)}"
            )
        sample[tensor.name] = _real(value, tensor, where).reshape(tensor.shape)
    return sample


def _real(value: Array, tensor: Tensor, where: str) -> Array:
    if value.dtype.kind != "f":
        raise UsageError(
            f"input '{tensor.name}' takes float32, the samples are {value.dtype}",
            where,
            "scale the values as in training, and save them as float32",
        )
    if not np.all(np.isfinite(value)):
        raise UsageError(f"samples of input '{tensor.name}' that are not finite", where, "look at the data")
    return np.ascontiguousarray(value, dtype=np.float32)
