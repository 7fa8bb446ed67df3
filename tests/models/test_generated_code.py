"""The generated C under every compiler at hand: no warnings, a C++ header, no writable data, no library calls."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from reference_models import INT8_MODELS, Built, build_into, model_path

from tinycompile.commands.samples import random_inputs
from tinycompile.emulate.host import run_host
from tinycompile.emulate.target import compile_objects
from tinycompile.errors import CheckFailed, ToolchainError
from tinycompile.target import list_targets, load_target
from tinycompile.zoo import digits_model_path

# The largest takes as long as all others together, and shows no more.
MODELS = [
    pytest.param(stem, marks=[pytest.mark.slow] * (stem == "mcunet_vww"))
    for stem in ("digits_qdq", "micro_kws_m_qdq", *INT8_MODELS)
]


@pytest.fixture(scope="module", params=MODELS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    path = digits_model_path() if request.param == "digits_qdq" else model_path(request.param)
    return build_into(path, tmp_path_factory.mktemp(request.param))


def test_gcc_and_clang_agree_and_warn_of_nothing(built: Built) -> None:
    if shutil.which("clang") is None or shutil.which("gcc") is None:
        pytest.skip("gcc or clang is not installed")
    inputs = random_inputs(built.plan.interface, 1)
    outputs = [
        run_host(built.folder, built.plan.interface, inputs, sanitize=False, compiler=cc).outputs
        for cc in ("gcc", "clang")
    ]
    for first, second in zip(*outputs, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("target", [t for t in list_targets() if t != "host"])
def test_every_target_compiles_it_without_writable_data_or_library_calls(built: Built, target: str) -> None:
    try:
        objects = compile_objects(built.folder, built.plan.interface, load_target(target))
    except ToolchainError as error:
        if "installed" in error.what:
            pytest.skip(error.what)
        raise
    assert objects.text_bytes > 0
    assert objects.rodata_bytes > 0


def test_a_writable_variable_would_be_noticed(built: Built, tmp_path: Path) -> None:
    """The control."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    for path in built.folder.iterdir():
        shutil.copy(path, tmp_path)
    source = tmp_path / f"{built.plan.interface.prefix}.c"
    source.write_text(source.read_text() + "\nextern int tc_spoiled;\nint tc_spoiled = 1;\n")
    with pytest.raises(CheckFailed, match="writable"):
        compile_objects(tmp_path, built.plan.interface, load_target("cortex-m7"))


def test_the_header_is_cplusplus(built: Built, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    (tmp_path / "main.cc").write_text(f'#include "{built.plan.interface.prefix}.h"\nint main() {{ return 0; }}\n')
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "main.cc", f"-I{built.folder}"]
    subprocess.run(["g++", *flags], check=True, cwd=tmp_path)
