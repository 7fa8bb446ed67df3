"""Kernels for cores with more than the base instructions, on those cores: equal to the reference, case by case."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Run
from operator_cases import Case
from target_harness import run_kernels_on
from test_operator_properties import (
    MODULES,
    PACKED,
    SwappedLanes,
    agrees,
    cases_of,
    compute,
    reference,
    row_forms,
    runs_of,
)

from tinycompile.ops.base import Variant
from tinycompile.ops.conv2d import Conv2d
from tinycompile.target import load_target

CORES = {"cortex-m4": "qemu-mps2-an386", "cortex-m33": "qemu-mps2-an505", "cortex-m55": "qemu-mps3-an547"}

pytestmark = pytest.mark.skipif(
    not (shutil.which("qemu-system-arm") and shutil.which("arm-none-eabi-gcc")),
    reason="needs qemu-system-arm and arm-none-eabi-gcc",
)


def special(case: Case, features: frozenset[str]) -> list[Variant]:
    """The variants of a case that a core with `features` runs and a core without any does not."""
    operator, node = case.operator, case.node
    every = dict.fromkeys((*operator.variants(node), *operator.over_window(node)))
    return [v for v in every if v.requires and v.requires <= features]


def runs_on(module: str, features: frozenset[str]) -> Iterator[tuple[Case, str, Run, int]]:
    for case in cases_of(module):
        names = {v.name for v in special(case, features)}
        for name, run, seed in runs_of(case):
            if run.variant in names:
                yield case, name, run, seed


WITH_VARIANTS = [m for m in MODULES if any(special(c, load_target("cortex-m55").features) for c in cases_of(m))]


def test_some_operators_have_variants() -> None:
    assert {"test_conv2d", "test_depthwise_conv2d", "test_fully_connected"} <= set(WITH_VARIANTS)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("module", WITH_VARIANTS)
def test_kernels_on_the_core_equal_the_reference(module: str, core: str, tmp_path: Path) -> None:
    runs = list(runs_on(module, load_target(core).features))
    outputs = run_kernels_on(core, CORES[core], [run for _, _, run, _ in runs], tmp_path)
    wrong = []
    for (case, name, run, seed), got in zip(runs, outputs, strict=True):
        expected = compute(case, run.out_region, row_forms(case, case.inputs(seed)), reference(case, seed))
        if not agrees(got, expected, 0):
            wrong.append(f"{case.name}, {name}")
    assert runs
    assert wrong == []


@pytest.mark.parametrize(("core", "variant"), [("cortex-m4", "dsp"), ("cortex-m55", "mve")])
def test_control_weights_in_another_order(core: str, variant: str, tmp_path: Path) -> None:
    node = PACKED["gathered"]
    values = Case("control", Conv2d(), node).inputs(4)
    expected = reference(Case("control", Conv2d(), node), 4)
    runs = [Run(operator, node, values, variant=variant) for operator in (Conv2d(), SwappedLanes())]
    right, wrong = run_kernels_on(core, CORES[core], runs, tmp_path)
    assert agrees(right, expected, 0)
    assert not agrees(wrong, expected, 0)
