"""What went wrong in other libraries, one test each, and does not here."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest

from ratelimit import (
    AsyncLimiter,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    Quota,
    RateLimitExceeded,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
    per_second,
    rate_limited,
)
from ratelimit.stores.redis import RedisStore
from tests.conftest import PATIENT, Clock, every_kind, wrong

if TYPE_CHECKING:
    from ratelimit.algorithms import Algorithm
    from tests.clusters import Cluster


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, clock: Clock) -> Any:
    """Return a store in memory, and one on Redis."""
    if request.param == "memory":
        return MemoryStore(clock=clock)
    return RedisStore(fakeredis.FakeRedis(), clock=clock)


@every_kind
def test_01_a_denied_call_uses_up_quota(store: Any, kind: type[Algorithm]) -> None:
    """A denial of much leaves what is there to those who ask for little."""
    limiter = Limiter(kind("10/hour"), store=store)
    limiter.hit("k", 8)
    left = limiter.peek("k").remaining
    assert [limiter.hit("k", left + 1).allowed for _ in range(5)] == [False] * 5
    assert limiter.hit("k", left)


def test_02_the_first_limit_is_used_up_by_what_the_second_denies(store: Any) -> None:
    """A blocked user doesn't drain the quota that all share."""
    limits = {"all": FixedWindow("100/hour"), "user": FixedWindow("1/hour")}
    limiter = Limiter(limits, store=store)
    for _ in range(50):
        limiter.hit({"all": "all", "user": "blocked"})
    assert limiter.peek({"all": "all", "user": "other"}).limits["all"].remaining == 99


