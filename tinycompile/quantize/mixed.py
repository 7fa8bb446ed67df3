"""Mixed precision: which parts become int16 or stay float so that the outputs are as exact as asked for.

The sensitivity of a scale is the noise at the outputs that the operators storing at it cause alone, all others exact.
Noises of many roundings add up, so the largest are taken out, as few as the budget needs: first the tensors of that
scale become int16, of twice the bytes and still computed in integers. When all are and that is not enough, the noise is
that of int8 weights: then the operators that make and read the tensors of the noisiest scales compute in float.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.errors import CheckFailed
from tinycompile.ir.graph import Array, Graph
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.evaluate import node_result
from tinycompile.quantize.calibration import Sample, spread
from tinycompile.quantize.measure import Measurement, counterparts, measure, own_results, run_both
from tinycompile.quantize.quantizer import Quantized, QuantizeOptions, quantize_graph
from tinycompile.watch import Watch

_SAMPLES = 4  # for sensitivities: each runs much of the network once per scale
_MOST_ROUNDS = 8
Fits = Callable[[Graph], bool]


@dataclass(frozen=True)
class AccuracyBudget:
    """`min_sqnr` dB of every output, and `min_top1`, 0..1, of those that are vectors."""

    min_sqnr: float = -math.inf
    min_top1: float = 0.0

    def met(self, measured: Measurement) -> bool:
        """Whether a network is exact enough."""
        return measured.sqnr >= self.min_sqnr and (measured.top1 is None or measured.top1 >= self.min_top1)


def sensitivities(made: Quantized, samples: Sequence[Sample]) -> dict[str, float]:
    """The noise energy at the outputs, over that of the outputs, of each scale of the network by itself."""
    known = counterparts(made.lowered, made.reference)
    energy = dict.fromkeys(made.scheme.groups(), 0.0)
    total = 0.0
    for sample in spread(samples, _SAMPLES):
        exact, stored = run_both(made.reference, made.lowered, sample)
        total += sum(float((exact[o].astype(np.float64) ** 2).sum()) for o in made.reference.outputs)
        rounded: dict[str, dict[str, Array]] = {}
        for name, result in own_results(made.lowered, known, exact, stored).items():
            root = made.scheme.stored[known[name]]
            rounded.setdefault(root, {})[known[name]] = real_values(made.lowered.tensors[name], result)
        for root, values in rounded.items():
            energy[root] += _noise(made.reference, exact, values)
    return {root: noise / max(total, 1e-300) for root, noise in energy.items()}


def _noise(reference: Graph, exact: dict[str, Array], values: dict[str, Array]) -> float:
    """Energy of the change at the outputs when tensors have other `values`."""
    changed = {name: value.reshape(exact[name].shape) for name, value in values.items()}
    now = {**exact, **changed}
    for node in reference.nodes():
        if node.out.name not in values and any(name in changed for name in node.op.inputs):
            changed[node.out.name] = now[node.out.name] = node_result(node, now)
    return sum(float(((now[o].astype(np.float64) - exact[o]) ** 2).sum()) for o in reference.outputs)


def _around(graph: Graph, group: Sequence[str]) -> set[str]:
    """Outputs of the operators that make or read a tensor of `group`."""
    producers, consumers = graph.producers(), graph.consumers()
    ops = [op for name in group for op in (*consumers[name], *([producers[name]] if name in producers else []))]
    return {op.outputs[0] for op in ops}


def quantize_within(
    graph: Graph,
    samples: Sequence[Sample],
    judged_by: Sequence[Sample],
    options: QuantizeOptions,
    budget: AccuracyBudget,
    fits: Fits,
    watch: Watch,
) -> Quantized:
    """A prepared graph quantised, with as little of it in int16, then in float, as meets the budget on the samples
    `judged_by`.

    `fits`: whether a lowered network has the memory that it needs. Raises CheckFailed when no network that fits meets
    the budget.
    """
    made = quantize_graph(graph, samples, options, watch)
    if budget == AccuracyBudget():
        return made
    measured = measure(made.reference, made.lowered, judged_by, watch, layers=False)
    for widen in (True, False):
        if budget.met(measured) or (widen and options.wide is None):
            continue
        watch.phase("sensitivities")
        noise, groups = sensitivities(made, judged_by), made.scheme.groups()
        ranking = sorted(groups, key=lambda root: (-noise[root], root))
        count = 0
        for _ in range(_MOST_ROUNDS):
            count = _next_count([noise[root] for root in ranking], count, measured.sqnr, budget.min_sqnr)
            chosen, floats = [groups[root] for root in ranking[:count]], set[str]()
            if widen:
                options = replace(options, wide=frozenset().union(*chosen))
            else:
                floats = set().union(*(_around(graph, group) for group in chosen))
            tried = quantize_graph(graph, samples, options, watch, floats)
            if not fits(tried.lowered):
                what = "int16" if widen else "float"
                _fail(budget, measured, f"what more would be {what} does not fit in the memory given")
            made, measured = tried, measure(tried.reference, tried.lowered, judged_by, watch, layers=False)
            if budget.met(measured) or count == len(ranking):
                break
    if not budget.met(measured):
        _fail(budget, measured, "give more samples, another calibrator or a lower budget")
    return made


def _next_count(noise: Sequence[float], count: int, now: float, wanted: float) -> int:
    """How many of the largest noises are to go: as many as take the rest below what is wanted, at least one more and
    at least half as many again."""
    total = sum(noise[count:])
    allowed = total * 10 ** (-(wanted - now) / 10) if math.isfinite(wanted) and wanted > now else total / 2
    needed = count + 1
    while needed < len(noise) and sum(noise[needed:]) > allowed:
        needed += 1
    return min(max(needed, count + (count + 1) // 2), len(noise))


def _fail(budget: AccuracyBudget, measured: Measurement, fix: str) -> None:
    top1 = "" if measured.top1 is None else f", top-1 {measured.top1:.1%} of at least {budget.min_top1:.1%}"
    wanted = "" if math.isinf(budget.min_sqnr) else f" of at least {budget.min_sqnr:.1f}"
    raise CheckFailed(f"SQNR {measured.sqnr:.1f} dB{wanted}{top1}", "accuracy budget", fix)
