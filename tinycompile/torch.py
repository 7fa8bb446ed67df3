"""PyTorch modules to ONNX as tinycompile likes it, and advice where the exporter made something unfortunate.

import tinycompile
tinycompile.torch.export(module, (torch.zeros(1, 3, 64, 64),), "net.onnx")
tinycompile.build("net.onnx", target="cortex-m7", out="out")

Needs the extra ``tinycompile[torch]``: PyTorch, and onnxscript for its exporter.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import onnx

from tinycompile.errors import ToolchainError, UnsupportedError, one_line

OPSET = 18
_TYPES = onnx.TensorProto
_WIDE = {_TYPES.FLOAT16: "float16", _TYPES.BFLOAT16: "bfloat16", _TYPES.DOUBLE: "float64"}
_LISTED = 5


class ExportWarning(UserWarning):
    """Something in the exported model that will not compile, or not well."""


@dataclass(frozen=True)
class Advice:
    """`what` is unfortunate, `where` in the ONNX graph, and the `fix` in the PyTorch module or its example inputs."""

    what: str
    where: tuple[str, ...]
    fix: str

    def __str__(self) -> str:
        more = f" and {len(self.where) - _LISTED} more" if len(self.where) > _LISTED else ""
        return one_line(f"{self.what}: {', '.join(self.where[:_LISTED])}{more}; {self.fix}")


def export(
    module: Any,
    example_inputs: Sequence[Any],
    path: str | PathLike[str] | None = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Any:
    """The ONNX ModelProto of a ``torch.nn.Module``, written to `path` where given.

    The module is exported in eval mode (and gets its modes back), with the static shapes of `example_inputs`: tensors
    of one sample each, batch 1. Whatever `advise` finds becomes an `ExportWarning`. Raises UnsupportedError when
    PyTorch cannot export the module, ToolchainError when it or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401  # of torch.onnx's exporter, which reports its absence less plainly
        import torch
    except ImportError as error:
        raise ToolchainError(
            f"{error.name} is not installed", "tinycompile.torch", "pip install 'tinycompile[torch]'"
        ) from None
    with _evaluated(module), _quiet("torch.onnx"), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                tuple(example_inputs),
                dynamo=True,
                opset_version=OPSET,
                input_names=input_names,
                output_names=output_names,
                verbose=False,
            )
        except Exception as error:  # the exporter wraps whatever the module raises
            cause = error.__cause__ or error
            raise UnsupportedError(
                f"PyTorch cannot export the module: {type(cause).__name__}: {one_line(str(cause), 200)}",
                type(module).__name__,
                "make its control flow and shapes depend on constants only (torch.export names the line)",
            ) from error
    model = program.model_proto
    for advice in advise(model):
        warnings.warn(str(advice), ExportWarning, stacklevel=2)
    if path is not None:
        onnx.save(model, path)
    return model


@contextmanager
def _evaluated(module: Any) -> Iterator[None]:
    """The module in eval mode; afterwards every part of it is as it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Errors only: the exporter warns of every optional package that it does not find."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def advise(model: Any) -> tuple[Advice, ...]:
    """What is unfortunate in an exported ModelProto, by kind."""
    found = ((what, tuple(find(model)), fix) for what, find, fix in _CHECKS)
    return tuple(Advice(what, where, fix) for what, where, fix in found if where)


def _node(node: Any) -> str:
    return f"{node.op_type} '{one_line(node.name or (node.output[0] if node.output else ''), 60)}'"


def _dims(value: Any) -> list[int | None]:
    return [int(d.dim_value) if d.HasField("dim_value") else None for d in value.type.tensor_type.shape.dim]


def _dynamic(model: Any) -> Iterator[str]:
    return (f"input '{i.name}' {_dims(i)}" for i in model.graph.input if None in _dims(i))


def _batches(model: Any) -> Iterator[str]:
    """Inputs of more than one sample: a matrix may be a sequence, so only three dimensions and more are asked."""
    for port in model.graph.input:
        dims = _dims(port)
        if len(dims) >= 3 and (dims[0] or 1) > 1:
            yield f"input '{port.name}' {dims}"


def _foreign(model: Any) -> Iterator[str]:
    return (f"{n.domain}.{_node(n)}" for n in model.graph.node if n.domain not in ("", "ai.onnx"))


def _branches(model: Any) -> Iterator[str]:
    return (_node(n) for n in model.graph.node if n.op_type in ("If", "Loop", "Scan"))


def _other_floats(model: Any) -> Iterator[str]:
    for tensor in model.graph.initializer:
        if tensor.data_type in _WIDE:
            yield f"'{tensor.name}' of {_WIDE[tensor.data_type]}"
    for port in model.graph.input:
        if port.type.tensor_type.elem_type in _WIDE:
            yield f"input '{port.name}' of {_WIDE[port.type.tensor_type.elem_type]}"


def _indices(model: Any) -> Iterator[str]:
    """int64 values of more than one element that are made at run time."""
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    return (_node(n) for n in model.graph.node if n.input and any(types.get(o) == _TYPES.INT64 for o in n.output))


def _inner_permutations(model: Any) -> Iterator[str]:
    """Maps that become channels-last or channels-first on the way."""
    for node in model.graph.node:
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
        if node.op_type == "Transpose" and order in ([0, 2, 3, 1], [0, 3, 1, 2]):
            yield _node(node)


_CHECKS: tuple[tuple[str, Callable[[Any], Iterator[str]], str], ...] = (
    ("dynamic shapes", _dynamic, "export without dynamic_shapes, with example inputs of the size on the device"),
    ("more than one sample per inference", _batches, "give example inputs of batch size 1"),
    (
        "operators that are not ONNX's own",
        _foreign,
        "write that part with standard operators, or add the operator (docs/out-of-tree-operators.md)",
    ),
    ("control flow", _branches, "make conditions and loop counts depend on constants only"),
    ("floats that are not float32", _other_floats, "call module.float() and give float32 example inputs"),
    (
        "int64 values computed at run time",
        _indices,
        "compute indices and shapes from constants and static shapes in the module",
    ),
    (
        "maps permuted between channels first and channels last",
        _inner_permutations,
        "keep maps channels first (N, C, H, W): each permutation that does not cancel copies the map",
    ),
)
