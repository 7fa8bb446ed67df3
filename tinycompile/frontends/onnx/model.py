"""Reading an untrusted ONNX file: protobuf, limits, model-local functions, initializers and external data.

What leaves this module is checked: node and tensor counts are bounded, functions are inlined, every initializer holds
exactly the bytes that its shape and type ask for, and external data lies inside the model's folder.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tinycompile.errors import MalformedModelError, UnsupportedError, one_line
from tinycompile.frontends.limits import MAX_FILE_BYTES, MAX_OPS, MAX_TENSORS, Budget, checked_shape
from tinycompile.frontends.onnx.wire import check_wire
from tinycompile.ir.graph import Array

MIN_OPSET = 7  # older ones only where all operators of the model are as in this one
MAX_INLINED_BYTES = 64 * 1024 * 1024
DOMAINS = ("", "ai.onnx", "com.microsoft")
_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_EXPORT_AGAIN = "export the model again"


def read_model(data: bytes, path: Path) -> Any:
    """The ModelProto of the file, with local functions inlined. Raises MalformedModelError or UnsupportedError."""
    check_wire(data, str(path))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # protobuf's exceptions differ between its implementations
        raise MalformedModelError("this is no ONNX model", str(path), "give a .onnx or .tflite file") from None
    if not model.HasField("graph") or not model.graph.node:
        raise MalformedModelError("the file holds no ONNX graph with operators", str(path), _EXPORT_AGAIN)
    opsets(model, str(path))
    if model.functions:
        model = _inlined(model, str(path))
    graph = model.graph
    if len(graph.node) > MAX_OPS or len(graph.initializer) > MAX_TENSORS or len(graph.input) > MAX_TENSORS:
        raise MalformedModelError(
            f"{len(graph.node)} nodes and {len(graph.initializer)} initializers (at most {MAX_OPS} and {MAX_TENSORS})",
            str(path),
            "use a model for microcontrollers",
        )
    if graph.sparse_initializer:
        raise UnsupportedError("sparse initializers", str(path), "export the model with dense weights")
    return model


def opsets(model: Any, where: str) -> dict[str, int]:
    """Domain -> version of the operator sets that the model imports; "" is ONNX's own."""
    versions = {"" if o.domain == "ai.onnx" else o.domain: int(o.version) for o in model.opset_import}
    own = versions.get("", 0)
    newest = onnx.defs.onnx_opset_version()
    if not MIN_OPSET <= own <= newest and not (0 < own < MIN_OPSET and _as_in_first(model, own)):
        raise UnsupportedError(
            f"ONNX operator set {own} (supported: {MIN_OPSET} to {newest})",
            where,
            "convert the model with onnx.version_converter, or install a newer onnx package",
        )
    return versions


def _as_in_first(model: Any, own: int) -> bool:
    """Whether every operator of the model is the same in operator set `own` as in the first that is supported."""
    try:
        return all(
            onnx.defs.get_schema(kind, own).since_version == onnx.defs.get_schema(kind, MIN_OPSET).since_version
            for kind in {node.op_type for node in model.graph.node}
        )
    except onnx.defs.SchemaError:
        return False


def _subgraphs(node: Any) -> list[Any]:
    return [g for a in node.attribute for g in (*a.graphs, *((a.g,) if a.HasField("g") else ()))]


def _inlined(model: Any, where: str) -> Any:
    """The model without local functions. Their expansion is counted first: calls may be nested, or recursive."""
    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], tuple[int, int]] = {}
    # Arguments take the places of parameters, whose names may be short.
    longest = max((len(a) for n in model.graph.node for a in (*n.input, *n.output)), default=0)

    def expanded(nodes: Any, depth: int) -> tuple[int, int]:
        """Nodes, and bytes at most."""
        if depth > 64:
            raise MalformedModelError("functions nested too deeply, or recursive", where, _EXPORT_AGAIN)
        total = size = 0
        for node in nodes:
            key = (node.domain, node.op_type)
            if key in functions and key not in sizes:
                sizes[key] = expanded(functions[key].node, depth + 1)
            own = (1, node.ByteSize() + longest * (len(node.input) + len(node.output)))
            inner = (expanded(g.node, depth + 1) for g in _subgraphs(node))
            for count, size_bytes in (own, sizes.get(key, (0, 0)), *inner):
                total, size = total + count, size + size_bytes
            if total > MAX_OPS:
                raise MalformedModelError(f"more than {MAX_OPS} nodes once inlined", where, "use a smaller model")
            if size > MAX_INLINED_BYTES:
                raise MalformedModelError(
                    f"more than {MAX_INLINED_BYTES} bytes once inlined", where, "use a smaller model"
                )
        return total, size

    expanded(model.graph.node, 0)
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the C++ inliner maps its own errors to several Python types
        raise MalformedModelError(f"local functions cannot be inlined: {error}", where, _EXPORT_AGAIN) from None


