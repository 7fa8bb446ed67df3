"""crop: a rectangle of a map, as a view."""

from __future__ import annotations

import numpy as np
import pytest
from operator_cases import Case, activation, make_node

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Node
from tinycompile.ir.types import Region
from tinycompile.ops.crop import Crop, CropAttrs

REGIONS = (Region(0, 5, 1, 3), Region(2, 4, 0, 6), Region(4, 5, 5, 6), Region(0, 5, 0, 6))


def crop(region: Region) -> Node:
    return make_node(Crop(), (activation("x", (1, 5, 6, 3)),), activation("y", ()), CropAttrs(region))


def cases() -> list[Case]:
    return [Case(f"crop_{k}", Crop(), crop(region)) for k, region in enumerate(REGIONS)]


@pytest.mark.parametrize("region", REGIONS)
def test_it_is_the_rectangle(region: Region) -> None:
    node = crop(region)
    (x,) = Case("crop", Crop(), node).inputs(4)
    assert x is not None
    want = x[:, region.y0 : region.y1, region.x0 : region.x1]
    assert np.array_equal(Crop().reference(node, [x]), want)
    assert Crop().rectangle(node) == region


@pytest.mark.parametrize("region", [Region(0, 6, 0, 1), Region(-1, 2, 0, 1), Region(2, 2, 0, 1), Region(0, 1, 3, 7)])
def test_rectangles_outside_the_map_are_refused(region: Region) -> None:
    with pytest.raises(ShapeError):
        crop(region)
