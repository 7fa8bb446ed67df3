"""Mixed precision: what weights of 4 bits become 8, and which parts stay float, so that outputs are as exact as asked.

The sensitivity of a scale is the noise at the outputs that the operators storing at it cause alone, all others exact.
Noises of many roundings add up, so the largest are taken out, as few as the budget needs: the operators that make and
read the tensors of that scale compute in float. Before any does, weights of 4 bits (`widths`) become 8. int16
activations have no kernels yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinycompile.errors import CheckFailed
from tinycompile.ir.graph import Array, Graph
from tinycompile.ops.dequantize import real_values
from tinycompile.quantize.calibration import Sample, spread
from tinycompile.quantize.measure import Measurement, counterparts, measure, noise_at_outputs, own_results, run_both
from tinycompile.quantize.quantizer import AUTO, Calibration, Quantized, QuantizeOptions, quantize_graph
from tinycompile.quantize.widths import Fit, narrow_layers, narrowed_to_fit, weight_noise
from tinycompile.watch import Watch

_SAMPLES = 4  # for sensitivities: each runs much of the network once per scale
_MOST_ROUNDS = 8


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
            energy[root] += noise_at_outputs(made.reference, exact, values)
    return {root: noise / max(total, 1e-300) for root, noise in energy.items()}


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
    fit: Fit,
    watch: Watch,
) -> Quantized:
    """A prepared graph quantised, with as little of it in float as meets the budget on the samples `judged_by`: weights
    of 4 bits become 8 first, those that cost most.

    `fit`: what a lowered network needs beyond the memory that it is given. Raises CheckFailed when no network that fits
    meets the budget, DoesNotFitError when weights of 4 bits are to make it fit and do not.
    """
    found = Calibration(graph, samples, options, watch, ())
    made = found.quantized()
    if options.weights == AUTO:
        made = narrowed_to_fit(found, made, judged_by, fit, watch)
    if budget == AccuracyBudget():
        return made
    measured = measure(made.reference, made.lowered, judged_by, watch, layers=False)
    if narrow_layers(made) and not budget.met(measured):
        noise = weight_noise(found, judged_by, watch)
        ranking = sorted(narrow_layers(made), key=lambda name: (-noise[name], name))
        bits = made.weight_bits

        def widened(count: int) -> Quantized:
            return found.quantized({**bits, **dict.fromkeys(ranking[:count], 8)})

        made, measured = _taken_out([noise[n] for n in ranking], widened, measured, judged_by, budget, fit, watch)
    if budget.met(measured):
        return made
    watch.phase("sensitivities")
    scales = sensitivities(made, judged_by)
    groups = made.scheme.groups()
    roots = sorted(groups, key=lambda root: (-scales[root], root))
    eight = replace(options, weights="int8")

    def kept_float(count: int) -> Quantized:
        floats = set().union(*(_around(graph, groups[root]) for root in roots[:count]))
        return quantize_graph(graph, samples, eight, watch, floats)

    made, measured = _taken_out([scales[r] for r in roots], kept_float, measured, judged_by, budget, fit, watch)
    if not budget.met(measured):
        _fail(budget, measured, "give more samples, another calibrator or a lower budget")
    return made


def _taken_out(
    noise: Sequence[float],
    without: Callable[[int], Quantized],
    measured: Measurement,
    judged_by: Sequence[Sample],
    budget: AccuracyBudget,
    fit: Fit,
    watch: Watch,
) -> tuple[Quantized, Measurement]:
    """The network `without` so many of the largest `noise` that it meets the budget, or without as many as were tried;
    and what it was measured to be. Raises CheckFailed when that does not fit."""
    count = 0
    for _ in range(_MOST_ROUNDS):
        count = _next_count(noise, count, measured.sqnr, budget.min_sqnr)
        made = without(count)
        if any(fit(made.lowered)):
            _fail(budget, measured, "what it takes to be more exact does not fit in the memory given")
        measured = measure(made.reference, made.lowered, judged_by, watch, layers=False)
        if budget.met(measured) or count == len(noise):
            break
    return made, measured


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
