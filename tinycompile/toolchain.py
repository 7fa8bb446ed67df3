"""Compilers and emulators on this machine: finding them, running them, and saying what a missing one would enable."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinycompile.errors import ToolchainError
from tinycompile.target import Target

# Warnings that generated code must not raise; -Wcast-align=strict is GCC's alone.
STRICT_FLAGS = (
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wcast-qual",
    "-Wvla",
    "-Werror",
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler: the command that starts it, its flavour (gcc, clang or zig) and version line."""

    command: tuple[str, ...]
    flavour: str
    version: str

    @property
    def strict_flags(self) -> tuple[str, ...]:
        align = "-Wcast-align=strict" if self.flavour == "gcc" else "-Wcast-align"
        return (*STRICT_FLAGS, align)


@dataclass(frozen=True)
class Tool:
    """A row of `tinycompile doctor`."""

    name: str
    found: bool
    version: str
    enables: str
    install: str


def run_tool(
    command: Sequence[str],
    where: str,
    cwd: Path | None = None,
    timeout_s: float = 120.0,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program; ToolchainError when it cannot be started or takes too long. Its exit status is the caller's."""
    try:
        return subprocess.run(
            list(command),
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=None if env is None else {**os.environ, **env},
        )
    except FileNotFoundError:
        raise ToolchainError(f"'{command[0]}' is not installed", where, "see `tinycompile doctor`") from None
    except subprocess.TimeoutExpired:
        raise ToolchainError(
            f"'{Path(command[0]).name}' did not finish in {timeout_s:.0f} s",
            where,
            "try a smaller model or fewer samples",
        ) from None


def compile_or_raise(command: Sequence[str], where: str, cwd: Path) -> None:
    """Run a compiler; ToolchainError with its first error lines when it fails."""
    done = run_tool(command, where, cwd)
    if done.returncode != 0:
        words = ("error", "undefined", "cannot find", "No such file")
        errors = [line for line in done.stderr.splitlines() if any(word in line for word in words)]
        first = "; ".join((errors or done.stderr.splitlines())[:4]) or f"exit status {done.returncode}"
        name = "zig cc" if "ziglang" in command else Path(command[0]).name
        fix = "report this if the code was generated"
        if "clang_rt" in done.stderr or "-lasan" in done.stderr or "-lubsan" in done.stderr:
            fix = "install the sanitizers' run-time library (Debian: apt install libclang-rt-dev), or use gcc"
        raise ToolchainError(f"{name} failed: {first}", where, fix)


@cache
def _version(command: tuple[str, ...]) -> str | None:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def _compiler(command: tuple[str, ...], flavour: str | None = None) -> Compiler | None:
    if shutil.which(command[0]) is None:
        return None
    version = _version(command)
    if version is None:
        return None
    return Compiler(command, flavour or ("clang" if "clang" in version.lower() else "gcc"), version)


def _zig() -> tuple[str, ...] | None:
    return (sys.executable, "-m", "ziglang", "cc") if importlib.util.find_spec("ziglang") is not None else None


def host_compiler(name: str | None = None) -> Compiler:
    """The system C compiler: `name`, $CC, gcc, clang or cc. ToolchainError when there is none."""
    for candidate in (name, os.environ.get("CC"), "gcc", "clang", "cc") if name is None else (name,):
        found = _compiler(tuple(candidate.split())) if candidate else None
        if found is not None:
            return found
    raise ToolchainError("no C compiler found", "host", "install gcc or clang (Debian: apt install gcc)")


def target_compiler(target: Target, prefer: str | None = None) -> Compiler:
    """The cross-compiler of a target: its GCC, or clang from the `ziglang` package. ToolchainError when neither is
    there.

    `prefer`: "gcc" or "zig" to insist on one.
    """
    if target.family == "host":
        return host_compiler()
    if prefer in (None, "gcc"):
        found = _compiler((target.toolchain.gcc,), "gcc")
        if found is not None:
            return found
    zig = _zig()
    if prefer in (None, "zig") and zig is not None and target.toolchain.zig_target is not None:
        return Compiler(zig, "zig", _version((sys.executable, "-m", "ziglang", "cc")) or "zig cc")
    raise ToolchainError(
        f"no compiler for {target.name}: {target.toolchain.gcc} is not installed",
        target.name,
        "pip install 'tinycompile[emu]', or on Debian: apt install gcc-arm-none-eabi (gcc-riscv64-unknown-elf)",
    )


def target_flags(target: Target, compiler: Compiler) -> tuple[str, ...]:
    """Flags that select the core and compile the kernels well with that compiler."""
    tools = target.toolchain
    if compiler.flavour == "zig":
        assert tools.zig_target is not None
        level = tuple(f for f in tools.kernel_flags if f.startswith("-O"))
        return ("-target", tools.zig_target, *tools.zig_flags, *level, "-fno-sanitize=all")
    return (*tools.cpu_flags, *tools.kernel_flags)


def _program(name: str, enables: str, install: str) -> Tool:
    found = _compiler((name,), "gcc")
    return Tool(name, found is not None, found.version if found else "", enables, install)


def _module(module: str, distribution: str, enables: str, install: str) -> Tool:
    from importlib.metadata import PackageNotFoundError, version

    present = importlib.util.find_spec(module.split(".")[0]) is not None
    try:
        number = version(distribution) if present else ""
    except PackageNotFoundError:
        number = "unknown version"
    return Tool(distribution, present, number, enables, install)


def probe() -> list[Tool]:
    """Everything outside the core dependencies that tinycompile can use."""
    emu = "pip install 'tinycompile[emu]'"
    return [
        _program("gcc", "emulate --on host; sanitizers", "apt install gcc"),
        _program("clang", "a second opinion on the host", "apt install clang"),
        _program("arm-none-eabi-gcc", "code size and emulation of Cortex-M", "apt install gcc-arm-none-eabi"),
        _program("riscv64-unknown-elf-gcc", "code size and emulation of RV32", "apt install gcc-riscv64-unknown-elf"),
        _program("make", "linking the firmware project of a real board", "apt install make"),
        _program("qemu-system-arm", "emulation of Cortex-M boards, M55 Helium", "apt install qemu-system-arm"),
        _module("unicorn", "unicorn", "emulation of Cortex-M and RV32 cores", emu),
        _module("elftools", "pyelftools", "emulation of Cortex-M and RV32 cores", emu),
        _module("ziglang", "ziglang", "cross-compiling without a system compiler", emu),
        _module("onnxruntime", "onnxruntime", "verify of ONNX models", "pip install 'tinycompile[quant]'"),
        _module("ai_edge_litert", "ai-edge-litert", "verify of TFLite models", "pip install ai-edge-litert"),
    ]
