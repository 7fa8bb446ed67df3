"""Runs the C kernels of any operator on an emulated core, compiled with the target's own flags: what C in place of a
vector instruction cannot show. No bounds are checked here; the host's sanitizers do that.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness import INCLUDE, Run, c_source, outputs_of

from tinycompile.board import load_board
from tinycompile.emulate.templating import render
from tinycompile.ir.graph import Array
from tinycompile.resources import data_dir
from tinycompile.target import load_target

STACK_BYTES = 16384

# In place of the C library: a heap that each run starts anew, and semihosting for what is written.
LIBRARY = """
#include <stddef.h>
#include <stdint.h>

static _Alignas(8) uint8_t heap[1 << 17];
static size_t heap_used;
static intptr_t written;

static intptr_t semihost(int operation, const void *argument)
{
    register intptr_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void stop(int status)
{
    const uintptr_t block[2] = {0x20026u, (uintptr_t)status};
    for (;;) {
        (void)semihost(0x20, block);
    }
}

static void *malloc(size_t bytes)
{
    uint8_t *const p = heap + heap_used;
    heap_used += (bytes + 7u) & ~(size_t)7u;
    if (heap_used > sizeof heap) {
        stop(3);
    }
    return p;
}

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int value, size_t n);
void tc_fault(void);
void tc_fault(void) { stop(4); }

static void fwrite(const void *data, size_t size, size_t count, int stream)
{
    const uintptr_t block[3] = {(uintptr_t)written, (uintptr_t)data, size * count};
    (void)stream;
    if (semihost(0x05, block) != 0) {
        stop(2);
    }
}
#define stdout 0
"""
MAIN = """
int main(void)
{
    static const char name[] = "out.bin";
    const uintptr_t block[3] = {(uintptr_t)name, 5u, sizeof name - 1u};
    written = semihost(0x01, block);
    (void)all_runs();
    stop(0);
    return 0;
}
"""


def target_source(runs: Sequence[Run]) -> str:
    """`c_source` for a bare core."""
    text = re.sub(r"#include <\w+\.h>\n", "", c_source(runs))
    text = re.sub(r"^    (run\d+\(\);)", r"    heap_used = 0; \1", text, flags=re.MULTILINE)
    return LIBRARY + text.replace("int main(void)", "static int all_runs(void)") + MAIN


def run_kernels_on(target_name: str, board_name: str, runs: Sequence[Run], folder: Path) -> list[Array]:
    """The C outputs, each (rows, cols, channels), on the board's QEMU machine. AssertionError with the tool's words
    when the C fails."""
    target, board = load_target(target_name), load_board(board_name)
    ram = board.first("ram")
    linker = render(
        "firmware/linker.ld.j2",
        board=board,
        memories=board.memories,
        vectors=board.vectors,
        flash=board.first("flash"),
        ram=ram,
        stack=ram,
        stack_bytes=STACK_BYTES,
    )
    (folder / "linker.ld").write_text(linker, encoding="utf-8")
    (folder / "kernels.c").write_text(target_source(runs), encoding="utf-8")
    tools = target.toolchain
    command = [
        *(tools.gcc, *tools.cpu_flags, *tools.kernel_flags, "-std=gnu11", "-Wall", "-Werror"),
        *("-ffreestanding", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-nostdlib", "-Wno-unused-function"),
        *("-Wl,-T,linker.ld", "-Wl,--no-warn-rwx-segments", "-I", str(INCLUDE), "kernels.c"),
        *(str(data_dir("templates") / "firmware" / "startup.c"), "-lgcc", "-o", "kernels.elf"),
    ]
    compiled = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert compiled.returncode == 0, compiled.stderr[:4000]
    emulator = [
        *("qemu-system-arm", "-M", str(board.qemu_machine), "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-kernel", "kernels.elf"),
    ]
    done = subprocess.run(emulator, capture_output=True, text=True, check=False, cwd=folder, timeout=300)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr[:4000]}"
    return outputs_of(runs, (folder / "out.bin").read_bytes())
