"""What is proven about a plan's arena: the bounds beside it, in whole buffers."""

from __future__ import annotations

from tinycompile.ir.plan import Certificate

SPACE = "whole buffers"


def certify(arena_bytes: int, schedule_bound_bytes: int, lower_bound_bytes: int, packing: str) -> Certificate:
    """`lower_bound_bytes`: least peak of live bytes over all operator orders, each step writing its output over a dying
    input where it may; no plan of whole buffers has a smaller arena."""
    optimal = arena_bytes == lower_bound_bytes
    method = f"operator order by best-first search; addresses by {packing}"
    return Certificate(lower_bound_bytes, schedule_bound_bytes, optimal, SPACE, method)
