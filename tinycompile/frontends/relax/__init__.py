"""TVM Relax modules, as ONNX: so they pass every check of that frontend, and there is one set of importers.

Each Relax operator becomes ONNX nodes through a table; what is not in it is refused by name. TVM itself is needed only
to make the module (extra ``tinycompile[tvm]``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinycompile.errors import UsageError
from tinycompile.frontends.onnx import load_onnx
from tinycompile.frontends.relax.table import RELAX_OPERATORS
from tinycompile.frontends.relax.writer import Writer
from tinycompile.ir.graph import Array, Graph

__all__ = ["RELAX_OPERATORS", "load_relax", "relax_to_onnx"]


def load_relax(module: Any, params: Mapping[str, Array] | None = None, *, name: str = "model") -> Graph:
    """The graph of `module`; arguments and errors as for `relax_to_onnx`, and those of the ONNX frontend."""
    return load_onnx(relax_to_onnx(module, params, name=name).SerializeToString(), Path(f"{name}.onnx"))


def relax_to_onnx(module: Any, params: Mapping[str, Array] | None = None, *, name: str = "model") -> Any:
    """The ModelProto of function `main` of a ``tvm.IRModule`` as TVM's importers make it, before it is legalised.

    `params`: values of parameters by name; the function's own attribute `params` binds its last ones. Raises
    UnsupportedError that names every operator without a counterpart, ShapeError for shapes that are not static.
    """
    functions = {v.name_hint: f for v, f in module.functions.items()}
    if "main" not in functions:
        raise UsageError("the module has no function 'main'", name, "give the module as TVM's importer makes it")
    return Writer(functions["main"], dict(params or {}), name, RELAX_OPERATORS).model()