@every_kind
def test_03_two_threads_start_a_window_together(kind: type[Algorithm]) -> None:
    """At a limit of one, one of eight threads is let in, each time."""
    options = {"capacity": 0} if kind is LeakyBucket else {}
    limiter = Limiter(kind("1/hour", **options))
    for turn in range(50):
        barrier = threading.Barrier(8)
        let_in: list[bool] = []

        def hit(key: str, barrier: threading.Barrier, let_in: list[bool]) -> None:
            barrier.wait()
            let_in.append(bool(limiter.hit(key)))

        threads = [
            threading.Thread(target=hit, args=(f"{turn}", barrier, let_in)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(let_in) == 1


@every_kind
def test_04_memory_keeps_every_client_it_ever_saw(clock: Clock, kind: type[Algorithm]) -> None:
    """Keys that are fresh again are forgotten, though nobody sweeps."""
    store = MemoryStore(clock=clock)
    limiter = Limiter(kind("10/second"), store=store)
    for turn in range(100):
        clock.advance(1)
        for client in range(20):
            limiter.hit(f"{turn}.{client}")
    assert len(store) <= 20 * 10


def test_05_memory_forgets_live_keys(clock: Clock) -> None:
    """Ten thousand clients are all remembered."""
    limiter = Limiter(FixedWindow("1/day"), store=MemoryStore(clock=clock))
    assert all(limiter.hit(f"{client}") for client in range(10_000))
    assert not any(limiter.hit(f"{client}") for client in range(10_000))


def test_06_a_hit_sweeps_all_keys(clock: Clock) -> None:
    """A hit looks at no key but its own: the states of the others aren't touched."""
    store = MemoryStore(clock=clock)
    limiter = Limiter(FixedWindow("1/second"), store=store)
    for client in range(1_000):
        limiter.hit(f"{client}")
    clock.advance(100)
    limiter.hit("another")
    assert sum(map(len, store._condemned)) >= 900


def test_07_an_expiry_of_nothing_deletes_the_state(store: Any) -> None:
    """1000 a second with a burst of 100 admits 100 of 5000 that come at once."""
    limiter = Limiter(TokenBucket("1000/second", burst=100), store=store)
    assert sum(bool(limiter.hit("k")) for _ in range(5_000)) == 100


@every_kind
def test_08_keys_without_expiry_pile_up(kind: type[Algorithm]) -> None:
    """Each key that is written has an expiry, whatever wrote it."""
    client = fakeredis.FakeRedis()
    limiter = Limiter(
        {"a": kind("10/m"), "b": kind("5/h")}, store=RedisStore(client, deadline=PATIENT)
    )
    limiter.hit("hit")
    limiter.charge("charge", 20)
    limiter.refund(limiter.hit("refund", 2))
    keys = client.keys()
    assert len(keys) >= 4
    assert -1 not in [client.pttl(key) for key in keys]


def test_09_a_clock_of_whole_seconds(store: Any, clock: Clock) -> None:
    """100 a second stays 100 across the turn of a second, and 90 a minute serves all 90."""
    limiter = Limiter(TokenBucket("100/second"), store=store)
    clock.now += 995_000
    assert sum(bool(limiter.hit("k")) for _ in range(200)) == 100
    clock.advance(0.011)
    assert sum(bool(limiter.hit("k")) for _ in range(200)) == 1
    slow = Limiter(TokenBucket("90/minute", burst=1), store=store, name="slow")
    served = 0
    for _ in range(900):
        served += bool(slow.hit("k"))
        clock.now += 666_667
    assert served == 900


@pytest.mark.parametrize("limit", [*range(1, 130), 997, 9_973])
def test_10_floats_lose_a_unit(store: Any, limit: int) -> None:
    """A fresh key admits exactly its burst, one by one, whatever the rate."""
    limiter = Limiter(TokenBucket(per_second(limit)), store=store)
    assert limiter.hit("k").remaining == limit - 1
    assert limiter.hit("k", limit - 1)
    assert not limiter.hit("k")


@every_kind
def test_11_a_machine_that_has_just_booted(kind: type[Algorithm]) -> None:
    """At a clock near 0 a fresh key is let in."""
    for now in (0, 1, 999):
        assert Limiter(kind("10/hour"), store=MemoryStore(clock=Clock(now))).hit("k")


@every_kind
def test_12_clocks_that_disagree(kind: type[Algorithm]) -> None:
    """Two processes whose clocks are apart share the limit that Redis's clock keeps."""
    client = fakeredis.FakeRedis()
    size = {"capacity": 9} if kind is LeakyBucket else {}
    ours = [
        Limiter(kind("10/hour", **size), store=RedisStore(client, deadline=PATIENT))
        for _ in range(2)
    ]
    assert sum(bool(ours[turn % 2].hit("k")) for turn in range(40)) == 10


def test_13_the_last_moment_of_a_window_is_unlimited(store: Any, clock: Clock) -> None:
    """One microsecond before the boundary the limit still holds."""
    clock.now = 1_790_000_010_000_000 - 1
    limiter = Limiter(FixedWindow("10/10s"), store=store)
    assert sum(bool(limiter.hit("k")) for _ in range(50)) == 10
    assert limiter.hit("k").retry_after == 1e-6


@every_kind
def test_14_the_period_is_another_than_was_asked_for(
    store: Any, clock: Clock, kind: type[Algorithm]
) -> None:
    """10 a second lets about 100 in within ten seconds, and the wait is never longer than it is."""
    limiter = Limiter(kind("10/second"), store=store)
    let_in = 0
    for _ in range(1_000):
        clock.now += 10_000
        let_in += bool(limiter.hit("k"))
    assert 90 <= let_in <= 121


@every_kind
def test_15_retry_after_is_nothing_or_wrong(
    store: Any, clock: Clock, kind: type[Algorithm]
) -> None:
    """Whoever waits for `retry_after` is let in, at the first try, again and again."""
    limiter = Limiter(kind("7/second"), store=store)
    for _ in range(60):
        decision = limiter.hit("k", 3)
        if not decision:
            assert decision.retry_after > 0
            clock.advance(decision.retry_after)
            assert limiter.hit("k", 3)


def test_16_keys_that_join_to_the_same_text(store: Any) -> None:
    """Names and keys, and functions of one name, have buckets of their own."""
    first = Limiter(FixedWindow("1/hour"), store=store, name="a")
    second = Limiter(FixedWindow("1/hour"), store=store, name="a:b")
    assert first.hit("b:c")
    assert second.hit("c")

    def make() -> Any:
        @rate_limited(FixedWindow("1/hour"))
        def same() -> None:
            """Do nothing."""

        return same

    make()()
    make()()


def test_17_two_limiters_on_one_key(store: Any) -> None:
    """The limit's name and algorithm are in its key: they don't touch each other's state."""
    limiters = [
        Limiter(kind("3/hour"), store=store, name=name)
        for kind in (FixedWindow, SlidingLog, SlidingWindowCounter, TokenBucket)
        for name in ("a", "b")
    ]
    assert [[bool(each.hit("k")) for _ in range(4)] for each in limiters] == [
        [True, True, True, False]
    ] * 8


def test_18_after_a_flush_every_call_fails() -> None:
    """A script that the server has forgotten is loaded again."""
    client = fakeredis.FakeRedis()
    limiter = Limiter(TokenBucket("10/hour"), store=RedisStore(client, deadline=PATIENT))
    limiter.hit("k")
    client.script_flush()
    assert limiter.hit("k").remaining == 8


def test_20_a_blocking_call_on_the_event_loop() -> None:
    """A store that blocks is refused where code awaits."""
    with pytest.raises(TypeError, match="block the event loop"):
        AsyncLimiter(TokenBucket("1/s"), store=wrong(RedisStore(fakeredis.FakeRedis())))


@every_kind
def test_26_denied_requests_count(store: Any, clock: Clock, kind: type[Algorithm]) -> None:
    """A client who never stops asking is let in at the limit's rate."""
    limiter = Limiter(kind("5/second"), store=store)
    let_in = 0
    for _ in range(2_000):
        clock.now += 5_000
        let_in += bool(limiter.hit("k"))
    assert 40 <= let_in <= 61


def test_27_waiting_for_one_key_holds_another_up() -> None:
    """While one key is waited for, another is served at once."""

    async def scenario() -> bool:
        limiter = AsyncLimiter(TokenBucket("1/hour"))
        await limiter.hit("busy")
        waiting = asyncio.create_task(limiter.acquire("busy"))
        await asyncio.sleep(0)
        idle = await asyncio.wait_for(limiter.acquire("idle"), 1)
        waiting.cancel()
        return bool(idle)

    assert asyncio.run(scenario())


def test_28_waiters_overtake() -> None:
    """A large request that came first is served first."""

    async def scenario() -> list[str]:
        limiter = AsyncLimiter(TokenBucket("200/second", burst=10))
        await limiter.hit("k", 10)
        served: list[str] = []

        async def ask(name: str, cost: int) -> None:
            await limiter.acquire("k", cost)
            served.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(ask("large", 10))
            for _ in range(5):
                await asyncio.sleep(0)
                group.create_task(ask("small", 1))
        return served

    assert asyncio.run(scenario())[0] == "large"


def test_29_a_timeout_counts_each_try() -> None:
    """All waits together are no longer than the timeout."""
    limiter = Limiter(TokenBucket("20/second", burst=1))
    limiter.hit("k")
    start = time.monotonic()
    with pytest.raises(RateLimitExceeded):
        limiter.acquire("k", timeout=0.01)
    assert limiter.acquire("k", timeout=5)
    assert time.monotonic() - start < 5


def test_30_a_limit_of_one_user_is_used_for_another(store: Any) -> None:
    """What one caller's plan allows says nothing about another's: an algorithm never changes."""
    free, premium = (
        Limiter(FixedWindow(Quota(limit, 3_600)), store=store, name="plan") for limit in (1, 5)
    )
    assert sum(bool(premium.hit("rich")) for _ in range(9)) == 5
    assert sum(bool(free.hit("poor")) for _ in range(9)) == 1


def test_31_a_denial_is_taken_for_an_error(store: Any) -> None:
    """A denial is a value and raises nothing."""
    limiter = Limiter(FixedWindow("1/hour"), store=store)
    assert [limiter.hit("k").allowed for _ in range(3)] == [True, False, False]


def test_33_a_script_of_several_keys_breaks_on_a_cluster(cluster: Cluster) -> None:
    """Limits on one key are one script, whose keys share a slot; those on others are joined."""
    limits = {
        "user": FixedWindow("9/day"),
        "team": TokenBucket("9/day"),
        "all": SlidingLog("9/day"),
    }
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        limiter = Limiter(limits, store=store)
        for number in range(9):
            assert limiter.hit(f"alone:{number}")
            assert limiter.hit({"user": f"user:{number}", "team": f"team:{number}", "all": "all"})


@every_kind
def test_34_the_cost_is_ignored_in_the_check(store: Any, kind: type[Algorithm]) -> None:
    """What doesn't fit is denied before it is charged."""
    limiter = Limiter(kind("10/hour"), store=store)
    limiter.hit("k", 7)
    assert not limiter.hit("k", 7)


def test_35_events_of_one_instant_collapse_into_one(store: Any) -> None:
    """Events at the same microsecond all count."""
    limiter = Limiter(SlidingLog("10/hour"), store=store)
    assert sum(bool(limiter.hit("k")) for _ in range(50)) == 10
