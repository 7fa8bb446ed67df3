"""The architectures of the zoo: the published operations, parameters and activations; usable numbers; determinism."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tinycompile.emulate.interpreter import run_graph
from tinycompile.errors import UsageError
from tinycompile.ir.graph import Array, Graph
from tinycompile.ir.verify import verify_graph
from tinycompile.ops.registry import OPERATORS
from tinycompile.passes.lowering_check import check_supported
from tinycompile.zoo import architectures
from tinycompile.zoo.architectures import ARCHITECTURES, build, round_channels

SMALL = "mobilenet_v2_w035_r144"
graph_of = cache(build)


def macs(graph: Graph) -> int:
    return sum(OPERATORS[node.op.kind].macs(node) for node in graph.nodes())


def trained_parameters(graph: Graph) -> int:
    """Parameters as publications count them: a folded bias was a batch normalisation's scale and offset, except the
    classifier's."""
    sizes = {name: t.elems for name, t in graph.tensors.items() if t.is_const}
    biases = sum(size for name, size in sizes.items() if name.endswith("_bias"))
    return sum(sizes.values()) + biases - sizes["classifier_bias"]


def peak(graph: Graph) -> int:
    """The most bytes of whole activations that are alive at once, layer by layer."""
    last = {name: i for i, op in enumerate(graph.ops) for name in op.inputs}
    alive, most = set(graph.inputs), 0
    for i, op in enumerate(graph.ops):
        alive |= set(op.outputs)
        most = max(most, sum(graph.tensors[name].nbytes for name in alive))
        alive = {name for name in alive if last.get(name, -1) > i}
    return most


def largest_step(graph: Graph) -> int:
    """The largest sum of one operator's own inputs and output."""
    return max(
        sum(node.inputs[i].nbytes for i in node.activations) + node.out.nbytes  # type: ignore[union-attr]
        for node in graph.nodes()
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_graphs_are_valid_and_have_kernels(name: str) -> None:
    graph = graph_of(name)
    verify_graph(graph, "zoo", OPERATORS)
    check_supported(graph)
    assert graph.name == name
    assert graph.name.isidentifier()
    assert all(t.quant is not None for t in graph.tensors.values())
    image = graph.tensors[graph.inputs[0]]
    assert image.shape == (1, int(name.rpartition("_r")[2]), int(name.rpartition("_r")[2]), 3)
    assert image.quant is not None
    assert image.quant.zero_point[0] != 0
    assert [graph.tensors[o].shape for o in graph.outputs] == [(1, 1000)]


# Millions, as published: MobileNetV2 and MnasNet in torchvision's and the papers' tables, MCUNet and its baselines in
# its model zoo, FBNet-A in mobile-vision's table; each to about half of the last digit stated.
@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        ("mobilenet_v2_w030_r80", 7.3, 0.05),
        ("mobilenet_v2_w035_r144", 23.5, 0.05),
        ("mobilenet_v2_w100_r224", 300, 5),
        ("mcunet_in3_r176", 81.8, 0.05),
        ("proxylessnas_w025_r112", 10.7, 0.05),
        ("proxylessnas_w030_r176", 38.3, 0.05),
        ("mnasnet_w100_r224", 314, 0.5),
        ("fbnet_a_r224", 244.5, 0.1),
    ],
)
def test_macs_are_the_published_ones(name: str, published: float, tolerance: float) -> None:
    assert macs(graph_of(name)) / 1e6 == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mobilenet_v2_w030_r80", 0.63),
        ("mobilenet_v2_w035_r144", 0.75),
        ("mcunet_in3_r176", 0.74),
        ("proxylessnas_w025_r112", 0.57),
        ("proxylessnas_w030_r176", 0.75),
        ("fbnet_a_r224", 4.3),
    ],
)
def test_parameters_round_to_the_published_ones(name: str, published: float) -> None:
    digits = 1 if name.startswith("fbnet") else 2
    assert round(trained_parameters(graph_of(name)) / 1e6, digits) == published


