"""First come, first served, and no longer than the deadline."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from math import inf
from threading import Lock, RLock
from typing import TYPE_CHECKING, Generic, TypeVar

from ratelimit.forks import fork_safe

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Hashable, Mapping


P = TypeVar("P", "Place", "AsyncPlace")

_LONGEST = 1_000_000_000
"""From here on a timeout is as good as none, in seconds."""
_AT_ONCE = 3_000_000
"""The longest that a lock can be waited for everywhere, in seconds."""


class Deadline:
    """When a wait has to be over.

    Args:
        timeout: Seconds from now; None, infinity or more than 30 years for never.

    Raises:
        TypeError: `timeout` is no number.
        ValueError: `timeout` is negative or NaN.

    """

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        if timeout is None:
            timeout = inf
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"a timeout is seconds, not {type(timeout).__name__}: {timeout!r}")
        if not timeout >= 0:
            raise ValueError(f"a timeout is 0 s or more, not {timeout}")
        self._end = inf if timeout > _LONGEST else time.monotonic() + timeout

    @property
    def left(self) -> float:
        """The seconds left: 0 or more, perhaps infinite."""
        return max(0.0, self._end - time.monotonic())

    @property
    def left_us(self) -> float:
        """The microseconds left: a whole number, or infinity."""
        return inf if self._end == inf else round(self.left * 1_000_000)

    def is_before(self, wait_us: float) -> bool:
        """Say whether a wait from now on ends too late, or never."""
        return wait_us == inf or wait_us > self.left_us


def sleep(seconds: float) -> None:
    """Sleep, if there is anything to sleep."""
    if seconds > 0:
        time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Sleep, if there is anything to sleep."""
    if seconds > 0:
        import asyncio

        await asyncio.sleep(seconds)


class Place:
    """A thread's place in a line.

    Args:
        key: What the line is for.
        asked: How much is asked for, of each limit.

    """

    __slots__ = ("_gate", "ahead", "asked", "called", "key")

    def __init__(self, key: Hashable, asked: Mapping[str, int]) -> None:
        self.key = key
        self.asked = asked
        self.ahead: Mapping[str, int] = {}
        """What all who came before have asked for, of each limit."""
        self.called = False
        """Whether it is their turn."""
        self._gate = Lock()
        self._gate.acquire()

    def call(self) -> bool:
        """Tell the one who waits here that it is their turn; whether they can be told."""
        self.called = True
        self._gate.release()
        return True

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the turn; whether it came before the deadline."""
        left = deadline.left
        return self._gate.acquire(timeout=-1 if left == inf else min(left, _AT_ONCE))


class AsyncPlace:
    """A task's place in a line, which tasks of several event loops may share.

    Args:
        key: What the line is for.
        asked: How much is asked for, of each limit.

    """

    __slots__ = ("_loop", "_turn", "ahead", "asked", "called", "key")

    def __init__(self, key: Hashable, asked: Mapping[str, int]) -> None:
        import asyncio

        self.key = key
        self.asked = asked
        self.ahead: Mapping[str, int] = {}
        """What all who came before have asked for, of each limit."""
        self.called = False
        """Whether it is their turn."""
        self._loop = asyncio.get_running_loop()
        self._turn: Future[None] = self._loop.create_future()

    def call(self) -> bool:
        """Tell the one who waits here that it is their turn; whether they can be told."""
        try:
            if _running_loop() is self._loop:
                self._turn.set_result(None)
            else:
                self._loop.call_soon_threadsafe(self._turn.set_result, None)
        except RuntimeError:  # their event loop is closed
            return False
        self.called = True
        return True

    async def wait(self, deadline: Deadline) -> bool:
        """Wait for the turn; whether it came before the deadline."""
        import asyncio

        left = deadline.left
        await asyncio.wait([self._turn], timeout=None if left == inf else left)
        return self._turn.done()


def _running_loop() -> AbstractEventLoop | None:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Line(Generic[P]):
    """Those who wait for one key."""

    __slots__ = ("asked", "places")

    def __init__(self) -> None:
        self.places: OrderedDict[P, None] = OrderedDict()
        """The first one has been called."""
        self.asked: Counter[str] = Counter()
        """What all of them ask for, of each limit."""

    def drop(self, place: P) -> None:
        """Forget a place."""
        del self.places[place]
        self.asked.subtract(place.asked)

    def recount(self) -> None:
        """Put right what all of them ask for."""
        self.asked.clear()
        for place in self.places:
            self.asked.update(place.asked)


class Lines(Generic[P]):
    """A line for each key that somebody waits for."""

    def __init__(self) -> None:
        self._guard = fork_safe(RLock())
        self._lines: dict[Hashable, Line[P]] = {}

    def join(self, place: P) -> None:
        """Take the last place in the line of its key."""
        with self._guard:
            line = self._lines.setdefault(place.key, Line())
            place.ahead = dict(line.asked)
            line.places[place] = None
            line.asked.update(place.asked)
            if len(line.places) == 1:
                place.call()

    def leave(self, place: P) -> None:
        """Give a place up, if it was taken, and call the next one if it was the first."""
        try:
            with self._guard:
                line = self._lines.get(place.key)
                if line is not None and place in line.places:
                    line.drop(place)
                    self._go_on(place.key, line)
        except BaseException:  # who is interrupted in this leaves all the same
            with self._guard:
                line = self._lines.get(place.key, Line())
                line.places.pop(place, None)
                line.recount()
                self._go_on(place.key, line)
            raise

    def _go_on(self, key: Hashable, line: Line[P]) -> None:
        """Call the first one who can be told; forget the others, whose event loops are gone."""
        while line.places:
            first = next(iter(line.places))
            if first.called or first.call():
                return
            line.drop(first)
        self._lines.pop(key, None)
