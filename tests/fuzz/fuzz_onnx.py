"""Coverage-guided fuzzing of the ONNX importer: ``python tests/fuzz/fuzz_onnx.py tests/fuzz/corpus/onnx``.

libFuzzer's options follow, such as ``-max_total_time=600 -timeout=10 -rss_limit_mb=2048``. A file that crashes is
written to the current folder: name it after what is wrong, and move it into the corpus.
"""

from __future__ import annotations

import logging
import random
import struct
import sys
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["tinycompile"]):
    import importing
    import onnx
    from google.protobuf.message import DecodeError

    # The compiler imports these when it needs them: too late to be instrumented.
    import tinycompile.passes.lowering_check  # noqa: F401
    from tinycompile.frontends.onnx import onnx_operators

CURIOUS_FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e30)


def change_attribute(node: Any, rng: random.Random) -> None:
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice([*importing.CURIOUS, -1, -(2**31)])
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice([*importing.CURIOUS, -1])
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
        tensor.dims[:] = [rng.choice(importing.CURIOUS) for _ in range(rng.randrange(4))]
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
            value.type.tensor_type.shape.dim.add(dim_value=rng.choice(importing.CURIOUS))


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time, and where the bytes are no model, libFuzzer's own mutation; else changes of the graph."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        for _ in range(rng.randint(1, 3)):
            change_graph(model, rng)
    except (DecodeError, UnicodeDecodeError):  # the second: a name, read only when it is used
        return bytes(atheris.Mutate(data, max_size))
    changed = model.SerializeToString()
    return changed if len(changed) <= max_size else data


def test_one_input(data: bytes) -> None:
    importing.compiles_bytes(data, ".onnx")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # libraries write about every odd file
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
