"""Stable text of the two representations, for ``--dump-after`` and golden tests.

One line per tensor, op and step; equal graphs and plans give equal text. Names are quoted and escaped. Large constants
appear as a digest of their bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from tinycompile.errors import one_line
from tinycompile.ir.graph import Attrs, Graph, Op, Tensor
from tinycompile.ir.interface import OutputMode
from tinycompile.ir.plan import Placement, Plan, Pop, Push
from tinycompile.ir.quant import Quant

_SHOWN_ELEMS = 4


def _name(name: str) -> str:
    return json.dumps(one_line(name, 120)) if name else "-"


def _names(names: Iterable[str]) -> str:
    return ", ".join(_name(n) for n in names)


def _number(value: float) -> str:
    return f"{value:.9g}"


def _quant(quant: Quant | None) -> str:
    if quant is None:
        return ""
    if quant.axis is None and len(quant.scale) == 1:
        return f" scale {_number(quant.scale[0])} zero {quant.zero_point[0]}"
    low, high = min(quant.scale, default=0.0), max(quant.scale, default=0.0)
    zeros = f"zero {quant.zero_point[0]}" if len(set(quant.zero_point)) == 1 else "own zeros"
    digest = _digest(np.array(quant.scale, dtype=np.float64).tobytes() + repr(quant.zero_point).encode())
    return f" {len(quant.scale)} scales on axis {quant.axis} in [{_number(low)}, {_number(high)}] {zeros} {digest}"


def _digest(data: bytes) -> str:
    return f"#{hashlib.sha256(data).hexdigest()[:12]}"


def _type(tensor: Tensor) -> str:
    bits = "" if tensor.quant is None or tensor.quant.bits is None else f" in {tensor.quant.bits} bits"
    return f"{tensor.dtype.value}[{','.join(str(d) for d in tensor.shape)}]{bits}{_quant(tensor.quant)}"


def _data(tensor: Tensor) -> str:
    if tensor.data is None:
        return ""
    if tensor.data.size <= _SHOWN_ELEMS:
        return f" = {tensor.data.reshape(-1).tolist()}"
    return f" = {_digest(np.ascontiguousarray(tensor.data).tobytes())}"


def _attrs(attrs: Attrs) -> str:
    fields = [(f.name, getattr(attrs, f.name)) for f in dataclasses.fields(attrs)]
    return f" {{{', '.join(f'{name}={value!r}' for name, value in fields)}}}" if fields else ""


def _op(op: Op, index: int) -> str:
    source = one_line(str(op.source), 120)
    return f"  {index}: {_names(op.outputs)} = {op.kind}({_names(op.inputs)}){_attrs(op.attrs)}  ; {source}"


def print_graph(graph: Graph) -> str:
    """The graph: ports, tensors in order of first use, ops in order."""
    used = dict.fromkeys(
        [*graph.inputs, *(n for op in graph.ops for n in (*op.inputs, *op.outputs) if n), *graph.outputs]
    )
    lines = [
        f"graph {_name(graph.name)} from {graph.source_format or 'nothing'}",
        f"inputs {_names(graph.inputs)}",
        f"outputs {_names(graph.outputs)}",
        *(f"state {_name(s.input)} is {_name(s.output)} in the next inference" for s in graph.states),
        "tensors",
        *(f"  {_name(n)}: {_type(graph.tensors[n])}{_data(graph.tensors[n])}" for n in used),
        "ops",
        *(_op(op, k) for k, op in enumerate(graph.ops)),
    ]
    return "\n".join(lines) + "\n"


def _ranges(offsets: Sequence[int], row_bytes: int) -> str:
    """Offsets as runs of rows with a constant stride: ``first+stride*count``."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and (runs[-1][2] == 1 or offset == runs[-1][0] + runs[-1][1] * runs[-1][2]):
            run = runs[-1]
            if run[2] == 1:
                run[1] = offset - run[0]
            run[2] += 1
        else:
            runs.append([offset, row_bytes, 1])
    return ", ".join(str(base) if count == 1 else f"{base}{stride:+d}*{count}" for base, stride, count in runs)


def _placement(place: Placement) -> str:
    if place.external is not None:
        return f"in the caller's memory of input {place.external}"
    affine = place.affine
    if affine is not None and (len(place.offsets) == 1 or affine[1] == place.row_bytes):
        size = place.row_bytes * len(place.offsets)
        return f"[{affine[0]}, {affine[0] + size})"
    return f"rows of {place.row_bytes} at {_ranges(place.offsets, place.row_bytes)}"


def print_plan(plan: Plan) -> str:
    """The plan: arena and certificate, where each run-time tensor lives, the steps in order with what is live."""
    c = plan.certificate
    lines = [
        f"plan {_name(plan.graph.name)} for {plan.target}, input {plan.input_mode.value}"
        + (", outputs streamed" if plan.output_mode is OutputMode.STREAMED else ""),
        f"arena {plan.arena_bytes} bytes, aligned to {plan.arena_align}",
        f"bound {c.lower_bound_bytes} over all orders, {c.schedule_bound_bytes} for this one, "
        f"{'optimal' if c.optimal else 'not proven optimal'} ({c.space}; {c.method})",
        *([] if c.model is None else [f"bound {c.model.nbytes} for the model {c.model.limit} ({c.model.method})"]),
        "placements",
        *(f"  {_name(n)}: {_type(plan.tensor(n))} {_placement(p)}" for n, p in plan.placements.items()),
        "views",
    ]
    stepped = {s.op for s in plan.computed}
    lines += [_op(op, k) for k, op in enumerate(plan.ops) if k not in stepped]
    lines.append("steps")
    for k, step in enumerate(plan.steps):
        peak = " <- peak" if k == plan.peak_step else ""
        live = f"     {plan.live_bytes[k]} bytes live: {_names(plan.live_at(k))}{peak}"
        if isinstance(step, Push):
            lines += [f"  {k}: push row {step.row} of {_name(step.tensor)}", live]
            continue
        if isinstance(step, Pop):
            lines += [f"  {k}: pop row {step.row} of {_name(step.tensor)}", live]
            continue
        op, r = plan.ops[step.op], step.region
        where = f"rows {r.y0}..{r.y1 - 1} columns {r.x0}..{r.x1 - 1}{' merged' if step.merge else ''}"
        scratch = plan.scratch[step.op]
        own = f" scratch at {scratch}" if scratch is not None else ""
        lines.append(f"  {k}: op {step.op} {op.kind} -> {_names(op.outputs)} {where}, {plan.variants[step.op]}{own}")
        lines.append(live)
    return "\n".join(lines) + "\n"
