"""An event loop on which no time is lost with waiting."""

from __future__ import annotations

import asyncio
import selectors
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.conftest import Clock


class _Selector(selectors.DefaultSelector):
    """A selector that moves a clock on instead of waiting."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, it is later at once."""
        ready = super().select(0)
        if not ready and timeout:
            self.clock.now += max(1, ceil(timeout * 1_000_000 - 0.01))
        return ready


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time is that of a clock, which moves on when all wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.start = clock.now
        super().__init__(_Selector(clock))

    def time(self) -> float:
        """Return the time in seconds, since the start: these are small enough to be told apart."""
        return (self.clock.now - self.start) / 1_000_000


def run(clock: Clock, main: Coroutine[Any, Any, Any]) -> Any:
    """Run something to its end, on the time of a clock."""
    with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
        return runner.run(main)
