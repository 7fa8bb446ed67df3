"""`.tflite` -> Graph: tensors in file order, one small function per operator (`operators`)."""

from __future__ import annotations

from pathlib import Path

from tinycompile.errors import MalformedModelError, UnsupportedError
from tinycompile.frontends.naming import UniqueNames, plain_name
from tinycompile.frontends.tflite.builder import EXPORT_AGAIN, Builder
from tinycompile.frontends.tflite.operators import importers
from tinycompile.frontends.tflite.reader import CORRUPT, SourceModel, SourceOp, read_model
from tinycompile.frontends.tflite.variables import without_variables
from tinycompile.ir.graph import Graph, State, Tensor
from tinycompile.ir.types import DType

_LISTED = 20


def _unsupported_tensor(model: SourceModel, op: SourceOp) -> str | None:
    """Why the operator's tensors alone rule it out."""
    for i in (*op.inputs, *op.outputs):
        if i >= 0 and model.tensors[i].dtype is None:
            if op.builtin == "DEQUANTIZE" and model.tensors[i].half is not None:
                continue
            return f"type {model.tensors[i].type_name}"
        if i >= 0 and model.tensors[i].is_variable:
            return "a variable tensor (state between calls)"
    return None


def _check_order(model: SourceModel, path: Path, hidden: int) -> None:
    """Operators run in file order: every input must exist by then, and every tensor have one producer. `hidden`: ports
    at the end that are states."""

    def bad(what: str) -> MalformedModelError:
        return MalformedModelError(what, str(path), EXPORT_AGAIN)

    if not model.inputs or not model.outputs:
        raise bad("the graph has no inputs or no outputs")
    for all_ports, what in ((model.inputs, "an input"), (model.outputs, "an output")):
        ports = all_ports[: len(all_ports) - hidden]
        if len(set(ports)) != len(ports):
            raise bad(f"{what} of the graph is listed twice")
    ready = {i for i, t in enumerate(model.tensors) if t.data is not None}
    if ready & set(model.inputs):
        raise bad("an input of the graph is a constant")
    ready |= set(model.inputs)
    for op in model.ops:
        missing = [i for i in op.inputs if i >= 0 and i not in ready and model.tensors[i].dtype is not None]
        if missing:
            raise bad(
                f"operator {op.index} ({op.builtin}) reads tensor {missing[0]} before anything makes it: "
                "the graph has a cycle or its operators are out of order"
            )
        for i in op.outputs:
            if i in ready:
                raise bad(f"operator {op.index} ({op.builtin}) makes tensor {i}, which exists already")
            ready.add(i)
    for i in model.outputs:
        if i not in ready:
            raise bad(f"nothing makes output tensor {i}")


def _import_ops(builder: Builder, path: Path) -> None:
    """Imports every operator; all that cannot be imported make one error."""
    found: list[str] = []
    fixes: list[str] = []
    blocked: set[int] = set()  # integers (shape arithmetic) that an operator without an importer would have made
    for op in builder.model.ops:
        importer, reason = importers().get(op.builtin), _unsupported_tensor(builder.model, op)
        label = f"operator {op.index}: {op.builtin}"
        if importer is None:
            found.append(label)
            fixes.append("replace the operators listed (`tinycompile ops` shows what is supported)")
        elif reason is not None:
            found.append(f"{label} on {reason}")
            fixes.append("convert the model to full-integer int8")
        elif blocked.isdisjoint(op.inputs):
            try:
                importer(builder, op)
                continue
            except UnsupportedError as error:
                found.append(f"{label}: {error.what}")
                fixes.append(error.fix)
        blocked.update(i for i in op.outputs if builder.model.tensors[i].dtype in (DType.INT32, DType.INT64))
    if found:
        more = f"; and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
        raise UnsupportedError(
            f"{len(found)} unsupported: {'; '.join(found[:_LISTED])}{more}", str(path), "; ".join(dict.fromkeys(fixes))
        )


def _import(model: SourceModel, path: Path, as_floats: bool) -> Graph:
    model, states = without_variables(model, path)
    _check_order(model, path, hidden=len(states))
    names = UniqueNames()
    tensors: list[Tensor | None] = []
    for t in model.tensors:
        name = names.take(t.name)
        tensors.append(None if t.dtype is None else Tensor(name, t.shape, t.dtype, t.quant, t.data))
    builder = Builder(path, model, tensors, names, as_floats)
    _import_ops(builder, path)

    def ports(indices: tuple[int, ...], what: str) -> tuple[str, ...]:
        result = []
        for i in indices:
            tensor = builder.tensors[i]
            if tensor is None or (what == "output" and tensor.is_const):
                reason = "is known at compile time" if tensor else f"has type {model.tensors[i].type_name}"
                raise UnsupportedError(f"{what} {i} of the graph {reason}", str(path), "remove it from the model")
            result.append(tensor.name)
        return tuple(result)

    inputs, outputs = ports(model.inputs, "input"), ports(model.outputs, "output")
    pairs = zip(inputs[len(inputs) - len(states) :], outputs[len(outputs) - len(states) :], states, strict=True)
    graph = Graph(
        plain_name(path.stem),
        builder.tensors_by_name(),
        tuple(builder.ops),
        inputs,
        outputs,
        source_format="tflite",
        states=tuple(State(i, o, s.initial) for i, o, s in pairs),
    )
    return graph.rebuild(graph.ops)


def load_tflite(data: bytes, path: Path, as_floats: bool = False) -> Graph:
    """The graph of a `.tflite` file's bytes; `path` is for messages and the graph's name.

    `as_floats`: float layers with integer weights are computed in float, and not refused.

    Raises ModelError for anything wrong with the file; one UnsupportedError names all operators without an importer.
    """
    model = read_model(data, path)
    try:
        return _import(model, path, as_floats)
    except CORRUPT as error:
        raise MalformedModelError(f"inconsistent model ({type(error).__name__})", str(path), EXPORT_AGAIN) from error
