"""mean against LiteRT's reference kernel."""

from __future__ import annotations

import numpy as np
import pytest
from litert_models import run_litert, single_op_model
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Node
from tinycompile.ops.base import Grain
from tinycompile.ops.mean import Mean, MeanAttrs

MEAN = Mean()


def mean(
    shape: tuple[int, ...], axes: tuple[int, ...], keep_dims: bool = True, out: tuple[float, int] = (0.05, 3)
) -> Node:
    return make_node(MEAN, (activation("x", shape, 0.05, 3),), activation("y", (), *out), MeanAttrs(axes, keep_dims))


NODES = {
    "global": mean((1, 5, 4, 7), (1, 2)),
    "global_other_scale": mean((1, 5, 5, 6), (1, 2), False, (0.013, -7)),
    "global_negative_axes": mean((1, 3, 2, 6), (-2, -3), True, (0.4, 40)),
    "rows": mean((1, 6, 5, 3), (1,), True, (0.02, 4)),
    "rows_dropped": mean((1, 6, 5, 3), (1,), False, (0.02, 4)),
    "columns": mean((1, 6, 5, 3), (2,)),
    "columns_dropped": mean((1, 6, 5, 3), (2,), False),
    "channels": mean((1, 6, 5, 3), (3,), True, (0.03, 0)),
    "channels_dropped": mean((1, 6, 5, 3), (3,), False),
    "all": mean((1, 6, 5, 3), (1, 2, 3), False),
    "columns_and_channels": mean((1, 6, 5, 3), (2, 3)),
    "time": mean((1, 9, 10), (1,), False),
    "features": mean((1, 9, 10), (2,)),
    "batch_of_vectors": mean((7, 10), (0,)),
    "vector": mean((11,), (0,)),
    "one_element": mean((1, 1, 1, 5), (1, 2), True, (0.1, 0)),
    "large_scale_ratio": mean((1, 3, 3, 4), (1, 2), True, (1e-9, 0)),
    "tiny_scale_ratio": mean((1, 3, 3, 4), (1, 2), True, (1e7, 0)),
}


def cases() -> list[Case]:
    return [Case(name, MEAN, node) for name, node in NODES.items()]


@pytest.mark.parametrize("name", NODES)
def test_equals_litert(name: str) -> None:
    node = NODES[name]
    axes = constant("axes", np.array(node.attrs.axes, dtype=np.int32))
    model = single_op_model(
        "MEAN", (*node.inputs, axes), node.out, "ReducerOptions", version=2, keepDims=node.attrs.keep_dims
    )
    for seed in range(8):
        x = Case(name, MEAN, node).inputs(seed)[0]
        assert x is not None
        np.testing.assert_array_equal(MEAN.reference(node, (x,)), run_litert(model, [x]))


def test_a_part_of_the_rows_is_unsupported() -> None:
    assert "axes [1]" in (MEAN.unsupported(mean((2, 3, 4, 5), (1,))) or "")
    assert "axes [3]" in (MEAN.unsupported(mean((2, 3, 4, 5), (3,), False)) or "")
    assert MEAN.unsupported(NODES["global"]) is None


def test_rows_stream_unless_the_row_axis_changes() -> None:
    assert MEAN.grain(NODES["columns"]) is Grain.ROW
    assert MEAN.grain(NODES["global"]) is Grain.ROW
    assert MEAN.grain(NODES["rows_dropped"]) is Grain.WHOLE


def test_an_axis_outside_the_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match="axes"):
        mean((1, 2, 3), (3,))
