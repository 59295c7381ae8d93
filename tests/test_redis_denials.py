"""What Redis has denied is denied without asking it again, and never more than that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.limiter import Limiter
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore, denials
from tests.conftest import ALGORITHMS, PATIENT, Clock, wrong
from tests.test_twins import algorithms, close, face, limits, never_forget, periods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratelimit.algorithms import Algorithm
    from ratelimit.decision import Decision
    from ratelimit.limits import Limits


@pytest.fixture
def client(ports: Callable[[str], int]) -> Iterator[redis.Redis]:
    """Return a client of an empty server."""
    with redis.Redis(port=ports("redis-7.0")) as client:
        client.flushall()
        yield client


def store_of(client: redis.Redis, clock: Clock | None, **options: Any) -> RedisStore:
    """Return a store on a test's clock."""
    return RedisStore(client, clock=clock, deadline=PATIENT, **options)


def calls(client: redis.Redis) -> int:
    """Count the calls of the script that the server has seen."""
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


@pytest.mark.parametrize("kind", ALGORITHMS, ids=lambda kind: kind.kind)
def test_a_denial_is_asked_for_once(
    client: redis.Redis, clock: Clock, kind: type[Algorithm]
) -> None:
    """Until there is something again, or for a second, a denied key isn't asked for."""
    algorithm = kind("5/minute")
    limiter = Limiter(algorithm, store=store_of(client, clock))
    clock.now -= clock.now % 60_000_000
    limiter.hit("k", algorithm.max_cost)
    first = limiter.hit("k")
    seen = calls(client)
    clock.advance(0.999_999)
    again = limiter.hit("k")
    assert (again.allowed, calls(client)) == (False, seen)
    assert first.retry_after_us - again.retry_after_us == 999_999
    clock.advance(0.000_001)
    limiter.hit("k")
    assert calls(client) == seen + 1


def test_memory_of_denials_can_be_turned_off(client: redis.Redis, clock: Clock) -> None:
    """With `remember_denials=0` each denial is Redis's own."""
    limiter = Limiter(FixedWindow("1/hour"), store=store_of(client, clock, remember_denials=0))
    limiter.hit("k")
    seen = calls(client)
    assert not any(limiter.hit("k") for _ in range(3))
    assert calls(client) == seen + 3


def test_what_is_left_is_still_had(client: redis.Redis, clock: Clock) -> None:
    """After a denial a smaller cost that fits is asked for, and a larger one is not."""
    limiter = Limiter(TokenBucket("5/hour"), store=store_of(client, clock))
    limiter.hit("k", 3)
    assert not limiter.hit("k", 4)
    seen = calls(client)
    assert not limiter.hit("k", 3)
    assert calls(client) == seen
    assert limiter.hit("k", 2)
    assert limiter.hit("k", 4).remaining == 0


def test_who_gives_back_is_served(client: redis.Redis, clock: Clock) -> None:
    """A refund, a reset and a charge by the same store count at once."""
    limiter = Limiter(TokenBucket("5/hour"), store=store_of(client, clock))
    first = limiter.hit("k", 5)
    assert not limiter.hit("k")
    limiter.refund(first)
    assert limiter.hit("k", 5)
    assert not limiter.hit("k")
    limiter.reset("k")
    assert limiter.hit("k", 5)
    before = limiter.hit("k").retry_after
    limiter.charge("k", 1)
    assert limiter.hit("k").retry_after == before + 720


