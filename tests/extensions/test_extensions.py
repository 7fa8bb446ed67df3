"""Operators out of tree: an example package, found by its real entry point, built and run; and packages gone wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinycompile.ops.extensions import GROUP

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLE = HERE / "square_plus"


def describe(site: Path, name: str, entry_points: dict[str, str]) -> None:
    """What an installer writes of a package beside its files."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    points = "".join(f"{key} = {value}\n" for key, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{points}")


def install_example(site: Path) -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    shutil.copytree(EXAMPLE / "square_plus", site / "square_plus")
    describe(site, project["name"].replace("-", "_"), project["entry-points"][GROUP])


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(ROOT), str(ROOT / "tests" / "unit")))}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=site
    )


def custom_model(path: Path) -> Path:
    """A convolution and two SquarePlus nodes."""
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("SquarePlus", ["c"], ["s"], domain="com.example", bias=0.75),
        helper.make_node("SquarePlus", ["s"], ["y"], domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes,
        "custom",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 5])],
        [numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


BUILD = """
import sys
from pathlib import Path
import numpy as np
import tinycompile
from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
model, out = sys.argv[1:]
for goal in ("resident", "streamed"):
    built = tinycompile.build(model, "cortex-m7", out=f"{out}-{goal}", input=goal)
    assert "tc_square_plus_f32.h" in built.files
    x = np.random.default_rng(1).standard_normal((2, *built.plan.interface.inputs[0].shape)).astype(np.float32)
    got = run_host(Path(f"{out}-{goal}"), built.plan.interface, [x]).outputs[0]
    want = [run_plan(built.plan, [sample])[0] for sample in x]
    assert got.tobytes() == np.stack(want).reshape(got.shape).tobytes()
    print(goal)
"""


def test_an_onnx_model_of_a_custom_operator_builds_and_runs(tmp_path: Path) -> None:
    """Sanitised C code, as whole buffers and as rows that are pushed, equals the operator's `compute`."""
    site = tmp_path / "site"
    site.mkdir()
    install_example(site)
    done = python(site, "-c", BUILD, str(custom_model(tmp_path / "m.onnx")), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["resident", "streamed"]


TFLITE = """
from pathlib import Path
import sys
from tflite_models import ModelMaker, lower
maker = ModelMaker()
x, y = maker.input((1, 4, 4, 2), None, dtype="FLOAT32"), maker.tensor((1, 4, 4, 2), None, dtype="FLOAT32")
maker.op("CUSTOM", [x], y)
maker.model.operatorCodes[-1].customCode = "SquarePlus"
Path(sys.argv[1]).write_bytes(maker.build(y))
print([op.kind for op in lower(Path(sys.argv[1])).ops])
"""


def test_a_custom_operator_of_a_tflite_model(tmp_path: Path) -> None:
    install_example(tmp_path)
    done = python(tmp_path, "-c", TFLITE, str(tmp_path / "m.tflite"))
    assert done.stdout.strip() == "['square_plus']", done.stderr


def test_ops_lists_the_operators_of_extensions(tmp_path: Path) -> None:
    install_example(tmp_path)
    done = python(tmp_path, "-m", "tinycompile", "ops", "--json")
    assert "com.example.SquarePlus" in done.stdout, done.stderr
    assert "CUSTOM SquarePlus" in done.stdout
    assert '"square_plus"' in done.stdout


def test_without_the_package_its_operator_is_unsupported(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "tinycompile", "build", str(custom_model(tmp_path / "m.onnx")))
    assert done.returncode == 3
    assert "com.example.SquarePlus" in done.stderr


HEAD = "from pathlib import Path\nfrom tinycompile.ops.extensions import Extension\n"
BROKEN = {
    "no such module": (None, "does not load: ModuleNotFoundError"),
    "raises": ("1 / 0\n", "does not load: ZeroDivisionError"),
    "no extension": ("EXTENSION = 1\n", "broken:EXTENSION is no tinycompile.ops.extensions.Extension"),
    "no operator": ("EXTENSION = Extension(operators=(1,))\n", "1 is no instance of an Operator"),
    "known kind": (
        "from tinycompile.ops.clip import Clip\nEXTENSION = Extension(operators=(Clip(),))\n",
        "operator kind 'clip' exists already, in tinycompile",
    ),
    "kind of another package": (
        "from square_plus import SquarePlus\nEXTENSION = Extension(operators=(SquarePlus(),))\n",
        "operator kind 'square_plus' exists already, in broken",
    ),
    "known ONNX operator": (
        "EXTENSION = Extension(onnx={('', 'Conv'): print})\n",
        "ONNX operator ('', 'Conv') exists already, in tinycompile",
    ),
    "missing header": ("EXTENSION = Extension(headers=(Path('/none/tc_none.h'),))\n", "/none/tc_none.h is missing"),
    "name of the header": ("EXTENSION = Extension(headers=(Path('none.h'),))\n", "not named tc_<name>.h"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_package_that_cannot_be_used_is_named(case: str, tmp_path: Path) -> None:
    source, message = BROKEN[case]
    site = tmp_path / "site"
    site.mkdir()
    install_example(site)
    describe(site, "broken", {"bad": "broken:EXTENSION"})
    if source is not None:
        (site / "broken.py").write_text(HEAD + source)
    model = str(custom_model(tmp_path / "m.onnx"))
    done = python(site, "-m", "tinycompile", "build", model, "-o", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "package 'broken'" in done.stderr or "package 'square_plus'" in done.stderr
    assert not (tmp_path / "out").exists()
