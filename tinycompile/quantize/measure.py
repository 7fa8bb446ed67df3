"""What int8 costs: signal to quantisation noise layer by layer and at the outputs, agreement of the class, a metric.

Both networks run on the same samples, float by the float graph, int8 by the integer graph that is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinycompile.errors import UsageError
from tinycompile.frontends.naming import plain_name
from tinycompile.ir.graph import Array, Graph, Tensor
from tinycompile.ir.quant import Quant
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.evaluate import evaluate, node_result
from tinycompile.quantize.calibration import Sample
from tinycompile.quantize.insert import STORED
from tinycompile.quantize.ranges import stored_values
from tinycompile.watch import Watch

Metric = Callable[[Sequence[Mapping[str, Array]], Sequence[Mapping[str, Array]]], float]
NOISELESS = 200.0  # dB, in the place of infinity


class Noise:
    """Energy of a signal and of the difference from it, over all samples."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, wanted: Array, got: Array) -> None:
        wide = wanted.astype(np.float64)
        self.signal += float((wide**2).sum())
        self.noise += float(((got - wide) ** 2).sum())

    @property
    def sqnr(self) -> float:
        """Signal to quantisation noise ratio in dB."""
        if self.noise == 0 or self.signal == 0:
            return NOISELESS if self.noise == 0 else -NOISELESS
        return min(10 * math.log10(self.signal / self.noise), NOISELESS)


@dataclass(frozen=True)
class LayerNoise:
    """A stored tensor of the int8 network: `sqnr` dB with the noise of all that came before, `own` dB of the operator
    that makes it on exact inputs (rounded to int8)."""

    tensor: str
    kind: str
    source: str
    sqnr: float
    own: float


@dataclass(frozen=True)
class Agreement:
    """An output: `sqnr` in dB, and the share of samples, 0..1, with the same largest element; None where the output is
    no vector."""

    output: str
    sqnr: float
    top1: float | None


@dataclass(frozen=True)
class Measurement:
    """`metric`: what the user's function gave for the float and for the int8 network."""

    samples: int
    layers: tuple[LayerNoise, ...]
    outputs: tuple[Agreement, ...]
    metric: tuple[float, float] | None

    @property
    def worst(self) -> list[LayerNoise]:
        """Layers by their own noise, the noisiest first."""
        return sorted(self.layers, key=lambda layer: (layer.own, layer.tensor))

    @property
    def sqnr(self) -> float:
        """Of the noisiest output, dB."""
        return min(o.sqnr for o in self.outputs)

    @property
    def top1(self) -> float | None:
        """Of the output that agrees least; None where none is a vector."""
        shares = [o.top1 for o in self.outputs if o.top1 is not None]
        return min(shares) if shares else None


def counterparts(lowered: Graph, reference: Graph) -> dict[str, str]:
    """int8 tensors of the integer graph -> the float tensors that they stand for, of the same shape."""
    plain = {plain_name(name): name for name in reference.tensors}
    result = {}
    for op in lowered.ops:
        name = op.outputs[0]
        base, found, _ = name.rpartition(STORED)
        wanted = plain.get(base) if found else None
        tensor = lowered.tensors[name]
        if wanted is not None and tensor.quant is not None and reference.tensors[wanted].shape == tensor.shape:
            result[name] = wanted
    return result


def run_both(
    reference: Graph, lowered: Graph, sample: Sample, everything: bool = True
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every value of both networks, or their outputs."""
    renamed = {new: sample[old] for new, old in zip(lowered.inputs, reference.inputs, strict=True)}
    keep = (None, None) if everything else (reference.outputs, lowered.outputs)
    return evaluate(reference, sample, keep[0]), evaluate(lowered, renamed, keep[1])


def measure(
    reference: Graph,
    lowered: Graph,
    samples: Sequence[Sample],
    watch: Watch,
    metric: Metric | None = None,
    layers: bool = True,
) -> Measurement:
    """Both networks over `samples`: their outputs, and `layers` one by one. `metric` is given the outputs of all
    samples, by name, and the inputs."""
    known = counterparts(lowered, reference) if layers else {}
    total, own = {name: Noise() for name in known}, {name: Noise() for name in known}
    ends = {name: Noise() for name in reference.outputs}
    same = dict.fromkeys(reference.outputs, 0)
    results: tuple[list[Sample], list[Sample]] = ([], [])
    for k, sample in enumerate(samples):
        watch.phase(f"measuring, sample {k + 1} of {len(samples)}")
        exact, stored = run_both(reference, lowered, sample, layers)
        for name, made in own_results(lowered, known, exact, stored).items():
            tensor = lowered.tensors[name]
            own[name].add(exact[known[name]], real_values(tensor, made))
            total[name].add(exact[known[name]], real_values(tensor, stored[name]))
        got = dict(zip(reference.outputs, (stored[name] for name in lowered.outputs), strict=True))
        for name in reference.outputs:
            ends[name].add(exact[name], got[name])
            same[name] += int(exact[name].argmax() == got[name].argmax())
        results[0].append({name: exact[name] for name in reference.outputs})
        results[1].append(got)
    makers = lowered.producers()
    noise = tuple(
        LayerNoise(known[n], makers[n].kind, str(makers[n].source), total[n].sqnr, own[n].sqnr) for n in known
    )
    outputs = tuple(
        Agreement(name, ends[name].sqnr, same[name] / len(samples) if _is_vector(reference.tensors[name]) else None)
        for name in reference.outputs
    )
    figures = None if metric is None else (_figure(metric, results[0], samples), _figure(metric, results[1], samples))
    return Measurement(len(samples), noise, outputs, figures)


def own_results(
    lowered: Graph, known: Mapping[str, str], exact: Mapping[str, Array], stored: Mapping[str, Array]
) -> dict[str, Array]:
    """What each operator of `known` makes of exact inputs rounded to int8."""
    values = {**stored, **{n: stored_values(_quant(lowered.tensors[n]), exact[known[n]]) for n in known}}
    return {node.out.name: node_result(node, values) for node in lowered.nodes() if node.out.name in known}


def noise_at_outputs(reference: Graph, exact: dict[str, Array], values: dict[str, Array]) -> float:
    """Energy of the change at the outputs when tensors have other `values`."""
    changed = {name: value.reshape(exact[name].shape) for name, value in values.items()}
    now = {**exact, **changed}
    for node in reference.nodes():
        if node.out.name not in values and any(name in changed for name in node.op.inputs):
            changed[node.out.name] = now[node.out.name] = node_result(node, now)
    return sum(float(((now[o].astype(np.float64) - exact[o]) ** 2).sum()) for o in reference.outputs)


def _quant(tensor: Tensor) -> Quant:
    assert tensor.quant is not None  # those of `counterparts` are int8
    return tensor.quant


def _is_vector(tensor: Tensor) -> bool:
    return tensor.elems > 1 and tensor.elems == tensor.shape[-1]


def _figure(metric: Metric, outputs: Sequence[Sample], inputs: Sequence[Sample]) -> float:
    try:
        return float(metric(outputs, inputs))
    except Exception as error:  # the user's own code
        raise UsageError(
            f"the metric failed: {type(error).__name__}: {error}",
            "--metric",
            "it takes outputs and inputs, gives a number",
        ) from error
