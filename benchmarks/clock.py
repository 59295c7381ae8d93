"""Time that moves when it is told to."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START = 1_790_000_040_000_000_000
"""A whole minute, in ns since the epoch; after the day on which floats of seconds lost a bit."""
UPTIME = 1_020_000_000_000
"""What the monotonic clock says at the start, in ns: a whole minute too, for windows by it."""

_real_time_ns = time.time_ns
_real_monotonic_ns = time.monotonic_ns
_current: list[Clock] = []


class Clock:
    """What the clocks of this process say: real ones, shifted, or one that stands still."""

    def __init__(self, *, still: bool) -> None:
        self._still = still
        self.ns = 0
        """How far both clocks were moved, in ns."""
        self.set_by = 0
        """How far the wall clock was set besides, in ns."""

    @property
    def now(self) -> int:
        """The true time in ns: what the wall clock would say if nobody had set it."""
        return START + self.ns if self._still else _real_time_ns() + self.ns

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self.ns += round(seconds * 1e9)

    def time_ns(self) -> int:
        """Return ns since the epoch."""
        return self.now + self.set_by

    def monotonic_ns(self) -> int:
        """Return ns since some moment."""
        return UPTIME + self.ns if self._still else _real_monotonic_ns() + self.ns


def _time_ns() -> int:
    return _current[-1].time_ns() if _current else _real_time_ns()


def _monotonic_ns() -> int:
    return _current[-1].monotonic_ns() if _current else _real_monotonic_ns()


_STAND_INS: dict[str, Callable[[], float]] = {
    "time_ns": _time_ns,
    "time": lambda: _time_ns() / 1e9,
    "monotonic_ns": _monotonic_ns,
    "monotonic": lambda: _monotonic_ns() / 1e9,
}


@contextmanager
def put_in_place(clock: Clock) -> Iterator[Clock]:
    """Let all of this process read a clock, as long as the block lasts.

    The functions of `time` stay replaced afterwards, and tell the real time: a library that is
    imported meanwhile may have kept them.
    """
    for name, function in _STAND_INS.items():
        setattr(time, name, function)
    _current.append(clock)
    try:
        yield clock
    finally:
        _current.pop()
