"""Operators of other installed packages: found by entry point, never by anything that a model file says.

A package names an `Extension` under the entry point group ``tinycompile.operators``
(docs/out-of-tree-operators.md). All of them are loaded before the first model is read; one that cannot be used is an
error that names its package, whatever the model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from tinycompile.errors import UsageError, one_line
from tinycompile.ops.base import Operator
from tinycompile.ops.registry import OPERATORS
from tinycompile.resources import data_dir

GROUP = "tinycompile.operators"
_HEADER = re.compile(r"tc_[a-z0-9_]+\.h")  # as generated code and other headers include them
_FIX = "repair or uninstall that package"
OnnxName = tuple[str, str]


@dataclass(frozen=True)
class Extension:
    """What one package adds.

    `operators`: instances of kinds of its own. `headers`: the C headers of their kernels, ``tc_<name>.h`` each, which
    may include one another and those of ``runtime_c/include``. `onnx`: (domain, operator type) -> importer, called as
    the functions in ``tinycompile.frontends.onnx.table`` are. `tflite`: custom operator code -> importer, as in
    ``tinycompile.frontends.tflite.operators``.
    """

    operators: tuple[Operator, ...] = ()
    headers: tuple[Path, ...] = ()
    onnx: Mapping[OnnxName, Callable[..., Any]] = field(default_factory=dict)
    tflite: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Extensions:
    """What all packages add, by name."""

    operators: Mapping[str, Operator]
    headers: Mapping[str, Path]
    onnx: Mapping[OnnxName, Callable[..., Any]]
    tflite: Mapping[str, Callable[..., Any]]


@cache
def load_extensions() -> Extensions:
    """The extensions of all installed packages, their operators registered.

    Raises UsageError for a package that does not load, takes a name that exists, or lacks a header.
    """
    names: dict[str, dict[Any, Any]] = {
        "operator kind": {},
        "kernel header": {},
        "ONNX operator": {},
        "TFLite code": {},
    }
    owners: dict[tuple[str, Any], str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda p: (_package(p), p.name)):
        for what, name, value in _declared(point):
            owner = owners.setdefault((what, name), _package(point))
            if name in names[what] or _is_own(what, name):
                other = owner if name in names[what] else "tinycompile"
                raise _unusable(point, f"{what} {name!r} exists already, in {other}")
            names[what][name] = value
    found = Extensions(*names.values())
    OPERATORS.update(found.operators)
    return found


def header_path(name: str) -> Path:
    """Where a kernel's header is: tinycompile's own, or that of an extension."""
    return load_extensions().headers.get(name) or data_dir("runtime_c") / "include" / name


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _unusable(point: EntryPoint, what: str) -> UsageError:
    return UsageError(one_line(what), f"package '{_package(point)}', entry point '{point.name}' of {GROUP}", _FIX)


def _is_own(what: str, name: Any) -> bool:
    """Whether tinycompile has the name itself. Operator sets of ONNX's own are not for others to add to."""
    if what == "operator kind":
        return name in OPERATORS
    if what == "kernel header":
        return (data_dir("runtime_c") / "include" / str(name)).exists()
    return what == "ONNX operator" and name[0] in ("", "ai.onnx", "com.microsoft")


def _declared(point: EntryPoint) -> Iterator[tuple[str, Any, Any]]:
    """What the entry point adds: (what it is, its name, the thing itself)."""
    try:
        extension = point.load()
    except Exception as error:  # anything that a foreign module may raise as it is imported
        raise _unusable(point, f"does not load: {type(error).__name__}: {error}") from error
    if not isinstance(extension, Extension):
        raise _unusable(point, f"{point.value} is no tinycompile.ops.extensions.Extension")
    for operator in extension.operators:
        if not isinstance(operator, Operator):
            raise _unusable(point, f"{operator!r} is no instance of an Operator")
        yield "operator kind", operator.kind, operator
    for header in extension.headers:
        if not _HEADER.fullmatch(header.name):
            raise _unusable(point, f"the header {header.name} is not named tc_<name>.h")
        if not header.is_file():
            raise _unusable(point, f"the header {header} is missing")
        yield "kernel header", header.name, header
    for (domain, kind), importer in extension.onnx.items():
        yield "ONNX operator", (domain, kind), importer
    for code, importer in extension.tflite.items():
        yield "TFLite code", code, importer
