"""Coverage-guided fuzzing of the TFLite importer: ``python tests/fuzz/fuzz_tflite.py tests/fuzz/corpus/tflite``.

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
with atheris.instrument_imports(include=["tinycompile", "tflite"]):
    import compiling
    import mutations

    # The compiler imports these when it needs them: too late to be instrumented.
    import tinycompile.frontends.tflite
    import tinycompile.passes.lowering_check  # noqa: F401

IDENTIFIER = b"TFL3"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the time libFuzzer's own mutation, else changes of whole words: offsets, lengths, dimensions and scales.

    A flatbuffer is aligned words that point at each other, so these keep most of the file readable. The identifier is
    put back: without it the file is taken for ONNX.
    """
    rng = random.Random(seed)
    if len(data) < 16 or rng.random() < 0.5:
        changed = bytearray(atheris.Mutate(data, max_size))
    else:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            mutations.change_word(changed, rng)
    if len(changed) >= 8:
        changed[4:8] = IDENTIFIER
    return bytes(changed)


def test_one_input(data: bytes) -> None:
    compiling.fuzzed(data, ".tflite")


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # libraries write about every odd file
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
