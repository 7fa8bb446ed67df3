"""ONNX nodes while a Relax function is walked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from tinycompile.errors import ShapeError, UnsupportedError, UsageError, one_line
from tinycompile.ir.graph import Array

OPSET = 20  # the first with Gelu
_LISTED = 20
Convert = Callable[["Writer", Any], Any]  # a call's nodes; its value


class Writer:
    """The model while its function is walked. A value is a tensor's name, or a tuple of values."""

    def __init__(self, function: Any, params: dict[str, Array], name: str, table: Mapping[str, Convert]) -> None:
        self.function, self.params, self.name, self.table = function, params, name, table
        self.values: dict[Any, Any] = {}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.count = 0
        self.taken = {var.name for var in function.params}
        self.refused: dict[str, None] = {}  # in order

    def fresh(self, wish: str) -> str:
        """A name that no parameter has."""
        self.count += 1
        name = f"{wish}.{self.count}"
        return name if name not in self.taken else self.fresh(wish)

    def constant(self, value: Any) -> str:
        name = self.fresh("const")
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def integers(self, values: Any) -> str:
        return self.constant(np.asarray([int(v) for v in values], dtype=np.int64))

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attrs: Any) -> Any:
        names = [self.fresh(kind.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **attrs))
        return names[0] if outputs == 1 else tuple(names)

    def value(self, expression: Any) -> Any:
        """The name or names that an argument stands for."""
        kind = type(expression).__name__
        if expression in self.values:
            return self.values[expression]
        if kind in ("GenericConst", "Constant"):
            tensor = expression.value if kind == "GenericConst" else expression.data
            self.values[expression] = self.constant(tensor.numpy())
            return self.values[expression]
        if kind == "Tuple":
            return tuple(self.value(field) for field in expression.fields)
        if kind == "TupleGetItem":
            return self.value(expression.tuple_value)[int(expression.index)]
        raise UnsupportedError(f"a Relax expression {kind}", self.name, "simplify the module with TVM's passes first")

    def binding(self, expression: Any) -> Any:
        if type(expression).__name__ != "Call":
            return self.value(expression)
        kind = getattr(expression.op, "name", None) or getattr(expression.op, "name_hint", type(expression.op).__name__)
        convert = self.table.get(str(kind))
        if convert is None and kind == "relax.call_tir":
            kind = f"relax.call_tir of {_target(expression)}"
        if convert is None:
            raise UnsupportedError(f"operator {one_line(str(kind), 80)}", self.name, "replace it")
        return convert(self, expression)

    def model(self) -> Any:
        inputs = self._inputs()
        for block in self.function.body.blocks:
            for item in block.bindings:
                try:
                    self.values[item.var] = self.binding(item.value)
                except UnsupportedError as error:
                    self.refused[error.what] = None
                    self.values[item.var] = _unknown(item.var.ty)
        if self.refused:
            more = f"; and {len(self.refused) - _LISTED} more" if len(self.refused) > _LISTED else ""
            raise UnsupportedError(
                f"no counterpart of {'; '.join(list(self.refused)[:_LISTED])}{more}",
                f"Relax module '{self.name}'",
                "replace these operators, or give the module before TVM legalises it",
            )
        result = self.function.body.body
        made = self.value(result)
        outputs = []
        types = result.ty.fields if isinstance(made, tuple) else [result.ty]
        for k, (source, ty) in enumerate(zip(made if isinstance(made, tuple) else (made,), types, strict=True)):
            self.nodes.append(helper.make_node("Identity", [source], [f"output_{k}"]))
            outputs.append(_port(f"output_{k}", ty))
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, self.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)

    def _inputs(self) -> list[Any]:
        """The run-time parameters as graph inputs; the others are constants."""
        attrs = dict(self.function.attrs.items()) if self.function.attrs is not None else {}
        bound = [v.numpy() for v in attrs.get("params", ())]
        first = len(self.function.params) - len(bound)
        inputs = []
        for k, var in enumerate(self.function.params):
            if var.name in self.params or k >= first:
                value = self.params.pop(var.name) if var.name in self.params else bound[k - first]
                self.values[var] = self.constant(value)
            else:
                self.values[var] = var.name
                inputs.append(_port(var.name, var.ty))
        if self.params:
            raise UsageError(f"no parameter '{next(iter(self.params))}'", self.name, "give names of the function's own")
        return inputs


def _target(call: Any) -> str:
    """The function that a call_tir calls: it has no meaning here but its loops, whatever its name."""
    return str(getattr(call.args[0], "name_hint", "a function"))


def _unknown(ty: Any) -> Any:
    return tuple(_unknown(f) for f in ty.fields) if hasattr(ty, "fields") else "unknown"


def static_shape(ty: Any) -> tuple[int, ...]:
    """Static dimensions of a tensor type."""
    dims = getattr(getattr(ty, "shape", None), "values", None)
    if dims is None or any(type(d).__name__ != "IntImm" for d in dims):
        raise ShapeError(
            f"the shape of {one_line(str(ty), 80)} is not static", "Relax module", "import with fixed shapes"
        )
    return tuple(int(d) for d in dims)


def element_type(ty: Any) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(str(ty.dtype))))


def _port(name: str, ty: Any) -> Any:
    return helper.make_tensor_value_info(name, element_type(ty), static_shape(ty))
