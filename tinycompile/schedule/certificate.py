"""What is proven about a plan's arena: the bounds beside it, in whole buffers."""

from __future__ import annotations

from tinycompile.ir.plan import Certificate
from tinycompile.schedule.allocate import Packing
from tinycompile.schedule.order import Order

SPACE = "whole buffers"


def certify(order: Order, packing: Packing, schedule_bound_bytes: int) -> Certificate:
    """The lower bound is the order's: the least peak of live bytes over all operator orders, each step writing its
    output over a dying input where it may. No plan of whole buffers has a smaller arena."""
    proven = order.peak_bytes == order.lower_bound_bytes
    method = f"operator order {'proven least' if proven else 'from a bounded search'}; addresses by {packing.method}"
    optimal = packing.arena_bytes == order.lower_bound_bytes
    return Certificate(order.lower_bound_bytes, schedule_bound_bytes, optimal, SPACE, method)
