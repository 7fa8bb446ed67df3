"""Real int8 models, bit for bit LiteRT's reference kernels: interpreter, sanitised host build, emulated Cortex-M7.

The quick tests run the golden samples and a few random ones; the slow ones run 100 random ones everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference_models import (
    INT8_MODELS,
    WHOLE_BUFFER_BYTES,
    Arrays,
    Built,
    build_into,
    golden,
    litert,
    model_path,
    random_inputs,
)

from tinycompile.emulate.host import run_host
from tinycompile.emulate.interpreter import run_plan
from tinycompile.emulate.target import run_target
from tinycompile.errors import CheckFailed, InternalError
from tinycompile.schedule import verify_plan
from tinycompile.target import load_target

M7 = "cortex-m7"


@pytest.fixture(scope="module")
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    path = model_path(request.param)
    return build_into(path, tmp_path_factory.mktemp(request.param))


def samples_for(path: Path, random: int) -> tuple[Arrays, Arrays]:
    """Golden samples and then `random` random ones, with LiteRT's outputs for all; the goldens must agree with
    LiteRT."""
    ins, outs = golden(path)
    extra = random_inputs(path, ins, random)
    inputs = [np.concatenate([a, b]) for a, b in zip(ins, extra, strict=True)]
    expected = litert(path, inputs)
    for got, want in zip(expected, outs, strict=True):
        assert np.array_equal(got[: len(want)], want), "LiteRT on this machine differs from the golden outputs"
    assert all(len(np.unique(e.reshape(len(e), -1), axis=0)) > 1 for e in expected), "outputs do not depend on inputs"
    return inputs, expected


def assert_equal(got: Arrays, want: Arrays) -> None:
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.reshape(w.shape), w)


def interpret(built: Built, inputs: Arrays, fill: int = 0xA5) -> Arrays:
    runs = [run_plan(built.plan, [a[i] for a in inputs], fill) for i in range(len(inputs[0]))]
    return [np.stack(o) for o in zip(*runs, strict=True)]


@pytest.mark.parametrize("built", INT8_MODELS, indirect=True)
def test_interpreter_and_host_are_bit_exact(built: Built) -> None:
    inputs, expected = samples_for(built.path, 2)
    assert_equal(interpret(built, [a[:2] for a in inputs]), [e[:2] for e in expected])
    assert_equal(run_host(built.folder, built.plan.interface, inputs).outputs, expected)


@pytest.mark.parametrize("emulator", ["unicorn", "qemu"])
@pytest.mark.parametrize("built", INT8_MODELS, indirect=True)
def test_emulated_cortex_m7_is_bit_exact(built: Built, emulator: str) -> None:
    inputs, expected = samples_for(built.path, 0)
    run = run_target(built.folder, built.plan.interface, load_target(M7), inputs, emulator=emulator)
    assert_equal(run.outputs, expected)
    assert run.instructions > 0
    assert 0 < run.stack_bytes


@pytest.mark.parametrize("built", ["mlperf_kws_int8", "mlperf_ad01_int8"], indirect=True)
def test_unicorn_and_qemu_count_the_same_instructions(built: Built) -> None:
    inputs, _ = samples_for(built.path, 0)
    one = [a[:1] for a in inputs]
    runs = {
        e: run_target(built.folder, built.plan.interface, load_target(M7), one, emulator=e) for e in ("unicorn", "qemu")
    }
    assert runs["unicorn"].instructions == runs["qemu"].instructions


LARGE = ("mcunet_vww", "mlperf_vww96_int8")  # the same code as of the others, for longer
SMALL_FIRST = [pytest.param(stem, marks=[pytest.mark.slow] * (stem in LARGE)) for stem in INT8_MODELS]


@pytest.mark.parametrize("built", SMALL_FIRST, indirect=True)
def test_an_arena_one_byte_smaller_fails_everywhere(built: Built) -> None:
    from dataclasses import replace

    ins, _ = golden(built.path)
    one = [a[:1] for a in ins]
    short = built.plan.arena_bytes - 1
    with pytest.raises(InternalError):
        verify_plan(replace(built.plan, arena_bytes=short))
    with pytest.raises((InternalError, IndexError, ValueError)):
        run_plan(replace(built.plan, arena_bytes=short), [a[0] for a in one], 0xA5)
    with pytest.raises(CheckFailed):
        run_host(built.folder, built.plan.interface, one, arena_bytes=short)
    with pytest.raises(CheckFailed):
        run_target(built.folder, built.plan.interface, load_target(M7), one, emulator="unicorn", arena_bytes=short)


@pytest.mark.parametrize("stem", INT8_MODELS)
def test_peak_arena_is_proven_least_for_whole_buffers(stem: str, tmp_path: Path) -> None:
    plan = build_into(model_path(stem), tmp_path, io="quantized").plan
    assert plan.arena_bytes <= WHOLE_BUFFER_BYTES[stem]
    assert plan.certificate.optimal
    assert plan.certificate.lower_bound_bytes == plan.arena_bytes


@pytest.mark.slow
@pytest.mark.parametrize("built", INT8_MODELS, indirect=True)
@pytest.mark.parametrize("where", ["interpreter", "host", "unicorn", "qemu"])
def test_hundred_random_inputs(built: Built, where: str) -> None:
    inputs, expected = samples_for(built.path, 100)
    if where == "interpreter":
        got = interpret(built, inputs)
    elif where == "host":
        got = run_host(built.folder, built.plan.interface, inputs).outputs
    else:
        got = run_target(built.folder, built.plan.interface, load_target(M7), inputs, emulator=where).outputs
    assert_equal(got, expected)
