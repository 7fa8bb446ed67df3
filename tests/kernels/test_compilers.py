"""The kernels compile without a warning with every compiler, and their arithmetic is the documented one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import INCLUDE, WARNINGS, Run, c_source

from tinycompile.ir.quant import multiply_by_quantized_multiplier
from tinycompile.ops.single_rounding import multiply_nearest

sys.path.insert(0, str(Path(__file__).parents[1] / "ops"))
import test_operator_properties as properties

COMPILERS = {
    "gcc": ["gcc", "-Wcast-align=strict"],
    "clang": ["clang", "-Wcast-align"],
    "arm": ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-Wcast-align=strict"],
    "arm_m0": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-Wcast-align=strict"],
}


def example_runs() -> list[Run]:
    """One run of every third case of every operator."""
    cases = [c for module in properties.MODULES for c in properties.cases_of(module)[::3]]
    return [run for case in cases for _, run, _ in list(properties.runs_of(case))[:1]]


@pytest.mark.parametrize("name", COMPILERS)
def test_no_warnings_at_o2(name: str, tmp_path: Path) -> None:
    command = COMPILERS[name]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    source = tmp_path / "kernels.c"
    source.write_text(c_source(example_runs()), encoding="utf-8")
    flags = [*WARNINGS, "-O2", "-c", "-I", str(INCLUDE), "-o", str(tmp_path / "kernels.o")]
    done = subprocess.run([*command, *flags, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize("header", sorted(p.name for p in INCLUDE.glob("tc_*.h")))
def test_a_header_stands_alone(header: str, tmp_path: Path) -> None:
    source = tmp_path / "one.c"
    source.write_text(f'#include "{header}"\n#include "{header}"\nint one_file(void);\n', encoding="utf-8")
    command = ["gcc", *WARNINGS, "-Wcast-align=strict", "-fsyntax-only", "-I", str(INCLUDE), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


PROGRAM = """#include <stdio.h>
#include "tc_requantize.h"
int main(void)
{
    int32_t v[3];
    while (fread(v, sizeof v[0], 3, stdin) == 3) {
        const int32_t twice = tc_requantize(v[0], v[1], v[2]);
        const int8_t once = tc_output_nearest_s8((uint32_t)v[0], v[1], v[2], 0, -128, 127);
        const int8_t low = tc_output_nearest_s8((uint32_t)v[0], v[1], v[2], -128, -128, 127);
        const int8_t clamped = tc_output_s8((uint32_t)v[0], v[1], v[2], 127, -128, 127);
        fwrite(&twice, sizeof twice, 1, stdout);
        fwrite(&once, 1, 1, stdout);
        fwrite(&low, 1, 1, stdout);
        fwrite(&clamped, 1, 1, stdout);
    }
    return 0;
}
"""


def test_requantisation_equals_the_reference(tmp_path: Path) -> None:
    """Random accumulators, the extremes of int32, exact halves of both signs, all shifts."""
    rng = np.random.default_rng(0)
    shift = rng.integers(-31, 31, 40000)
    multiplier = rng.integers(2**30, 2**31, shift.size)
    multiplier[::5], multiplier[1::50] = 2**30, 2**31 - 1
    acc = rng.integers(-(2**31), 2**31, shift.size) >> rng.integers(0, 32, shift.size)
    acc[:4] = [-(2**31), 2**31 - 1, -1, 0]
    halves = slice(5000, None, 5)  # multiplier 2^30: odd multiples of 2^-shift are halves
    acc[halves] = (2 * rng.integers(-100, 100, shift.size)[halves] + 1) << np.clip(-shift, 0, 20)[halves]
    source, program = tmp_path / "requantize.c", tmp_path / "requantize"
    source.write_text(PROGRAM, encoding="utf-8")
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    subprocess.run(["gcc", *WARNINGS, *sanitize, "-I", str(INCLUDE), "-o", str(program), str(source)], check=True)
    data = np.stack([acc, multiplier, shift], axis=1).astype(np.int32).tobytes()
    done = subprocess.run([str(program)], input=data, capture_output=True, check=True)
    kinds = [("twice", "<i4"), ("once", "i1"), ("low", "i1"), ("clamped", "i1")]
    got = np.frombuffer(done.stdout, dtype=np.dtype(kinds))
    twice, once = multiply_by_quantized_multiplier(acc, multiplier, shift), multiply_nearest(acc, multiplier, shift)
    np.testing.assert_array_equal(got["twice"], twice)
    np.testing.assert_array_equal(got["once"], np.clip(once, -128, 127))
    np.testing.assert_array_equal(got["low"], np.clip(once - 128, -128, 127))
    np.testing.assert_array_equal(got["clamped"], np.clip(twice + 127, -128, 127))
    assert (twice[4:] != once[4:]).any(), "the two roundings should differ somewhere"
