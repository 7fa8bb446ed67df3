"""Coverage-guided fuzzing of what is read back of a build: ``python tests/fuzz/fuzz_report.py REPORTS``.

REPORTS is a folder of ``report.json`` files of builds, to begin with. libFuzzer's options follow. A report is read or
refused with a UsageError; what is read names C identifiers only.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["tinycompile"]):
    from tinycompile.commands.emulate import _interface
    from tinycompile.errors import UsageError
    from tinycompile.output_folder import MARK, earlier_build


CURIOUS: tuple[Any, ...] = (None, True, -1, 0, 2**70, float("inf"), float("nan"), "", "..", "a b", "x;", [], {}, [[]])


def _changed(value: Any, rng: random.Random) -> Any:
    """`value` with a curious one in the place of some part of it."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return rng.choice(CURIOUS)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    value[key] = _changed(value[key], rng)
    return value


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own mutation now and then, and where the bytes are no JSON; else another value somewhere in it."""
    rng = random.Random(seed)
    try:
        changed = json.dumps(_changed(json.loads(data), rng)).encode()
    except (ValueError, RecursionError):
        changed = b""
    return changed if 0 < len(changed) <= max_size and rng.random() < 0.9 else bytes(atheris.Mutate(data, max_size))


def test_one_input(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / MARK).write_bytes(data)
        inside = earlier_build(folder) or ()
        assert all((folder / file).resolve().is_relative_to(folder.resolve()) for file in inside), inside
        try:
            interface = _interface(folder)
        except UsageError:
            return
        ports = (*interface.inputs, *interface.outputs, *(s.port for s in interface.states))
        assert all(text.isidentifier() and text.isascii() for text in (interface.prefix, *(p.c_name for p in ports)))


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutate)
    atheris.Fuzz()
