"""`acquire` waits: in order, no longer than it may, and it can be cancelled."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitExceeded
from ratelimit.limiter import Limiter
from ratelimit.waiting import AsyncPlace, Deadline, Line, Lines, Place
from tests.applications import Broken
from tests.conftest import wrong

if TYPE_CHECKING:
    from ratelimit.algorithms import Algorithm


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
    """Who is behind somebody slower than was to be seen leaves at the deadline, denied."""

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("20/second", burst=2))
        await limiter.hit("k", 2)
        first = asyncio.create_task(limiter.acquire("k", 2))
        await asyncio.sleep(0)
        second = asyncio.create_task(limiter.acquire("k", timeout=0.2))
        await asyncio.sleep(0)
        await limiter.charge("k", 2)
        with pytest.raises(RateLimitExceeded) as caught:
            await second
        assert not caught.value.decision
        assert await first

    asyncio.run(scenario())


def test_a_timeout_in_line_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread leaves at its deadline too; if there is enough for all by then, it is served."""
    limiter = Limiter(TokenBucket("1/hour", burst=3))
    first = Place("k", {"default": 1})
    limiter._lines.join(first)
    limiter.hit("k", 2)
    with pytest.raises(RateLimitExceeded):
        limiter.acquire("k", timeout=0)
    limiter.reset("k")
    assert limiter.acquire("k", timeout=0.01)

    def wait_in_vain(_: Place, __: Deadline) -> bool:
        limiter.charge("k", 3)
        return False

    limiter.reset("k")
    monkeypatch.setattr(Place, "wait", wait_in_vain)
    with pytest.raises(RateLimitExceeded) as caught:
        limiter.acquire("k", timeout=0.01)
    assert not caught.value.decision


@pytest.mark.parametrize("kind", [TokenBucket, SlidingLog])
def test_a_long_line_is_told_at_once(kind: type[Algorithm]) -> None:
    """Who comes too late in a line that is longer than the limit is told so, and for how long."""
    limiter = Limiter(kind("1/minute"))
    limiter.hit("k")
    places = [Place("k", {"default": 1}) for _ in range(5)]
    for place in places:
        limiter._lines.join(place)
    with pytest.raises(RateLimitExceeded) as caught:
        limiter.acquire("k", timeout=359)
    assert 359 < caught.value.decision.retry_after <= 360
    assert not caught.value.decision
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert "retry after 3" in str(copied)


def test_each_limit_has_its_line() -> None:
    """Of several limits each counts what is asked of it."""
    limits = {"small": TokenBucket("1/minute"), "large": TokenBucket("60/minute", burst=9)}
    limiter = Limiter(limits)
    limiter.hit("k", {"small": 1, "large": 0})
    first = Place("k", {"small": 1, "large": 9})
    limiter._lines.join(first)
    with pytest.raises(RateLimitExceeded) as caught:
        limiter.acquire("k", {"small": 1, "large": 3}, timeout=1)
    waits = {name: part.retry_after for name, part in caught.value.decision.limits.items()}
    assert waits["small"] == pytest.approx(120, abs=1)
    assert waits["large"] == pytest.approx(3, abs=1)


def test_a_task_that_never_fits_or_waits_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is told at once that its cost never fits, and at its deadline that it was in vain."""

    async def scenario() -> None:
        limiter = AsyncLimiter(TokenBucket("1/hour", burst=3))
        with pytest.raises(RateLimitExceeded, match="a cost of 4 never fits a limit of 3"):
            await limiter.acquire("k", 4)
        first = AsyncPlace("k", {"default": 1})
        limiter._lines.join(first)
        assert await limiter.acquire("k", timeout=0.01)

        async def wait_in_vain(_: AsyncPlace, __: Deadline) -> bool:
            await limiter.charge("k", 3)
            return False

        await limiter.reset("k")
        monkeypatch.setattr(AsyncPlace, "wait", wait_in_vain)
        with pytest.raises(RateLimitExceeded) as caught:
            await limiter.acquire("k", timeout=0.01)
        assert not caught.value.decision

    asyncio.run(scenario())


def test_who_never_fits_is_in_nobodys_way() -> None:
    """A cost that never fits, or that is none, isn't waited for in line."""
    limiter = Limiter({"a": TokenBucket("9/minute"), "b": TokenBucket("5/minute")})
    limiter._lines.join(Place("k", {"a": 1, "b": 1}))
    with pytest.raises(RateLimitExceeded, match="a cost of 6 never fits a limit of 5"):
        limiter.acquire("k", 6)
    with pytest.raises(ValueError, match="a cost is at least 0"):
        limiter.acquire("k", -1)
    with pytest.raises(TypeError, match="a key is a str"):
        limiter.acquire(wrong(["k"]))
    assert limiter._lines._lines["k"].asked == {"a": 1, "b": 1}


@pytest.mark.parametrize("timeout", [1e300, 10**400, inf, None])
def test_a_timeout_beyond_all_times(timeout: float | None) -> None:
    """A timeout of ages is none."""
    limiter = Limiter(TokenBucket("50/second", burst=1))
    assert all(limiter.acquire("k", timeout=timeout) for _ in range(2))


def test_tasks_of_two_event_loops_are_in_one_line() -> None:
    """Who leaves calls the next one on another event loop; who was on a closed one is gone."""
    limiter = AsyncLimiter(TokenBucket("20/second", burst=1))
    served: list[str] = []

    async def wait(name: str) -> None:
        await limiter.acquire("k")
        served.append(name)

    async def give_up() -> None:
        """Leave without a word."""
        limiter._lines.join(AsyncPlace("k", {"default": 1}))

    asyncio.run(limiter.hit("k"))
    first = threading.Thread(target=lambda: asyncio.run(wait("first")))
    first.start()
    while not limiter._lines._lines:
        time.sleep(0.001)
    asyncio.run(give_up())
    second = threading.Thread(target=lambda: asyncio.run(wait("second")))
    second.start()
    first.join()
    second.join()
    assert served == ["first", "second"]
    assert not limiter._lines._lines


def test_a_place_on_a_closed_event_loop() -> None:
    """Who waited on an event loop that is closed can't be called, from wherever it is tried."""

    async def leave_behind() -> AsyncPlace:
        return AsyncPlace("k", {"a": 1})

    place = asyncio.run(leave_behind())
    assert not place.call()
    assert not place.called


@pytest.mark.parametrize("where", ["drop", "asked"])
def test_an_interrupted_place_is_left(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Whatever interrupts somebody who leaves a line, those behind are not kept waiting."""
    lines: Lines[Place] = Lines()
    places = [Place("k", {"a": cost}) for cost in (1, 2, 4)]
    for place in places:
        lines.join(place)

    def interrupt(line: Line[Place], place: Place) -> None:
        monkeypatch.undo()
        if where == "asked":
            del line.places[place]
        raise KeyboardInterrupt

    monkeypatch.setattr(Line, "drop", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lines.leave(places[0])
    assert places[1].wait(Deadline(0))
    last = Place("k", {"a": 1})
    lines.join(last)
    assert last.ahead == {"a": 6}
    for place in (*places, last, last):
        lines.leave(place)
    assert not lines._lines


def test_a_cancelled_wait_stays_cancelled() -> None:
    """If what a cancelled task was charged can't be given back, it is cancelled all the same."""

    async def scenario() -> None:
        store = Broken("refund_all")
        limiter = AsyncLimiter(LeakyBucket("1/minute"), store=store)
        await limiter.hit("k")
        waiting = asyncio.create_task(limiter.acquire("k"))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

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
