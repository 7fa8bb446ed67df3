"""The stage in tiles that a person asks for: a grid, and where the stage ends."""

from __future__ import annotations

import difflib

from tinycompile.errors import UsageError, one_line
from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.passes.tile_stage import Stage, stage_ops, tile_stage
from tinycompile.planning.goal import Patches
from tinycompile.planning.recompute import Recompute, rewrite
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.stages import staged_order
from tinycompile.schedule.storage import analyse_storage


def pinned(
    graph: Graph, patches: Patches, input_mode: InputMode, output_mode: OutputMode = OutputMode.RESIDENT
) -> Recompute:
    """The recompute that `patches` asks for. UsageError when no stage from the network input can be cut so, or none
    ends there."""
    if input_mode is InputMode.STREAMED:
        raise UsageError(
            "rows that are pushed once cannot be read again for every patch",
            "--patches",
            "use --input resident or --input external",
        )
    ends = [op.outputs[0] for op in graph.ops if _fits(graph, op.outputs[0], patches)]
    if patches.stage_end is not None:
        ends = [e for e in ends if e in _named(graph, patches.stage_end)]
        if not ends:
            raise UsageError(_no_stage(graph, patches), "--stage-end", _stage_ends(graph, patches))
    if not ends:
        raise UsageError(
            f"no stage from the network input has {patches.rows} rows and {patches.columns} columns to cut",
            "--patches",
            "use fewer patches",
        )
    stages = [Recompute(stages=(Stage(graph.inputs, e, patches.rows, patches.columns),)) for e in ends]
    return min(stages, key=lambda how: _peak_bytes(graph, how, input_mode, output_mode))


def _fits(graph: Graph, end: str, patches: Patches) -> bool:
    """Whether the operators up to `end` can be cut into the grid."""
    if patches.rows * patches.columns == 1 or stage_ops(graph, graph.inputs, end) is None:
        return False
    return tile_stage(graph, Stage(graph.inputs, end, patches.rows, patches.columns)) is not None


def _peak_bytes(graph: Graph, how: Recompute, input_mode: InputMode, output_mode: OutputMode) -> int:
    again = rewrite(graph, how)
    apart = frozenset() if input_mode is InputMode.RESIDENT else frozenset(graph.inputs)
    model = build_row_model(again.graph, analyse_storage(again.graph, apart), input_mode, output_mode=output_mode)
    made_by = {model.values[m.value].tensor: k for k, m in enumerate(model.makers)}
    return staged_order(model, tuple(made_by[name] for name in again.stops if name in made_by)).peak_bytes


def _named(graph: Graph, name: str) -> set[str]:
    """Tensors that a person may mean: by their own name or by that of the node that makes them."""
    return {op.outputs[0] for op in graph.ops if name in (op.outputs[0], op.name, op.source.node)}


def _no_stage(graph: Graph, patches: Patches) -> str:
    assert patches.stage_end is not None
    if not _named(graph, patches.stage_end):
        return f"no node or tensor '{one_line(patches.stage_end, 80)}'"
    grid = f"{patches.rows}x{patches.columns}"
    return f"the operators up to '{one_line(patches.stage_end, 80)}' cannot be cut into {grid} patches"


def _stage_ends(graph: Graph, patches: Patches) -> str:
    names = [op.source.node for op in graph.ops if _fits(graph, op.outputs[0], patches)]
    close = difflib.get_close_matches(patches.stage_end or "", names, 3)
    some = ", ".join(f"'{one_line(n, 60)}'" for n in (close or names[:8]))
    return f"a stage may end at: {some}" if names else "use fewer patches"
