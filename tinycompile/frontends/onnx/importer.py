"""Importing an ONNX graph node by node: constants fold, the rest becomes operators, all that cannot is one error."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tinycompile.errors import MalformedModelError, ShapeError, UnsupportedError, UsageError, one_line
from tinycompile.frontends.limits import MAX_OPERANDS
from tinycompile.frontends.naming import plain_name
from tinycompile.frontends.onnx.builder import Builder, Value
from tinycompile.frontends.onnx.folding import fold, foldable
from tinycompile.frontends.onnx.model import ModelFolder, is_four_bit, opsets, read_initializers, read_model
from tinycompile.frontends.onnx.source import SourceNode
from tinycompile.frontends.onnx.table import importers
from tinycompile.ir.graph import Array, Graph, Tensor
from tinycompile.ir.types import DType

_LOG = logging.getLogger(__name__)
_EXPORT_AGAIN = "export the model again"
_LISTED = 20
Shapes = Mapping[str, tuple[int, ...]]
# What Python and NumPy raise on inconsistent values that no check of ours named first.
_DATA_ERRORS = (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError)


def load_onnx(
    data: bytes,
    path: Path,
    shape_overrides: Shapes | None = None,
    frozen_inputs: Mapping[str, Array] | None = None,
) -> Graph:
    """The graph of the ONNX file `path` that holds `data`: float operators between quantise and dequantise ones.

    `shape_overrides`: input name -> static shape, for symbolic dimensions (a symbolic first dimension is taken as 1).
    `frozen_inputs`: input name -> value, for files that take weights or scales as inputs.
    Raises ModelError for anything wrong with the file, UsageError for names that are no inputs.
    """
    model = read_model(data, path)
    try:
        return _import(model, path, dict(shape_overrides or {}), dict(frozen_inputs or {}))
    except _DATA_ERRORS as error:
        raise MalformedModelError(
            f"inconsistent model: {type(error).__name__}: {one_line(str(error), 200)}", str(path), _EXPORT_AGAIN
        ) from error
    except (RecursionError, MemoryError):
        raise MalformedModelError("the model is nested too deeply or too large", str(path), _EXPORT_AGAIN) from None


def _import(model: Any, path: Path, shapes: dict[str, tuple[int, ...]], frozen: dict[str, Array]) -> Graph:
    graph, versions = model.graph, opsets(model, str(path))
    builder = Builder(ModelFolder(path.parent))
    builder.values.update(read_initializers(graph, builder.folder))
    builder.four_bit.update(t.name for t in graph.initializer if is_four_bit(t))
    _check_names(graph, shapes, frozen, str(path))
    inputs = []
    for port in graph.input:
        if port.name in frozen:
            builder.values[port.name] = np.asarray(frozen[port.name])
        elif port.name not in builder.values:
            inputs.append(_input(builder, port, shapes.get(port.name)))
    _import_nodes(builder, graph, versions, str(path))
    outputs = [o.name for o in graph.output]
    if not outputs or len(set(outputs)) != len(outputs):
        raise MalformedModelError("no outputs, or one output twice", str(path), _EXPORT_AGAIN)
    for name in outputs:
        if name not in builder.values:
            raise MalformedModelError(f"nothing computes output '{one_line(name, 80)}'", str(path), _EXPORT_AGAIN)
    return builder.finish(plain_name(path.stem), inputs, outputs, str(path))


def _check_names(graph: Any, shapes: Mapping[str, Any], frozen: Mapping[str, Any], where: str) -> None:
    names = [p.name for p in graph.input]
    if len(set(names)) != len(names):
        raise MalformedModelError("two inputs of one name", where, _EXPORT_AGAIN)
    for name in (*shapes, *frozen):
        if name not in names:
            listed = ", ".join(f"'{one_line(n, 60)}'" for n in names[:_LISTED])
            raise UsageError(f"the model has no input '{one_line(name, 60)}'", where, f"its inputs are {listed}")


def _input(builder: Builder, port: Any, override: tuple[int, ...] | None) -> Tensor:
    where = f"input '{one_line(port.name, 80)}'"
    if not port.type.HasField("tensor_type"):
        raise UnsupportedError("an input that is no tensor", where, "export the model with tensor inputs")
    kind = port.type.tensor_type.elem_type
    names = {d.value: d for d in DType}
    known = kind in onnx.TensorProto.DataType.values() and kind not in (
        onnx.TensorProto.UNDEFINED,
        onnx.TensorProto.STRING,
    )
    name = onnx.helper.tensor_dtype_to_np_dtype(kind).name if known else f"number {kind}"
    if name not in names:
        raise UnsupportedError(f"an input of type {name}", where, "use float32, int8 or uint8 inputs")
    return builder.add_input(port.name, _static_shape(port, override, where), names[name])


def _static_shape(port: Any, override: tuple[int, ...] | None, where: str) -> tuple[int, ...]:
    if not port.type.tensor_type.HasField("shape"):
        if override is None:
            raise ShapeError("an input of unknown rank", where, _shape_fix(port.name))
        return override
    dims = [int(d.dim_value) if d.HasField("dim_value") else None for d in port.type.tensor_type.shape.dim]
    if override is not None:
        if len(override) != len(dims) or any(d not in (None, o) for d, o in zip(dims, override, strict=True)):
            raise ShapeError(
                f"--shape {list(override)} does not fit the declared {['?' if d is None else d for d in dims]}",
                where,
                "give the declared dimensions, and numbers for the symbolic ones",
            )
        return override
    if dims and dims[0] is None and all(d is not None for d in dims[1:]):
        _LOG.warning("%s: symbolic batch dimension taken as 1", where)
        dims[0] = 1
    if any(d is None for d in dims):
        raise ShapeError(f"dynamic shape {['?' if d is None else d for d in dims]}", where, _shape_fix(port.name))
    return tuple(d for d in dims if d is not None)


def _shape_fix(name: str) -> str:
    return f"give its shape, for example --shape {one_line(name, 60)}=1,3,64,64"


def _import_nodes(builder: Builder, graph: Any, versions: Mapping[str, int], path: str) -> None:
    """Imports every node. Nodes that depend on an unsupported one are passed over, so that one error lists them all."""
    found: list[str] = []
    fixes: list[str] = []
    unknown: set[str] = set()  # values that nothing here can compute
    for index, proto in enumerate(graph.node):
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        node = SourceNode(proto, index, versions.get(domain, 1))
        if max(len(proto.input), len(proto.output)) > MAX_OPERANDS:
            raise MalformedModelError(f"more than {MAX_OPERANDS} inputs or outputs", str(node), _EXPORT_AGAIN)
        for name in node.inputs:
            if name and name not in builder.values and name not in unknown:
                raise MalformedModelError(
                    f"'{one_line(name, 80)}' is computed by no earlier node",
                    str(node),
                    "sort the nodes; cycles cannot run",
                )
        for name in node.outputs:
            if name and (name in builder.values or name in unknown):
                raise MalformedModelError(f"'{one_line(name, 80)}' is computed twice", str(node), _EXPORT_AGAIN)
        try:
            blocked = any(name in unknown for name in node.inputs)
            results = () if blocked and (domain, node.op_type) in importers() else _import_node(builder, node)
        except UnsupportedError as error:
            results = ()
            found.append(f"{node}: {error.what}")
            fixes.append(error.fix)
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                builder.values[name] = value
        unknown.update(name for name in node.outputs if name and name not in builder.values)
    if found:
        more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UnsupportedError("; ".join(found[:_LISTED]) + more, path, "; ".join(dict.fromkeys(fixes[:_LISTED])))


def _check_operands(node: SourceNode) -> None:
    """As many inputs as the operator has: importers look at those that they know, and would overlook others."""
    try:
        schema = onnx.defs.get_schema(node.op_type, node.opset, node.domain)
    except onnx.defs.SchemaError:  # of another domain
        return
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        raise MalformedModelError(f"{len(node.inputs)} inputs of {node.op_type}", str(node), _EXPORT_AGAIN)


def _import_node(builder: Builder, node: SourceNode) -> tuple[Value, ...]:
    importer = importers().get((node.domain, node.op_type))
    given = [builder.values.get(name) if name else None for name in node.inputs]
    constants = [v for v in given if not isinstance(v, Tensor)]
    if len(constants) == len(given) and foldable(node) and not any(n and n not in builder.values for n in node.inputs):
        return tuple(fold(node, constants, builder.folding))
    if importer is None:
        if node.op_type in ("If", "Loop", "Scan"):
            raise node.unsupported("control flow", "export the model without If, Loop and Scan")
        known = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise node.unsupported(f"operator {one_line(known, 80)}", "replace or remove the operators listed")
    if not any(node.outputs):
        return ()
    _check_operands(node)
    mark = builder.mark()
    made = importer(builder, node)
    ignored = node.unread()
    if ignored is not None:
        raise node.unsupported(f"attribute '{one_line(ignored, 60)}'")
    values = list(made) if isinstance(made, tuple) else [made]
    for k, (value, name) in enumerate(zip(values, node.outputs, strict=False)):
        if isinstance(value, Tensor):
            values[k] = builder.name_output(value, name, mark) if name else value
        elif value.size and math.prod(value.shape) != value.size:
            raise MalformedModelError("inconsistent constant", str(node), _EXPORT_AGAIN)
    return tuple(values)
