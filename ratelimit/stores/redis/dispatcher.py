"""Gather what is asked while a call is in flight, and send it together."""

from __future__ import annotations

import asyncio
from collections import deque
from copy import copy
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.errors import StoreError

T = TypeVar("T")
A = TypeVar("A")

_MOST = 256
"""How many questions leave together at most: the server decides them in about 1 ms."""
_MANY = 16
"""From how many that wait on a second call is worth it, while the first is in flight."""
_USUAL = 2
"""How many calls are in flight at most, unless they are slow."""
_TICK = 0.001
"""How often to look for those who are too late at most, in seconds."""
_LATE = 0.005
"""From how late a timer is on the event loop has stood still, in seconds."""
_SLOW = 1 / 8
"""From which part of the deadline on a call is so slow that nobody can wait for two of them."""


class Waiting(Generic[T, A]):
    """A question that somebody waits for."""

    __slots__ = ("answer", "end", "question")

    def __init__(self, question: T, answer: asyncio.Future[A], end: float) -> None:
        self.question = question
        self.answer = answer
        self.end = end
        """When it is too late, by the monotonic clock."""

    def succeed(self, answer: A) -> None:
        """Tell whoever still waits."""
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Tell whoever still waits, in an exception of their own."""
        if not self.answer.done():
            own = copy(error)
            own.__cause__ = error.__cause__
            self.answer.set_exception(own)


class Lane(Protocol[T, A]):
    """What makes calls, one at a time."""

    def call(self, batch: Sequence[Waiting[T, A]], done: Callable[[], None]) -> None:
        """Ask some questions at once, tell each who waits, and then that it is done; no `await`."""

    def drop(self) -> None:
        """Give up the call that is in flight: all who wait for it have been told."""


class Dispatcher(Generic[T, A]):
    """Questions of one event loop to one server, first come, first served.

    Who asks when no call is in flight makes one at once; what is asked meanwhile leaves together
    when it is back. Where many wait, two calls are in flight, so that the server works while we
    do; where calls are slow, as many as there are lanes, so that few have to wait for two of them.
    There is no task, and no timer but one for deadlines. After the event loop has stood still, all
    have at least a quarter of their deadline left: the answer may well be there.

    Args:
        lanes: What makes the calls.
        deadline: How long a question may take, in seconds, from when it is asked.
        too_late: Returns the error for one that takes longer.

    """

    def __init__(
        self,
        lanes: Sequence[Lane[T, A]],
        deadline: float,
        too_late: Callable[[], StoreError],
    ) -> None:
        self._lanes = len(lanes)
        self._free = list(reversed(lanes))
        self._deadline = deadline
        self._too_late = too_late
        self._loop = asyncio.get_running_loop()
        self._finished: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Waiting[T, A]] = deque()
        self._flying: dict[Lane[T, A], list[Waiting[T, A]]] = {}
        self._left: dict[Lane[T, A], float] = {}
        self._is_slow = False
        """Whether the last call that came back was slow."""

    def ask(self, question: T) -> asyncio.Future[A]:
        """Return the answer to a question, to be awaited.

        Who is cancelled, or too late, harms no other. A question that hasn't left by then
        doesn't; otherwise it may have been heard.

        Raises:
            StoreError: The call failed, or took too long.

        """
        answer: asyncio.Future[A] = self._loop.create_future()
        self._queue.append(Waiting(question, answer, monotonic() + self._deadline))
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline, self._expire)
        free = self._free
        if free and (len(free) == self._lanes or self._is_urgent()):
            self._serve(free.pop())
        return answer

    def _is_urgent(self) -> bool:
        """Say whether one more call is worth it, though one is in flight."""
        if self._is_slow:
            return True
        return len(self._queue) >= _MANY and self._lanes - len(self._free) < _USUAL

    async def finish(self) -> None:
        """Wait until nothing is in flight, and nobody waits."""
        while len(self._free) < self._lanes:
            if self._finished is None:
                self._finished = self._loop.create_future()
            await asyncio.shield(self._finished)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _serve(self, lane: Lane[T, A]) -> None:
        """Let those who have waited longest have a lane."""
        batch = self._batch()
        if batch:
            self._flying[lane] = batch
            self._left[lane] = monotonic()
            lane.call(batch, lambda: self._rest(lane))
            return
        self._free.append(lane)
        if self._finished is not None and len(self._free) == self._lanes:
            self._finished.set_result(None)
            self._finished = None

    def _rest(self, lane: Lane[T, A]) -> None:
        """Wait for those who were answered, who may have more to ask, before the next call."""
        del self._flying[lane]
        self._is_slow = monotonic() - self._left[lane] > self._deadline * _SLOW
        self._loop.call_soon(self._serve, lane)

    def _batch(self) -> list[Waiting[T, A]]:
        """Take those who have waited longest, and still do: a lane's share of them at most."""
        queue = self._queue
        share = len(queue)
        if share > _MANY:
            flying = sum(map(len, self._flying.values()))
            share = min(_MOST, max(_MANY, -(-(share + flying) // min(_USUAL, self._lanes))))
        batch: list[Waiting[T, A]] = []
        while queue and len(batch) < share:
            waiting = queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    def _expire(self) -> None:
        """Tell those who are too late, and look again when the next one could be."""
        timer, self._timer = self._timer, None
        now = monotonic()
        if timer is not None and self._loop.time() - timer.when() > _LATE:
            self._put_off(now + self._deadline / 4)
        soonest = inf
        for line in (*self._flying.values(), self._queue):
            for waiting in line:
                if waiting.end > now:
                    soonest = min(soonest, waiting.end)
                    break
                waiting.fail(self._too_late())
        for lane, batch in list(self._flying.items()):
            if batch[-1].end <= now:
                lane.drop()
        if soonest < inf:
            self._timer = self._loop.call_later(max(soonest - now, _TICK), self._expire)

    def _put_off(self, end: float) -> None:
        """Let nobody be too late before then."""
        for line in (*self._flying.values(), self._queue):
            for waiting in line:
                waiting.end = max(waiting.end, end)
