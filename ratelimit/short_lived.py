"""Notice limiters that are made anew for each request."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ratelimit.warning import MADE_ANEW, warn

if TYPE_CHECKING:
    from collections.abc import Callable

_MANY = 100
_GONE = 90
_MOST_PLACES = 1_000
_TOLD = (
    "%d limiters were made at %s:%d within %.1f s, and %d of them are gone with all that they have "
    "counted: make one, outside of the function"
)


class _Place:
    """A line of code that makes limiters."""

    __slots__ = ("alive", "made", "since", "told")

    def __init__(self) -> None:
        self.told = False
        self.start(0)

    def start(self, now: float) -> None:
        """Count from now on."""
        self.since = now
        self.made = 0
        self.alive: WeakValueDictionary[int, object] = WeakValueDictionary()


class Nursery:
    """Where limiters that keep their states themselves are made.

    Many that are made on one line, and are gone before the time has passed for which they count,
    each forget what the one before has counted. Those that live on are meant to be many.

    Args:
        clock: A function that returns seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[tuple[str, int], _Place] = {}

    def made(self, limiter: object, horizon: int) -> None:
        """Take note of a new limiter, which counts for so many microseconds."""
        line = _line()
        place = self._places.get(line)
        if place is None:
            if len(self._places) >= _MOST_PLACES:
                return
            place = self._places[line] = _Place()
        if place.told:
            return
        now = self._clock()
        if not place.made:
            place.start(now)
        place.made += 1
        place.alive[id(limiter)] = limiter
        if place.made < _MANY:
            return
        span = now - place.since
        gone = place.made - len(place.alive)
        place.told = span < horizon / 1_000_000 and gone >= _GONE
        place.start(now)
        if place.told:
            warn(MADE_ANEW, _TOLD, _MANY, *line, span, gone)


def _line() -> tuple[str, int]:
    """Return the line of the code outside of this package that is being run."""
    frame = sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "ratelimit":
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


made = Nursery().made
"""Take note of a new limiter of this process, which counts for so many microseconds."""
