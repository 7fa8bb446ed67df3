"""Coverage-guided fuzzing of the ONNX importer: ``python tests/fuzz/fuzz_onnx.py tests/fuzz/corpus/onnx``.

libFuzzer's options follow, such as ``-max_total_time=600 -timeout=10 -rss_limit_mb=2048``. A file that crashes is
written to the current folder: name it after what is wrong, and move it into the corpus.
"""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["tinycompile"]):
    import importing
    import numpy as np
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    from tinycompile.frontends.onnx import ONNX_OPERATORS


def change_attribute(node: Any, rng: random.Random) -> None:
    if not node.attribute:
        return
    attribute = rng.choice(node.attribute)
    if attribute.ints:
        attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice([*importing.CURIOUS, -1, -(2**31)])
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice([*importing.CURIOUS, -1])
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e-40])
    else:
        node.attribute.remove(attribute)


def change_initializer(graph: Any, rng: random.Random) -> None:
    """Another value, type or shape, with the raw bytes left consistent or not."""
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    how = rng.randrange(4)
    if how == 0:
        tensor.dims[:] = [rng.choice(importing.CURIOUS) for _ in range(rng.randrange(4))]
    elif how == 1:
        tensor.data_type = rng.randrange(25)
    else:
        try:
            array = numpy_helper.to_array(tensor)
            with np.errstate(all="ignore"):
                changed = array.reshape(-1)[: rng.randint(0, array.size)] if how == 2 else array * array.dtype.type(-3)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))
        except (ValueError, TypeError):  # an earlier mutation left no readable tensor, or strings
            tensor.raw_data = b"\xff" * 8


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
        node.op_type = rng.choice(sorted(ONNX_OPERATORS)).rsplit(".", 1)[-1]
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
    """Half of the time libFuzzer's own mutation of the bytes, else changes of the graph."""
    rng = random.Random(seed)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return bytes(atheris.Mutate(data, max_size))
    if rng.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    for _ in range(rng.randint(1, 3)):
        change_graph(model, rng)
    changed = model.SerializeToString()
    return changed if len(changed) <= max_size else data


def test_one_input(data: bytes) -> None:
    importing.compiles_bytes(data, ".onnx")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # libraries write about every odd file
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
