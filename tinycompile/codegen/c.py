"""Plan -> C99 source, as data for the templates in ``templates/c``.

No decisions here: order, addresses, variants and merging are in the plan; kernels, arrays and constants are what the
operator modules declare. This module turns them into instances (one C function per kernel and set of constants, shared
by equal shapes), weight arrays (shared by equal contents) and steps (loops over rows that collect row pointers). A row
program has one function per operator and a table of whose turn it is.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np

from tinycompile.codegen.context import (
    CallText,
    Instance,
    PopText,
    ProgramText,
    RowPointer,
    StepText,
    WeightArray,
)
from tinycompile.codegen.literals import array_body, comment_text, int_literal, shape_text
from tinycompile.codegen.ports import given_ports, port_text, state_ports
from tinycompile.codegen.row_program import row_program
from tinycompile.errors import InternalError
from tinycompile.ir.emission import Emission
from tinycompile.ir.graph import Array, Node, Tensor
from tinycompile.ir.interface import InputMode, OutputMode
from tinycompile.ir.plan import Placement, Plan, Step
from tinycompile.ir.types import DType, Region
from tinycompile.ops.base import OWN_OUTPUT, Grain, KernelCall, RowWindow, window_tensor
from tinycompile.ops.extensions import header_path
from tinycompile.ops.registry import operator
from tinycompile.resources import data_dir


@dataclass
class _Module:
    """What the steps need, collected while they are written."""

    prefix: str
    weights: dict[tuple[str, bytes], WeightArray] = field(default_factory=dict)
    instances: dict[tuple[object, ...], Instance] = field(default_factory=dict)
    tables: dict[tuple[int, ...], str] = field(default_factory=dict)
    headers: set[str] = field(default_factory=set)
    schedule: set[str] = field(default_factory=set)
    """Names of the arrays that hold the order of rows and their addresses."""

    def weight(self, data: Array, comment: str, packed_elems: int | None = None) -> str:
        data = np.ascontiguousarray(data)
        c_type = DType(data.dtype.name).c_type
        key = (c_type, hashlib.sha256(data.tobytes()).digest())
        if key not in self.weights:
            name = f"{self.prefix}_data_{len(self.weights)}"
            saved_bytes = 0 if packed_elems is None else packed_elems - data.nbytes
            self.weights[key] = WeightArray(
                name, c_type, data.size, data.nbytes, array_body(data), comment, saved_bytes
            )
        return self.weights[key].name

    def table(self, values: tuple[int, ...]) -> str:
        """A flash table of row numbers or arena offsets."""
        if values not in self.tables:
            dtype = np.uint16 if max(values) < 2**16 else np.uint32
            self.tables[values] = self.weight(np.array(values, dtype=dtype), "row table")
            self.schedule.add(self.tables[values])
        return self.tables[values]


def _pointer(c_type: str, itemsize: int, expr: str, const: bool) -> str:
    """`expr` (a byte pointer) as a pointer to `c_type`; through void where the alignment grows."""
    qualifier = "const " if const else ""
    through = f"({qualifier}void *)" if itemsize > 1 else ""
    return f"({qualifier}{c_type} *){through}({expr})"


def _row_address(module: _Module, plan: Plan, tensor: str, row: str) -> str:
    """Byte address of row `row` (a C expression or number) of a tensor, in the arena ``a`` or the caller's ``x<k>``."""
    return _address(module, plan.placements[tensor], row)


def _address(module: _Module, placement: Placement, row: str) -> str:
    memory = "a" if placement.external is None else f"x{placement.external}"
    affine = placement.affine
    if affine is None:
        return f"{memory} + {module.table(placement.offsets)}[{row}]"
    base, stride = affine
    if re.fullmatch(r"\d+", row):
        return f"{memory} + {base + stride * int(row)}"
    if stride == 0:
        return f"{memory} + {base}"
    return f"{memory} + {base} + {stride} * {row}" if base else f"{memory} + {stride} * {row}"


def _row_expr(window: RowWindow, module: _Module, single: int | None) -> str:
    """The row that pointer `j` of a window addresses, as C of `y` and `j` (a plain number where it is constant).

    `single` is the output row of a step that makes only one, or makes all rows in one call from that row on.
    """
    if window.table is not None:
        first = f"(int32_t){module.table(window.table)}[y]" if single is None else str(window.table[single])
    elif single is not None or window.stride == 0:
        first = str((single or 0) * window.stride - window.pad)
    else:
        first = "y" if window.stride == 1 else f"y * {window.stride}"
        if window.pad:
            first = f"{first} - {window.pad}" if window.pad > 0 else f"{first} + {-window.pad}"
    if window.count == 1:
        return first
    step = "j" if window.dilation == 1 else f"{window.dilation} * j"
    return step if first == "0" else f"{first} + {step}"


