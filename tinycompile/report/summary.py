"""Where every byte goes: the figures of a plan against a target's memory, each labelled exact, emulated or estimate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinycompile.errors import DoesNotFitError, one_line
from tinycompile.ir.emission import Emission
from tinycompile.ir.interface import OutputMode
from tinycompile.ir.plan import Plan, Recomputed, Step
from tinycompile.ir.types import DType
from tinycompile.ops.registry import operator
from tinycompile.target import Target

SCHEMA_VERSION = 1
EXACT, EMULATED, ESTIMATE = "exact", "emulated", "estimate"
# Machine code of a kernel instance and of a step's loop, from Cortex-M7 builds; replaced by measured sizes when a
# compiler is at hand.
INSTANCE_CODE_BYTES, STEP_CODE_BYTES = 430, 48


@dataclass(frozen=True)
class Budgets:
    """What the user allows; None: what the target has."""

    sram_bytes: int | None
    flash_bytes: int | None


@dataclass(frozen=True)
class Figure:
    """A number of bytes and how it is known."""

    value: int
    kind: str


@dataclass(frozen=True)
class Fit:
    """A memory region: what is needed, what there is, and who said so. `has` is None where there is no limit."""

    region: str
    needs: Figure
    has: int | None
    limit_from: str

    @property
    def fits(self) -> bool:
        return self.has is None or self.needs.value <= self.has


@dataclass(frozen=True)
class LiveTensor:
    """A tensor at the peak; `role` is input, output or intermediate."""

    name: str
    nbytes: int
    role: str


@dataclass(frozen=True)
class StepRow:
    """One operator of the plan, in the order in which they begin. Where it takes turns with others, `calls` counts its
    runs of rows and `live_bytes` is the most at any of its steps; `index` is its first step, `at_peak` whether the
    plan's peak is at one of its steps."""

    index: int
    kind: str
    source: str
    out_shape: tuple[int, ...]
    macs: int
    weight_bytes: int
    live_bytes: int
    live: tuple[str, ...]
    calls: int
    at_peak: bool


