"""row_sum against plain sums."""

from __future__ import annotations

import pytest
from operator_cases import Case, activation, make_node

from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.types import DType
from tinycompile.ops.row_sum import MOST_VALUES, RowSum

OPERATOR = RowSum()


def row_sum(shape: tuple[int, ...], dtype: DType = DType.INT8) -> Node:
    zero_point = 0 if dtype == DType.INT16 else 3
    return make_node(OPERATOR, (activation("x", shape, 0.05, zero_point, dtype),), activation("y", ()), Attrs())


NODES = {
    "map": row_sum((1, 5, 8, 7)),
    "width_of_no_four": row_sum((1, 4, 7, 5)),
    "narrow": row_sum((1, 6, 3, 2)),
    "one_column": row_sum((1, 6, 1, 9)),
    "one_row": row_sum((1, 1, 6, 4)),
    "one_channel": row_sum((1, 3, 13, 1)),
    "sequence": row_sum((1, 9, 4)),
    "int16": row_sum((1, 5, 7, 6), DType.INT16),
}


def cases() -> list[Case]:
    return [Case(name, OPERATOR, node) for name, node in NODES.items()]


@pytest.mark.parametrize("name", NODES)
def test_rows_are_the_sums_so_far(name: str) -> None:
    node = NODES[name]
    form = node.tensor(0).form
    assert node.out.shape == (1, form.rows, 1, form.channels)
    for seed in range(5):
        x = Case(name, OPERATOR, node).inputs(seed)[0]
        assert x is not None
        rows = x.reshape(form.rows, form.width, form.channels).astype(int)
        for y, got in enumerate(OPERATOR.reference(node, (x,))[0, :, 0]):
            assert got.tolist() == [int(rows[: y + 1, :, c].sum()) for c in range(form.channels)]


def test_only_sums_that_fit_int32() -> None:
    assert OPERATOR.unsupported(NODES["map"]) is None
    assert "uint8" in (OPERATOR.unsupported(row_sum((1, 2, 2, 2), DType.UINT8)) or "")
    for dtype, most in MOST_VALUES.items():
        assert OPERATOR.unsupported(row_sum((1, most // 2, 2, 1), dtype)) is None
        assert "fit" in (OPERATOR.unsupported(row_sum((1, most // 2 + 1, 2, 1), dtype)) or "")
    assert 255 * MOST_VALUES[DType.INT8] < 2**31
    assert 32768 * MOST_VALUES[DType.INT16] <= 2**31
