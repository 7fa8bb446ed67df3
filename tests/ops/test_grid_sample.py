"""grid_sample: every mode, padding and number of dimensions; positions far outside, and that are no numbers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Node
from tinycompile.ir.types import DType
from tinycompile.ops.grid_sample import MODES, PADDINGS, GridSample, GridSampleAttrs

SIZES = (3, 4, 5)
POINTS = 24


def node(dims: int, attrs: GridSampleAttrs, fixed: bool = False) -> Node:
    shape = (2, 3, *(1,) * (3 - dims), *SIZES[3 - dims :])
    points = activation("p", (2, POINTS, dims), dtype=DType.FLOAT32)
    if fixed:
        points = constant("p", np.random.default_rng(1).uniform(-1, 1, points.shape).astype(np.float32))
    x = activation("x", shape, dtype=DType.FLOAT32)
    return make_node(GridSample(), (x, points), activation("y", (), dtype=DType.FLOAT32), attrs)


def nodes() -> dict[str, Node]:
    found = {
        f"{mode}_{padding}_{align}_{dims}": node(dims, GridSampleAttrs(mode, padding, align))
        for mode in MODES
        for padding in PADDINGS
        for align in (False, True)
        for dims in (1, 2, 3)
    }
    return {**found, "fixed": node(2, GridSampleAttrs(), True)}


def within(of: Node, rng: np.random.Generator) -> tuple[Array | None, ...]:
    """Maps, and points inside, around and far outside of them."""
    x = rng.normal(0, 1, of.tensor(0).shape).astype(np.float32)
    if of.tensor(1).is_const:
        return x, None
    points = rng.uniform(-2, 2, of.tensor(1).shape).astype(np.float32)
    points[0, :6, 0] = [-1, 1, 0, 3.1, 1e9, -1e30]
    points[1, :3, 0] = [np.inf, -np.inf, np.nan]
    return x, points


def cases() -> list[Case]:
    return [Case(name, GridSample(), of, values=within) for name, of in nodes().items()]


@pytest.mark.parametrize("name", [n for n in nodes() if n != "fixed" and not n.endswith("1")])
def test_equals_onnx(name: str) -> None:
    of = nodes()[name]
    dims, a = of.tensor(1).shape[2], of.attrs
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, of.tensor(0).shape).astype(np.float32)
    points = rng.uniform(-1.6, 1.6, of.tensor(1).shape).astype(np.float32)
    attrs = {"mode": a.mode, "padding_mode": a.padding, "align_corners": int(a.align_corners)}
    op = helper.make_node("GridSample", ["x", "g"], ["y"], **attrs)
    graph = helper.make_graph(
        [op],
        "g",
        [helper.make_tensor_value_info(n, 1, None) for n in ("x", "g")],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    session = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    map_shape = (2, 3, *SIZES[3 - dims :])
    grid = points.reshape(2, *(1,) * (dims - 1), POINTS, dims)
    (want,) = session.run(None, {"x": x.reshape(map_shape), "g": grid})
    got = GridSample().reference(of, [x, points])
    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-4, atol=1e-5)


def test_points_that_do_not_fit_are_refused() -> None:
    x, points = activation("x", (2, 1, 1, 3, 3), dtype=DType.FLOAT32), activation("p", (1, 4, 2), dtype=DType.FLOAT32)
    with pytest.raises(ShapeError, match="points"):
        make_node(GridSample(), (x, points), activation("y", (), dtype=DType.FLOAT32), GridSampleAttrs())
