"""Inputs for `quantization.py`: made here, for none come with the models, and not what the networks were trained for.

noise     each value by itself: uniform over what the network takes, as its golden samples; normal for seeded weights
pictures  fields of 1/f noise with a random spectrum between white noise and clouds, of random brightness and contrast
shapes    rectangles of one colour each on a ground, with a little noise: edges, and nothing between

Two images of one network are two frames: the second is the first, moved by a few pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinycompile.ir.graph import Array, Graph
from tinycompile.quantize.calibration import Sample

FURTHEST = 6  # pixels that a frame moves by


@dataclass(frozen=True)
class Images:
    """What a network takes: (rows, columns, channels), of values in [low, high]."""

    rows: int
    columns: int
    channels: int
    low: float = -1.0
    high: float = 1.0
    channels_first: bool = False


def pictures(rng: np.random.Generator, rows: int, columns: int, channels: int) -> Array:
    """Most of a field is common to all channels."""
    distance = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns))
    distance[0, 0] = 1 / max(rows, columns)
    spectrum = np.fft.fft2(rng.standard_normal((channels + 1, rows, columns))) / distance ** rng.uniform(0, 2)
    fields = np.fft.ifft2(spectrum).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    return np.clip((0.8 * fields[:1] + 0.6 * fields[1:]) * rng.uniform(0.1, 0.7) + rng.uniform(-0.6, 0.6), -1, 1)


def shapes(rng: np.random.Generator, rows: int, columns: int, channels: int) -> Array:
    image = np.tile(rng.uniform(-1, 1, (channels, 1, 1)), (1, rows, columns))
    for _ in range(rng.integers(3, 16)):
        (top, bottom), (left, right) = (np.sort(rng.integers(0, size + 1, 2)) for size in (rows, columns))
        image[:, top:bottom, left:right] = rng.uniform(-1, 1, (channels, 1, 1))
    return np.clip(image + rng.normal(0, rng.uniform(0, 0.1), image.shape), -1, 1)


def noise(rng: np.random.Generator, rows: int, columns: int, channels: int) -> Array:
    return rng.uniform(-1, 1, (channels, rows, columns))


KINDS: dict[str, Callable[[np.random.Generator, int, int, int], Array]] = {
    "noise": noise,
    "pictures": pictures,
    "shapes": shapes,
}


def made(graph: Graph, images: Images | None, kind: str, count: int, seed: int) -> list[Sample]:
    """`count` samples of a kind; `images` None: normal noise."""
    rng = np.random.default_rng(seed)
    ports = [graph.tensors[name] for name in graph.inputs]
    samples = []
    for _ in range(count):
        if images is None:
            values = [rng.standard_normal(port.shape) for port in ports]
        else:
            values = _frames(rng, images, kind, len(ports))
        arrays = (v.astype(np.float32).reshape(p.shape) for v, p in zip(values, ports, strict=True))
        samples.append({p.name: a for p, a in zip(ports, arrays, strict=True)})
    return samples


def _frames(rng: np.random.Generator, images: Images, kind: str, count: int) -> list[Array]:
    margin = FURTHEST if count > 1 else 0
    whole = KINDS[kind](rng, images.rows + 2 * margin, images.columns + 2 * margin, images.channels)
    frames = []
    for k in range(count):
        y, x = (margin, margin) if k == 0 else rng.integers(0, 2 * margin + 1, 2)
        unit = whole[:, y : y + images.rows, x : x + images.columns]
        scaled = images.low + (unit + 1) / 2 * (images.high - images.low)
        frames.append(scaled if images.channels_first else scaled.transpose(1, 2, 0))
    return frames
