"""The emulated cores on a hand-written model: both emulators, both compilers, exact counts, faults with their place."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from hand_written_model import ARENA_BYTES, INTERFACE, WEIGHTS, expected, samples, write_model

from tinycompile.board import load_board
from tinycompile.emulate.target import TargetRun, compile_objects, run_target
from tinycompile.errors import CheckFailed, ToolchainError, UsageError
from tinycompile.target import load_target

CORTEX_M = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33")


def need(target: str, emulator: str, compiler: str = "gcc") -> None:
    gcc = load_target(target).toolchain.gcc
    if compiler == "gcc" and shutil.which(gcc) is None:
        pytest.skip(f"{gcc} is not installed")
    if compiler == "zig" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    if emulator == "unicorn" and importlib.util.find_spec("unicorn") is None:
        pytest.skip("unicorn is not installed")
    if emulator == "qemu" and shutil.which("qemu-system-arm") is None:
        pytest.skip("qemu-system-arm is not installed")


def run(folder: Path, target: str, emulator: str, count: int = 2, **options: object) -> TargetRun:
    need(target, emulator, str(options.get("compiler", "gcc")))
    return run_target(folder, INTERFACE, load_target(target), samples(count), emulator=emulator, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [*CORTEX_M, "rv32imc"])
def test_results_in_unicorn(tmp_path: Path, target: str) -> None:
    got = run(write_model(tmp_path), target, "unicorn", 3)
    np.testing.assert_array_equal(got.outputs[0], expected(samples(3)))
    assert len(got.per_sample) == 3
    assert got.emulator.startswith("unicorn 2")


@pytest.mark.parametrize("target", ["cortex-m7", "rv32imc"])
def test_results_with_clang_from_zig(tmp_path: Path, target: str) -> None:
    got = run(write_model(tmp_path), target, "unicorn", 3, compiler="zig")
    np.testing.assert_array_equal(got.outputs[0], expected(samples(3)))


def test_zig_has_no_float_functions_for_bare_metal(tmp_path: Path) -> None:
    (write_model(tmp_path) / "tc_math.h").write_text("")
    with pytest.raises(ToolchainError, match=r"which zig does not have") as caught:
        run(tmp_path, "cortex-m4", "unicorn", compiler="zig")
    assert "newlib" in caught.value.fix


@pytest.mark.parametrize("target", [*CORTEX_M, "cortex-m55"])
def test_results_in_qemu(tmp_path: Path, target: str) -> None:
    got = run(write_model(tmp_path), target, "qemu", 3)
    np.testing.assert_array_equal(got.outputs[0], expected(samples(3)))
    assert len(got.per_sample) == 3
    assert got.emulator.startswith("qemu ")


@pytest.mark.parametrize("target", CORTEX_M)
def test_emulators_agree_to_the_instruction(tmp_path: Path, target: str) -> None:
    model = write_model(tmp_path)
    unicorn, qemu = (run(model, target, emulator) for emulator in ("unicorn", "qemu"))
    assert unicorn.per_sample == qemu.per_sample
    assert unicorn.stack_bytes == qemu.stack_bytes


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m7"])
def test_counts_are_exact(tmp_path: Path, target: str, emulator: str) -> None:
    """A loop of known length more is that many instructions more."""
    plain = run(write_model(tmp_path / "plain"), target, emulator).instructions
    loop = '__asm volatile(".syntax unified\\n movs r1, #100\\n 1: subs r1, #1\\n nop\\n bne 1b" ::: "r1", "cc");'
    longer = run(write_model(tmp_path / "loop", before=loop), target, emulator).instructions
    assert longer - plain == 1 + 100 * 3


def test_riscv_counts_are_exact(tmp_path: Path) -> None:
    plain = run(write_model(tmp_path / "plain"), "rv32imc", "unicorn").instructions
    loop = '__asm volatile("li t0, 100\\n 1: addi t0, t0, -1\\n nop\\n bnez t0, 1b" ::: "t0", "memory");'
    longer = run(write_model(tmp_path / "loop", before=loop), "rv32imc", "unicorn").instructions
    assert longer - plain == 1 + 100 * 3


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
def test_the_stack_is_measured(tmp_path: Path, emulator: str) -> None:
    plain = run(write_model(tmp_path / "plain"), "cortex-m7", emulator).stack_bytes
    frame = "volatile uint8_t deep[4000]; for (int32_t i = 0; i < 4000; ++i) { deep[i] = a[0]; } a[1] = deep[a[2]];"
    deep = run(write_model(tmp_path / "deep", defect=frame), "cortex-m7", emulator).stack_bytes
    assert 0 < plain < 200
    assert 4000 <= deep - plain <= 4016


@pytest.mark.parametrize(
    ("target", "emulator"),
    [*((t, "unicorn") for t in (*CORTEX_M, "rv32imc")), *((t, "qemu") for t in (*CORTEX_M, "cortex-m55"))],
)
def test_arena_one_byte_smaller_faults_at_the_end_of_ram(tmp_path: Path, target: str, emulator: str) -> None:
    core = load_target(target)
    assert core.emulation_board is not None
    assert core.sram_bytes is not None
    ram = load_board(core.emulation_board).first("ram")
    end = ram.origin + min(core.sram_bytes, ram.bytes)
    model = write_model(tmp_path)
    run(model, target, emulator, arena_bytes=ARENA_BYTES)  # exactly enough is enough
    with pytest.raises(CheckFailed, match=rf"pc 0x[0-9a-f]{{8}} in toy_step_0, address 0x{end:08x}"):
        run(model, target, emulator, arena_bytes=ARENA_BYTES - 1)


@pytest.mark.parametrize(
    ("target", "emulator"), [("cortex-m7", "unicorn"), ("cortex-m7", "qemu"), ("cortex-m55", "qemu")]
)
@pytest.mark.parametrize(
    ("defect", "message"),
    [
        ("*(volatile uint32_t *)0x60000000u = 1u;", "address 0x60000000"),
        ("*(volatile uint8_t *)(a + 4096) = 1;", "pc 0x[0-9a-f]{8} in toy_step_0, address 0x"),
        ("*(volatile uint8_t *)(uintptr_t)toy_weights = 1;", "pc 0x[0-9a-f]{8} in toy_step_0, address 0x"),
        (
            "{ volatile uint8_t deep[20000]; for (int i = 20000; i > 0; --i) { deep[i - 1] = 1; } a[1] = deep[0]; }",
            "stack overflow|address 0x",
        ),
        ('__asm volatile(".short 0xde00");', "toy_step_0"),
    ],
    ids=["unmapped", "past-ram", "flash", "stack-overflow", "undefined-instruction"],
)
def test_faults_fail_the_run(tmp_path: Path, target: str, emulator: str, defect: str, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        run(write_model(tmp_path, defect=defect), target, emulator)


def test_reading_the_arena_before_writing_it_is_found(tmp_path: Path) -> None:
    model = write_model(tmp_path, before="toy_input(arena)[0] = (int8_t)a[20];")
    with pytest.raises(CheckFailed, match="depends on what the arena held"):
        run(model, "cortex-m4", "unicorn")


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
def test_a_run_that_does_not_end_is_stopped(tmp_path: Path, emulator: str) -> None:
    model = write_model(tmp_path, before="for (volatile int32_t forever = 1; forever == 1;) { }")
    with pytest.raises(ToolchainError, match="did not finish"):
        run(model, "cortex-m7", emulator, timeout_s=2.0)


def test_combinations_that_cannot_run(tmp_path: Path) -> None:
    model = write_model(tmp_path)
    for target, options in (
        ("cortex-m55", {"emulator": "unicorn"}),
        ("cortex-m7", {"emulator": "bochs"}),
        ("host", {}),
        ("cortex-m7", {"board": load_board("nucleo-f446re")}),
    ):
        with pytest.raises(UsageError):
            run_target(model, INTERFACE, load_target(target), samples(1), **options)


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m7", "cortex-m55", "rv32imc", "host"])
def test_sizes_of_the_model_alone(tmp_path: Path, target: str) -> None:
    if target != "host":
        need(target, "")
    objects = compile_objects(write_model(tmp_path), INTERFACE, load_target(target))
    assert WEIGHTS.nbytes <= objects.rodata_bytes < WEIGHTS.nbytes + 200  # a host's unwind tables count as well
    assert 60 < objects.text_bytes < 1000
    assert objects.stack_bytes is not None


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m7"])
def test_static_stack_bounds_the_measured_one(tmp_path: Path, target: str) -> None:
    frame = "volatile uint8_t deep[1000]; for (int32_t i = 0; i < 1000; ++i) { deep[i] = a[0]; } a[1] = deep[a[2]];"
    model = write_model(tmp_path, defect=frame)
    measured = run(model, target, "unicorn")
    assert measured.objects.stack_bytes is not None
    assert 1000 <= measured.stack_bytes <= measured.objects.stack_bytes <= measured.stack_bytes + 96


@pytest.mark.parametrize(
    ("declarations", "defect", "message"),
    [
        ("static int32_t calls;", "a[0] = (uint8_t)(a[0] + ++calls);", "writable data"),
        ("static int32_t calls = 5;", "a[0] = (uint8_t)(a[0] + ++calls);", "writable data"),
        ("int printf(const char *format, ...);", '(void)printf("x");', "printf"),
        ("double sqrt(double x);", "a[0] = (uint8_t)sqrt((double)a[0]);", "sqrt"),
    ],
)
def test_what_firmware_may_not_have(tmp_path: Path, declarations: str, defect: str, message: str) -> None:
    need("cortex-m7", "")
    model = write_model(tmp_path, declarations=declarations, defect=defect)
    with pytest.raises(CheckFailed, match=message):
        compile_objects(model, INTERFACE, load_target("cortex-m7"))


@pytest.mark.parametrize("target", ["cortex-m0plus", "rv32imc"])
def test_compiler_helpers_are_allowed(tmp_path: Path, target: str) -> None:
    """Soft float and 64-bit arithmetic call the compiler's own library, not the C library."""
    need(target, "")
    code = (
        "volatile float f = (float)a[0]; volatile int64_t w = a[1]; volatile double d = 3.0;"
        "f = f * 2.5f + (f < 3.0f ? 1.0f : f / 3.0f); d = d + (double)f; w = w / (a[2] + 1) + (int64_t)d;"
        "switch (a[3]) { case 0: a[4] = 9; break; case 1: a[5] = 8; break; case 2: a[6] = 7; break;"
        "case 3: a[7] = 6; break; case 4: a[8] = 1; break; case 5: a[9] = 3; break; default: a[10] = 2; }"
        "a[0] = (uint8_t)((int32_t)f + (int32_t)w);"
    )
    assert compile_objects(write_model(tmp_path, defect=code), INTERFACE, load_target(target)).text_bytes > 0


@pytest.mark.parametrize("target", ["cortex-m7", "rv32imc"])
def test_native_and_python_block_hooks_count_alike(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine-code hook is for x86-64 alone; other hosts count by a Python callback."""
    model = write_model(tmp_path)
    here = run(model, target, "unicorn").per_sample
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert run(model, target, "unicorn").per_sample == here
