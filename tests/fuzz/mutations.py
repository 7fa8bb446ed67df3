"""Changes of a model that keep most of it readable, for the fuzzers and for the tests that do without them."""

from __future__ import annotations

import random
import struct
from typing import Any

import onnx
from compiling import CURIOUS

from tinycompile.frontends.onnx import onnx_operators

CURIOUS_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e30)


def change_attribute(node: Any, rng: random.Random) -> None:
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice([*CURIOUS, -1, -(2**31)])
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice([*CURIOUS, -1])
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice(CURIOUS_FLOATS)
    else:
        node.attribute.remove(attribute)


def change_initializer(graph: Any, rng: random.Random) -> None:
    """Another value, type, shape or length."""
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    how = rng.randrange(4)
    if how == 0:
        tensor.dims[:] = [rng.choice(CURIOUS) for _ in range(rng.randrange(4))]
    elif how == 1:
        tensor.data_type = rng.randrange(25)
    elif how == 2:
        tensor.raw_data = tensor.raw_data[: rng.randint(0, len(tensor.raw_data))]
    elif len(tensor.raw_data) >= 4:  # a scale, or four weights
        changed, at = bytearray(tensor.raw_data), 4 * rng.randrange(len(tensor.raw_data) // 4)
        struct.pack_into("<f", changed, at, rng.choice(CURIOUS_FLOATS))
        tensor.raw_data = bytes(changed)


def change_graph(model: Any, rng: random.Random) -> None:
    """One mutation that keeps the file a readable protobuf."""
    graph = model.graph
    names = ["", *(v.name for v in graph.input), *(t.name for t in graph.initializer)]
    names += [name for node in graph.node for name in node.output]
    how = rng.randrange(8)
    if how == 0 or not graph.node:
        change_initializer(graph, rng)
        return
    node = rng.choice(graph.node)
    if how == 1:
        change_attribute(node, rng)
    elif how == 2:
        node.op_type = rng.choice(sorted(onnx_operators())).rsplit(".", 1)[-1]
        node.domain = rng.choice(["", "com.microsoft"])
    elif how == 3 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif how == 4 and node.input:
        del node.input[rng.randrange(len(node.input))]
    elif how == 5:
        node.input.append(rng.choice(names))
    elif how == 6:
        graph.node.remove(node)
    else:
        for value in graph.input:
            value.type.tensor_type.shape.dim.add(dim_value=rng.choice(CURIOUS))


def change_word(data: bytearray, rng: random.Random) -> None:
    """Another offset, length, dimension or scale in a flatbuffer, which is aligned words that point at each other."""
    words = len(data) // 4
    at = 4 * rng.randrange(words)
    (old,) = struct.unpack_from("<I", data, at)
    other = struct.unpack_from("<I", data, 4 * rng.randrange(words))[0]
    new = rng.choice([rng.choice(CURIOUS), old + 1, old - 1, old + 4, old - 4, old ^ 2**31, other])
    struct.pack_into("<I", data, at, new & 0xFFFFFFFF)
