"""Lua and Python agree bit for bit, on every server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
import redis
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimit.algorithms import LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.limiter import Limiter
from ratelimit.quota import EXACT, Quota
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests.conftest import ALGORITHMS, PATIENT, SERVERS, Clock, every_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.algorithms import Algorithm
    from ratelimit.decision import Decision

STARTS = (
    1_000_000,
    2**31 * 1_000_000,
    2**32 * 1_000_000,
    1_751_663_056_000_000,
    1_790_000_000_000_000,
    2**33 * 1_000_000,
)

limits = st.one_of(st.integers(1, 20), st.sampled_from([97, 997, 100_000, 2**20, 2**27]))
periods = st.sampled_from([1_000, 1_001, 7_777, 1_000_000, 60_000_000, 86_400_000_000, 9 * 10**13])


def close(count: int) -> st.SearchStrategy[int]:
    """Return counts around one that matters."""
    return st.one_of(st.integers(0, 4), st.integers(max(0, count - 2), count + 2))


def numbers(draw: Any, limit: int) -> dict[str, int]:
    """Draw a cap on the debt, or leave it out."""
    return draw(st.sampled_from([{}, {"max_debt": 0}, {"max_debt": min(limit, 3)}]))


@st.composite
def algorithms(draw: Any, limit: int, period: int) -> Algorithm:
    """Draw an algorithm that exact arithmetic can hold."""
    kind = draw(st.sampled_from(ALGORITHMS))
    quota = Quota(limit, period / 1_000_000)
    if kind not in (TokenBucket, LeakyBucket):
        return kind(quota, **numbers(draw, limit))
    size = draw(st.sampled_from([None, 1, 3]))
    try:
        return kind(quota, size, **numbers(draw, limit))
    except ValueError:
        return kind(Quota(1, period / 1_000_000), size)


def steps(limit: int, period: int) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    """Return traces of an operation, a cost and a step of the clock."""
    operation = st.sampled_from(["hit"] * 5 + ["peek", "charge", "refund", "reset"])
    ahead = st.sampled_from([0, 0, 1, period // 7 + 1, period - 1, period, period + 1, 5 * period])
    back = st.sampled_from([-1, -(period // 3) - 1, -period, -period - 1, -9 * period])
    return st.lists(
        st.tuples(operation, close(limit), st.one_of(ahead, ahead, ahead, back)), max_size=25
    )


def face(decision: Decision) -> list[tuple[Any, ...]]:
    """Return all that a decision says."""
    return [
        (
            name, part.allowed, part.now, part.reading, part.spent, part.remaining,
            part.retry_after, part.reset_after, part.delay,
        )
        for name, part in decision.limits.items()
    ]  # fmt: skip


def never_forget(store: MemoryStore) -> None:
    """Keep states for ever, as a server does that a test gives the time."""
    for shelf in store._shelves.values():
        shelf.turn_at = 2**62


def replay(client: Any, limits: dict[str, Algorithm], start: int, trace: Any) -> None:
    """Run a trace on a server and in memory, and compare every answer."""
    clock = Clock(start)
    client.flushall()
    there = Limiter(limits, store=RedisStore(client, remember_denials=0, deadline=20, clock=clock))
    memory = MemoryStore(clock=clock)
    here = Limiter(limits, store=memory)
    never_forget(memory)
    latest = EXACT - 4 * max(each.quota.period_us for each in limits.values())
    charged: list[tuple[Decision, Decision]] = []
    for operation, cost, step in trace:
        clock.now = min(max(0, clock.now + step), latest)
        if operation == "reset":
            there.reset("k")
            here.reset("k")
        elif operation == "refund":
            if charged:
                theirs, ours = charged.pop(cost % len(charged))
                assert there.refund(theirs) == here.refund(ours)
        else:
            theirs, ours = (getattr(each, operation)("k", cost) for each in (there, here))
            assert face(theirs) == face(ours)
            charged.append((theirs, ours))
    assert face(there.peek("k")) == face(here.peek("k"))


@pytest.fixture(params=SERVERS)
def client(request: pytest.FixtureRequest, ports: Callable[[str], int]) -> Any:
    """Return a client of each server."""
    if request.param == "fakeredis":
        return fakeredis.FakeRedis()
    return redis.Redis(port=ports(request.param))


def test_twins_agree(client: Any) -> None:
    """Random traces give the same answers in every field, alone and in company."""

    @settings(max_examples=120)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        limit, period = data.draw(limits), data.draw(periods)
        names = data.draw(st.sampled_from(["a", "ab", "abc"]))
        mix = {name: data.draw(algorithms(limit, period)) for name in names}
        replay(client, mix, data.draw(st.sampled_from(STARTS)), data.draw(steps(limit, period)))

    agree()


async def replay_together(
    client: Any, mixes: Sequence[Algorithm | dict[str, Algorithm]], asked: Any
) -> None:
    """Ask all at once on a server, and one after the other in memory, and compare every answer."""
    clock = Clock()
    memory = MemoryStore(clock=clock)
    options: Any = {"remember_denials": 0, "deadline": PATIENT, "clock": clock}
    async with AsyncRedisStore(async_client(client), **options) as store:
        there = [AsyncLimiter(mix, store=store, name=f"m{i}") for i, mix in enumerate(mixes)]
        here = [Limiter(mix, store=memory, name=f"m{i}") for i, mix in enumerate(mixes)]
        asks = [
            getattr(there[which], operation)(key, cost) for which, operation, key, cost in asked
        ]
        theirs = await asyncio.gather(*asks)
        ours = [getattr(here[which], operation)(key, cost) for which, operation, key, cost in asked]
        assert list(map(face, theirs)) == list(map(face, ours))
        given = [
            (which, *both)
            for (which, operation, *_), *both in zip(asked, theirs, ours, strict=True)
            if operation != "peek"
        ]
        refunds = [there[which].refund(decision) for which, decision, _ in given]
        assert await asyncio.gather(*refunds) == [
            here[which].refund(decision) for which, _, decision in given
        ]


def async_client(client: Any) -> Any:
    """Return a client of the same server for code that awaits; of another one if it is a fake."""
    if isinstance(client, fakeredis.FakeRedis):
        return fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    return redis.asyncio.Redis(port=client.connection_pool.connection_kwargs["port"])


def test_what_leaves_together_agrees(client: Any) -> None:
    """Of what goes in one call each is decided after the other, whatever they ask."""
    operations = st.sampled_from(["hit", "hit", "hit", "charge", "peek"])

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def agree(data: st.DataObject) -> None:
        limit, period = data.draw(st.integers(1, 9)), data.draw(periods)
        one, two, three = (data.draw(algorithms(limit, period)) for _ in range(3))
        costs = data.draw(st.sampled_from([st.just(1), close(limit)]))
        ask = st.tuples(st.integers(0, 1), operations, st.sampled_from("kl"), costs)
        hit = st.tuples(st.just(0), st.just("hit"), st.sampled_from("klm"), costs)
        asked = data.draw(st.one_of(st.lists(ask, max_size=15), st.lists(hit, max_size=15)))
        client.flushall()
        asyncio.run(replay_together(client, [one, {"a": two, "b": three}], asked))

    agree()


@every_kind
def test_numbers_change_while_states_live(client: Any, kind: type[Algorithm]) -> None:
    """A state written under other numbers is read alike, and locks nobody out."""
    clock = Clock()
    client.flushall()
    asking = RedisStore(client, remember_denials=0, deadline=20, clock=clock)
    stores = (asking, MemoryStore(clock=clock))
    numbers = [kind(text) for text in ("7/second", "1000/hour", "3/second", "9/2s", "997/minute")]
    limiters = [[Limiter(each, store=store) for store in stores] for each in numbers]
    for turn in range(200):
        clock.now += (0, 77_777, 1_000_003)[turn % 3]
        there, here = limiters[turn * turn % len(limiters)]
        theirs, ours = there.hit("k", 1 + turn % 3), here.hit("k", 1 + turn % 3)
        assert face(theirs) == face(ours)
        assert theirs.allowed or theirs.retry_after <= theirs.reset_after


def test_a_refund_forgets_what_is_over_too(client: Any) -> None:
    """What had been forgotten at a refund doesn't count again when the clock steps back."""
    clock = Clock()
    client.flushall()
    stores = (RedisStore(client, deadline=PATIENT, clock=clock), MemoryStore(clock=clock))
    for early in ((1,), (1, 1)):
        faces = []
        start = clock.now
        for store in stores:
            limiter = Limiter(SlidingLog("4/ms"), store=store)
            clock.now = start
            for cost in early:
                limiter.hit("k", cost)
                clock.now += 999 // len(early)
            decision = limiter.hit("k")
            clock.now = start + 1_000
            assert limiter.refund(decision)
            clock.now -= 1
            faces.append(face(limiter.peek("k")))
        assert faces[0] == faces[1]
        clock.advance(1)


def test_a_log_at_its_edges(client: Any) -> None:
    """Hits at one moment are one entry, those of 0 none; a period is over to the microsecond."""
    steps = [
        ("hit", 1, 0), ("hit", 2, 0), ("hit", 1, 10), ("hit", 0, 10), ("refund", 1, 0),
        ("hit", 1, 0), ("hit", 1, 980), ("hit", 6, 1), ("hit", 1, 0), ("hit", 1, 1),
    ]  # fmt: skip
    client.flushall()
    replay(client, {"a": SlidingLog("9/ms")}, 1_000_000, steps)


def test_grains_are_not_taken_for_microseconds(client: Any) -> None:
    """A state that has to be brought back is, whatever number of grains it owes."""
    client.flushall()
    steps = [("hit", 1, 0), ("refund", 0, -1_000), ("hit", 0, -1_000), ("hit", 1, -1_000)]
    replay(client, {"a": TokenBucket("3/ms")}, 1_000_000, steps)
