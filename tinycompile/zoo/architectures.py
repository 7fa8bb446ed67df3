"""Well-known networks for microcontrollers as int8 graphs with seeded weights, for measuring memory and speed.

What activations need in memory, and how many operations a network takes, does not depend on what it has learned: each
function here builds the published layers, with weights from a seeded stream (`network_builder`), and `ARCHITECTURES`
names the configurations that benchmarks use. Nothing here classifies anything.

All of them are chains of inverted residual blocks: an optional 1x1 expansion, a depthwise convolution, a 1x1
projection, and an addition where a block keeps its input's shape. Padding is half of the kernel on every side, as in
the networks' PyTorch versions (TensorFlow's are padded less before than after where the stride is 2: same shapes).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from tinycompile.errors import UsageError
from tinycompile.ir.graph import Graph
from tinycompile.zoo.network_builder import NetworkBuilder

CLASSES = 1000  # ImageNet
LAST_CHANNELS = 1280


class Block(NamedTuple):
    """An inverted residual block. `expanded`: channels after the 1x1 expansion, 0 where there is none.

    `groups` of the projection, with a channel shuffle before the depthwise convolution. `residual`: add the input where
    the output has its shape.
    """

    expanded: int
    channels: int
    kernel: int
    stride: int
    groups: int = 1
    residual: bool = True


class Stage(NamedTuple):
    """`repeats` blocks; the first one has the stride. `expansion` is a factor, 1 where there is no expansion."""

    expansion: int
    channels: int
    kernel: int
    stride: int
    repeats: int


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels`, or the next one where that is less by more than a tenth.

    The rounding of MobileNetV2's reference implementation, which the later networks took over.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * channels else nearest + divisor


def scaled_blocks(first: int, stages: Sequence[Stage], width: float, residual_in_first: bool) -> list[Block]:
    """The blocks of `stages` with their channels scaled by `width`, behind a map of `first` channels.

    `residual_in_first`: whether a first block that happens to keep its shape, at small widths, adds its input.
    """
    blocks: list[Block] = []
    before = first
    for stage in stages:
        channels = round_channels(stage.channels * width)
        for position in range(stage.repeats):
            expanded = before * stage.expansion if stage.expansion > 1 else 0
            stride = stage.stride if position == 0 else 1
            residual = residual_in_first or bool(blocks)
            blocks.append(Block(expanded, channels, stage.kernel, stride, residual=residual))
            before = channels
    return blocks


def network(name: str, resolution: int, first: int, blocks: Sequence[Block], last: int, classes: int) -> Graph:
    """A 3x3 convolution of stride 2 to `first` channels, `blocks`, a 1x1 convolution to `last` channels (none if 0),
    the mean over the map, and the classifier."""
    builder = NetworkBuilder(name, resolution)
    x = builder.conv("first", builder.input, first, 3, 2, activation=True)
    for index, block in enumerate(blocks):
        x = inverted_residual(builder, f"block{index}", x, block)
    if last:
        x = builder.conv("last", x, last, activation=True)
    return builder.graph(builder.dense("classifier", builder.mean("mean", x), classes))


def inverted_residual(builder: NetworkBuilder, name: str, x: str, block: Block) -> str:
    """Appends `block`; returns its output."""
    before = x
    if block.expanded:
        x = builder.conv(f"{name}_expand", x, block.expanded, activation=True)
    if block.groups > 1:
        x = builder.shuffle(f"{name}_shuffle", x, block.groups)
    x = builder.depthwise(f"{name}_depthwise", x, block.kernel, block.stride)
    x = builder.conv(f"{name}_project", x, block.channels, activation=False, groups=block.groups)
    if block.residual and builder.tensors[x].shape == builder.tensors[before].shape:
        x = builder.add(f"{name}_add", before, x)
    return x


def configuration(name: str, width: float, resolution: int) -> str:
    """``name_w035_r144``: also the C prefix of what is compiled from it."""
    return f"{name}_w{round(width * 100):03d}_r{resolution}"


MOBILENET_V2 = (
    Stage(1, 16, 3, 1, 1),
    Stage(6, 24, 3, 2, 2),
    Stage(6, 32, 3, 2, 3),
    Stage(6, 64, 3, 2, 4),
    Stage(6, 96, 3, 1, 3),
    Stage(6, 160, 3, 2, 3),
    Stage(6, 320, 3, 1, 1),
)


def mobilenet_v2(width: float, resolution: int, classes: int = CLASSES, last_channels: int | None = None) -> Graph:
    """MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2).

    `last_channels` of the last convolution: by default 1280, times `width` where that is above 1, as published. The
    networks that MCUNet is compared with scale it below 1 as well (Lin et al., NeurIPS 2020: "scaled MobileNetV2").
    """
    first = round_channels(32 * width)
    last = round_channels(LAST_CHANNELS * max(1.0, width)) if last_channels is None else last_channels
    blocks = scaled_blocks(first, MOBILENET_V2, width, residual_in_first=True)
    return network(configuration("mobilenet_v2", width, resolution), resolution, first, blocks, last, classes)


MNASNET_B1 = (
    Stage(1, 16, 3, 1, 1),
    Stage(3, 24, 3, 2, 3),
    Stage(3, 40, 5, 2, 3),
    Stage(6, 80, 5, 2, 3),
    Stage(6, 96, 3, 1, 2),
    Stage(6, 192, 5, 2, 4),
    Stage(6, 320, 3, 1, 1),
)


def mnasnet(width: float, resolution: int, classes: int = CLASSES) -> Graph:
    """MnasNet-B1, the one without squeeze-and-excitation (Tan et al., "MnasNet", CVPR 2019), as in torchvision.

    That is: the first convolution scales with the width too, the last one always has 1280 channels, and the first block
    adds nothing. Its ReLU is calibrated to 0..6.
    """
    first = round_channels(32 * width)
    blocks = scaled_blocks(first, MNASNET_B1, width, residual_in_first=False)
    return network(configuration("mnasnet", width, resolution), resolution, first, blocks, LAST_CHANNELS, classes)


# Stages of ProxylessNAS (Mobile): channels, stride, and expansion and kernel of each block. Blocks that the search made
# identities are left out (two in the first stage).
PROXYLESSNAS_MOBILE = (
    (32, 2, ((3, 5), (3, 3))),
    (40, 2, ((3, 7), (3, 3), (3, 5), (3, 5))),
    (80, 2, ((6, 7), (3, 5), (3, 5), (3, 5))),
    (96, 1, ((6, 5), (3, 5), (3, 5), (3, 5))),
    (192, 2, ((6, 7), (6, 7), (3, 7), (3, 7))),
    (320, 1, ((6, 7),)),
)


def proxylessnas(width: float, resolution: int, classes: int = CLASSES, last_channels: int | None = None) -> Graph:
    """ProxylessNAS (Mobile) (Cai et al., "ProxylessNAS", ICLR 2019), as its authors released it at width 1.

    Other widths are not in the paper. Channel counts are rounded up to multiples of 8 and `last_channels` is by default
    1280 up to width 1: with `last_channels` scaled too, that gives the parameters, operations and activations that
    MCUNet's authors state for their "Proxyless-s" of widths 0.25 and 0.3; MobileNetV2's rounding does not.
    """

    def scaled(channels: int) -> int:
        return math.ceil(channels * width / 8) * 8

    blocks = [Block(0, scaled(16), 3, 1, residual=False)]
    for stage_channels, stride, choices in PROXYLESSNAS_MOBILE:
        channels = scaled(stage_channels)
        for position, (expansion, kernel) in enumerate(choices):
            expanded = blocks[-1].channels * expansion
            # The first block of a stage never adds its input, even where a small width makes the shapes equal.
            blocks.append(Block(expanded, channels, kernel, 1 if position else stride, residual=position > 0))
    last = max(LAST_CHANNELS, scaled(LAST_CHANNELS)) if last_channels is None else last_channels
    return network(configuration("proxylessnas", width, resolution), resolution, scaled(32), blocks, last, classes)


FBNET_A = (
    Block(48, 24, 3, 2),
    Block(0, 24, 3, 1),
    Block(144, 32, 5, 2),
    Block(96, 32, 3, 1),
    Block(0, 32, 5, 1),
    Block(96, 32, 3, 1),
    Block(192, 64, 5, 2),
    Block(192, 64, 5, 1),
    Block(0, 64, 5, 1, groups=2),
    Block(384, 64, 5, 1),
    Block(384, 112, 3, 1),
    Block(0, 112, 5, 1, groups=2),
    Block(336, 112, 5, 1),
    Block(0, 112, 3, 1, groups=2),
    Block(672, 184, 5, 2),
    Block(1104, 184, 5, 1),
    Block(552, 184, 5, 1),
    Block(1104, 184, 5, 1),
    Block(1104, 352, 5, 1),
)


def fbnet_a(resolution: int = 224, classes: int = CLASSES) -> Graph:
    """FBNet-A (Wu et al., "FBNet", CVPR 2019), as its authors released it in the model table of mobile-vision.

    Blocks that the search made identities are left out (three). In that release a block of expansion 1 has no 1x1
    convolution before its depthwise one, and a grouped one shuffles channels in its place: 244.5 million
    multiplications, where the paper states 249. Its ReLU is calibrated to 0..6.
    """
    return network(f"fbnet_a_r{resolution}", resolution, 16, FBNET_A, 1504, classes)


MCUNET_IN3 = (
    Block(0, 8, 3, 1, residual=False),
    Block(24, 16, 7, 2),
    Block(80, 16, 3, 1),
    Block(80, 16, 7, 1),
    Block(64, 16, 5, 1),
    Block(80, 24, 5, 2),
    Block(120, 24, 5, 1),
    Block(120, 24, 5, 1),
    Block(120, 40, 3, 2),
    Block(240, 40, 7, 1),
    Block(160, 40, 5, 1),
    Block(200, 48, 5, 1),
    Block(240, 48, 7, 1),
    Block(240, 48, 3, 1),
    Block(288, 96, 3, 2),
    Block(480, 96, 7, 1),
    Block(384, 96, 3, 1),
    Block(480, 160, 7, 1),
)


def mcunet_in3(resolution: int = 176, classes: int = CLASSES) -> Graph:
    """MCUNet for ImageNet in 320 kB of SRAM and 1 MB of flash (Lin et al., "MCUNet", NeurIPS 2020; released as
    mcunet-in3, or "mcunet-320kB"). It has no last 1x1 convolution."""
    return network(f"mcunet_in3_r{resolution}", resolution, 16, MCUNET_IN3, 0, classes)


_FUNCTIONS: dict[str, Callable[[], Graph]] = {
    # MCUNet's baselines, whose last convolution is scaled with the width.
    "mobilenet_v2_w030_r80": partial(mobilenet_v2, 0.3, 80, last_channels=384),
    "mobilenet_v2_w035_r144": partial(mobilenet_v2, 0.35, 144, last_channels=448),
    "proxylessnas_w025_r112": partial(proxylessnas, 0.25, 112, last_channels=320),
    "proxylessnas_w030_r176": partial(proxylessnas, 0.3, 176, last_channels=384),
    "mcunet_in3_r176": mcunet_in3,
    # As published.
    "mobilenet_v2_w035_r128": partial(mobilenet_v2, 0.35, 128),
    "mobilenet_v2_w100_r224": partial(mobilenet_v2, 1.0, 224),
    "mnasnet_w035_r144": partial(mnasnet, 0.35, 144),
    "mnasnet_w100_r224": partial(mnasnet, 1.0, 224),
    "fbnet_a_r224": fbnet_a,
}
ARCHITECTURES: Mapping[str, Callable[[], Graph]] = MappingProxyType(_FUNCTIONS)


def build(name: str) -> Graph:
    """The architecture of that name, the same graph on every call. UsageError, with the names, when there is none."""
    if name not in ARCHITECTURES:
        close = difflib.get_close_matches(name, ARCHITECTURES, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"no architecture '{name}'", "tinycompile.zoo", f"{hint}one of: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]()
