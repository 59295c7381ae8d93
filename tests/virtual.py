"""An event loop on which no time is lost with waiting."""

from __future__ import annotations

import asyncio
import selectors
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
            self.clock.advance(timeout)
        return ready


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time is that of a clock, which moves on when all wait."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self.clock = clock

    def time(self) -> float:
        """Return the time in seconds."""
        return self.clock.now / 1_000_000


def run(clock: Clock, main: Coroutine[Any, Any, Any]) -> Any:
    """Run something to its end, on the time of a clock."""
    with asyncio.Runner(loop_factory=lambda: Loop(clock)) as runner:
        return runner.run(main)
