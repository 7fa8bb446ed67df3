"""How long a plan takes: an estimate from what it executes and a target's costs.

The costs of what is executed are instructions, fitted to emulated runs by ``benchmarks/calibrate_costs.py``, and an
instruction counts as a cycle. What a byte of weights costs to read again is the target's flash, not its core. The
estimate tells plans of one network apart; it is no substitute for a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinycompile.ir.plan import Plan, Step
from tinycompile.ir.types import DType
from tinycompile.ops.base import is_plain
from tinycompile.ops.registry import operator
from tinycompile.target import Target


@dataclass(frozen=True)
class Work:
    """What one inference executes, recompute included: MACs and elements that operators put out, inside of fused ones
    too, by kernels of the core's own instructions (`macs`, those of depthwise convolutions apart, `elems`) and by plain
    ones; rows that kernels are called for; runs of rows (times that an operator's turn comes); bytes of weights that
    are read from flash."""

    macs: int
    depthwise_macs: int
    elems: int
    plain_macs: int
    plain_elems: int
    rows: int
    runs: int
    weight_bytes: int

    @property
    def all_macs(self) -> int:
        return self.macs + self.depthwise_macs + self.plain_macs


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
    macs = depthwise = elems = plain_macs = plain_elems = 0
    for node, pixels, variant in zip(nodes, made, plan.variants, strict=True):
        form, oper = node.out.form, operator(node.op.kind)
        share = oper.macs(node) * pixels // (form.rows * form.width)
        put_out = pixels * form.channels + oper.inner_elems(node) * pixels // (form.rows * form.width)
        if is_plain(variant):
            plain_macs, plain_elems = plain_macs + share, plain_elems + put_out
            continue
        elems += put_out
        if node.op.kind == "depthwise_conv2d":
            depthwise += share
        else:
            macs += share
    return Work(macs, depthwise, elems, plain_macs, plain_elems, rows, runs, read)


def estimated_cycles(plan: Plan, target: Target) -> int | None:
    """Cycles of one inference, None for a target without costs, and where MACs are of float32 or int16: the costs are
    those of int8, and some cores have no floating-point unit."""
    c, work = target.costs, work_of(plan)
    nodes = (plan.graph.node(op) for op in plan.ops)
    if c is None or any(n.out.dtype in (DType.FLOAT32, DType.INT16) and operator(n.op.kind).macs(n) > 0 for n in nodes):
        return None
    computing = work.macs * c.mac + work.depthwise_macs * c.depthwise_mac + work.elems * c.elem
    computing += work.plain_macs * c.plain_mac + work.plain_elems * c.plain_elem
    return round(computing + work.rows * c.row + work.runs * c.run + work.weight_bytes * c.weight_byte)
