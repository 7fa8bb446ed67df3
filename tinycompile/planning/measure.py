"""What the choices on a path through a network really need: the order that they stand for, over the rows of the network
that computes twice what they say."""

from __future__ import annotations

from collections.abc import Sequence

from tinycompile.ir.graph import Graph
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.planning.choices import Choice, Half
from tinycompile.planning.recompute import Recompute, rewrite
from tinycompile.schedule.row_model import build_row_model
from tinycompile.schedule.stages import phase_peaks
from tinycompile.schedule.storage import analyse_storage


def measured_peaks(
    graph: Graph, how: Recompute, path: Sequence[Choice], input_mode: InputMode, output_mode: OutputMode
) -> list[int]:
    """Peak of live bytes of each choice of a path that leads from the input to the last cut. `how`: all that they
    compute twice."""
    apart = frozenset() if input_mode is InputMode.RESIDENT else frozenset(graph.inputs)
    again = rewrite(graph, how)
    storage = analyse_storage(again.graph, apart)
    model = build_row_model(again.graph, storage, input_mode, output_mode=output_mode)
    made_by = {m.value: k for k, m in enumerate(model.makers)}
    stops = list(again.stops)
    phases: list[list[int]] = []
    for choice in path:
        if isinstance(choice.end, Half):
            names = [stops.pop(0) for _ in range(choice.end.stage.columns - 1)]
        else:
            names = [choice.end or ""]
        targets = [made_by[p.value] for name in names for p in storage.parts[name]]
        if not isinstance(choice.end, Half):  # and what leads elsewhere is made behind a cut's own rows
            last = len(model.makers) - 1 if choice is path[-1] else max(targets)
            targets += range(last + 1)
        phases.append(list(dict.fromkeys(targets)))
    return phase_peaks(model, phases)
