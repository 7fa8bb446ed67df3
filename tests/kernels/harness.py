"""Runs the C kernels of any operator on the host, called as generated code calls them, under ASan and UBSan.

Every input row, output row and scratch area is its own heap block of exactly the declared size, at an address that is
aligned to its element type only, so that any access outside is caught. Rows in the padding are NULL, and so are output
rows beyond the region; rows of the input that `in_region` leaves out are pointers to no byte at all. An operator that
carries gets the row that its kernels made before: its own block, or the one place of all rows. Many runs share one
compilation.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tinycompile.codegen.literals import element_literals
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import OWN_OUTPUT, Grain, KernelCall, Operator, RowWindow, whole

WARNINGS = (
    "-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual -Wvla -Werror"
).split()
INCLUDE = Path(__file__).parents[2] / "runtime_c" / "include"


@dataclass(frozen=True, eq=False)
class Run:
    """One operator over one region of its output.

    `values` are whole inputs in their own shapes (None for constants). `in_place` shares each output row's bytes with
    the row of that input, which starts `shift` elements after it. `merged` passes all rows in one call (grain FLAT).
    `one_place` makes each output row, of an operator that carries, over the one before. `over_window` makes each over a
    row of input 0 that it is made from, another one for each. An operator that keeps scratch has one block of it for
    all rows, the region is the whole output, and rows that `step_region` leaves out are pointers to no byte.
    """

    operator: Operator
    node: Node
    values: tuple[Array | None, ...]
    region: Region | None = None
    in_place: int | None = None
    shift: int = 0
    merged: bool = False
    variant: str = "generic"
    one_place: bool = False
    over_window: bool = False

    @property
    def out_region(self) -> Region:
        return self.region or whole(self.node.out)


PRELUDE = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *block(size_t bytes, size_t skew, const uint8_t *data, size_t data_at, size_t data_bytes)
{
    uint8_t *const p = (uint8_t *)malloc(bytes + skew) + skew;
    memset(p, 0xA5, bytes);
    if (data_bytes > 0) {
        memcpy(p + data_at, data, data_bytes);
    }
    return p;
}
"""


def _literal(value: int) -> str:
    if value == -(2**31):
        return "(-2147483647 - 1)"
    return f"{value}u" if value > 2**31 - 1 else str(value)


def _bytes_array(name: str, data: Array) -> str:
    body = ",".join(str(b) for b in np.ascontiguousarray(data).tobytes()) or "0"
    return f"static const uint8_t {name}[] = {{{body}}};\n"


def _typed_array(name: str, data: Array) -> str:
    dtype = DType(data.dtype.name)
    body = ",".join(element_literals(data))
    return f"static const {dtype.c_type} {name}[] = {{{body}}};\n"