@pytest.mark.parametrize("several", [False, True])
def test_a_denial_that_crossed_a_refund_is_not_remembered(
    client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """What was asked before somebody gave back says nothing about afterwards."""
    store = store_of(client, clock)
    limits = {"a": FixedWindow("1/hour")}
    limiter = Limiter(limits if several else limits["a"], store=store, name="a")
    limiter.hit("k")
    answer_of = wrong(store._calls)._exchange

    def crossing(*args: Any) -> bytes:
        answer = answer_of(*args)
        monkeypatch.undo()
        Limiter(limits, store=store).reset("k")
        return answer

    monkeypatch.setattr(store._calls, "_exchange", crossing)
    assert not limiter.hit("k")
    assert limiter.hit("k")


def test_a_clock_that_is_set_back_is_asked_for(client: redis.Redis, clock: Clock) -> None:
    """What was denied later than now isn't used."""
    limiter = Limiter(FixedWindow("1/hour"), store=store_of(client, clock))
    limiter.hit("k")
    assert not limiter.hit("k")
    seen = calls(client)
    clock.advance(-1)
    assert not limiter.hit("k")
    assert calls(client) == seen + 1


def test_the_impatient_are_judged_by_their_own_patience(client: redis.Redis, clock: Clock) -> None:
    """Who was refused for want of patience doesn't speak for those who wait."""
    queue = LeakyBucket("1/second", capacity=10)
    store = store_of(client, clock)
    patient, impatient = store.open("a", queue), store.open("a", queue.within(0))
    patient.hit("k")
    assert not impatient.hit("k")
    assert patient.hit("k")


@pytest.mark.parametrize("several", [False, True])
def test_memory_of_denials_is_bounded(
    client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Of many denied keys the oldest is forgotten first, and asked for again."""
    monkeypatch.setattr(denials, "_MOST", 3)
    limits = {"a": FixedWindow("1/hour")}
    limiter = Limiter(limits if several else limits["a"], store=store_of(client, clock))
    for key in "abcd":
        limiter.hit(key)
        assert not limiter.hit(key)
    seen = calls(client)
    assert not any(limiter.hit(key) for key in "dcb")
    assert calls(client) == seen
    assert not limiter.hit("a")
    assert calls(client) == seen + 1


@pytest.mark.parametrize("several", [False, True])
def test_many_changes_are_forgotten_safely(
    client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """If more has changed than is remembered, what was denied before is asked for again."""
    limits = {"a": FixedWindow("1/hour")}
    limiter = Limiter(limits if several else limits["a"], store=store_of(client, clock))
    for key in "abcd":
        limiter.hit(key)
        assert not limiter.hit(key)
    seen = calls(client)
    limiter.reset("a")
    assert not any(limiter.hit(key) for key in "bcd")
    assert calls(client) == seen + 1
    monkeypatch.setattr(denials, "_MOST", 1)
    limiter.reset("b")
    assert all(limiter.hit(key) for key in "ab")
    assert not limiter.hit("c")
    assert calls(client) == seen + 5


def test_changes_are_known_while_they_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks while there are too many to remember is told that anything may have changed."""
    monkeypatch.setattr(denials, "_MOST", 1)
    changes = denials.Changes()

    class Watched(dict[str, int]):
        def clear(self) -> None:
            super().clear()
            assert changes.since(0, ["a"])

    changes._turns = Watched()
    changes.note(["a"])
    assert changes.since(0, ["a"])
    assert not changes.since(0, ["b"])
    changes.note(["b"])
    assert changes.since(0, ["a"])


def test_changes_are_known_though_they_are_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is about to look for a change that another thread then forgets is told of it."""
    monkeypatch.setattr(denials, "_MOST", 1)
    changes = denials.Changes()
    changes.note(["a"])

    def names() -> Iterator[str]:
        changes.note(["b"])
        yield "a"

    assert changes.since(0, names())


def test_several_limits_are_denied_at_once(client: redis.Redis, clock: Clock) -> None:
    """A transaction of several limits is remembered as a whole, with the numbers of each."""
    limits = {"a": SlidingLog("2/minute"), "b": TokenBucket("60/minute")}
    limiter = Limiter(limits, store=store_of(client, clock))
    for _ in range(2):
        limiter.hit("k")
    assert limiter.hit("k").denied == ("a",)
    seen = calls(client)
    clock.advance(0.5)
    again = limiter.hit("k")
    assert (again.denied, again.limits["b"].remaining, calls(client)) == (("a",), 58, seen)
    assert again.limits["a"].retry_after == 59.5


@pytest.mark.parametrize("several", [False, True])
def test_a_wait_is_told_from_when_the_answer_came(
    client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """However long the answer took, a wait that is recalled is long enough."""
    store = store_of(client, clock)
    limits = {"a": TokenBucket("1/minute")}
    limiter = Limiter(limits if several else limits["a"], store=store)
    limiter.hit("k")
    exchange = wrong(store._calls)._exchange

    def slowly(*args: Any) -> bytes:
        answer = exchange(*args)
        clock.advance(0.3)
        return answer

    monkeypatch.setattr(store._calls, "_exchange", slowly)
    assert limiter.hit("k").retry_after == 60
    assert limiter.hit("k").retry_after == 60
    clock.advance(0.1)
    assert limiter.hit("k").retry_after == 59.9


def test_an_idle_log_among_several_is_recalled(client: redis.Redis, clock: Clock) -> None:
    """A log with nothing in it, or nothing any more, is no reason to ask again."""
    limits = {"log": SlidingLog("5/10ms"), "day": FixedWindow("1/day")}
    limiter = Limiter(limits, store=store_of(client, clock))
    limiter.hit("k")
    assert limiter.hit("k").denied == ("day",)
    clock.advance(0.02)
    assert limiter.hit("k").denied == ("day",)
    seen = calls(client)
    assert limiter.hit("k").limits["log"].remaining == 5
    clock.advance(0.02)
    assert limiter.hit("k").denied == ("day",)
    assert calls(client) == seen


def test_a_log_of_several_that_does_not_tell(client: redis.Redis, clock: Clock) -> None:
    """If a log among several can't tell what is left by now, the server is asked."""
    limits = {"log": SlidingLog("3/10ms"), "day": FixedWindow("2/day")}
    limiter = Limiter(limits, store=store_of(client, clock))
    limiter.hit("k")
    clock.advance(0.005)
    limiter.hit("k")
    assert limiter.hit("k").denied == ("day",)
    seen = calls(client)
    clock.advance(0.006)
    assert limiter.hit("k").limits["log"].remaining == 2
    assert calls(client) == seen + 1


@pytest.mark.parametrize(
    ("asked", "cost", "known"), [(1, 1, True), (2, 1, False), (1, 2, False), (9, 9, True)]
)
def test_what_a_log_can_tell(asked: int, cost: int, known: bool) -> None:
    """A log tells as long as one hit has to be forgotten, whichever cost it was asked for."""
    log = SlidingLog("5/minute")
    told = log.recall((5, 1_000_000, 2_000_000), asked, 3_000_000, cost)
    assert (told is not None) is known


def test_a_hot_key_is_denied_in_both_colours(client: redis.Redis) -> None:
    """Ten thousand denials of one key are a handful of calls."""
    port = client.connection_pool.connection_kwargs["port"]
    limiter = Limiter(FixedWindow("1/hour"), store=store_of(client, None))

    async def scenario() -> int:
        url = f"redis://127.0.0.1:{port}"
        store = AsyncRedisStore(url, prefix="other", deadline=PATIENT)
        async with AsyncLimiter(FixedWindow("1/hour"), store=store) as twin:
            both = AsyncLimiter({"a": twin.limits["default"]}, store=store)
            assert [bool(await both.hit("k")) for _ in range(3)] == [True, False, False]
            return sum([bool(await twin.hit("k")) for _ in range(10_000)])

    before = calls(client)
    assert sum(bool(limiter.hit("k")) for _ in range(10_000)) == 1
    assert asyncio.run(scenario()) == 1
    assert calls(client) - before < 100


def trace(limit: int, period: int) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    """Return traces of an operation, a cost and a step forward of the clock."""
    operation = st.sampled_from(["hit"] * 6 + ["peek", "charge", "refund", "reset", "rival"])
    return st.lists(st.tuples(operation, close(limit), steps(period)), max_size=30)


def steps(period: int) -> st.SearchStrategy[int]:
    """Return how far the clock may go forward."""
    return st.sampled_from([0, 0, 1, 17, period // 9 + 1, period // 2, period - 1, period])


def test_denials_have_the_numbers_that_redis_would_give(client: redis.Redis) -> None:
    """While nobody else spends, a denial is bit for bit what Redis would have said."""

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        limit, period = data.draw(limits), data.draw(periods)
        mix = {name: data.draw(algorithms(limit, period)) for name in data.draw(names)}
        clock = Clock()
        client.flushall()
        with store_of(client, clock) as store:
            there = Limiter(mix, store=store)
            memory = MemoryStore(clock=clock)
            here = Limiter(mix, store=memory)
            never_forget(memory)
            for operation, cost, step in data.draw(trace(limit, period)):
                clock.now += step
                if operation in ("hit", "peek", "charge"):
                    theirs, ours = (getattr(each, operation)("k", cost) for each in (there, here))
                    assert face(theirs) == face(ours)
                elif operation == "reset":
                    there.reset("k")
                    here.reset("k")

    names = st.sampled_from(["a", "ab"])
    agree()


def told(decision: Decision) -> tuple[Any, ...]:
    """Return what a decision says, whatever numbers it was made by."""
    ((name, allowed, now, _, *rest),) = face(decision)
    available = decision.page.algorithm.available(decision.reading, now)
    return name, allowed, now, *rest, *available


def test_the_same_denial_has_the_numbers_of_its_time(client: redis.Redis) -> None:
    """Who asks for the same over and over is told what Redis would have said each time."""

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        limit, period = data.draw(st.integers(1, 9)), data.draw(periods)
        algorithm = data.draw(algorithms(limit, period))
        before = data.draw(st.lists(st.tuples(close(limit), steps(period)), max_size=4))
        cost = data.draw(st.integers(1, limit + 1))
        again = data.draw(st.lists(st.tuples(st.just(cost), steps(period)), max_size=20))
        clock = Clock()
        client.flushall()
        with store_of(client, clock, remember_denials=3_600) as store:
            there = Limiter(algorithm, store=store)
            memory = MemoryStore(clock=clock)
            here = Limiter(algorithm, store=memory)
            never_forget(memory)
            for each, step in before + again:
                clock.now += step
                assert told(there.hit("k", each)) == told(here.hit("k", each))

    agree()


def test_never_denies_what_redis_would_allow(client: redis.Redis) -> None:
    """With rivals that spend at random, what is denied without asking would be denied."""

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def hold(data: st.DataObject) -> None:
        limit, period = data.draw(limits), data.draw(periods)
        one = data.draw(algorithms(limit, period))
        mix: Limits = {"a": one} if data.draw(st.booleans()) else one
        clock = Clock()
        client.flushall()
        with (
            store_of(client, clock) as store,
            store_of(client, clock, remember_denials=0) as asking,
        ):
            ours, rival = Limiter(mix, store=store), Limiter(mix, store=asking)
            for operation, cost, step in data.draw(trace(limit, period)):
                clock.now += step
                if operation == "rival":
                    rival.hit("k", cost)
                elif operation == "charge":
                    rival.charge("k", cost)
                elif operation == "hit":
                    would_be = rival.peek("k", cost)
                    assert ours.hit("k", cost).allowed == would_be.allowed

    hold()