def _may_leave(window: RowWindow, rows: int, calls: range) -> bool:
    """Whether any row the window addresses in the calls for these output rows lies outside [0, rows)."""
    if window.table is not None:
        firsts = [window.table[y] for y in calls]
    else:
        firsts = [y * window.stride - window.pad for y in (calls[0], calls[-1])]
    return min(firsts) < 0 or max(firsts) + window.dilation * (window.count - 1) >= rows


def _instance(module: _Module, node: Node, call: KernelCall) -> tuple[Instance, list[str]]:
    """The shared function of a call, and the C element type of each of its inputs."""
    out_type = call.element or node.out.dtype.c_type
    in_types = [call.element or window_tensor(node, w).dtype.c_type for w in call.inputs]
    array_types = [DType(a.data.dtype.name).c_type for a in call.arrays]
    key = (
        call.kernel,
        out_type,
        tuple((t, w.array) for t, w in zip(in_types, call.inputs, strict=True)),
        call.row_index,
        call.out_rows,
        call.scratch_bytes > 0,
        call.stack_bytes,
        tuple(zip(array_types, (a.param for a in call.arrays), strict=True)),
        call.consts,
        call.arguments,
    )
    if key not in module.instances:
        params, args = [f"{out_type} *{'' if call.out_rows is None else 'const *'}out"], ["out"]
        for k, (c_type, window) in enumerate(zip(in_types, call.inputs, strict=True)):
            params.append(f"const {c_type} *const *in{k}" if window.array else f"const {c_type} *in{k}")
            args.append(f"in{k}")
        if call.row_index:
            params.append("int32_t y")
            args.append("y")
        if call.scratch_bytes:
            params.append("uint8_t *scratch")
            args.append("scratch")
        if call.stack_bytes:
            args.append("stack")
        for array, c_type in zip(call.arrays, array_types, strict=True):
            params.append(f"const {c_type} *{array.param}")
            args.append(array.param)
        args = call.ordered(args)
        args.extend(f"/* {name} */ {int_literal(value)}" for name, value in call.consts)
        stem = call.kernel.removeprefix("tc_")
        number = sum(i.kernel == call.kernel for i in module.instances.values())
        name = f"{module.prefix}_{stem}_{number}"
        module.instances[key] = Instance(name, call.kernel, tuple(params), tuple(args), call.stack_bytes)
        module.headers.add(call.header)
    return module.instances[key], in_types


def _call(module: _Module, plan: Plan, node: Node, step: Step, call: KernelCall, number: int) -> CallText:
    instance, in_types = _instance(module, node, call)
    op = step.op
    calls = _calls(node, step)
    single = calls[0] if len(calls) == 1 else None
    out_type = call.element or node.out.dtype.c_type
    itemsize = 1 if call.element else node.out.dtype.itemsize
    args: list[str] = []
    windows: list[RowPointer] = []
    if call.out_rows is None:
        out_row = _row_address(module, plan, node.out.name, str(single) if single is not None else "y")
        args.append(_pointer(out_type, itemsize, out_row, const=False))
    else:
        made = RowWindow(OWN_OUTPUT, count=call.out_rows)
        address = _pointer(out_type, itemsize, _row_address(module, plan, node.out.name, "r"), const=False)
        limit = node.out.form.rows if _may_leave(made, node.out.form.rows, calls) else None
        row = _row_expr(made, module, single)
        windows.append(RowPointer(f"made{number}", f"{out_type} *", call.out_rows, row, address, limit))
        args.append(windows[0].name)
    for k, (window, c_type) in enumerate(zip(call.inputs, in_types, strict=True)):
        tensor = window_tensor(node, window)
        size = 1 if call.element else tensor.dtype.itemsize
        if window.whole:
            args.append(_pointer(c_type, size, _row_address(module, plan, tensor.name, "0"), const=True))
            continue
        row = _row_expr(window, module, single)
        leaves = _may_leave(window, tensor.form.rows, calls)
        if not window.array and not leaves:
            expr = f"({row})" if " " in row else row
            args.append(_pointer(c_type, size, _row_address(module, plan, tensor.name, expr), const=True))
            continue
        address = _pointer(c_type, size, _row_address(module, plan, tensor.name, "r"), const=True)
        name = f"rows{number}_{k}"
        limit = tensor.form.rows if leaves else None
        windows.append(RowPointer(name, f"const {c_type} *", window.count, row, address, limit))
        args.append(name if window.array else f"{name}[0]")
    if call.row_index:
        args.append("y" if single is None else str(single))
    if call.scratch_bytes:
        scratch = plan.scratch[op]
        if scratch is None:
            raise InternalError(
                "a kernel wants scratch that the plan did not place", str(node.op.source), "report this bug"
            )
        args.append(_address(module, scratch, str(single) if single is not None else "y"))
    source = comment_text(str(node.op.source))
    args.extend(module.weight(a.data, f"{a.param} of {source}", a.packed_elems) for a in call.arrays)
    return CallText(instance.name, tuple(windows), tuple(args))


