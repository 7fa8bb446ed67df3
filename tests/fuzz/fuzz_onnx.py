"""Coverage-guided fuzzing of the ONNX importer: ``python tests/fuzz/fuzz_onnx.py tests/fuzz/corpus/onnx``.

libFuzzer's options follow, such as ``-max_total_time=600 -timeout=10 -rss_limit_mb=2048``. A file that crashes is
written to the current folder: name it after what is wrong, and move it into the corpus.
"""

from __future__ import annotations

import logging
import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["tinycompile"]):
    import compiling
    import mutations
    import onnx
    from google.protobuf.message import DecodeError

    # The compiler imports these when it needs them: too late to be instrumented.
    import tinycompile.frontends.onnx
    import tinycompile.passes.lowering_check  # noqa: F401


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time, and where the bytes are no model, libFuzzer's own mutation; else changes of the graph."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        for _ in range(rng.randint(1, 3)):
            mutations.change_graph(model, rng)
    except (DecodeError, UnicodeDecodeError):  # the second: a name, read only when it is used
        return bytes(atheris.Mutate(data, max_size))
    changed = model.SerializeToString()
    return changed if len(changed) <= max_size else data


def test_one_input(data: bytes) -> None:
    compiling.fuzzed(data, ".onnx")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # libraries write about every odd file
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
