"""`acquire` waits: in order, no longer than it may, and it can be cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from math import inf, nan
from typing import Any

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitExceeded
from ratelimit.limiter import Limiter


def test_waits_until_it_is_allowed() -> None:
    """A second hit waits for its token, and no less."""
    limiter = Limiter(TokenBucket("50/second", burst=1))
    limiter.acquire("k")
    start = time.monotonic()
    assert limiter.acquire("k")
    assert time.monotonic() - start >= 0.018


def test_refuses_at_once_what_would_take_longer() -> None:
    """Who can't be served in time is told so without a wait, and charged nothing."""
    limiter = Limiter(TokenBucket("1/hour"))
    limiter.acquire("k")
    with pytest.raises(RateLimitExceeded) as denied:
        limiter.acquire("k", timeout=60)
    assert 3_599 < denied.value.decision.retry_after <= 3_600


def test_never_is_told_at_once() -> None:
    """A cost that never fits isn't waited for, even without a timeout."""
    with pytest.raises(RateLimitExceeded, match="a cost of 11 never fits a limit of 10"):
        Limiter(FixedWindow("10/hour")).acquire("k", 11)


def test_a_queue_refuses_a_turn_that_comes_too_late() -> None:
    """A leaky bucket takes nobody in whose turn comes after their deadline."""
    limiter = Limiter(LeakyBucket("1/minute", capacity=10))
    limiter.acquire("k", timeout=0)
    with pytest.raises(RateLimitExceeded):
        limiter.acquire("k", timeout=1)
    assert limiter.peek("k").remaining == 10


def test_a_queue_keeps_the_delay() -> None:
    """`acquire` returns when the turn has come."""
    limiter = Limiter(LeakyBucket("50/second"))
    start = time.monotonic()
    assert [limiter.acquire("k", timeout=1).delay > 0 for _ in range(3)] == [False, True, True]
    assert time.monotonic() - start >= 0.039


@pytest.mark.parametrize("timeout", [-1, nan, True, "1"])
def test_bad_timeouts_are_refused(timeout: Any) -> None:
    """A timeout is a number of seconds."""
    with pytest.raises((TypeError, ValueError), match="a timeout is"):
        Limiter(TokenBucket("1/s")).acquire("k", timeout=timeout)


def test_first_come_first_served() -> None:
    """A large request at the head of the line isn't overtaken by small ones."""

    async def scenario() -> list[int]:
        limiter = AsyncLimiter(TokenBucket("100/second", burst=5))
        await limiter.hit("k", 5)
        served: list[int] = []

        async def ask(cost: int) -> None:
            await limiter.acquire("k", cost)
            served.append(cost)

        async with asyncio.TaskGroup() as group:
            for cost in (4, 1, 2):
                group.create_task(ask(cost))
                await asyncio.sleep(0)
        return served

    assert asyncio.run(scenario()) == [4, 1, 2]


def test_who_waits_in_line_is_refused_at_once_if_it_takes_too_long() -> None:
    """What those before have asked for counts."""

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("1/minute", burst=5))
        await limiter.hit("k", 5)
        first = asyncio.create_task(limiter.acquire("k", 1, timeout=inf))
        await asyncio.sleep(0)
        with pytest.raises(RateLimitExceeded) as denied:
            await limiter.acquire("k", 1, timeout=70)
        assert denied.value.decision.retry_after > 110
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(scenario())


def test_a_cancelled_waiter_calls_the_next() -> None:
    """Who gives up in line holds nobody up."""

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("20/second", burst=1))
        await limiter.hit("k")
        tasks = [asyncio.create_task(limiter.acquire("k")) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[0].cancel()
        assert await tasks[2]

    asyncio.run(scenario())


def test_a_timeout_in_line() -> None:
    """Who is behind somebody slow leaves at the deadline."""

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("20/second", burst=2))
        await limiter.hit("k", 2)
        first = asyncio.create_task(limiter.acquire("k", {"default": 2}))
        await asyncio.sleep(0)
        with pytest.raises(RateLimitExceeded):
            await limiter.acquire("k", timeout=0.01)
        assert await first

    asyncio.run(scenario())


def test_a_queue_refuses_a_task_whose_turn_comes_too_late() -> None:
    """A leaky bucket tells a task at once that its turn comes after its deadline."""

    async def scenario() -> None:
        limiter = AsyncLimiter(LeakyBucket("1/minute", capacity=10))
        await limiter.acquire("k", timeout=0)
        with pytest.raises(RateLimitExceeded):
            await limiter.acquire("k", timeout=1)

    asyncio.run(scenario())


def test_a_cancelled_delay_is_given_back() -> None:
    """Who leaves the queue while waiting for the turn gives the place back."""

    async def scenario() -> None:
        limiter = AsyncLimiter(LeakyBucket("1/minute", capacity=1))
        await limiter.hit("k")
        waiting = asyncio.create_task(limiter.acquire("k"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await limiter.peek("k")).remaining == 1

    asyncio.run(scenario())


def test_threads_wait_in_line() -> None:
    """Eight threads on one key are all served, and none before its time."""
    limiter = Limiter(SlidingLog("4/200ms"))
    start = time.monotonic()
    threads = [threading.Thread(target=limiter.acquire, args=("k",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - start >= 0.199


def test_guards_and_reservations() -> None:
    """Both are context managers in both colours."""
    limiter = Limiter(TokenBucket("3/hour"))
    with limiter, limiter.guard("k") as decision, limiter.reserve("k", 2) as reservation:
        assert decision.remaining == 2
        reservation.settle(1)
    with pytest.raises(RateLimitExceeded), limiter.guard("k", 2, timeout=0):
        pytest.fail("it was let in")

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("3/hour"))
        async with limiter, limiter.guard("k") as decision:
            assert decision.remaining == 2
            async with await limiter.reserve("k", 2) as reservation:
                await reservation.settle(1)
        with pytest.raises(RateLimitExceeded):
            async with limiter.guard("k", 2):
                pytest.fail("it was let in")

    asyncio.run(scenario())
