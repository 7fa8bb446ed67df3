"""Targets: every file in ``targets/`` is sound, sizes are parsed, and bad names and files are refused with a hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinycompile import target as target_module
from tinycompile.errors import TargetError, ToolchainError, UsageError
from tinycompile.target import list_targets, load_target, parse_bytes
from tinycompile.toolchain import compile_or_raise, host_compiler, probe, run_tool, target_compiler

GOOD = """description = "a core"
family = "arm-m"
features = ["dsp"]
[memory]
sram = "64k"
[toolchain]
gcc = "arm-none-eabi-gcc"
cpu_flags = ["-mcpu=cortex-m4"]
"""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1500", 1500),
        ("1500b", 1500),
        ("320k", 327_680),
        ("320K", 327_680),
        ("64KiB", 65_536),
        ("64 kb", 65_536),
        (" 1M ", 1_048_576),
        ("2MiB", 2_097_152),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5k", "1g", "12 34", "0x10", "1e3", "9" * 13, "٣k", "1k\n2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_bytes(text)
    assert caught.value.exit_code == 2


def test_the_targets() -> None:
    assert set(list_targets()) == {
        "cortex-m0plus",
        "cortex-m3",
        "cortex-m4",
        "cortex-m7",
        "cortex-m33",
        "cortex-m55",
        "rv32imc",
        "host",
    }


@pytest.mark.parametrize("name", list_targets())
def test_shipped_targets_are_sound(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.family in ("arm-m", "riscv32", "host")
    assert (target.sram_bytes is None) == (target.family == "host")
    assert ("mve" in target.features) == (name == "cortex-m55")
    assert ("dsp" in target.features) == (name in ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"))
    assert any(f.startswith("-O") for f in target.toolchain.kernel_flags)


@pytest.mark.parametrize("name", ["cortex-m7f", "Cortex-M7", "cortex-m77"])
def test_unknown_names_get_a_hint(name: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(name)
    assert "cortex-m7" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["", "../boards/x", "cortex-m7.toml", "a\nb"])
def test_names_are_not_paths(name: str) -> None:
    with pytest.raises(TargetError):
        load_target(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("description", "title"),
        ("[toolchain]", "[toolchain"),
        ('"64k"', '"64q"'),
        ("gcc =", "cc ="),
        ("[toolchain]", "[tools]"),
        ('features = ["dsp"]', "features = 3"),
        ('features = ["dsp"]', 'features = "dsp"'),
        ('cpu_flags = ["-mcpu=cortex-m4"]', 'cpu_flags = "-mcpu=cortex-m4"'),
        ('family = "arm-m"', 'family = "mips"'),
        ('family = "arm-m"', 'family = "arm-m"\nemulation = 3'),
    ],
)
def test_malformed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    (tmp_path / "mine.toml").write_text(GOOD.replace(old, new) if old else GOOD)
    monkeypatch.setattr(target_module, "data_dir", lambda kind: tmp_path)
    if not old:  # the control: the file is good as it stands
        assert load_target("mine").sram_bytes == 65_536
        return
    with pytest.raises(TargetError, match="malformed") as caught:
        load_target("mine")
    assert "mine.toml" in caught.value.where


def test_every_tool_says_what_it_is_for() -> None:
    tools = probe()
    assert {"gcc", "arm-none-eabi-gcc", "qemu-system-arm", "unicorn", "ziglang"} <= {t.name for t in tools}
    assert all(t.enables and t.install for t in tools)
    assert all(t.version for t in tools if t.found)


def test_a_compiler_s_own_words_are_passed_on(tmp_path: Path) -> None:
    (tmp_path / "bad.c").write_text("int f(void) { return undeclared_name; }\n")
    command = [*host_compiler().command, "-c", "bad.c"]
    with pytest.raises(ToolchainError, match="undeclared_name") as caught:
        compile_or_raise(command, "a test", tmp_path)
    assert caught.value.exit_code == 5


def test_a_program_that_does_not_end_is_stopped() -> None:
    with pytest.raises(ToolchainError, match="did not finish"):
        run_tool(["sleep", "30"], "a test", timeout_s=0.2)


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolchainError) as caught:
        host_compiler()
    assert "apt install gcc" in caught.value.fix
    with pytest.raises(ToolchainError) as caught:
        target_compiler(load_target("cortex-m7"), "gcc")
    assert "gcc-arm-none-eabi" in caught.value.fix
