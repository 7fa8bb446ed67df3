"""A watch over a search: what it is doing now and what it has found, for whoever waits; and when it is to end.

Without a time limit nothing here reads a clock, so that equal inputs give equal plans. A search that is told to end
keeps what it has found and proven, and takes the shortest way to a whole plan.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Watch:
    """Handed down to every part of a search.

    `seconds`: from now until the search is to end (None: never by itself). `tell` hears phases and bytes, in words.
    """

    def __init__(self, seconds: float | None = None, tell: Callable[[str], None] | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._tell = tell
        self._part = self._phase = ""
        self._stopped = False

    def stop(self) -> None:
        """The search is to end now. May be called at any time, by a signal handler too."""
        self._stopped = True

    def over(self) -> bool:
        """Whether the search is to end."""
        if not self._stopped and self._end is not None and time.monotonic() >= self._end:
            self._stopped = True
        return self._stopped

    def part(self, text: str) -> None:
        """What is being planned now, of several."""
        self._part = text
        self.phase("")

    def phase(self, text: str) -> None:
        """What is being done for it."""
        self._phase = text
        self._say("")

    def found(self, best_bytes: int | None, bound_bytes: int = 0) -> bool:
        """The best so far and the least that is possible, 0 where that is not known; False when it is to end."""
        if self._tell is not None:
            best = "" if best_bytes is None else f"{best_bytes:,} bytes found"
            bound = f"at least {bound_bytes:,} needed" if bound_bytes else ""
            self._say(", ".join(filter(None, (best, bound))))
        return not self.over()

    def _say(self, figures: str) -> None:
        if self._tell is not None:
            self._tell(": ".join(filter(None, (self._part, self._phase, figures))))
