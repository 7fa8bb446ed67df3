"""Code size and stack as the target's own compiler gives them, when it is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tinycompile.errors import ToolchainError
from tinycompile.report.summary import Report
from tinycompile.target import Target


def with_compiled_sizes(report: Report, files: Mapping[str, str], target: Target) -> Report:
    """`report` with the compiled code size and static stack; unchanged when no compiler for the target is found."""
    from tinycompile.emulate.target import compile_objects

    with tempfile.TemporaryDirectory(prefix="tinycompile-") as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        try:
            objects = compile_objects(Path(folder), report.plan.interface, target)
        except ToolchainError:
            return report  # the estimates stand, and say that they are estimates
    return report.with_code(objects.text_bytes, objects.stack_bytes)
