"""Network inputs, outputs and states as the C templates take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tinycompile.codegen.context import GivenText, PortText, StateText
from tinycompile.codegen.literals import shape_text
from tinycompile.ir.graph import Array
from tinycompile.ir.interface import Port
from tinycompile.ir.plan import Plan
from tinycompile.ir.states import initial_values


def given_ports(
    plan: Plan, names: Sequence[str], ports: Sequence[PortText], states: Mapping[int, Port]
) -> list[GivenText]:
    """All network inputs or outputs, those of states among them, in the network's order."""
    seen, result = iter(ports), []
    for k, name in enumerate(names):
        if k in states:
            port, offset = states[k], plan.placements[name].offsets[0]
            place = None if plan.placements[name].external is not None else f"arena->bytes + {offset}"
            result.append(GivenText(f"state->{port.c_name}", place, port.nbytes, True))
        else:
            p = next(seen)
            place = None if p.offset is None else f"{plan.interface.prefix}_{p.port.c_name}(arena)"
            result.append(GivenText(p.port.c_name, place, p.port.nbytes, False))
    return result


def state_ports(plan: Plan, weight: Callable[[Array, str], str]) -> list[StateText]:
    """`weight`: makes a flash array of values, with a comment, and gives its name."""
    result = []
    for state, value in zip(plan.interface.states, initial_values(plan.graph), strict=True):
        array = weight(value, f"what {state.port.c_name} begins with") if value.any() else None
        result.append(StateText(port_text(plan, state.port, False), array))
    return result


def port_text(plan: Plan, port: Port, resident: bool) -> PortText:
    """`resident`: whether it has a place in the arena that the caller may use."""
    comment = f"{port.dtype.value} {shape_text(port.shape)}"
    if len(port.shape) == 4:
        comment += " NHWC"
    if port.scale is not None:
        sign = "-" if (port.zero_point or 0) >= 0 else "+"
        comment += f", real = {port.scale:.9g} * (q {sign} {abs(port.zero_point or 0)})"
    macro = f"{plan.interface.prefix}_{port.c_name}".upper()
    offset = plan.placements[port.name].offsets[0] if resident else None
    return PortText(port, macro, port.dtype.c_type, offset, comment)