def _calls(node: Node, step: Step) -> range:
    """The output rows with which the calls of a step begin."""
    if step.merge:
        return range(step.region.y0, step.region.y0 + 1)
    return range(step.region.y0, step.region.y1, operator(node.op.kind).step_rows(node))


def _step(module: _Module, plan: Plan, index: int, step: Step, runs: int | None = None) -> StepText:
    """The function of one step, or of all steps of an operator that makes its rows in `runs` runs."""
    node = plan.graph.node(plan.ops[step.op])
    oper = operator(node.op.kind)
    grain = oper.grain(node)
    region = step.region
    if grain is Grain.FLAT and not step.merge:
        region = Region(region.y0, region.y0 + 1, region.x0, region.x1)
    calls = oper.calls(node, region, plan.variants[step.op])

    def at(tensor: Tensor) -> str:
        place = "" if runs is not None else f"@{plan.placements[tensor.name].offsets[0]}"
        return f"{shape_text(tensor.shape)}{place}"

    what = f"step {index}" if runs is None else f"{step.region.rows} rows in {runs} runs"
    size = f"; {plan.live_bytes[index]} bytes live" if runs is None else ""
    comment = [
        f"{what}: {comment_text(node.op.kind)}, from {comment_text(str(node.op.source))}",
        f"{' '.join(at(node.tensor(i)) for i in node.activations)} -> {at(node.out)}; {oper.macs(node)} MAC{size}",
    ]
    rows = _calls(node, step)
    texts = [_call(module, plan, node, step, call, n) for n, call in enumerate(calls)]
    found = {plan.placements[node.tensor(i).name].external for i in node.activations}
    external = tuple(sorted(x for x in found if x is not None))
    ranged = runs is not None and len(rows) > 1
    return StepText(index, tuple(comment), rows, tuple(texts), ranged, external)


def step_operators(plan: Plan) -> tuple[int, ...]:
    """For each step function of the generated code, by its number, the operator that it makes rows of."""
    if plan.row_program:
        return tuple(op for op, _ in row_program(plan).functions if isinstance(op, int))
    return tuple(step.op for step in plan.computed)


def _program(module: _Module, plan: Plan) -> tuple[tuple[StepText, ...], ProgramText]:
    """A function per operator, and the table that says in which order they make how many rows."""
    program = row_program(plan)
    steps = []
    merged = {s.op: s.merge for s in plan.computed}
    for k, (op, region) in enumerate(program.functions):
        if isinstance(op, int):
            runs = int(np.count_nonzero(program.table[::2] == k))
            steps.append(_step(module, plan, k, Step(op, region, merged[op]), runs))
    name = module.weight(program.table, "order of the rows: function and number of rows, in turn")
    module.schedule.add(name)
    address, pushed = "a", plan.tensor(plan.graph.inputs[0])
    if program.push is not None:
        address = _row_address(module, plan, pushed.name, f"s->row[{program.push}]")
    counter = "uint16_t" if program.most_rows < 2**16 else "uint32_t"
    index = "uint16_t" if program.table.size < 2**16 else "uint32_t"
    text = ProgramText(
        name,
        DType(program.table.dtype.name).c_type,
        program.table.size,
        counter,
        index,
        len(program.functions),
        program.push,
        address,
        pushed.row_bytes,
        pushed.row_bytes // pushed.dtype.itemsize,
        pushed.form.rows,
        pushed.dtype.c_type,
        tuple(_pop(module, plan, name, k) for name, k in program.pops.items()),
    )
    return tuple(steps), text


def _pop(module: _Module, plan: Plan, name: str, index: int) -> PopText:
    tensor = plan.tensor(name)
    address = _pointer(tensor.dtype.c_type, tensor.dtype.itemsize, _row_address(module, plan, name, "y"), const=True)
    return PopText(index, tuple(p.c_name for p in plan.interface.outputs if p.name == name), address)


