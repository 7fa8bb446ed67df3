"""Which layers have weights of 4 bits: the fewest, and those that lose least by it, where a network is to fit in flash;
all but those that lose most, where its outputs are to be exact.

The sensitivity of a layer is the noise at the outputs when its weights alone are integers of 4 bits, all else exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tinycompile.errors import DoesNotFitError
from tinycompile.ir.graph import Graph, Node, const_tensor
from tinycompile.ir.quant import NARROW_BITS
from tinycompile.ops.dequantize import real_values
from tinycompile.ops.evaluate import evaluate, node_result
from tinycompile.quantize.calibration import Sample, spread
from tinycompile.quantize.measure import noise_at_outputs
from tinycompile.quantize.quantizer import Calibration, Quantized
from tinycompile.watch import Watch

_SAMPLES = 4  # each runs much of the network once per layer


class Excess(NamedTuple):
    """Bytes that a network needs beyond what it is given, 0 where it fits."""

    sram_bytes: int
    flash_bytes: int


Fit = Callable[[Graph], Excess]


def narrow_layers(made: Quantized) -> list[str]:
    """The layers with weights of 4 bits, by their outputs."""
    return [name for name, bits in made.weight_bits.items() if bits == NARROW_BITS]


def weight_noise(found: Calibration, samples: Sequence[Sample], watch: Watch) -> dict[str, float]:
    """Sensitivities of all layers: the energy of the noise over that of the outputs."""
    energy, total = dict.fromkeys(found.layers, 0.0), 0.0
    chosen = spread(samples, _SAMPLES)
    layers = [node for node in found.reference.nodes() if node.out.name in energy]
    nodes = {node.out.name: _with_narrow_weights(found, node) for node in layers}
    for k, sample in enumerate(chosen):
        watch.phase(f"sensitivities of weights, sample {k + 1} of {len(chosen)}")
        exact = evaluate(found.reference, sample)
        total += sum(float((exact[o].astype(np.float64) ** 2).sum()) for o in found.reference.outputs)
        for name, node in nodes.items():
            energy[name] += noise_at_outputs(found.reference, exact, {name: node_result(node, exact)})
    return {name: noise / max(total, 1e-300) for name, noise in energy.items()}


def _with_narrow_weights(found: Calibration, node: Node) -> Node:
    """A float layer with the values that its weights of 4 bits, and the bias that goes with them, stand for."""
    made = found.weights(node.out.name, NARROW_BITS)
    stored = const_tensor(node.tensor(1).name, made.values, made.quant)
    inputs = [node.tensor(0), replace(node.tensor(1), data=real_values(stored))]
    if made.bias is not None:
        inputs.append(const_tensor(f"{node.out.name}/bias", made.bias))
    return replace(node, op=replace(node.op, inputs=tuple(t.name for t in inputs)), inputs=tuple(inputs))


def saving(found: Calibration, name: str) -> int:
    """Bytes that a layer's weights take less in 4 bits than in 8."""
    return found.weights(name, NARROW_BITS).values.size // 2


def cheapest(noise: Mapping[str, float], saved: Mapping[str, int], needed: int) -> list[str]:
    """Layers that together save `needed` bytes: those of the least noise for each byte, less what is not needed after
    all, the noisiest first. All of them where that is not enough."""
    chosen: list[str] = []
    for name in sorted(saved, key=lambda n: (noise[n] / max(saved[n], 1), n)):
        if sum(saved[n] for n in chosen) < needed:
            chosen.append(name)
    for name in sorted(chosen, key=lambda n: (-noise[n], n)):
        if sum(saved[n] for n in chosen) - saved[name] >= needed:
            chosen.remove(name)
    return chosen


def narrowed_to_fit(
    found: Calibration, made: Quantized, samples: Sequence[Sample], fit: Fit, watch: Watch
) -> Quantized:
    """`made`, of 8 bits throughout, with as few weights of 4 bits as let it fit in flash. Raises DoesNotFitError when
    it does not with all of them."""
    needed = fit(made.lowered).flash_bytes
    if needed == 0:
        return made
    noise, saved = weight_noise(found, samples, watch), {name: saving(found, name) for name in found.layers}
    total = sum(saved.values())
    while True:
        chosen = cheapest(noise, saved, needed)
        made = found.quantized(dict.fromkeys(chosen, NARROW_BITS))
        missing = fit(made.lowered).flash_bytes
        if missing == 0:
            return made
        if len(chosen) == len(saved) or needed >= total:
            raise DoesNotFitError(
                f"flash: needs {missing:,} bytes more than it is given with all weights in 4 bits",
                f"{len(saved)} layers",
                "give more --flash, or a smaller model",
            )
        needed = min(needed + missing, total)
