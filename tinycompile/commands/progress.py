"""A sign of life on a terminal for whatever takes longer than a moment."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import click

from tinycompile.watch import Watch


@contextlib.contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr while the block runs; nothing when stderr is no terminal. The block gets a function that
    shows what is being done now."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda detail: status.update(f"{what}: {detail}")


@contextlib.contextmanager
def ended_by_interrupt(watch: Watch) -> Iterator[None]:
    """Inside the block the first Ctrl-C ends the search, which gives what it has found; the second ends the program.
    Says so on stderr when the search was cut short."""
    if threading.current_thread() is threading.main_thread():
        before = signal.getsignal(signal.SIGINT)

        def stop(*_: object) -> None:
            signal.signal(signal.SIGINT, before)
            watch.stop()

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        yield
    if watch.over():
        click.echo("search cut short: this is the best found so far", err=True)
