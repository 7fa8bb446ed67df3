"""The host emulator on a hand-written model: right results, and every injected defect is found and named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hand_written_model import ARENA_BYTES, INTERFACE, expected, samples, write_model

from tinycompile.emulate.host import run_host
from tinycompile.errors import CheckFailed, ToolchainError, UsageError
from tinycompile.ir.interface import Port
from tinycompile.ir.types import DType


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("sanitize", [True, False])
def test_results_of_every_sample(tmp_path: Path, compiler: str, sanitize: bool) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    inputs = samples(5)
    run = run_host(write_model(tmp_path), INTERFACE, inputs, compiler=compiler, sanitize=sanitize)
    assert len(run.outputs) == 1
    np.testing.assert_array_equal(run.outputs[0], expected(inputs))
    assert len(np.unique(run.outputs[0], axis=0)) > 1


def test_arena_one_byte_smaller_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"heap-buffer-overflow.* in toy_step_0"):
        run_host(write_model(tmp_path), INTERFACE, samples(1), arena_bytes=ARENA_BYTES - 1)


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("a[37] = 1;", "heap-buffer-overflow"),
        ("a[0] = (uint8_t)(a[0] + *(const volatile uint8_t *)(a + 37));", "heap-buffer-overflow"),
        ("a[0] = *(const volatile uint8_t *)(a - 1);", "heap-buffer-overflow"),
        ("a[0] = (uint8_t)*(volatile uint32_t *)((uintptr_t)a + 17);", "misaligned address"),
        ("{ volatile int32_t big = INT32_MAX; big = big + 1; }", "signed integer overflow"),
        ("{ volatile int32_t wide = 32; wide = 1 << wide; }", "shift exponent"),
    ],
)
def test_defects_are_found(tmp_path: Path, defect: str, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        run_host(write_model(tmp_path, defect=defect), INTERFACE, samples(1))


def test_reading_the_arena_before_writing_it_is_found(tmp_path: Path) -> None:
    model = write_model(tmp_path, before="toy_input(arena)[0] = (int8_t)a[20];")
    with pytest.raises(CheckFailed, match="depends on what the arena held"):
        run_host(model, INTERFACE, samples(2))


def test_warnings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="conversion"):
        run_host(write_model(tmp_path, defect="{ volatile int32_t wide = a[1]; a[0] = wide; }"), INTERFACE, samples(1))


def test_a_missing_compiler_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError) as caught:
        run_host(write_model(tmp_path), INTERFACE, samples(1), compiler="no-such-compiler")
    assert "install" in caught.value.fix
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "inputs",
    [
        [],
        [np.zeros((2, 1, 15), np.int8)],
        [np.zeros((2, 1, 16), np.uint8)],
    ],
)
def test_inputs_that_do_not_fit(tmp_path: Path, inputs: list[np.ndarray]) -> None:
    with pytest.raises(UsageError):
        run_host(write_model(tmp_path), INTERFACE, inputs)


def test_an_output_larger_than_the_caller_s_buffer_is_found(tmp_path: Path) -> None:
    """The caller's buffers are of exact size too: here the interface promises one element less than is written."""
    short = replace(INTERFACE, outputs=(Port("out", "output", (1, 3), DType.INT8),))
    with pytest.raises(CheckFailed, match="heap-buffer-overflow"):
        run_host(write_model(tmp_path), short, samples(1))
