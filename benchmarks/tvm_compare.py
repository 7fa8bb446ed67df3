"""Our C code against TVM's LLVM code for the same float ONNX models on this computer, in one run.

    TVM_NUM_THREADS=1 python benchmarks/tvm_compare.py model.onnx... > tvm.json

Time: least of alternating rounds, ours with `-O2`, TVM's as `tvm.compile(module, "llvm")` makes it, untuned, both for
the compiler's default CPU and on one thread. Memory: our arena (input, output and scratch included), of the plan for
speed and of the one for least SRAM; TVM's planned storage (of `alloc_storage`, with the output) and the input beside
it. What TVM's kernels allocate while they run (padded copies) is not in that figure. Needs `tinycompile[tvm]`.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.pipeline import Build, build_model
from tinycompile.planning.goal import Goal
from tinycompile.report.summary import Budgets
from tinycompile.target import load_target
from tinycompile.toolchain import host_compiler

ROUNDS, SECONDS = 7, 0.2
UNLIMITED = Budgets(2**62, 2**62)


def compiled(built: Build, folder: Path, x: Any) -> tuple[Callable[[], None], Any]:
    """A call of our code, as a shared library, and the array of its output."""
    for name, text in built.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    interface = built.plan.interface
    sources = [str(folder / f"{interface.prefix}{part}.c") for part in ("", "_weights")]
    library = folder / "model.so"
    command = [*host_compiler(None).command, "-std=c99", "-O2", "-shared", "-fPIC", *sources, "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    run = getattr(ctypes.CDLL(str(library)), f"{interface.prefix}_run")
    storage = np.zeros(interface.arena_bytes + interface.arena_align, dtype=np.uint8)
    shift = -storage.ctypes.data % interface.arena_align
    out = np.zeros(interface.outputs[0].shape, dtype=np.float32)
    arguments = [ctypes.c_void_p(a) for a in (storage.ctypes.data + shift, x.ctypes.data, out.ctypes.data)]

    def call(_storage: Any = storage) -> None:  # which keeps the arena alive
        run(*arguments)

    return call, out


def tvm_code(path: Path, x: Any) -> tuple[Callable[[], None], Callable[[], Any], int]:
    """A call of TVM's code, its output, and the bytes of its planned storage."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    target = tvm.target.Target("llvm")
    model = onnx.load(path)
    static = {model.graph.input[0].name: list(x.shape)}  # a symbolic batch is one sample, as in our importer
    module = from_onnx(model, shape_dict=static, keep_params_in_input=False)
    with target:
        lowered = relax.get_default_pipeline(target)(module)
    executable = tvm.compile(module, target=target)
    machine = relax.VirtualMachine(executable, tvm.cpu())
    argument = tvm.runtime.tensor(x)
    return lambda: machine["main"](argument), lambda: machine["main"](argument).numpy(), storage_bytes(lowered)


def storage_bytes(lowered: Any) -> int:
    """The sum of all storage that a lowered module allocates, in its printed form."""
    text = lowered["main"].script()
    sizes = re.findall(r"R\.vm\.alloc_storage\(R\.shape\(\[(\d+)\]\), .*R\.dtype\(\"uint8\"\)", text)
    assert len(sizes) == text.count("alloc_storage(") > 0
    return sum(int(size) for size in sizes)


def seconds(call: Callable[[], Any]) -> float:
    """Per call, over calls of about SECONDS."""
    start = time.perf_counter()
    call()
    count = max(1, int(SECONDS / max(time.perf_counter() - start, 1e-6)))
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def compare(path: Path) -> dict[str, Any]:
    target = load_target("host")
    fast = build_model(path, target, UNLIMITED)
    least = build_model(path, target, UNLIMITED, goal=Goal(minimize_sram=True))
    port = fast.plan.interface.inputs[0]
    x = np.random.default_rng(0).uniform(-1, 1, port.shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        calls = [compiled(built, Path(folder), x) for built, folder in ((fast, a), (least, b))]
        theirs, output, storage = tvm_code(path, x)
        rounds = [[seconds(call) for call in (calls[0][0], calls[1][0], theirs)] for _ in range(ROUNDS)]
        ours, ours_least, tvm_time = (min(column) for column in zip(*rounds, strict=True))
        want = output()
        difference = max(float(np.abs(out.reshape(want.shape) - want).max() / np.abs(want).max()) for _, out in calls)
    return {
        "model": path.stem,
        "difference": difference,
        "arena_bytes": fast.plan.arena_bytes,
        "least_arena_bytes": least.plan.arena_bytes,
        "tvm_storage_bytes": storage,
        "tvm_storage_and_input_bytes": storage + x.nbytes,
        "memory_ratio": fast.plan.arena_bytes / (storage + x.nbytes),
        "least_memory_ratio": least.plan.arena_bytes / (storage + x.nbytes),
        "ms": 1e3 * ours,
        "least_ms": 1e3 * ours_least,
        "tvm_ms": 1e3 * tvm_time,
        "time_ratio": ours / tvm_time,
        "least_time_ratio": ours_least / tvm_time,
    }


if __name__ == "__main__":
    os.environ.setdefault("TVM_NUM_THREADS", "1")
    print(json.dumps([compare(Path(name)) for name in sys.argv[1:]], indent=2))