def stack_estimate_bytes(plan: Plan) -> int:
    """Stack that one run may use on a 32-bit core, an estimate on the safe side of what the emulated cores show.

    The row pointers and arrays of the widest step, and a fixed allowance for the kernel's own frame (accumulators,
    spilled constants) and the calls around it; both sides of the call hold the arrays beyond the usual four.
    ``tinycompile emulate`` measures it.
    """
    widest = 0
    regions = {step.op: step.region for step in plan.computed}
    for op, region in regions.items():
        node = plan.graph.node(plan.ops[op])
        calls = operator(node.op.kind).calls(node, region, plan.variants[op])
        widest = max([widest, *(_words_on_stack(call) for call in calls)])
    counters = 4 * (len(regions) + 4) if plan.row_program else 0
    return -(-(4 * widest + 448 + counters) // 64) * 64


def _words_on_stack(call: KernelCall) -> int:
    rows = sum(w.count for w in call.inputs if not w.whole) + (call.out_rows or 0)
    return rows + 2 * max(len(call.arrays) - 4, 0) + -(-call.stack_bytes // 4)


def _runtime_headers(roots: set[str]) -> dict[str, str]:
    """The kernel headers and, transitively, the ``tc_*.h`` that they include."""
    found: dict[str, str] = {}
    todo = sorted(roots | {"tc_types.h", "tc_memory.h"})
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = header_path(name).read_text(encoding="utf-8")
        todo.extend(re.findall(r'#include "(tc_[a-z0-9_]+\.h)"', found[name]))
    return found


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(data_dir("templates")) / "c"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; every name in the context is sanitised above
    )


def emit_c(plan: Plan) -> Emission:
    """The generated files: ``<prefix>.h/.c``, ``<prefix>_weights.h/.c``, ``tc_*.h``, ``CMakeLists.txt``.

    A pure function of the plan: same plan, same bytes.
    """
    module = _Module(plan.interface.prefix)
    program = None
    if plan.row_program:
        steps, program = _program(module, plan)
    else:
        steps = tuple(_step(module, plan, i, s) for i, s in enumerate(plan.computed))
    prefix = plan.interface.prefix
    environment = _templates()
    stack_bytes = stack_estimate_bytes(plan)
    popped = plan.output_mode is OutputMode.STREAMED
    inputs = [port_text(plan, p, plan.input_mode is InputMode.RESIDENT) for p in plan.interface.inputs]
    outputs = [port_text(plan, p, not popped) for p in plan.interface.outputs]
    states = state_ports(plan, module.weight)
    runtime = _runtime_headers(module.headers)
    context = {
        "prefix": prefix,
        "macro": prefix.upper(),
        "target": plan.target,
        "arena_bytes": max(plan.arena_bytes, 1),
        "arena_align": plan.arena_align,
        "peak_step": plan.peak_step,
        "stack_bytes": stack_bytes,
        "macs": sum(operator(n.op.kind).macs(n) for n in plan.graph.nodes()),
        "inputs": inputs,
        "outputs": outputs,
        "states": states,
        "given": given_ports(plan, plan.graph.inputs, inputs, {s.input: s.port for s in plan.interface.states}),
        "results": given_ports(plan, plan.graph.outputs, outputs, {s.output: s.port for s in plan.interface.states}),
        "headers": sorted(module.headers),
        "weights": list(module.weights.values()),
        "instances": list(module.instances.values()),
        "steps": steps,
        "program": program,
        "mode": plan.input_mode.value,
        "popped": popped,
        "pops": () if program is None else program.pops,
        "math_library": "tc_math.h" in runtime,
    }
    names = {
        "model.h.j2": f"{prefix}.h",
        "model.c.j2": f"{prefix}.c",
        "weights.h.j2": f"{prefix}_weights.h",
        "weights.c.j2": f"{prefix}_weights.c",
        "CMakeLists.txt.j2": "CMakeLists.txt",
    }
    files = {out: environment.get_template(name).render(context) for name, out in names.items()}
    schedule_bytes = sum(w.nbytes for w in module.weights.values() if w.name in module.schedule)
    return Emission(
        {**files, **runtime},
        sum(w.nbytes for w in module.weights.values()) - schedule_bytes,
        schedule_bytes,
        sum(w.saved_bytes for w in module.weights.values()),
        stack_bytes,
        len(module.instances),
        len(steps),
    )
