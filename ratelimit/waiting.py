"""First come, first served, and no longer than the deadline."""

from __future__ import annotations

import time
from collections import deque
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Hashable


P = TypeVar("P", "Place", "AsyncPlace")


class Deadline:
    """When a wait has to be over.

    Args:
        timeout: Seconds from now; None or infinity for never.

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
        self._end = time.monotonic() + timeout

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
    """A thread's place in a line."""

    __slots__ = ("_gate", "ahead", "cost", "key")

    def __init__(self, key: Hashable, cost: int, ahead: int) -> None:
        self.key = key
        self.cost = cost
        self.ahead = ahead
        """What all who came before have asked for."""
        self._gate = Lock()
        self._gate.acquire()

    def call(self) -> None:
        """Tell the one who waits here that it is their turn."""
        self._gate.release()

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the turn; whether it came before the deadline."""
        left = deadline.left
        return self._gate.acquire(timeout=-1 if left == inf else min(left, 3e6))


class AsyncPlace:
    """A task's place in a line."""

    __slots__ = ("_turn", "ahead", "cost", "key")

    def __init__(self, key: Hashable, cost: int, ahead: int) -> None:
        import asyncio

        self.key = key
        self.cost = cost
        self.ahead = ahead
        """What all who came before have asked for."""
        self._turn: Future[None] = asyncio.get_running_loop().create_future()

    def call(self) -> None:
        """Tell the one who waits here that it is their turn."""
        self._turn.set_result(None)

    async def wait(self, deadline: Deadline) -> bool:
        """Wait for the turn; whether it came before the deadline."""
        import asyncio

        left = deadline.left
        await asyncio.wait([self._turn], timeout=None if left == inf else left)
        return self._turn.done()


class Lines(Generic[P]):
    """A line for each key that somebody waits for."""

    def __init__(self, place: Callable[[Hashable, int, int], P]) -> None:
        self._place: Callable[[Hashable, int, int], P] = place
        self._guard = Lock()
        self._lines: dict[Hashable, deque[P]] = {}

    def join(self, key: Hashable, cost: int) -> P:
        """Take the last place in the line of a key."""
        with self._guard:
            line = self._lines.setdefault(key, deque())
            place = self._place(key, cost, sum(other.cost for other in line))
            line.append(place)
            if len(line) == 1:
                place.call()
        return place

    def leave(self, place: P) -> None:
        """Give a place up, and call the next one if it was the first."""
        with self._guard:
            line = self._lines[place.key]
            first = line[0] is place
            line.remove(place)
            if not line:
                del self._lines[place.key]
            elif first:
                line[0].call()
