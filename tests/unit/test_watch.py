"""A search that is ended early: there is a plan all the same, it is proven, and its bound claims nothing else."""

from __future__ import annotations

import signal
from functools import lru_cache
from pathlib import Path

import pytest
from click import Command
from click.testing import CliRunner
from schedule_graphs import PlainTarget, inverted_bottleneck, resnet8

from tinycompile.commands.build import build
from tinycompile.commands.plan import plan as plan_verb
from tinycompile.commands.progress import ended_by_interrupt
from tinycompile.errors import UsageError
from tinycompile.ir.interface import InputMode
from tinycompile.ir.plan import Plan
from tinycompile.passes.stream_reductions import stream_reductions
from tinycompile.planning.choose import Chooser
from tinycompile.planning.goal import Goal
from tinycompile.schedule import RowPlanner, verify_plan
from tinycompile.target import load_target
from tinycompile.watch import Watch
from tinycompile.zoo.architectures import mobilenet_v2

DIGITS = str(Path(__file__).parents[2] / "tinycompile" / "zoo" / "digits_qdq.onnx")


class EndsAfter(Watch):
    """Over when it has been asked `times` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def over(self) -> bool:
        self.times -= 1
        return self.times < 0


GRAPHS = {"resnet8": lambda: stream_reductions(resnet8()), "bottleneck": inverted_bottleneck}


@lru_cache
def unhurried(name: str, mode: InputMode) -> Plan:
    return RowPlanner(GRAPHS[name](), PlainTarget(), input_mode=mode).plan()


@pytest.mark.parametrize("times", [0, 1, 3, 10, 40])
@pytest.mark.parametrize("mode", list(InputMode))
def test_a_search_that_ends_early_has_a_proven_plan_and_a_sound_bound(mode: InputMode, times: int) -> None:
    for name in GRAPHS:
        best, graph = unhurried(name, mode), GRAPHS[name]()
        plan = RowPlanner(graph, PlainTarget(), input_mode=mode, watch=EndsAfter(times)).plan()
        verify_plan(plan)
        assert best.certificate.optimal
        assert plan.certificate.lower_bound_bytes <= best.arena_bytes <= plan.arena_bytes
        assert plan.certificate.optimal == (plan.arena_bytes == plan.certificate.lower_bound_bytes)


@pytest.mark.parametrize("times", [0, 20, 300])
def test_the_choice_of_a_plan_ends_early_too(times: int) -> None:
    graph = mobilenet_v2(0.35, 48, 10)
    goal = Goal(InputMode.EXTERNAL, minimize_sram=True)
    plan = Chooser(graph, load_target("cortex-m7"), "net", goal, EndsAfter(times)).plan()
    verify_plan(plan)
    assert plan.arena_bytes >= Chooser(graph, load_target("cortex-m7"), "net", goal).plan().arena_bytes


def test_without_a_limit_no_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> float:
        raise AssertionError("a plan must not depend on the time")

    monkeypatch.setattr("tinycompile.watch.time.monotonic", refuse)
    verify_plan(RowPlanner(stream_reductions(resnet8()), PlainTarget(), watch=Watch()).plan())


def test_what_it_tells() -> None:
    heard: list[str] = []
    watch = Watch(tell=heard.append)
    watch.part("2 of 3")
    watch.phase("addresses")
    assert watch.found(12_345, 12_000)
    watch.stop()
    assert not watch.found(None)
    assert heard == [
        "2 of 3",
        "2 of 3: addresses",
        "2 of 3: addresses: 12,345 bytes found, at least 12,000 needed",
        "2 of 3: addresses",
    ]


def test_time_passes() -> None:
    assert Watch(0.0).over()
    assert not Watch(1000.0).over()


def test_the_first_interrupt_ends_the_search_and_the_second_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch()
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have background jobs ignore it
    try:
        with ended_by_interrupt(watch):
            signal.raise_signal(signal.SIGINT)
            assert watch.over()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert "best found so far" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-3", "nan", "inf"])
@pytest.mark.parametrize("verb", [plan_verb, build])
def test_a_limit_must_be_above_zero(verb: Command, seconds: str) -> None:
    done = CliRunner().invoke(verb, [DIGITS, "--time-limit", seconds])
    assert isinstance(done.exception, UsageError)
    assert "no time to search" in done.exception.what


@pytest.mark.parametrize("more", [[], ["--pareto"]])
def test_a_plan_within_a_moment(more: list[str]) -> None:
    arguments = [DIGITS, "--io", "quantized", "--minimize", "sram", "--time-limit", "1e-6", *more]
    done = CliRunner().invoke(plan_verb, arguments)
    assert done.exit_code == 0, done.output
    assert "search cut short" in done.stderr
