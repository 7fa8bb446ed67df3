"""The bare-metal projects for real boards: they link without a warning, and run on the boards' memory maps."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hand_written_model import INTERFACE, expected, write_model
from onnx import TensorProto, helper

from tinycompile.board import Board, load_board
from tinycompile.commands.build import build
from tinycompile.emulate.elf_image import load_image
from tinycompile.emulate.firmware import firmware_project
from tinycompile.target import load_target

REAL_BOARDS = ("nucleo-h743zi2", "nucleo-f446re")


def linked(folder: Path, board: Board) -> Path:
    """The project made and linked; its ELF file."""
    target = load_target(board.target)
    for tool in (target.toolchain.gcc, "make"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    write_model(folder)
    for name, text in firmware_project(INTERFACE, target, board, 512, ()).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(["make", "-C", str(folder / "firmware")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "firmware" / "firmware.elf"


@pytest.mark.parametrize("function", ["Exp", "Neg"])
def test_a_model_that_calls_the_c_library_is_linked_with_it(function: str, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("make") is None:
        pytest.skip("arm-none-eabi-gcc or make is not installed")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node(function, ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    arguments = [str(tmp_path / "m.onnx"), "--board", "nucleo-h743zi2", "--no-compile", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(build, arguments).exit_code == 0
    done = subprocess.run(["make", "-C", tmp_path / "out" / "firmware"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("-lm -lc" in (tmp_path / "out" / "firmware" / "Makefile").read_text()) == (function == "Exp")


@pytest.mark.parametrize("name", REAL_BOARDS)
def test_everything_lies_in_the_board_s_memory(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    image = load_image(linked(tmp_path, board))
    flash, ram = board.first("flash"), board.first("ram")
    stack = next(m for m in board.memories if m.name == board.stack_memory)
    for address, data in image.segments:
        assert flash.origin <= address <= address + len(data) <= flash.end
    assert image.symbols["tc_vectors"] == flash.origin == 0x08000000
    assert ram.origin <= image.symbols["arena"] < ram.end
    assert stack.origin <= image.symbols["tc_stack_low"] < image.symbols["tc_stack_high"] <= stack.end


@pytest.mark.parametrize("name", REAL_BOARDS)
def test_firmware_starts_from_its_vectors_and_runs_the_model(tmp_path: Path, name: str) -> None:
    """In unicorn, on the board's own memory map, from the reset vector to the end of the first inference."""
    unicorn = pytest.importorskip("unicorn", reason="unicorn is not installed")
    from unicorn import arm_const, unicorn_const

    board = load_board(name)
    image = load_image(linked(tmp_path, board))
    uc = unicorn.Uc(unicorn_const.UC_ARCH_ARM, unicorn_const.UC_MODE_THUMB | unicorn_const.UC_MODE_MCLASS)
    model = {"cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4, "cortex-m7": arm_const.UC_CPU_ARM_CORTEX_M7}[board.target]
    uc.ctl_set_cpu_model(model)
    for memory in board.memories:
        uc.mem_map(memory.origin, memory.bytes)
    uc.mem_map(0xE0000000, 0x10000)  # the private peripherals: debug unit, system control
    for address, data in image.segments:
        uc.mem_write(address, data)
    arena = image.symbols["arena"]
    uc.mem_write(arena, b"\xa5" * INTERFACE.arena_bytes)  # start-up must clear it
    seen: list[bytes] = []

    def counted(*_: object) -> None:
        seen.append(bytes(uc.mem_read(arena, INTERFACE.outputs[0].nbytes)))
        uc.emu_stop()

    at = image.symbols["tc_inferences"]
    uc.hook_add(unicorn_const.UC_HOOK_MEM_WRITE, lambda *a: counted() if a[4] == 1 else None, begin=at, end=at + 3)
    vectors = np.frombuffer(bytes(uc.mem_read(board.vectors.origin, 64)), "<u4")
    assert vectors[0] == image.symbols["tc_stack_high"]
    assert vectors[1] == image.symbols["tc_reset"] | 1
    assert set(vectors[2:7].tolist()) == {image.symbols["tc_fault"] | 1}
    uc.reg_write(arm_const.UC_ARM_REG_SP, int(vectors[0]))
    uc.emu_start(int(vectors[1]), 0xFFFFFFFE, timeout=20_000_000)
    zeros = [np.zeros((1, 1, 16), np.int8)]
    assert seen == [expected(zeros).tobytes()]
    debug_unit_on = bytes(uc.mem_read(0xE0001000, 4))[0] & 1  # DWT_CTRL.CYCCNTENA
    assert debug_unit_on


@pytest.mark.parametrize("name", REAL_BOARDS)
def test_an_arena_larger_than_the_memory_does_not_link(tmp_path: Path, name: str) -> None:
    board = load_board(name)
    linked(tmp_path, board)
    header = tmp_path / "toy.h"
    header.write_text(header.read_text().replace("bytes[37]", f"bytes[{board.first('ram').bytes + 16}]"))
    done = subprocess.run(["make", "-B", "-C", str(tmp_path / "firmware")], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "overflowed" in done.stderr
