"""The command line in a process that may not have more than 2 GiB, and how long it took."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 5.0
WALL_SECONDS = 60.0  # a busy machine may give little of its time; processor time is what the limit is for


@dataclass(frozen=True)
class Run:
    status: int
    stderr: str
    cpu_seconds: float


def run_limited(*arguments: str | Path) -> Run:
    """``python -m tinycompile`` with 2 GiB of address space, the start of the interpreter included in the time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "tinycompile", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WALL_SECONDS,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
        # Each thread of NumPy's library reserves address space that it does not use.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(done.returncode, done.stderr, spent)


def refused(*arguments: str | Path) -> str:
    """The first line of the error with which a model must be refused: three lines, exit status 3, within the limits."""
    run = run_limited(*arguments)
    lines = run.stderr.strip().splitlines()
    assert run.status == 3, (run.status, run.stderr[-2000:])
    assert [line.split(":")[0].strip().split("[")[0] for line in lines] == ["error", "where", "fix"], run.stderr
    assert run.cpu_seconds < CPU_SECONDS
    return lines[0]
