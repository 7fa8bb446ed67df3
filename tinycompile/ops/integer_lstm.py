"""integer_lstm: LiteRT's LSTM of int8 activations and int16 cells over a sequence, [1,T,N,I] -> int16 [1,T,N,2H].

A row of the output is one time step: for each sample the outputs, quantised to int8 and widened, then the cells.
Inputs: the int8 sequence; constants w [G*H,I], r [G*H,H] (int8, zero points 0) and bias [G*H] (int32) of the gates
input, forget, cell and output, of which a coupled LSTM lacks the first; what precedes the first step, int16 [1,N*2H].
LiteRT ``LstmStepInteger`` (lstm_eval.cc), without peepholes, projection and layer normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinycompile.errors import ShapeError
from tinycompile.ir.graph import Array, Attrs, Node
from tinycompile.ir.quant import multiply_by_quantized_multiplier, quantize_multiplier, rounding_divide_by_pot
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import OWN_OUTPUT, ConstArray, KernelCall, Need, Operator, RowWindow, whole
from tinycompile.ops.convolution import tensor_quant
from tinycompile.ops.fixed_point import I64, logistic16, one, tanh16

ONE = one(16)
GATE_SCALE = np.float32(2.0**-12)
CELL_EXPONENTS = range(-15, -8)  # of the power of two that is the scale of the cells


@dataclass(frozen=True)
class IntegerLstmAttrs(Attrs):
    """`state`: scale and zero point of the outputs as the next step reads them; `hidden`: those with which they are
    made. `cell_exponent`: the cells' scale is 2 to its power; `cell_clip`: bound of the cells, 0 for none. `coupled`:
    the input gate is what the forget gate leaves."""

    state: tuple[float, int] = (1.0, 0)
    hidden: tuple[float, int] = (1.0, 0)
    cell_exponent: int = -15
    cell_clip: int = 0
    coupled: bool = False


def _saturated(x: I64) -> I64:
    return np.clip(x, -32768, ONE)


class IntegerLstm(Operator):
    kind = "integer_lstm"
    attrs_class = IntegerLstmAttrs
    scale_free = True  # outputs and cells, in one row, have no scale in common

    def infer(self, node: Node) -> tuple[tuple[int, ...], DType]:
        x, w, r, bias, state = (node.tensor(k) for k in range(5))
        hidden, rows = r.shape[-1], self._gates(node) * r.shape[-1]
        fits = len(x.shape) == 4 and x.shape[0] == 1 and w.shape == (rows, x.shape[3]) and r.shape == (rows, hidden)
        if not fits or bias.shape != (rows,) or state.shape != (1, x.shape[2] * 2 * hidden):
            raise ShapeError(
                f"an LSTM over {list(x.shape)} with weights {list(w.shape)} and {list(r.shape)}",
                str(node.op.source),
                "check the shapes of this node's inputs in the exported model",
            )
        return (*x.shape[:3], 2 * hidden), DType.INT16

    def _gates(self, node: Node) -> int:
        return 3 if node.attrs.coupled else 4

    def unsupported(self, node: Node) -> str | None:
        if any(not node.tensor(k).is_const for k in (1, 2, 3)):
            return "recurrent weights computed at run time: only constant ones have kernels"
        types = [node.tensor(k).dtype for k in range(5)]
        if types != [DType.INT8, DType.INT8, DType.INT8, DType.INT32, DType.INT16]:
            return f"an integer LSTM of types {', '.join(t.value for t in types)}"
        return None

    def in_region(self, node: Node, out: Region) -> tuple[Need | None, ...]:
        state = node.tensor(4)
        return (Need(out), None, None, None, None if state.is_const else Need(whole(state)))

    def carries(self, node: Node) -> bool:
        return True

    def compute(self, node: Node, out: Region, inputs: Sequence[Array | None]) -> Array:
        state = node.const(4) if inputs[4] is None else inputs[4]
        return self._run(node, inputs[0], state.reshape(node.out.form.width, -1)[out.x0 : out.x1])

    def advance(self, node: Node, out: Region, inputs: Sequence[Array | None], previous: Array) -> Array:
        return self._run(node, inputs[0], previous[0])

    def _multipliers(self, node: Node) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Of the sums by the input and of those by the state, one for each gate; products in float32, as LiteRT's."""
        hidden = node.tensor(2).shape[1]
        scales = (tensor_quant(node, node.tensor(0))[0], node.attrs.state[0])
        found = []
        for k, scale in zip((1, 2), scales, strict=True):
            quant = node.tensor(k).quant
            assert quant is not None  # verify_graph: weights of int8 have scales
            gates = quant.channels(node.tensor(k).shape[0])[0][::hidden]
            reals = [np.float32(s) * np.float32(scale) / GATE_SCALE for s in gates]
            found.append([quantize_multiplier(float(v)) for v in reals])
        return found[0], found[1]

    def _biases(self, node: Node) -> tuple[I64, I64]:
        """Of the sums by the input and by the state: less the zero points times the sums of the weights."""
        w, r, bias = (node.const(k).astype(np.int64) for k in (1, 2, 3))
        return bias - tensor_quant(node, node.tensor(0))[1] * w.sum(axis=1), -node.attrs.state[1] * r.sum(axis=1)

    def _hidden(self, node: Node) -> tuple[int, int]:
        return quantize_multiplier(float(np.float32(2.0**-15 / node.attrs.hidden[0] * 2.0**-15)))

    def _run(self, node: Node, x: Array | None, state: Array) -> NDArray[np.int16]:
        assert x is not None
        a, hidden = node.attrs, node.tensor(2).shape[1]
        weights, biases, multipliers = (node.const(1), node.const(2)), self._biases(node), self._multipliers(node)
        rows = []
        outputs, cells = np.split(state.astype(np.int64), 2, axis=1)
        for step in x.astype(np.int64):
            gates: list[I64] = [np.zeros_like(cells)] * self._gates(node)
            for values, w, bias, pairs in zip((step, outputs), weights, biases, multipliers, strict=True):
                sums = (values @ w.T.astype(np.int64) + bias).astype(np.int32)
                for g, pair in enumerate(pairs):
                    part = multiply_by_quantized_multiplier(sums[:, g * hidden : (g + 1) * hidden], *pair)
                    gates[g] = _saturated(part + gates[g])
            forget, fresh, shown = logistic16(gates[-3]), tanh16(gates[-2], 3), logistic16(gates[-1])
            entered = ONE - forget if a.coupled else logistic16(gates[0])
            cells = rounding_divide_by_pot(forget * cells, 15)
            cells = _saturated(cells + rounding_divide_by_pot(entered * fresh, 30 + a.cell_exponent))
            if a.cell_clip:
                cells = np.clip(cells, -a.cell_clip, a.cell_clip)
            product = shown * tanh16(cells, 15 + a.cell_exponent)
            made = multiply_by_quantized_multiplier(product, *self._hidden(node)) + a.hidden[1]
            outputs = np.clip(made, -128, 127)
            rows.append(np.concatenate([outputs, cells], axis=1))
        return np.stack(rows).astype(np.int16)

    def scratch_bytes(self, node: Node) -> int:
        return 2 * node.tensor(1).shape[0]

    def macs(self, node: Node) -> int:
        steps = node.tensor(0).shape[1] * node.tensor(0).shape[2]
        return steps * (node.tensor(1).elems + node.tensor(2).elems)

    def calls(self, node: Node, out: Region, variant: str = "generic") -> tuple[KernelCall, ...]:
        a, x, state = node.attrs, node.tensor(0), node.tensor(4)
        windows = [RowWindow(0), RowWindow(OWN_OUTPUT, stride=1, pad=1)]
        pairs = [pair for each in self._multipliers(node) for pair in each]
        arrays = [
            ConstArray("w", node.const(1)),
            ConstArray("r", node.const(2)),
            ConstArray("bias", np.concatenate(self._biases(node)).astype(np.int32)),
            ConstArray("multiplier", np.array([m for m, _ in pairs], dtype=np.int32)),
            ConstArray("shift", np.array([s for _, s in pairs], dtype=np.int8)),
        ]
        if state.is_const:
            given = "state"
            arrays.append(ConstArray(given, node.const(4)))
        else:
            given = f"in{len(windows)}"
            windows.append(RowWindow(4, stride=0))
        multiplier, shift = self._hidden(node)
        consts = (
            ("batch", x.shape[2]),
            ("inputs", x.shape[3]),
            ("hidden", node.tensor(2).shape[1]),
            ("coupled", int(a.coupled)),
            ("cell_exponent", a.cell_exponent),
            ("cell_clip", a.cell_clip or ONE + 1),
            ("out_multiplier", multiplier),
            ("out_shift", shift),
            ("out_zero_point", a.hidden[1]),
        )
        names = ("in0", "in1", given, "w", "r", "bias", "multiplier", "shift")
        return (
            KernelCall(
                "tc_integer_lstm_s8",
                tuple(windows),
                tuple(arrays),
                consts,
                self.scratch_bytes(node),
                arguments=tuple((name, 0) for name in names),
            ),
        )
