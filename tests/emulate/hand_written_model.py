"""A tiny model folder written by hand in the form that the code generator writes, with defects to inject.

Two steps over an arena of 37 bytes, an odd number: input [0, 16), hidden [16, 37), output [0, 4) over the dead input.
The last byte of the arena is written and read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinycompile.ir.interface import Interface, Port
from tinycompile.ir.types import DType

ARENA_BYTES = 37
INTERFACE = Interface(
    prefix="toy",
    target="host",
    arena_bytes=ARENA_BYTES,
    arena_align=16,
    inputs=(Port("in", "input", (1, 16), DType.INT8, 0.5, 0),),
    outputs=(Port("out", "output", (1, 4), DType.INT8, 0.5, 0),),
)
WEIGHTS = np.array([(7 * i + 3) % 23 - 11 for i in range(21)], dtype=np.int8)

HEADER = """#ifndef TOY_H
#define TOY_H
#include <stddef.h>
#include <stdint.h>
#define TC_ALIGN(bytes) __attribute__((aligned(bytes)))
typedef struct {
    uint8_t bytes[37];
} TC_ALIGN(16) toy_arena;
static inline int8_t *toy_input(toy_arena *arena) { return (int8_t *)(arena->bytes + 0); }
static inline int8_t *toy_output(toy_arena *arena) { return (int8_t *)(arena->bytes + 0); }
void toy_run(toy_arena *arena, const int8_t input[16], int8_t output[4]);
#endif
"""
SOURCE = """#include "toy.h"
extern const int8_t toy_weights[21];
void *memcpy(void *to, const void *from, size_t n);
%(declarations)s
__attribute__((noinline)) static void toy_step_0(uint8_t *a)
{
    const int8_t *const in = (const int8_t *)a;
    int8_t *const hidden = (int8_t *)(a + 16);
    for (int32_t i = 0; i < 21; ++i) {
        hidden[i] = (int8_t)((in[i %% 16] * toy_weights[i]) / 16);
    }
    %(defect)s
}
__attribute__((noinline)) static void toy_step_1(uint8_t *a)
{
    const int8_t *const hidden = (const int8_t *)(a + 16);
    for (int32_t k = 0; k < 4; ++k) {
        int32_t sum = 0;
        for (int32_t i = k; i < 21; i += 4) {
            sum += hidden[i];
        }
        ((int8_t *)a)[k] = (int8_t)(sum / 8);
    }
}
void toy_run(toy_arena *arena, const int8_t input[16], int8_t output[4])
{
    uint8_t *const a = arena->bytes;
    if (input != NULL && input != toy_input(arena)) {
        memcpy(toy_input(arena), input, 16u);
    }
    %(before)s
    toy_step_0(a);
    toy_step_1(a);
    if (output != NULL && output != toy_output(arena)) {
        memcpy(output, toy_output(arena), 4u);
    }
}
"""


def write_model(folder: Path, *, declarations: str = "", before: str = "", defect: str = "") -> Path:
    """The model in `folder`. `before` runs ahead of step 0 inside ``toy_run``, `defect` at the end of step 0."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "toy.h").write_text(HEADER)
    (folder / "toy.c").write_text(SOURCE % {"declarations": declarations, "before": before, "defect": defect})
    values = ", ".join(str(w) for w in WEIGHTS)
    (folder / "toy_weights.c").write_text(
        f'#include "toy.h"\nextern const int8_t toy_weights[21];\nconst int8_t toy_weights[21] = {{{values}}};\n'
    )
    return folder


def samples(count: int) -> list[np.ndarray[Any, Any]]:
    return [np.random.default_rng(3).integers(-128, 128, (count, 1, 16)).astype(np.int8)]


def expected(inputs: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """What C's integer division, which rounds towards zero, gives."""
    x = inputs[0].reshape(len(inputs[0]), 16).astype(np.int32)
    hidden = np.trunc(np.concatenate([x, x[:, :5]], axis=1) * WEIGHTS / 16).astype(np.int32)
    sums = np.stack([hidden[:, k::4].sum(axis=1) for k in range(4)], axis=1)
    return np.trunc(sums / 8).astype(np.int8).reshape(-1, 1, 4)
