"""``tinycompile targets``, ``boards``, ``ops`` and ``doctor``: what there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from tinycompile.commands import options

SCHEMA_VERSION = 1


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    widths = [max(len(r[i]) for r in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip() for r in (header, *rows)]
    return "\n".join(lines)


def show(as_json: bool, key: str, data: Any, text: str) -> None:
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, key: data}) if as_json else text)


@click.command()
@options.json_option
def targets(as_json: bool) -> None:
    """Cores that code can be generated for (--target), with the memory of typical parts."""
    from tinycompile.target import list_targets, load_target

    found = [load_target(name) for name in list_targets()]

    def size(value: int | None) -> str:
        return "-" if value is None else f"{value // 1024} KiB"

    rows = [
        (t.name, size(t.sram_bytes), size(t.flash_bytes), ", ".join(sorted(t.features)) or "-", t.description)
        for t in found
    ]
    data = [
        {
            "name": t.name,
            "description": t.description,
            "features": sorted(t.features),
            "sram_bytes": t.sram_bytes,
            "flash_bytes": t.flash_bytes,
        }
        for t in found
    ]
    show(as_json, "targets", data, table(("target", "SRAM", "flash", "features", ""), rows))


@click.command()
@options.json_option
def boards(as_json: bool) -> None:
    """Boards with a memory map: emulated ones, and real ones with a firmware project."""
    from tinycompile.board import list_boards, load_board

    found = [load_board(name) for name in list_boards()]
    rows = [
        (
            b.name,
            b.target,
            ", ".join(f"{m.name} {m.bytes // 1024}K @ 0x{m.origin:08x}" for m in b.memories),
            b.description,
        )
        for b in found
    ]
    data = [
        {
            "name": b.name,
            "description": b.description,
            "target": b.target,
            "memories": [{"name": m.name, "origin": m.origin, "bytes": m.bytes, "kind": m.kind} for m in b.memories],
        }
        for b in found
    ]
    show(as_json, "boards", data, table(("board", "target", "memory", ""), rows))


@click.command()
@options.json_option
def ops(as_json: bool) -> None:
    """Supported operators: what each source format's operators become, and the kinds that have kernels."""
    from tinycompile.frontends import supported_operators
    from tinycompile.ops.registry import OPERATORS

    formats = supported_operators()
    lines = []
    for name, operators in formats.items():
        lines += [f"{name} ({len(operators)})", *_wrapped(operators), ""]
    lines += [f"operator kinds ({len(OPERATORS)})", *_wrapped(tuple(sorted(OPERATORS)))]
    show(as_json, "operators", {**formats, "kinds": sorted(OPERATORS)}, "\n".join(lines))


def _wrapped(words: Sequence[str]) -> list[str]:
    import textwrap

    return textwrap.wrap(", ".join(words), 96, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


@click.command()
@options.json_option
def doctor(as_json: bool) -> None:
    """Which compilers, emulators and extras are installed, and what each missing one would enable."""
    from tinycompile.toolchain import probe

    tools = probe()
    rows = [
        (t.name, "yes" if t.found else "no", t.version[:48], t.enables, "" if t.found else t.install) for t in tools
    ]
    data = [
        {"name": t.name, "found": t.found, "version": t.version, "enables": t.enables, "install": t.install}
        for t in tools
    ]
    show(as_json, "tools", data, table(("tool", "found", "version", "enables", "to install"), rows))
