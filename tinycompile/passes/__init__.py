"""Lowering: one pure function ``Graph -> Graph`` per file, run in the order of `PASSES`."""

from __future__ import annotations

from collections.abc import Callable

from tinycompile.ir.graph import Graph
from tinycompile.passes.drop_dead import drop_dead
from tinycompile.passes.fold_activation import fold_activation
from tinycompile.passes.fold_batch_norm import fold_batch_norm
from tinycompile.passes.fold_bias import fold_bias
from tinycompile.passes.fold_constants import fold_constants
from tinycompile.passes.fold_dequantize import fold_dequantize
from tinycompile.passes.fold_flatten import fold_flatten
from tinycompile.passes.fold_pad import fold_pad
from tinycompile.passes.fold_reshape import fold_reshape
from tinycompile.passes.fuse_qdq import fuse_qdq
from tinycompile.passes.layout import layout
from tinycompile.passes.lower_float_reductions import lower_float_reductions
from tinycompile.passes.lower_floats import lower_floats
from tinycompile.passes.move_integers import move_integers
from tinycompile.passes.pool_means import pool_means
from tinycompile.passes.split_dequantize import split_dequantize
from tinycompile.passes.uint8_to_int8 import uint8_to_int8

PASSES: tuple[tuple[str, Callable[[Graph], Graph]], ...] = (
    ("split_dequantize", split_dequantize),
    ("fold_constants", fold_constants),
    ("uint8_to_int8", uint8_to_int8),
    ("layout", layout),
    ("fold_batch_norm", fold_batch_norm),
    ("fold_bias", fold_bias),
    ("move_integers", move_integers),
    ("fuse_qdq", fuse_qdq),
    ("fold_dequantize", fold_dequantize),
    ("layout_integers", layout),
    ("move_integers_edges", move_integers),
    ("fold_activation", fold_activation),
    ("fold_pad", fold_pad),
    ("fold_flatten", fold_flatten),
    ("fold_reshape", fold_reshape),
    ("pool_means", pool_means),
    ("lower_float_reductions", lower_float_reductions),
    ("lower_floats", lower_floats),
    ("drop_dead", drop_dead),
)