class _Writer:
    """The C text of one run, `tag` making its names unique."""

    def __init__(self, run: Run, tag: str, instances: dict[tuple[str, ...], str]) -> None:
        self.run, self.tag, self.node, self.region = run, tag, run.node, run.out_region
        self.instances = instances
        self.functions: list[str] = []
        self.grain = run.operator.grain(run.node)
        self.needs = run.operator.in_region(run.node, self.region)
        self.data: list[str] = []
        self.body: list[str] = []
        self.rows: dict[int, dict[int, str]] = {}
        self.overlaid: dict[int, str] = {}
        self.keeps = run.operator.keeps(run.node)

    def input_form(self, index: int) -> Array:
        form, value = self.node.tensor(index).form, self.run.values[index]
        assert value is not None
        return value.reshape(form.rows, form.width, form.channels)

    def tensor(self, window: RowWindow) -> Tensor:
        return self.node.out if window.index == OWN_OUTPUT else self.node.tensor(window.index)

    def add_inputs(self) -> None:
        """Blocks for the input rows that the region needs: one per row, or one for all where a call wants them so."""
        for index in self.node.activations:
            self.rows[index] = {}
            need = self.needs[index]
            if need is None or index == self.run.in_place:
                continue
            part = self.input_form(index)[:, need.region.x0 : need.region.x1]
            together = self.run.merged or self.grain is Grain.WHOLE
            rows = range(need.region.y0, need.region.y1)
            groups = [list(rows)] if together else [[r] for r in rows]
            size = part.dtype.itemsize
            for group in groups:
                name = f"{self.tag}_in{index}_{group[0]}" if group else f"{self.tag}_in{index}_none"
                values = part[group[0] : group[-1] + 1] if group else part[:0]
                self.data.append(_bytes_array(f"{name}_data", values))
                self.body.append(
                    f"uint8_t *const {name} = block({values.nbytes}, {size}, {name}_data, 0, {values.nbytes});"
                    f" (void){name};"
                )
                for k, row in enumerate(group):
                    self.rows[index][row] = f"({name} + {k * part[0].nbytes})"

    def add_carried_row(self) -> None:
        """The output row above the region, by the reference, as the kernels' row before the first one."""
        self.rows[OWN_OUTPUT] = {}
        y, out = self.region.y0 - 1, self.node.out
        if y < 0 or not self.run.operator.carries(self.node):
            return
        made = self.run.operator.reference(self.node, self.run.values)
        row = made.reshape(out.form.rows, out.form.width, -1)[y, self.region.x0 : self.region.x1]
        name = self.rows[OWN_OUTPUT][y] = f"{self.tag}_carried"
        size = out.dtype.itemsize
        self.data.append(_bytes_array(f"{name}_data", row))
        self.body.append(
            f"uint8_t *const {name} = block({row.nbytes}, {size}, {name}_data, 0, {row.nbytes}); (void){name};"
        )

    def add_output(self, region: Region, out_bytes: int) -> tuple[str, str | None]:
        """The block that one call writes `region` to, and the C expression of the input that shares it."""
        name, size, y = f"out{region.y0}", self.node.out.dtype.itemsize, region.y0
        if self.run.one_place and y - 1 in self.rows[OWN_OUTPUT]:
            return self.rows[OWN_OUTPUT][y - 1], None
        if self.run.over_window:
            return self.over_window(name, region, out_bytes), None
        if self.run.in_place is None:
            self.body.append(f"uint8_t *const {name} = block({out_bytes}, {size}, NULL, 0, 0);")
            return name, None
        need = self.run.operator.in_region(self.node, region)[self.run.in_place]
        assert need is not None
        r = need.region
        values = self.input_form(self.run.in_place)[r.y0 : r.y1, r.x0 : r.x1]
        at = self.run.shift * values.dtype.itemsize
        total = max(out_bytes, at + values.nbytes)
        self.data.append(_bytes_array(f"{self.tag}_shared{y}", values))
        self.body.append(
            f"uint8_t *const {name} = block({total}, {max(size, values.dtype.itemsize)}, {self.tag}_shared{y},"
            f" {at}, {values.nbytes});"
        )
        return name, f"({name} + {at})"

    def over_window(self, name: str, region: Region, out_bytes: int) -> str:
        """A block that holds one of the rows that the call reads, for its output: of several rows the one of its number
        in the call."""
        each, size = self.run.operator.step_rows(self.node), self.node.out.dtype.itemsize
        y = region.y0 - (region.y0 - self.region.y0) % each
        need = self.run.operator.step_region(self.node, y)[0]
        assert need is not None
        r = need.region
        row = r.y0 + (region.y0 - y if each > 1 else region.y0 % max(r.rows, 1))
        if row >= r.y1:
            self.body.append(f"uint8_t *const {name} = block({out_bytes}, {size}, NULL, 0, 0);")
            return name
        values = self.input_form(0)[row, r.x0 : r.x1]
        self.data.append(_bytes_array(f"{self.tag}_eaten{region.y0}", values))
        self.body.append(
            f"uint8_t *const {name} = block({max(out_bytes, values.nbytes)}, {size}, {self.tag}_eaten{region.y0}, 0,"
            f" {values.nbytes});"
        )
        self.overlaid[row] = name
        return name

    def row(self, window: RowWindow, row: int, shared: str | None, y: int = 0) -> str:
        """C expression of the pointer to a row of an input, or of the output as made before."""
        tensor = self.tensor(window)
        if window.index == self.run.in_place:
            assert shared is not None
            return shared
        if not 0 <= row < tensor.form.rows:
            return "NULL"
        if self.keeps:
            need = self.run.operator.step_region(self.node, y)[window.index]
            if need is None or not need.region.y0 <= row < need.region.y1:
                return "nothing"
        if row in self.overlaid:
            return self.overlaid[row]
        return self.rows[window.index].get(row, "nothing")

    def add_call(self, call: KernelCall, number: int, outs: list[str], y: int, shared: str | None) -> None:
        """One kernel call with its row pointers, through a function that holds the kernel's constants."""
        c_type = call.element or self.node.out.dtype.c_type
        made = [f"({c_type} *)(void *){out}" for out in outs]
        setup = []
        if call.out_rows is None:
            args = made
        else:
            made += ["NULL"] * (call.out_rows - len(made))
            setup.append(f"{c_type} *made[{call.out_rows}] = {{{', '.join(made)}}};")
            args = ["made"]
        for k, window in enumerate(call.inputs):
            c_type = call.element or self.tensor(window).dtype.c_type
            if window.whole:
                args.append(f"(const {c_type} *)(const void *){self.row(window, 0, shared)}")
                continue
            first = window.table[y] if window.table is not None else y * window.stride - window.pad
            pointers = [self.row(window, first + window.dilation * j, shared, y) for j in range(window.count)]
            casts = [f"(const {c_type} *)(const void *){p}" for p in pointers]
            if window.array:
                setup.append(f"const {c_type} *rows{k}[{window.count}] = {{{', '.join(casts)}}};")
                args.append(f"rows{k}")
            else:
                args.append(casts[0])
        args += [str(y)] if call.row_index else []
        args += ["scratch"] if call.scratch_bytes else []
        if call.scratch_bytes and not self.keeps:
            setup.append(f"uint8_t *const scratch = block({call.scratch_bytes}, 0, NULL, 0, 0);")
        self.body.append(f"{{ {' '.join(setup)} {self.functions[number]}({', '.join(args)}); }}")

    def add_instance(self, call: KernelCall) -> None:
        """The function that gives a kernel its constants and arrays, as generated code has it; equal ones share."""
        pointer = "*out" if call.out_rows is None else "*const *out"
        params = [f"{call.element or self.node.out.dtype.c_type} {pointer}"]
        args = ["out"]
        for k, window in enumerate(call.inputs):
            c_type = call.element or self.tensor(window).dtype.c_type
            params.append(f"const {c_type} *{'const *' if window.array else ''}in{k}")
            args.append(f"in{k}")
        if call.row_index:
            params.append("int32_t y")
            args.append("y")
        if call.scratch_bytes:
            params.append("uint8_t *scratch")
            args.append("scratch")
        if call.stack_bytes:
            args.append("stack")
        arrays = [_typed_array("{name}", a.data) for a in call.arrays]
        constants = [_literal(value) for _, value in call.consts]
        key = (call.kernel, *params, *arrays, *constants, str(call.arguments))
        if key not in self.instances:
            name = self.instances[key] = f"call{len(self.instances)}"
            names = [f"{name}_{a.param}" for a in call.arrays]
            self.data += [text.replace("{name}", n) for text, n in zip(arrays, names, strict=True)]
            own = dict(zip((a.param for a in call.arrays), names, strict=True))
            if call.arguments is not None:
                renamed = tuple((own.get(n, n), pitch) for n, pitch in call.arguments)
                call = replace(call, arguments=renamed)
            local = f"int8_t stack[{call.stack_bytes}];\n    " if call.stack_bytes else ""
            body = f"{local}{call.kernel}({', '.join([*call.ordered([*args, *names]), *constants])});"
            self.data.append(f"static void {name}({', '.join(params)})\n{{\n    {body}\n}}\n")
        self.functions.append(self.instances[key])

    def write(self) -> tuple[str, set[str]]:
        """The C functions of the run and the headers they include."""
        region, out = self.region, self.node.out
        size = out.dtype.itemsize
        one_call = self.run.merged or self.grain is Grain.WHOLE
        call_region = region if one_call else Region(region.y0, region.y0 + 1, region.x0, region.x1)
        calls = self.run.operator.calls(self.node, call_region, self.run.variant)
        assert calls, "no kernel call: a view has no kernel"
        limit = self.run.operator.scratch_bytes(self.node)
        assert max(c.scratch_bytes for c in calls) <= limit, "a call wants more scratch than the operator declares"
        self.add_inputs()
        self.add_carried_row()
        for call in calls:
            self.add_instance(call)
        self.body.append("uint8_t *const nothing = (uint8_t *)malloc(1) + 1; (void)nothing;")
        if self.keeps:
            assert region == whole(out)
            self.body.append(f"uint8_t *const scratch = block({limit}, 0, NULL, 0, 0);")
        writes = []
        each = region.rows if one_call else self.run.operator.step_rows(self.node)
        for y in range(region.y0, region.y1, each):
            self.overlaid, names, shared = {}, [], None
            for top in (y,) if one_call else range(y, min(y + each, region.y1)):
                row = Region(top, top + (each if one_call else 1), region.x0, region.x1)
                out_bytes = row.rows * row.cols * out.form.channels * size
                name, shared = self.add_output(row, out_bytes)
                names.append(name)
                self.rows[OWN_OUTPUT][top] = name
                writes.append(f"fwrite({name}, 1, {out_bytes}, stdout);")
            for number, call in enumerate(calls):
                self.add_call(call, number, names, y, shared)
            if self.run.one_place:
                self.body.append(writes.pop())
        self.body += writes  # at the end: a call that writes into a row made before is noticed
        text = "".join(self.data) + f"static void {self.tag}(void)\n{{\n    " + "\n    ".join(self.body) + "\n}\n\n"
        return text, {c.header for c in calls}


