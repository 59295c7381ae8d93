"""Gather what is asked while a call is in flight, and send it together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from ratelimit.errors import StoreError

T = TypeVar("T")
A = TypeVar("A")

_MOST = 256
"""How many questions leave together at most: the server decides them in about 1 ms."""
_MANY = 16
"""From how many that wait on a second call is worth it, while the first is in flight."""
_TICK = 0.001
"""How often to look for those who are too late at most, in seconds."""


Lane = Callable[[Sequence[T]], Awaitable[Sequence[A]]]
"""What makes calls, one at a time: takes questions, returns their answers in their order."""


class Waiting(NamedTuple, Generic[T, A]):
    """A question that somebody waits for."""

    question: T
    answer: asyncio.Future[A]
    end: float
    """When it is too late, by the monotonic clock."""

    def fail(self, error: StoreError) -> None:
        """Tell whoever still waits, in an exception of their own."""
        if not self.answer.done():
            own = copy(error)
            own.__cause__ = error.__cause__
            self.answer.set_exception(own)


class Dispatcher(Generic[T, A]):
    """Questions of one event loop to one server, first come, first served.

    Who asks when no call is in flight makes one, and waits for nothing else; what is asked
    meanwhile leaves together when it is back. Where many wait, as many calls are in flight as
    there are lanes, so that the server works while we do. There is no timer but one for
    deadlines.

    Args:
        lanes: Each takes some questions, and returns their answers in the same order; one call at
            a time. It may be cancelled, and then drops whatever is in flight.
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
        self._free = list(lanes)
        self._deadline = deadline
        self._too_late = too_late
        self._loop = asyncio.get_running_loop()
        self._idle = asyncio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Waiting[T, A]] = deque()
        self._flying: dict[Lane[T, A], list[Waiting[T, A]]] = {}

    def ask(self, question: T) -> Awaitable[A]:
        """Return the answer to a question, to be awaited at once.

        Who is cancelled, or too late, harms no other. A question that hasn't left by then
        doesn't; otherwise it may have been heard.

        Raises:
            StoreError: The call failed, or took too long.

        """
        end = monotonic() + self._deadline
        if len(self._free) == self._lanes:
            return self._ask_alone(question, end)
        answer: asyncio.Future[A] = self._loop.create_future()
        self._queue.append(Waiting(question, answer, end))
        if self._timer is None:
            self._timer = self._loop.call_later(self._deadline, self._expire)
        if self._free and len(self._queue) >= _MANY:
            self._let_go(self._free.pop())
        return answer

    async def finish(self) -> None:
        """Wait until nothing is in flight, and nobody waits."""
        await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()

    async def _ask_alone(self, question: T, end: float) -> A:
        self._idle.clear()
        lane = self._free.pop()
        try:
            (answer,) = await self._call_before(end, lane, [question])
        finally:
            self._let_go(lane)
        return answer

    async def _call_before(
        self, end: float, lane: Lane[T, A], questions: Sequence[T]
    ) -> Sequence[A]:
        try:
            async with asyncio.timeout(end - monotonic()):
                return await lane(questions)
        except TimeoutError as error:
            raise self._too_late() from error

    def _let_go(self, lane: Lane[T, A]) -> None:
        """Let those who wait have a lane."""
        if self._queue:
            task = self._loop.create_task(self._serve(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._rest(lane)

    def _rest(self, lane: Lane[T, A]) -> None:
        self._free.append(lane)
        if len(self._free) == self._lanes:
            self._idle.set()

    async def _serve(self, lane: Lane[T, A]) -> None:
        try:
            while batch := self._batch():
                self._flying[lane] = batch
                await self._serve_all(lane, batch)
                del self._flying[lane]
                await asyncio.sleep(0)  # those who were answered may have more to ask
        finally:
            self._flying.pop(lane, None)
            self._rest(lane)

    def _batch(self) -> list[Waiting[T, A]]:
        """Take those who have waited longest, and still do: a lane's share of them at most."""
        flying = sum(map(len, self._flying.values()))
        share = max(_MANY, -(-(len(self._queue) + flying) // self._lanes))
        batch: list[Waiting[T, A]] = []
        while self._queue and len(batch) < min(share, _MOST):
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _serve_all(self, lane: Lane[T, A], batch: list[Waiting[T, A]]) -> None:
        questions = [waiting.question for waiting in batch]
        try:
            answers = await self._call_before(batch[-1].end, lane, questions)
        except StoreError as error:
            for waiting in batch:
                waiting.fail(error)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    def _expire(self) -> None:
        """Tell those who are too late, and look again when the next one could be."""
        self._timer = None
        now = monotonic()
        soonest = inf
        for line in (*self._flying.values(), self._queue):
            for waiting in line:
                if waiting.end > now:
                    soonest = min(soonest, waiting.end)
                    break
                waiting.fail(self._too_late())
        if soonest < inf:
            self._timer = self._loop.call_later(max(soonest - now, _TICK), self._expire)
