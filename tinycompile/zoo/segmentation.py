"""A small segmentation network with seeded weights: the kind whose output map is its largest tensor."""

from __future__ import annotations

from tinycompile.ir.graph import Graph
from tinycompile.zoo.network_builder import NetworkBuilder

ENCODER = ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1))  # channels and stride of each depthwise-separable block


def segmentation(resolution: int = 96, classes: int = 8) -> Graph:
    """Scores of `classes` classes for every pixel of a `resolution` x `resolution` picture (a multiple of 8).

    Fully convolutional: depthwise-separable blocks down to an eighth of the resolution, and bilinear steps back up that
    add the encoder's maps on the way, as in FCN (Long et al., CVPR 2015).
    """
    b = NetworkBuilder(f"segmentation_r{resolution}", resolution)
    x = b.conv("stem", b.input, 8, 3, 2, activation=True)
    size, maps = resolution // 2, {}
    for k, (channels, stride) in enumerate(ENCODER):
        if stride == 2:
            maps[size] = x
            size //= 2
        x = b.depthwise(f"block{k}_depthwise", x, 3, stride)
        x = b.conv(f"block{k}_project", x, channels, activation=True)
    x = b.conv("scores", x, classes, activation=False)
    while size < resolution // 2:
        size *= 2
        x = b.resize(f"up{size}", x, (size, size))
        x = b.add(f"sum{size}", x, b.conv(f"skip{size}", maps[size], classes, activation=False))
    x = b.resize(f"up{resolution}", x, (resolution, resolution))
    return b.graph(b.depthwise("smooth", x, 3))