def c_source(runs: Sequence[Run]) -> str:
    """A C program that makes every run and writes their outputs to stdout one after the other."""
    parts: list[str] = []
    headers: set[str] = set()
    instances: dict[tuple[str, ...], str] = {}
    for k, run in enumerate(runs):
        text, needed = _Writer(run, f"run{k}", instances).write()
        parts.append(text)
        headers |= needed
    includes = "".join(f'#include "{h}"\n' for h in sorted(headers))
    calls = "".join(f"    run{k}();\n" for k in range(len(runs)))
    return f"{PRELUDE}{includes}\n{''.join(parts)}int main(void)\n{{\n{calls}    return 0;\n}}\n"


def run_kernels(runs: Sequence[Run], folder: Path, cc: str = "gcc") -> list[Array]:
    """The C outputs, each (rows, cols, channels). AssertionError with the tool's words when the C fails."""
    source, program = folder / "kernels.c", folder / "kernels"
    source.write_text(c_source(runs), encoding="utf-8")
    flags = [*WARNINGS, "-Wcast-align=strict" if cc == "gcc" else "-Wcast-align", "-O1", "-g"]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [cc, *flags, *sanitize, "-I", str(INCLUDE), "-o", str(program), str(source), "-lm"]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr[:4000]
    done = subprocess.run(
        [str(program)], capture_output=True, check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:4000]
    return outputs_of(runs, done.stdout)


def outputs_of(runs: Sequence[Run], written: bytes) -> list[Array]:
    """What a program of `c_source` wrote, as an array (rows, cols, channels) per run."""
    outputs, at = [], 0
    for run in runs:
        region, out = run.out_region, run.node.out
        count = region.rows * region.cols * out.form.channels
        array = np.frombuffer(written, dtype=out.dtype.numpy, count=count, offset=at)
        outputs.append(array.reshape(region.rows, region.cols, out.form.channels))
        at += array.nbytes
    assert at == len(written), f"{len(written)} bytes of output, expected {at}"
    return outputs
