"""What the tensors of a float network hold while it runs over samples: extremes, then histograms between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tinycompile.errors import UsageError, one_line
from tinycompile.ir.graph import Graph
from tinycompile.ops.evaluate import evaluate
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.ranges import BINS, Histogram
from tinycompile.watch import Watch


def extremes(
    graph: Graph, samples: Sequence[Sample], names: Collection[str], watch: Watch
) -> dict[str, tuple[float, float]]:
    """Least and greatest value of each tensor of `names`, run-time tensors of `graph`. UsageError when one is not
    finite."""
    result: dict[str, tuple[float, float]] = {}
    for k, sample in enumerate(samples):
        watch.phase(f"ranges, sample {k + 1} of {len(samples)}")
        for name, value in evaluate(graph, sample, names).items():
            low, high = result.get(name, (np.inf, -np.inf))
            result[name] = min(low, float(value.min())), max(high, float(value.max()))
    for name, ends in result.items():
        if not np.all(np.isfinite(ends)):
            raise UsageError(
                "values that are not finite", f"tensor '{one_line(name, 80)}'", "look at the samples and the weights"
            )
    return result


def histograms(
    graph: Graph,
    samples: Sequence[Sample],
    groups: Mapping[str, Sequence[str]],
    ranges: Mapping[str, tuple[float, float]],
    watch: Watch,
) -> dict[str, Histogram]:
    """One histogram for each group of tensors that share a scale, by the one that stands for them."""
    spans = {r: (min(ranges[n][0] for n in g), max(ranges[n][1] for n in g)) for r, g in groups.items()}
    counts = {root: np.zeros(BINS) for root in groups}
    names = {name for group in groups.values() for name in group}
    for k, sample in enumerate(samples):
        watch.phase(f"histograms, sample {k + 1} of {len(samples)}")
        values = evaluate(graph, sample, names)
        for root, group in groups.items():
            for name in group:
                counts[root] += np.histogram(values[name], BINS, spans[root])[0]
    return {root: Histogram(*spans[root], counts[root]) for root in groups}
