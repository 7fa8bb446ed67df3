"""Where several float operators of a network are a function of one value: int8 makes a table of them together.

Only what the last of them makes is stored then. `passes.function_tables` finds the same again in the file.
"""

from __future__ import annotations

from collections.abc import Collection

from tinycompile.ir.graph import Graph, Op
from tinycompile.ir.types import DType
from tinycompile.passes.function_tables import is_uniform
from tinycompile.passes.lower_floats import float_functions


class Functions:
    """`of`: the output of an operator that is part of a function of one value -> the tensor of that value. `inner`:
    those that only further parts of the same function read. Operators whose outputs are in `floats` are none.
    """

    def __init__(self, graph: Graph, floats: Collection[str]) -> None:
        self._graph, self._floats = graph, floats
        self._producers, self._consumers = graph.producers(), graph.consumers()
        stored: set[str] = set()
        while True:  # of what is stored, readers are functions anew, and so may be functions of several values
            self.of = self._origins(stored)
            self.inner = {name for name in self.of if name not in stored and self._read_within(name)}
            more = stored | (self.of.keys() - self.inner)
            if more == stored:
                break
            stored = more

    def _origins(self, stored: Collection[str]) -> dict[str, str]:
        result: dict[str, str] = {}
        for node in self._graph.nodes():
            tensors = [t for t in node.inputs if t is not None and not is_uniform(t)]
            one_place = all(t.shape == node.out.shape and t.dtype == DType.FLOAT32 for t in (*tensors, node.out))
            if not one_place or not float_functions(node.op) or node.out.name in self._floats:
                continue
            origins = {t.name if t.name in stored else result.get(t.name, t.name) for t in tensors}
            if len(origins) == 1 and not any(t.is_const for t in tensors):
                (result[node.out.name],) = origins
        return result

    def _read_within(self, name: str) -> bool:
        readers = self._consumers[name]
        same = all(self.of.get(op.outputs[0]) == self.of[name] for op in readers)
        return bool(readers) and same and name not in self._graph.outputs

    def together(self, op: Op) -> set[str]:
        """The outputs of the operators that compute one table with `op`: it alone where it is no such part."""
        found, waiting = {op.outputs[0]}, [op]
        while waiting:
            at = waiting.pop()
            parts = [self._producers[i] for i in at.inputs if i in self.inner]
            if at.outputs[0] in self.inner:
                parts += self._consumers[at.outputs[0]]
            new = [p for p in parts if p.outputs[0] not in found]
            found.update(p.outputs[0] for p in new)
            waiting += new
        return found
