"""Lowering: one pure function ``Graph -> Graph`` per file, run in the order of `PASSES`."""

from __future__ import annotations

from collections.abc import Callable

from tinycompile.ir.graph import Graph

PASSES: tuple[tuple[str, Callable[[Graph], Graph]], ...] = ()