class ModelFolder:
    """The folder of the model file: the only place from which external data is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = Budget(MAX_FILE_BYTES, "bytes of external data")  # many tensors may name the same bytes

    def read(self, tensor: Any, nbytes: int, where: str) -> bytes:
        """The bytes of external data: a regular file inside the folder that holds all that the tensor needs."""
        self._bytes.take(nbytes, where)
        entries = {e.key: e.value for e in tensor.external_data}
        root = self._path.resolve()
        try:
            path = (root / entries["location"]).resolve()
            offset = int(entries.get("offset", "0") or 0)
            length = int(entries.get("length", nbytes) or nbytes)
            inside = path.is_relative_to(root) and path.is_file()
            size = path.stat().st_size if inside else 0
        except (KeyError, ValueError, OSError, RuntimeError):
            raise MalformedModelError("unreadable external data reference", where, _EXPORT_AGAIN) from None
        if not path.is_relative_to(root):
            raise MalformedModelError(
                "external data outside the model's folder",
                where,
                "put the data file beside the model; links may not leave it",
            )
        if not inside:
            raise MalformedModelError("the external data file is missing", where, "copy the data file beside the model")
        if length != nbytes or offset < 0 or offset + length > size:
            raise MalformedModelError(
                f"external data of {length} bytes at {offset} in a file of {size} for a tensor of {nbytes}",
                where,
                _EXPORT_AGAIN,
            )
        with path.open("rb") as file:
            file.seek(offset)
            data: bytes = file.read(nbytes)
        return data


def read_initializers(graph: Any, folder: ModelFolder) -> dict[str, Array]:
    """Initializer name -> value. Raises MalformedModelError for doubled names and unfitting data."""
    result: dict[str, Array] = {}
    for tensor in graph.initializer:
        if tensor.name in result:
            raise MalformedModelError("two initializers of one name", f"'{one_line(tensor.name, 80)}'", _EXPORT_AGAIN)
        result[tensor.name] = tensor_value(tensor, folder)
    return result


def tensor_value(tensor: Any, folder: ModelFolder) -> Array:
    """The value of a TensorProto; its data must fit its shape and type. 4-bit integers are widened to 8 bits."""
    where = f"tensor '{one_line(tensor.name, 80)}'"
    shape = tuple(int(d) for d in tensor.dims)
    if 0 not in shape or min(shape) < 0:
        checked_shape(shape, where)
    if tensor.data_type not in _ITEM_BITS:
        name = (
            onnx.TensorProto.DataType.Name(tensor.data_type) if tensor.data_type in _type_values() else tensor.data_type
        )
        raise UnsupportedError(f"a constant of type {name}", where, "export the model with int8 or float32 constants")
    count = math.prod(shape)
    nbytes = (count * _ITEM_BITS[tensor.data_type] + 7) // 8
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        inline = onnx.TensorProto(data_type=tensor.data_type, dims=shape, raw_data=folder.read(tensor, nbytes, where))
        return _widened(numpy_helper.to_array(inline))
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != nbytes:
            raise MalformedModelError(
                f"{len(tensor.raw_data)} bytes of data for shape {list(shape)} ({nbytes} bytes)", where, _EXPORT_AGAIN
            )
    else:
        stored = sum(len(getattr(tensor, name)) for name in _TYPED_FIELDS)
        packed = (count + 1) // 2 if _ITEM_BITS[tensor.data_type] == 4 else count
        if stored not in (count, packed):
            raise MalformedModelError(f"{stored} values for shape {list(shape)}", where, _EXPORT_AGAIN)
    try:
        value = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, NotImplementedError) as error:
        raise MalformedModelError(f"the data cannot be read: {error}", where, _EXPORT_AGAIN) from None
    return _widened(value)


def is_four_bit(tensor: Any) -> bool:
    """Whether a TensorProto holds integers of 4 bits, which `tensor_value` widens."""
    return _ITEM_BITS.get(tensor.data_type) == 4


_ITEM_BITS: Mapping[int, int] = {
    onnx.TensorProto.FLOAT: 32,
    onnx.TensorProto.FLOAT16: 16,
    onnx.TensorProto.DOUBLE: 64,
    onnx.TensorProto.INT8: 8,
    onnx.TensorProto.UINT8: 8,
    onnx.TensorProto.INT16: 16,
    onnx.TensorProto.UINT16: 16,
    onnx.TensorProto.INT32: 32,
    onnx.TensorProto.UINT32: 32,
    onnx.TensorProto.INT64: 64,
    onnx.TensorProto.UINT64: 64,
    onnx.TensorProto.BOOL: 8,
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.UINT4: 4,
}


def _type_values() -> list[int]:
    return list(onnx.TensorProto.DataType.values())


def _widened(value: Any) -> Array:
    narrow = {"int4": np.int8, "uint4": np.uint8}.get(value.dtype.name)
    return np.asarray(value if narrow is None else value.astype(narrow))