@dataclass(frozen=True)
class Report:
    """All figures of one plan. Bytes; MACs per inference. `narrow_saved_bytes`: see `Emission`."""

    plan: Plan
    target: Target
    budgets: Budgets
    steps: tuple[StepRow, ...]
    peak_live: tuple[LiveTensor, ...]
    shared_bytes: int
    scratch_bytes: int
    padding_bytes: int
    stack: Figure
    weights: Figure
    schedule: Figure
    code: Figure
    macs_model: int
    narrow_saved_bytes: int

    @property
    def peak_operator(self) -> StepRow | None:
        """The operator that runs at the peak; None when a row of the input arrives there, or one of an output goes."""
        return next((s for s in self.steps if s.at_peak), None)

    @property
    def given_bytes(self) -> int:
        """Bytes of the outputs whose rows are given to the caller one by one: the arena never holds them whole."""
        ports = self.plan.interface.outputs if self.plan.output_mode is OutputMode.STREAMED else ()
        return sum(p.nbytes for p in ports)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not as the model file says."""
        return tuple(dict.fromkeys(op.source.note for op in self.plan.graph.ops if op.source.note))

    @property
    def arena(self) -> Figure:
        return Figure(self.plan.arena_bytes, EXACT)

    @property
    def macs_executed(self) -> int:
        """Multiply-accumulates of one inference, those that are done twice included."""
        return sum(s.macs for s in self.steps)

    @property
    def weights_note(self) -> str:
        """Where weights lie, and what those of 4 bits save."""
        saved = self.narrow_saved_bytes
        return f"flash: {saved:,} B less for those of 4 bits" if saved else "flash"

    def most_recomputed(self, count: int) -> list[Recomputed]:
        """The layers of which most is computed twice, or whose windows make most be, the worst first."""
        return sorted(self.plan.recomputed, key=lambda r: -(r.extra_macs + r.saved_macs))[:count]

    def role_bytes(self, role: str) -> int:
        """Bytes live at the peak in tensors of one role."""
        return sum(t.nbytes for t in self.peak_live if t.role == role)

    @property
    def fits(self) -> tuple[Fit, ...]:
        def limit(budget: int | None, own: int | None, option: str) -> tuple[int | None, str]:
            return (budget, option) if budget is not None else (own, f"target {self.target.name}")

        state_bytes = self.plan.interface.state_bytes
        sram = Figure(self.arena.value + state_bytes + self.stack.value, self.stack.kind)
        flash = Figure(self.weights.value + self.schedule.value + self.code.value, self.code.kind)
        return (
            Fit("SRAM", sram, *limit(self.budgets.sram_bytes, self.target.sram_bytes, "--sram")),
            Fit("flash", flash, *limit(self.budgets.flash_bytes, self.target.flash_bytes, "--flash")),
        )

    def with_code(self, text_bytes: int, stack_bytes: int | None) -> Report:
        """The report with the target compiler's own code size and, where it is known, its static stack bound."""
        stack = self.stack if stack_bytes is None else Figure(stack_bytes, ESTIMATE)
        return replace(self, code=Figure(text_bytes, EXACT), stack=stack)

    def check_fits(self) -> None:
        """Raises DoesNotFitError with what is needed, what there is, where the peak lies, and what would help."""
        for fit in self.fits:
            if not fit.fits:
                raise DoesNotFitError(*self._problem(fit))

    def _is_float(self, name: str) -> bool:
        return self.plan.tensor(name).dtype == DType.FLOAT32

    def _problem(self, fit: Fit) -> tuple[str, str, str]:
        needs = f"{fit.region}: needs {fit.needs.value:,} bytes, has {fit.has:,} ({fit.limit_from})"
        if fit.region == "flash":
            largest = sorted(self.steps, key=lambda s: -s.weight_bytes)[:3]
            where = ", ".join(
                f"step {s.index} {s.kind} ({one_line(s.source, 60)}) {s.weight_bytes:,} B" for s in largest
            )
            tables = f" + schedule tables {self.schedule.value:,} exact" if self.schedule.value else ""
            what = f"{needs}: weights {self.weights.value:,} exact{tables} + code {self.code.value:,} {self.code.kind}"
            return (
                what,
                f"largest weights: {where}",
                f"use a target with {fit.needs.value:,} bytes of flash, or a smaller model",
            )
        what = f"{needs}: arena {self.arena.value:,} exact + stack {self.stack.value:,} {self.stack.kind}"
        step = self.peak_operator
        live = ", ".join(f"{one_line(t.name, 60)} {t.nbytes:,} B" for t in self.peak_live)
        where = (
            f"peak at step {self.plan.peak_step} ({step.kind}, {one_line(step.source, 60)}), live: {live}"
            if step
            else live
        )
        fixes = [f"allow --sram {fit.needs.value} or more"]
        # Only a float edge that lies in the arena at the peak is worth dropping.
        floats = [t for t in self.peak_live if t.role != "intermediate" and self._is_float(t.name)]
        if floats:
            roles, took = " and ".join(sorted({t.role for t in floats})), sum(t.nbytes for t in floats)
            fixes.append(f"--io quantized stores the float {roles} in {took // 4:,} bytes instead of {took:,}")
        certificate = self.plan.certificate
        least = "is the least" if certificate.optimal else f"could be at best {certificate.lower_bound_bytes:,}"
        fixes.append(f"the arena {least} for {certificate.space}; a smaller input size shrinks it")
        return what, where, "; ".join(fixes)

    @property
    def model_bound_words(self) -> str:
        """The bound of the model and how far the arena is above it; empty where there is none."""
        bound = self.plan.certificate.model
        if bound is None:
            return ""
        gap = self.plan.arena_bytes - bound.nbytes
        above = f"this one is at most {gap:,} B above the least" if gap else "this one is the least"
        return f"No plan of this model {bound.limit} needs less than {bound.nbytes:,} B, {above}: {bound.method}."

    def _model_bound(self) -> dict[str, Any] | None:
        bound = self.plan.certificate.model
        if bound is None:
            return None
        limit = bound.max_recompute if math.isfinite(bound.max_recompute) else None
        return {"bytes": bound.nbytes, "max_recompute": limit, "method": bound.method}

    def to_json(self) -> dict[str, Any]:
        """A plain object; ``docs/report.md`` lists its keys."""
        plan = self.plan
        return {
            "schema_version": SCHEMA_VERSION,
            "model": plan.interface.prefix,
            "target": self.target.name,
            "arena_bytes": plan.arena_bytes,
            "state_bytes": plan.interface.state_bytes,
            "input_mode": plan.input_mode.value,
            "output_mode": plan.output_mode.value,
            "lower_bound_bytes": plan.certificate.lower_bound_bytes,
            "schedule_bound_bytes": plan.certificate.schedule_bound_bytes,
            "optimal": plan.certificate.optimal,
            "certificate": {"space": plan.certificate.space, "method": plan.certificate.method},
            "model_bound": self._model_bound(),
            "peak_step": plan.peak_step,
            "peak": {
                "input_bytes": self.role_bytes("input"),
                "output_bytes": self.role_bytes("output"),
                "intermediate_bytes": self.role_bytes("intermediate"),
                "shared_in_place_bytes": self.shared_bytes,
                "scratch_bytes": self.scratch_bytes,
                "padding_bytes": self.padding_bytes,
                "tensors": [{"name": t.name, "bytes": t.nbytes, "role": t.role} for t in self.peak_live],
            },
            "notes": list(self.notes),
            "macs_model": self.macs_model,
            "macs_executed": self.macs_executed,
            "recomputed": [
                {"source": r.source, "macs": r.macs, "extra_macs": r.extra_macs, "saved_macs": r.saved_macs}
                for r in plan.recomputed
            ],
            "weight_bytes": self.weights.value,
            "narrow_saved_bytes": self.narrow_saved_bytes,
            "schedule_bytes": self.schedule.value,
            "code_bytes": self.code.value,
            "code_kind": self.code.kind,
            "stack_bytes": self.stack.value,
            "stack_kind": self.stack.kind,
            "fits": [
                {
                    "region": f.region,
                    "needs_bytes": f.needs.value,
                    "kind": f.needs.kind,
                    "has_bytes": f.has,
                    "limit_from": f.limit_from,
                    "fits": f.fits,
                }
                for f in self.fits
            ],
            "interface": plan.interface.to_json(),
            "steps": [
                {
                    "index": s.index,
                    "kind": s.kind,
                    "source": s.source,
                    "out_shape": list(s.out_shape),
                    "macs": s.macs,
                    "weight_bytes": s.weight_bytes,
                    "live_bytes": s.live_bytes,
                    "live": list(s.live),
                    "calls": s.calls,
                }
                for s in self.steps
            ],
        }

    def files(self, others: Iterable[str] = ()) -> dict[str, str]:
        """``report.json`` and ``report.html``; the JSON lists them and the build's `others` under ``files``."""
        from tinycompile.report.html import render_html

        names = sorted({"report.json", "report.html", *others})
        text = json.dumps({**self.to_json(), "files": names}, indent=1, ensure_ascii=True)
        return {"report.json": text + "\n", "report.html": render_html(self)}


