"""`.tflite` -> Graph: tensors in file order, one small function per operator (`operators`)."""

from __future__ import annotations

from pathlib import Path

from tinycompile.errors import MalformedModelError, UnsupportedError
from tinycompile.frontends.naming import UniqueNames
from tinycompile.frontends.tflite.operators import TFLITE_OPERATORS, Importing
from tinycompile.frontends.tflite.reader import SourceModel, read_model
from tinycompile.ir.graph import Graph, Tensor


def _check_supported(model: SourceModel, path: Path) -> None:
    """All operators and types that cannot be imported, in one error."""
    problems = []
    for op in model.ops:
        if op.builtin not in TFLITE_OPERATORS:
            problems.append(f"operator {op.index}: {op.builtin}")
            continue
        for i in (*op.inputs, *op.outputs):
            if i >= 0 and model.tensors[i].dtype is None:
                problems.append(
                    f"operator {op.index}: {op.builtin} on a tensor of type code {model.tensors[i].type_code}"
                )
                break
            if i >= 0 and model.tensors[i].is_variable:
                problems.append(f"operator {op.index}: {op.builtin} on a variable tensor (state between calls)")
                break
    if problems:
        raise UnsupportedError(
            f"{len(problems)} unsupported: {'; '.join(problems[:40])}",
            str(path),
            "replace these operators (`tinycompile ops` lists what is supported) or convert the model to int8",
        )


def _check_order(model: SourceModel, path: Path) -> None:
    """Operators run in file order: every input must exist by then, and every tensor have one producer."""
    ready = {i for i, t in enumerate(model.tensors) if t.data is not None} | set(model.inputs)
    for op in model.ops:
        missing = [i for i in op.inputs if i >= 0 and i not in ready]
        if missing:
            raise MalformedModelError(
                f"operator {op.index} ({op.builtin}) reads tensor {missing[0]} before anything makes it",
                str(path),
                "the graph has a cycle or its operators are out of order: export the model again",
            )
        for i in op.outputs:
            if i in ready:
                raise MalformedModelError(
                    f"operator {op.index} ({op.builtin}) makes tensor {i}, which exists already",
                    str(path),
                    "export the model again",
                )
            ready.add(i)
    for i in model.outputs:
        if i not in ready:
            raise MalformedModelError(f"nothing makes output tensor {i}", str(path), "export the model again")
    if not model.inputs or not model.outputs or len(set(model.inputs)) != len(model.inputs):
        raise MalformedModelError("the graph's inputs or outputs are missing or repeated", str(path), "export it again")


def load_tflite(data: bytes, path: Path) -> Graph:
    """The graph of a `.tflite` file's bytes; `path` is for messages and the graph's name."""
    model = read_model(data, path)
    _check_supported(model, path)
    _check_order(model, path)
    names = UniqueNames()
    tensors: list[Tensor | None] = []
    for t in model.tensors:
        name = names.take(t.name)
        data_ = None if t.dtype is None or t.data is None else t.data
        tensors.append(None if t.dtype is None else Tensor(name, t.shape, t.dtype, t.quant, data_))
    importing = Importing(path, model, tensors, names)
    for op in model.ops:
        importing.run(op)
    ios = [tensors[i] for i in (*model.inputs, *model.outputs)]
    if any(t is None for t in ios):
        raise UnsupportedError("an input or output of a type without a kernel", str(path), "convert the model to int8")
    inputs = tuple(t.name for t in ios[: len(model.inputs)] if t is not None)
    outputs = tuple(t.name for t in ios[len(model.inputs) :] if t is not None)
    graph = Graph(path.stem, importing.tensors_by_name(), tuple(importing.ops), inputs, outputs, "tflite")
    return graph.rebuild(graph.ops)
