"""tinycompile: a deployment compiler for microcontrollers.

import tinycompile
built = tinycompile.build("model.tflite", target="cortex-m7", sram="320k", out="out")
print(built.report.arena.value, built.plan.certificate.optimal)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinycompile import report, torch
    from tinycompile.api import build, plan, quantize_model, report_for
    from tinycompile.ir.plan import Plan
    from tinycompile.pipeline import Build
    from tinycompile.report.summary import Report

__version__ = "0.1.0"
__all__ = [
    "Build",
    "Plan",
    "Report",
    "__version__",
    "build",
    "plan",
    "quantize_model",
    "report",
    "report_for",
    "torch",
]

_WHERE = {
    "build": "tinycompile.api",
    "plan": "tinycompile.api",
    "quantize_model": "tinycompile.api",
    "report_for": "tinycompile.api",
    "Plan": "tinycompile.ir.plan",
    "Build": "tinycompile.pipeline",
    "Report": "tinycompile.report.summary",
}


def __getattr__(name: str) -> Any:
    """Names of the public interface, imported when they are first used: `import tinycompile` stays light."""
    import importlib

    if name in ("report", "torch"):  # modules
        return importlib.import_module(f"tinycompile.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'tinycompile' has no attribute '{name}'")
    return getattr(importlib.import_module(_WHERE[name]), name)
