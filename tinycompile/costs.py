"""How long a plan takes: an estimate from what it executes and a target's costs.

The costs of what is executed are instructions, fitted to emulated runs by ``benchmarks/calibrate_costs.py``, and an
instruction counts as a cycle. What a byte of weights costs to read again is the target's flash, not its core. The
estimate tells plans of one network apart; it is no substitute for a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinycompile.ir.plan import Plan, Step
from tinycompile.ir.types import DType
from tinycompile.ops.registry import operator
from tinycompile.target import Target


@dataclass(frozen=True)
class Work:
    """What one inference executes, recompute included: MACs, those of depthwise convolutions (`depthwise_macs`) not
    among the others; elements that operators put out, inside of fused ones too; rows that kernels are called for; runs
    of rows (times that an operator's turn comes); bytes of weights that are read from flash."""

    macs: int
    depthwise_macs: int
    elems: int
    rows: int
    runs: int
    weight_bytes: int


def work_of(plan: Plan) -> Work:
    """The work of a plan."""
    rows = runs = read = 0
    before = None
    nodes = [plan.graph.node(op) for op in plan.ops]
    weights = [sum(t.nbytes for t in node.inputs if t is not None and t.is_const) for node in nodes]
    made = [0] * len(nodes)
    for step in plan.steps:
        op = step.op if isinstance(step, Step) else None
        runs += op is not None and op != before
        before = op
        if isinstance(step, Step):
            made[step.op] += step.region.rows * step.region.cols
            calls = 1 if step.merge else step.region.rows
            rows += calls
            read += calls * weights[step.op]
    macs = depthwise = elems = 0
    for node, pixels in zip(nodes, made, strict=True):
        form = node.out.form
        share = operator(node.op.kind).macs(node) * pixels // (form.rows * form.width)
        if node.op.kind == "depthwise_conv2d":
            depthwise += share
        else:
            macs += share
        elems += pixels * form.channels
        elems += operator(node.op.kind).inner_elems(node) * pixels // (form.rows * form.width)
    return Work(macs, depthwise, elems, rows, runs, read)


def estimated_cycles(plan: Plan, target: Target) -> int | None:
    """Cycles of one inference, None for a target without costs, and where MACs are of float32 or int16: the costs are
    those of int8, and some cores have no floating-point unit."""
    c, work = target.costs, work_of(plan)
    nodes = (plan.graph.node(op) for op in plan.ops)
    if c is None or any(n.out.dtype in (DType.FLOAT32, DType.INT16) and operator(n.op.kind).macs(n) > 0 for n in nodes):
        return None
    computing = work.macs * c.mac + work.depthwise_macs * c.depthwise_mac + work.elems * c.elem
    return round(computing + work.rows * c.row + work.runs * c.run + work.weight_bytes * c.weight_byte)
