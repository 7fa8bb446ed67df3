"""svdf_memory and svdf_time: filters of any rank, memories of one feature and more, batches, sums that wrap."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, activation, constant, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Attrs, Node
from tinycompile.ir.quant import Quant
from tinycompile.ir.types import DType
from tinycompile.ops.svdf_memory import SvdfMemory
from tinycompile.ops.svdf_time import SvdfTime, SvdfTimeAttrs

STATE = 2.0**-12


def of_memory(batch: int, inputs: int, filters: int, memory: int, scale: float = 0.01) -> Node:
    rng = np.random.default_rng(filters)
    weights = rng.integers(-127, 128, (filters, inputs)).astype(np.int8)
    tensors = (
        activation("x", (batch, inputs), 0.05, -7),
        activation("s", (batch, filters * memory), STATE, 0, DType.INT16),
        constant("w", weights, Quant((scale,), (0,))),
    )
    return make_node(SvdfMemory(), tensors, activation("y", (), STATE, 0, DType.INT16), Attrs())


def of_time(batch: int, units: int, rank: int, memory: int, bias: bool = True, extreme: bool = False) -> Node:
    rng = np.random.default_rng(units)
    shape = (units * rank, memory)
    weights = np.full(shape, -32768) if extreme else rng.integers(-3000, 3000, shape)
    tensors = (
        activation("x", (batch, units * rank * memory), STATE, 0, DType.INT16),
        constant("w", weights.astype(np.int16), Quant((2.0**-11,), (0,))),
        constant("b", rng.integers(-90000, 90000, units).astype(np.int32)) if bias else None,
    )
    return make_node(SvdfTime(), tensors, activation("y", (), 0.7, -128), SvdfTimeAttrs(rank))


def cases() -> list[Case]:
    memories = {
        "one": of_memory(1, 5, 4, 1),
        "some": of_memory(1, 7, 6, 5),
        "batch": of_memory(3, 4, 2, 3),
        "saturated": of_memory(1, 9, 4, 2, 2.0),
    }
    times = {
        "rank_1": of_time(1, 5, 1, 4),
        "rank_3": of_time(2, 4, 3, 5),
        "no_bias": of_time(1, 3, 2, 1, bias=False),
        "wraps": of_time(1, 2, 2, 4, extreme=True),
    }
    return [
        *(
            Case(f"memory_{k}", SvdfMemory(), n, lambda of: of.tensor(0).shape[0] * of.const(2).size)
            for k, n in memories.items()
        ),
        *(
            Case(f"time_{k}", SvdfTime(), n, lambda of: of.tensor(0).shape[0] * of.const(1).size)
            for k, n in times.items()
        ),
    ]


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = of_memory(1, 5, 4, 2)
    with pytest.raises(ShapeError, match="SVDF memory"):
        make_node(SvdfMemory(), (activation("x", (1, 6)), *good.inputs[1:]), good.out, Attrs())
    good = of_time(1, 5, 2, 4)
    for rank in (0, 3):
        with pytest.raises(ShapeError, match=f"rank {rank}"):
            make_node(SvdfTime(), good.inputs, good.out, SvdfTimeAttrs(rank))


def test_weights_at_run_time_are_refused() -> None:
    memory, time = of_memory(1, 5, 4, 2), of_time(1, 5, 2, 4)
    w = activation("w", (4, 5))
    assert "constants" in (
        SvdfMemory().unsupported(make_node(SvdfMemory(), (*memory.inputs[:2], w), memory.out, Attrs())) or ""
    )
    w = activation("w", (10, 4), dtype=DType.INT16)
    inputs = (time.inputs[0], w, time.inputs[2])
    assert "constants" in (SvdfTime().unsupported(make_node(SvdfTime(), inputs, time.out, time.attrs)) or "")
