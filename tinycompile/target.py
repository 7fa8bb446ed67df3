"""Targets: one TOML file per core in ``targets/``; data, never code."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinycompile.errors import TargetError, UsageError
from tinycompile.resources import data_dir

FAMILIES = ("arm-m", "riscv32", "host")


@dataclass(frozen=True)
class Toolchain:
    """A compiler's name and the flags that select this core and compile kernels well.

    `zig_target` and `zig_flags` are for clang as the `ziglang` package brings it.
    """

    gcc: str
    cpu_flags: tuple[str, ...]
    kernel_flags: tuple[str, ...]
    zig_target: str | None
    zig_flags: tuple[str, ...]


@dataclass(frozen=True)
class Costs:
    """Instructions per MAC, per MAC of a depthwise convolution, per element put out, of kernels of the core's own
    instructions and of plain ones; per row that a kernel is called for and per run of rows; cycles per byte of weights
    that is read from flash (``tinycompile.costs``)."""

    mac: float
    depthwise_mac: float
    elem: float
    plain_mac: float
    plain_elem: float
    row: float
    run: float
    weight_byte: float = 0.0


@dataclass(frozen=True)
class Target:
    """A core. `sram_bytes` and `flash_bytes` are typical of parts with it, None where there is no limit.

    `features` select kernel variants. `unicorn_cpu`: the model in unicorn, None where it has none; `emulation_board`:
    the board whose memory map firmware for this core is linked for by default.
    """

    name: str
    description: str
    family: str
    features: frozenset[str]
    sram_bytes: int | None
    flash_bytes: int | None
    toolchain: Toolchain
    unicorn_cpu: str | None
    emulation_board: str | None
    costs: Costs | None


_UNITS = {"": 1, "b": 1, "k": 1024, "kb": 1024, "kib": 1024, "m": 1024**2, "mb": 1024**2, "mib": 1024**2}


def parse_bytes(text: str) -> int:
    """``320k``, ``64KiB``, ``1M`` or plain bytes, k being 1024. UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,12})\s*([a-z]*)", text.strip().lower(), re.ASCII)
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"'{text}' is no size", "size option", "write it as 320k, 64KiB, 1M or a number of bytes")
    return int(match[1]) * _UNITS[match[2]]


def list_targets() -> list[str]:
    """Names of all targets, sorted."""
    return sorted(p.stem for p in Path(data_dir("targets")).glob("*.toml"))


def load_target(name: str) -> Target:
    """The target of that name. TargetError when there is none (with the closest names) or its file is malformed."""
    names = list_targets()
    if name not in names:
        close = difflib.get_close_matches(name, names, 3, 0.4)
        hint = f"did you mean {' or '.join(close)}?" if close else f"one of: {', '.join(names)}"
        raise TargetError(f"no target '{name}'", "--target", hint)
    path = Path(data_dir("targets")) / f"{name}.toml"
    try:
        return _parse(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, UsageError) as error:
        raise TargetError(
            f"the target file is malformed: {error}", str(path), "compare it with another target file"
        ) from None


def _parse(name: str, data: dict[str, Any]) -> Target:
    memory, tools, emulation = (_table(data, key) for key in ("memory", "toolchain", "emulation"))
    if data["family"] not in FAMILIES:
        raise ValueError(f"family is one of {', '.join(FAMILIES)}")
    return Target(
        name,
        str(data["description"]),
        str(data["family"]),
        frozenset(_strings(data, "features")),
        parse_bytes(str(memory["sram"])) if "sram" in memory else None,
        parse_bytes(str(memory["flash"])) if "flash" in memory else None,
        Toolchain(
            str(tools["gcc"]),
            _strings(tools, "cpu_flags"),
            _strings(tools, "kernel_flags"),
            tools.get("zig_target"),
            _strings(tools, "zig_flags"),
        ),
        emulation.get("unicorn_cpu"),
        emulation.get("board"),
        Costs(**{key: float(value) for key, value in _table(data, "costs").items()}) if "costs" in data else None,
    )


def _table(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, dict):
        raise TypeError(f"{key} is no table")
    return value


def _strings(data: dict[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"{key} is no list of strings")
    return tuple(value)