def _step_rows(plan: Plan) -> tuple[StepRow, ...]:
    numbers: dict[int, list[int]] = {}
    runs: dict[int, int] = {}
    before = None
    for index, step in enumerate(plan.steps):
        op = step.op if isinstance(step, Step) else None
        if op is not None:
            numbers.setdefault(op, []).append(index)
            runs[op] = runs.get(op, 0) + (op != before)
        before = op
    rows = []
    for op, indices in numbers.items():
        node = plan.graph.node(plan.ops[op])
        form = node.out.form
        regions = [step.region for step in (plan.steps[i] for i in indices) if isinstance(step, Step)]
        share = sum(r.rows * r.cols for r in regions) / (form.rows * form.width)
        worst = max(indices, key=lambda i: (plan.live_bytes[i], -i))
        rows.append(
            StepRow(
                indices[0],
                node.op.kind,
                str(node.op.source),
                node.out.shape,
                round(operator(node.op.kind).macs(node) * share),
                sum(t.nbytes for t in node.inputs if t is not None and t.is_const),
                plan.live_bytes[worst],
                plan.live_at(worst),
                runs[op],
                plan.peak_step in indices,
            )
        )
    return tuple(rows)


def _peak_live(plan: Plan) -> tuple[LiveTensor, ...]:
    roles: Mapping[str, str] = {
        **dict.fromkeys(plan.graph.outputs, "output"),
        **dict.fromkeys(plan.graph.inputs, "input"),
    }
    held: dict[str, int] = {} if plan.steps else {n: plan.tensor(n).nbytes for n in plan.graph.inputs}
    for life in plan.lives:
        if life.first <= plan.peak_step <= life.last:
            held[life.tensor] = held.get(life.tensor, 0) + life.high - life.low
    tensors = [LiveTensor(n, nbytes, roles.get(n, "intermediate")) for n, nbytes in held.items()]
    return tuple(sorted(tensors, key=lambda t: -t.nbytes))


def _peak_scratch(plan: Plan) -> int:
    """Scratch at the peak: of its step, and what other operators keep from their first step to their last."""
    during: dict[int, list[int]] = {}
    for k, step in enumerate(plan.steps):
        if isinstance(step, Step):
            during.setdefault(step.op, []).append(k)
    total = 0
    for op, steps in during.items():
        node = plan.graph.node(plan.ops[op])
        oper = operator(node.op.kind)
        kept = oper.keeps(node) and steps[0] <= plan.peak_step <= steps[-1]
        total += oper.scratch_bytes(node) if kept or plan.peak_step in steps else 0
    return total


def summarize(plan: Plan, target: Target, budgets: Budgets, emission: Emission) -> Report:
    """The report of a plan and the code made from it."""
    live = _peak_live(plan)
    live_bytes = plan.live_bytes[plan.peak_step] if plan.live_bytes else plan.arena_bytes
    scratch = _peak_scratch(plan)
    return Report(
        plan,
        target,
        budgets,
        _step_rows(plan),
        live,
        sum(t.nbytes for t in live) + scratch - live_bytes,
        scratch,
        plan.arena_bytes - live_bytes,
        Figure(emission.stack_bytes, ESTIMATE),
        Figure(emission.weight_bytes, EXACT),
        Figure(emission.schedule_bytes, EXACT),
        Figure(emission.instances * INSTANCE_CODE_BYTES + emission.steps * STEP_CODE_BYTES, ESTIMATE),
        plan.network_macs,
        emission.narrow_saved_bytes,
    )
