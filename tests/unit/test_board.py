"""Boards: every file in ``boards/`` is sound, and bad names and files are refused with a hint."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tinycompile import board as board_module
from tinycompile.board import list_boards, load_board
from tinycompile.errors import TargetError
from tinycompile.target import list_targets, load_target

GOOD = """description = "a board"
target = "cortex-m4"
[[memory]]
name = "FLASH"
kind = "flash"
origin = 0x08000000
size = "64k"
[[memory]]
name = "RAM"
kind = "ram"
origin = 0x20000000
size = "16k"
"""


@pytest.mark.parametrize("name", list_boards())
def test_shipped_boards_are_sound(name: str) -> None:
    board = load_board(name)
    target = load_target(board.target)
    ranges = sorted((m.origin, m.end) for m in board.memories)
    assert all(a[1] <= b[0] for a, b in pairwise(ranges)), "memories overlap"
    assert all(m.origin % 4096 == 0 and m.bytes % 4096 == 0 and m.end <= 2**32 for m in board.memories)
    assert len({m.name for m in board.memories}) == len(board.memories)
    assert board.first("ram").bytes >= (target.sram_bytes or 0) or board.flash_command is not None
    assert (board.flash_command is None) or (board.qemu_machine is None)


def test_every_emulated_target_has_its_board() -> None:
    for name in list_targets():
        target = load_target(name)
        if target.emulation_board is not None:
            assert load_board(target.emulation_board).target == name
        else:
            assert target.family == "host"


def test_stm32_memory_maps() -> None:
    """ST RM0433 (STM32H743) and RM0390 (STM32F446)."""
    h7 = {m.name: (m.origin, m.bytes // 1024) for m in load_board("nucleo-h743zi2").memories}
    assert h7 == {
        "FLASH": (0x08000000, 2048),
        "DTCM": (0x20000000, 128),
        "AXI_SRAM": (0x24000000, 512),
        "SRAM1": (0x30000000, 128),
        "SRAM2": (0x30020000, 128),
        "SRAM3": (0x30040000, 32),
        "SRAM4": (0x38000000, 64),
    }
    f4 = {m.name: (m.origin, m.bytes // 1024) for m in load_board("nucleo-f446re").memories}
    assert f4 == {"FLASH": (0x08000000, 512), "SRAM": (0x20000000, 128)}


@pytest.mark.parametrize("name", ["nucleo-h743zi", "", "../targets", "nucleo-h743zi2/../nucleo-f446re"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_board(name)
    assert "nucleo-h743zi2" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ('"64k"', '"64q"'),
        ("0x08000000", '"zero"'),
        ('kind = "ram"', 'kind = "disk"'),
        ('kind = "ram"', 'kind = "flash"'),
        ('kind = "flash"', 'kind = "ram"'),
        ("description", "title"),
        ("[[memory]]", "[memory]"),
        ("[[memory]]", "[[memory"),
        ('target = "cortex-m4"\n', 'target = "cortex-m4"\nemulator = 3\n'),
        ('target = "cortex-m4"\n', 'target = "cortex-m4"\n[firmware]\nstack = "CCM"\n'),
    ],
)
def test_malformed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "board.toml").write_text(GOOD.replace(old, new) if old else GOOD)
    monkeypatch.setattr(board_module, "data_dir", lambda kind: tmp_path)
    if not old:  # the control: the file is good as it stands
        assert load_board("mine").first("ram").bytes == 16384
        return
    with pytest.raises(TargetError, match="malformed") as caught:
        load_board("mine")
    assert "board.toml" in caught.value.where
