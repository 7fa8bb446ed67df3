"""The shape of the house: imports point only down the list of DESIGN, phase packages never import one another."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tinycompile"
PHASES = ("frontends", "passes", "schedule", "codegen", "emulate")
# From the top of the house to the ground; a module may import only what stands at its own level's rest or below.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("__main__", "__init__"),
    ("cli", "commands"),
    ("torch", "api"),
    ("verify",),
    ("pipeline",),
    ("planning",),
    ("report",),
    ("costs",),
    ("emulate",),
    ("codegen",),
    ("schedule",),
    ("quantize",),
    ("passes",),
    ("frontends",),
    ("zoo",),
    ("ops",),
    ("ir",),
    ("toolchain",),
    ("board",),
    ("target",),
    ("watch",),
    ("resources",),
    ("output_folder",),
    ("array_files",),
    ("errors",),
)
LEVEL_OF = {name: i for i, names in enumerate(LEVELS) for name in names}


def top(module: str) -> str:
    """``tinycompile.ir.graph`` -> ``ir``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Names of the project's modules that a file imports, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "tinycompile"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "tinycompile":
            if node.module == "tinycompile":
                found |= {f"tinycompile.{a.name}" for a in node.names if (PACKAGE / a.name).exists()}
                found |= {f"tinycompile.{a.name}" for a in node.names if (PACKAGE / f"{a.name}.py").exists()}
            else:
                found.add(node.module)
    return found


def violations(path: Path, own: str) -> list[str]:
    result = []
    for name in imports(path):
        other = top(name)
        if other == own:
            continue
        if own in PHASES and other in PHASES:
            result.append(f"{own} imports the phase {other}")
        elif LEVEL_OF[other] < LEVEL_OF[own]:
            result.append(f"{own} imports {other}, which stands above it")
    return result


MODULES = sorted(p for p in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert own in LEVEL_OF, f"{own} has no place in the house"
    assert violations(path, own) == []


@pytest.mark.parametrize(
    ("own", "code"),
    [
        ("passes", "from tinycompile.schedule import plan_graph"),
        ("codegen", "def f():\n    import tinycompile.passes"),
        ("ir", "from tinycompile.ops.base import Region"),
        ("errors", "from tinycompile.ir.types import DType"),
        ("ops", "from tinycompile import pipeline"),
    ],
)
def test_the_check_itself_finds_a_wrong_import(tmp_path: Path, own: str, code: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(code)
    assert violations(path, own)


def test_errors_imports_nothing_of_the_project() -> None:
    assert imports(PACKAGE / "errors.py") == set()


def test_operators_never_touch_templates() -> None:
    for path in (PACKAGE / "ops").rglob("*.py"):
        assert "jinja2" not in path.read_text(encoding="utf-8"), path


def test_pipeline_fits_on_one_screen() -> None:
    assert len((PACKAGE / "pipeline.py").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (220 if path.parent.name == "ops" and path.name not in ("base.py",) else 420)
    assert path.stem not in ("utils", "common", "misc")


def test_templates_hold_no_arithmetic() -> None:
    """Templates print. The one subtraction allowed asks whether a loop is needed."""
    pattern = re.compile(r"\{\{[^}]*[*/%+][^}]*\}\}")
    for path in (ROOT / "templates" / "c").glob("*.j2"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not pattern.search(re.sub(r'"[^"]*"', "", line)), f"{path.name}: {line}"


def test_importing_the_package_is_light() -> None:
    """`import tinycompile` loads neither NumPy nor ONNX: the command line's start-up depends on it."""
    code = "import sys, tinycompile; print(sorted({'numpy', 'onnx', 'ortools', 'jinja2', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def named_tests(text: str) -> list[tuple[str, str]]:
    """(file, function) of every test that a page names."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def missing(named: list[tuple[str, str]]) -> list[str]:
    found = []
    for file, function in named:
        path = ROOT / file
        if not path.is_file() or not re.search(rf"^def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(f"{file}::{function}")
    return found


def test_every_claim_about_security_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert len(named_tests(text)) >= 30
    assert missing(named_tests(text)) == []
    claims = text.partition("\n## Claims\n")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert [claim.splitlines()[0] for claim in claims if not named_tests(claim)] == []


def test_a_test_that_is_gone_would_be_missed() -> None:
    """The control."""
    assert missing(named_tests("`tests/architecture/test_architecture.py::test_that_nobody_wrote`"))
