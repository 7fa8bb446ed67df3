"""Coverage-guided fuzzing of what is read back of a build: ``python tests/fuzz/fuzz_report.py REPORTS``.

REPORTS is a folder of ``report.json`` files of builds, to begin with. libFuzzer's options follow. A report is read or
refused with a UsageError; what is read names C identifiers only.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
with atheris.instrument_imports(include=["tinycompile"]):
    from tinycompile.commands.emulate import _interface
    from tinycompile.errors import UsageError
    from tinycompile.output_folder import MARK, earlier_build


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
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