def test_parameters_of_the_full_networks_are_exact() -> None:
    assert trained_parameters(graph_of("mobilenet_v2_w100_r224")) == 3_504_872
    assert trained_parameters(graph_of("mnasnet_w100_r224")) == 4_383_312
    assert trained_parameters(architectures.mnasnet(0.5, 64)) == 2_218_512
    assert trained_parameters(architectures.proxylessnas(1.0, 64)) == 4_080_512


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mobilenet_v2_w030_r80", 96_000),
        ("mobilenet_v2_w035_r128", 245_760),
        ("mobilenet_v2_w035_r144", 311_040),
        ("mobilenet_v2_w100_r224", 1_505_280),
        ("mcunet_in3_r176", 340_736),
        ("proxylessnas_w025_r112", 100_352),  # MCUNet's model zoo: 98 kB
        ("proxylessnas_w030_r176", 247_808),  # 242 kB
        ("mnasnet_w035_r144", 165_888),
        ("mnasnet_w100_r224", 802_816),
        ("fbnet_a_r224", 802_816),
    ],
)
def test_layer_by_layer_peaks(name: str, expected: int) -> None:
    assert peak(graph_of(name)) == expected


def test_the_peak_of_mcunet_needs_the_residual_but_not_that_of_mobilenet() -> None:
    assert largest_step(graph_of("mcunet_in3_r176")) < peak(graph_of("mcunet_in3_r176"))
    assert largest_step(graph_of(SMALL)) == peak(graph_of(SMALL))


def test_two_builds_are_equal() -> None:
    first, second = build(SMALL), build(SMALL)
    assert first is not second
    assert (first.name, first.ops, first.inputs, first.outputs) == (
        second.name,
        second.ops,
        second.inputs,
        second.outputs,
    )
    assert list(first.tensors) == list(second.tensors)
    for name, a in first.tensors.items():
        b = second.tensors[name]
        assert (a.shape, a.dtype, a.quant) == (b.shape, b.dtype, b.quant)
        assert (a.data is None) == (b.data is None)
        if a.data is not None and b.data is not None:
            assert np.array_equal(a.data, b.data)


def noise(graph: Graph, seed: int) -> Array:
    random = np.random.default_rng(seed)
    return random.integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)


@pytest.mark.parametrize("name", [SMALL, "mcunet_in3_r176"])
def test_no_activation_is_saturated_or_constant(name: str) -> None:
    """On an image that the builder has not seen."""
    graph = graph_of(name)
    values = run_graph(graph, [noise(graph, 7)])
    for node in graph.nodes():
        value = values[node.out.name]
        assert value.std() > 10, node.op.name
        assert len(np.unique(value)) > 50, node.op.name
        assert (value == 127).mean() < 0.08, node.op.name
        rectified = node.out.quant is not None and node.out.quant.zero_point[0] == -128
        assert (value == -128).mean() < (0.6 if rectified else 0.05), node.op.name


def test_outputs_depend_on_the_image() -> None:
    graph = graph_of(SMALL)
    (output,) = graph.outputs
    a, b = (run_graph(graph, [noise(graph, seed)])[output].astype(int) for seed in (1, 2))
    assert np.abs(a - b).mean() > 3
    assert np.ptp(a) > 100


def test_convolutions_are_per_channel_and_padded_evenly() -> None:
    for node in graph_of(SMALL).nodes():
        if node.op.kind in ("conv2d", "depthwise_conv2d"):
            quant, kernel = node.tensor(1).quant, node.tensor(1).shape[1]
            assert quant is not None
            assert quant.per_channel
            assert len(set(quant.scale)) > 1
            assert set(quant.zero_point) == {0}
            assert node.attrs.pad == (kernel // 2,) * 4
            linear = node.op.name.endswith("_project")
            assert node.attrs.clamp == (None if linear else (-128, 127))


def test_channels_round_like_the_reference() -> None:
    wanted = {1: 8, 4.8: 8, 9.6: 16, 11.2: 16, 12: 16, 57.6: 56, 83: 80, 84: 88, 320: 320}
    assert {c: round_channels(c) for c in wanted} == wanted


def test_a_shuffle_interleaves_the_groups() -> None:
    graph = graph_of("fbnet_a_r224")
    values = run_graph(graph, [noise(graph, 3)])
    (name,) = (op.inputs[0] for op in graph.ops if op.name == "block8_shuffle_groups")
    before, after = values[name], values["block8_shuffle_channels"]
    assert np.array_equal(after[..., 0::2], before[..., :32])
    assert np.array_equal(after[..., 1::2], before[..., 32:])


def test_an_unknown_name_lists_all() -> None:
    with pytest.raises(UsageError) as caught:
        build("mobilenet_v2_w35_r144")
    assert "did you mean mobilenet_v2_w035_r144?" in caught.value.fix
    assert all(name in caught.value.fix for name in ARCHITECTURES)
    with pytest.raises(UsageError, match="no architecture 'x'"):
        build("x")
