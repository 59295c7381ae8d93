"""Who decides while the store is gone, and how much they admit."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from starlette.testclient import TestClient

from ratelimit import (
    AsyncLimiter,
    Decision,
    FixedWindow,
    LeakyBucket,
    Limiter,
    MemoryStore,
    RateLimitExceeded,
    SlidingLog,
    StoreError,
    StoreUnavailable,
    TokenBucket,
)
from ratelimit.asgi import RateLimitMiddleware, Rule
from ratelimit.errors import OVERLOAD
from ratelimit.stores import AllowAll, AsyncFallbackStore, Breaker, DenyAll, FallbackStore
from ratelimit.stores.constant import Constant, refused
from ratelimit.stores.memory import AsyncMemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests import servers
from tests.conftest import ALGORITHMS, PATIENT, Blocking, Clock, wrong
from tests.test_conformance import of_five

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratelimit.algorithms import Algorithm

GONE = StoreUnavailable("nobody answers", "timeout")
MISTAKE = StoreError("something else is at our key", "foreign")
HOURLY = FixedWindow("8/hour")

every_algorithm = pytest.mark.parametrize("kind", ALGORITHMS, ids=lambda kind: kind.kind)


class Flaky(MemoryStore):
    """A store that is in trouble when it is told to be, and counts how often it is asked."""

    trouble: Exception | None = None
    asked = 0
    closed = 0

    def ask(self) -> None:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble

    def open(self, name: str, algorithm: Algorithm) -> Any:
        ledger = super().open(name, algorithm)
        hit = ledger.hit

        def flaky(key: str, cost: int = 1) -> Decision:
            self.ask()
            return hit(key, cost)

        ledger.hit = flaky
        return ledger

    def hit_all(self, asks: Any) -> list[Decision]:
        self.ask()
        return super().hit_all(asks)

    def peek_all(self, asks: Any) -> list[Decision]:
        self.ask()
        return super().peek_all(asks)

    def charge_all(self, asks: Any) -> list[Decision]:
        self.ask()
        return super().charge_all(asks)

    def refund_all(self, decisions: Any) -> bool:
        self.ask()
        return super().refund_all(decisions)

    def reset_all(self, asks: Any) -> None:
        self.ask()
        super().reset_all(asks)

    def close(self) -> None:
        self.closed += 1


class AsyncFlaky(AsyncMemoryStore):
    """The same, for code that awaits."""

    async def aclose(self) -> None:
        self.store.close()


class Scene:
    """A limiter on a store that may be in trouble, with a fallback."""

    def __init__(self, colour: str, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.colour = colour
        self.clock = clock
        self.loop = loop
        self.first = Flaky(clock=clock)
        self.store: Any = None

    def limiter(self, limits: Any, second: Any = None, **options: Any) -> Any:
        """Return a limiter, all on the test's clock."""
        second = MemoryStore(clock=self.clock) if second is None else second
        options = {"breaker": Breaker(clock=self.clock), **options}
        if self.colour == "sync":
            self.store = FallbackStore(self.first, second, **options)
            return Limiter(limits, store=self.store)
        self.store = AsyncFallbackStore(AsyncFlaky(self.first), second, **options)
        return Blocking(AsyncLimiter(limits, store=self.store), self.loop)


@pytest.fixture(params=["sync", "async"])
def scene(request: pytest.FixtureRequest, clock: Clock) -> Iterator[Scene]:
    """Return a scene in each colour."""
    loop = asyncio.new_event_loop()
    yield Scene(request.param, clock, loop)
    loop.close()


def admitted(limiter: Any, tries: int = 100, cost: int = 1, key: str = "k") -> int:
    """Return how many of some hits are allowed."""
    return sum(bool(limiter.hit(key, cost)) for _ in range(tries))


@pytest.mark.parametrize("limits", [HOURLY, {"a": HOURLY, "b": SlidingLog("9/hour")}])
def test_the_second_store_decides_while_the_first_is_gone(scene: Scene, limits: Any) -> None:
    """A decision of the first isn't degraded, one of the second is, each with its numbers."""
    limiter = scene.limiter(limits)
    decision = limiter.hit("k", 3)
    assert (decision.degraded, decision.remaining) == (False, 5)
    scene.first.trouble = GONE
    decision = limiter.hit("k", 2)
    assert (decision.allowed, decision.degraded, decision.remaining) == (True, True, 3)
    decision = limiter.peek("k", 4)
    assert (decision.allowed, decision.degraded, decision.remaining) == (False, True, 3)
    scene.first.trouble = None
    assert (limiter.hit("k").degraded, limiter.hit("k").remaining) == (False, 3)


def test_a_store_that_is_gone_is_left_alone(scene: Scene) -> None:
    """Three calls fail, and from then on one per pause is made."""
    limiter = scene.limiter(TokenBucket("1000/second"))
    scene.first.trouble = GONE
    assert admitted(limiter) == 100
    assert scene.first.asked == 3
    for asked in (4, 5, 6):
        scene.clock.advance(0.5)
        assert all(decision.degraded for decision in (limiter.hit("k") for _ in range(50)))
        assert scene.first.asked == asked


@pytest.mark.parametrize("operation", ["hit", "peek", "charge"])
def test_a_store_that_returns_decides_again(scene: Scene, operation: str) -> None:
    """Within a pause of its return the first probe, whatever it asks, ends the outage."""
    limiter = scene.limiter(HOURLY)
    scene.first.trouble = GONE
    admitted(limiter, 5)
    scene.first.trouble = None
    assert limiter.hit("k").degraded
    scene.clock.advance(0.5)
    assert not getattr(limiter, operation)("k", 1).degraded
    assert not limiter.hit("k").degraded
    assert not scene.store.breaker.is_open


def test_a_refund_may_be_the_probe(scene: Scene) -> None:
    """What is given back to the first store tells that it is there."""
    limiter = scene.limiter(HOURLY)
    decision = limiter.hit("k")
    scene.first.trouble = GONE
    admitted(limiter, 5)
    scene.first.trouble = None
    scene.clock.advance(0.5)
    assert limiter.refund(decision)
    assert not scene.store.breaker.is_open


def test_a_mistake_is_no_outage(scene: Scene) -> None:
    """A plain `StoreError` is raised each time, counted, and never falls back."""
    limiter = scene.limiter(HOURLY)
    scene.first.trouble = MISTAKE
    for ask in (limiter.hit, limiter.peek, lambda key: limiter.charge(key, 1)) * 3:
        with pytest.raises(StoreError, match="something else"):
            ask("k")
    assert scene.store.errors == {"foreign": 9}
    assert len(scene.store.second) == 0


def test_21_a_flood_is_no_outage(scene: Scene) -> None:
    """Who finds no free connection is answered by the second store, and the first is asked on."""
    scene.first.trouble = StoreUnavailable("all of the 32 were in use", OVERLOAD)
    limiter = scene.limiter(HOURLY)
    decisions = [limiter.hit("k") for _ in range(9)]
    assert [decision.allowed for decision in decisions] == [True] * 8 + [False]
    assert all(decision.degraded for decision in decisions)
    assert scene.first.asked == 9
    assert scene.store.errors == {"overload": 9}


def test_a_mistake_ends_an_outage(scene: Scene) -> None:
    """Whoever says that something is wrong is there."""
    limiter = scene.limiter(HOURLY)
    scene.first.trouble = GONE
    admitted(limiter, 5)
    scene.first.trouble = MISTAKE
    scene.clock.advance(0.5)
    with pytest.raises(StoreError):
        limiter.hit("k")
    assert not scene.store.breaker.is_open


@pytest.mark.parametrize("error", [KeyError("bug"), RateLimitExceeded(Decision())])
def test_other_errors_pass(scene: Scene, error: Exception) -> None:
    """What isn't ours, and a limit that is exceeded, are no trouble of the store's."""
    limiter = scene.limiter(HOURLY)
    scene.first.trouble = error
    for _ in range(5):
        with pytest.raises(type(error)):
            limiter.hit("k")
    assert (scene.store.errors, scene.store.breaker.recent_failures) == ({}, 0)


def test_31_a_denial_is_no_trouble(scene: Scene) -> None:
    """What the first store denies isn't asked of the second."""
    limiter = scene.limiter(HOURLY, AllowAll())
    assert admitted(limiter) == 8
    assert not limiter.hit("k").degraded


def test_nonsense_is_no_probe(scene: Scene) -> None:
    """Calls with bad keys and costs are refused, and keep nobody from finding the store back."""
    limiter = scene.limiter(HOURLY)
    scene.first.trouble = GONE
    admitted(limiter, 5)
    scene.first.trouble = None
    scene.clock.advance(0.5)
    for key, cost in (("", 1), ("k", -1), (7, 1), ("k", 1.5)):
        with pytest.raises((TypeError, ValueError), match=r"a (key|cost) is"):
            limiter.hit(key, cost)
    assert not limiter.hit("k").degraded


def test_a_probe_that_is_cancelled(clock: Clock) -> None:
    """A task that is cancelled while it probes takes nothing with it."""

    class Silent(AsyncFlaky):
        async def hit_all(self, asks: Any) -> list[Decision]:
            await asyncio.sleep(self.silence)
            return await super().hit_all(asks)

        silence = 0

    async def scenario() -> None:
        flaky = Flaky(clock=clock)
        first = Silent(flaky)
        store = AsyncFallbackStore(
            first, MemoryStore(clock=clock), breaker=Breaker(failures=1, clock=clock)
        )
        limiter = AsyncLimiter(HOURLY, store=store)
        flaky.trouble = GONE
        assert (await limiter.hit("k")).degraded
        flaky.trouble = None
        first.silence = 3_600
        clock.advance(0.5)
        probe = asyncio.create_task(limiter.hit("k"))
        await asyncio.sleep(0)
        assert (await limiter.hit("k")).degraded
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        first.silence = 0
        assert (await limiter.hit("k")).degraded
        clock.advance(0.5)
        assert not (await limiter.hit("k")).degraded

    asyncio.run(scenario())


def test_eight_threads_make_one_probe(clock: Clock) -> None:
    """Of all who hit after a pause, one asks the store."""
    first = Flaky(clock=clock)
    store = FallbackStore(first, breaker=Breaker(clock=clock))
    limiter = Limiter(TokenBucket("100000/second"), store=store)
    first.trouble = GONE
    admitted(limiter, 3)
    clock.advance(0.5)
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: admitted(limiter), range(8))) == 800
    assert first.asked == 4
    assert store.errors == {"timeout": 4}


def test_a_refund_goes_to_the_store_that_took_the_decision(scene: Scene) -> None:
    """Each store gets back what it charged, and one that is gone gets nothing."""
    limiter = scene.limiter(HOURLY, warm=False)
    ours = limiter.hit("k", 3)
    scene.first.trouble = GONE
    theirs = limiter.hit("k", 4)
    assert limiter.refund(theirs)
    assert not limiter.refund(theirs)
    assert limiter.peek("k").remaining == 8
    assert not limiter.refund(ours)
    scene.first.trouble = None
    scene.clock.advance(0.5)
    assert limiter.peek("k").remaining == 5


def test_a_refund_while_nobody_is_asked(scene: Scene) -> None:
    """While the breaker is open, a refund to the first store isn't tried."""
    limiter = scene.limiter(HOURLY)
    decision = limiter.hit("k", 3)
    scene.first.trouble = GONE
    admitted(limiter, 5)
    asked = scene.first.asked
    assert not limiter.refund(decision)
    assert scene.first.asked == asked


def test_a_degraded_decision_is_given_back_after_the_outage(scene: Scene) -> None:
    """It is given back to the second store, and lifts nothing in the first."""
    limiter = scene.limiter(HOURLY)
    limiter.hit("k", 3)
    scene.first.trouble = GONE
    decision = limiter.hit("k", 4)
    scene.first.trouble = None
    assert limiter.refund(decision)
    assert limiter.peek("k").remaining == 5
    scene.first.trouble = GONE
    assert limiter.peek("k").remaining == 5


def test_settling_during_an_outage(scene: Scene) -> None:
    """What is more than the estimate is charged where decisions are taken."""
    limiter = scene.limiter(HOURLY)
    reservation = limiter.reserve("k", 2)
    scene.first.trouble = GONE
    settled = reservation.settle(5)
    if settled is not None:
        limiter.run(settled)
    assert limiter.peek("k").remaining == 3


@pytest.mark.parametrize("gone", [False, True])
def test_all_or_nothing_in_whichever_store(scene: Scene, gone: bool) -> None:
    """What one limit denies is charged to none, in the second store too."""
    limiter = scene.limiter({"small": FixedWindow("2/hour"), "large": SlidingLog("9/hour")})
    scene.first.trouble = GONE if gone else None
    assert limiter.hit("k", 2)
    decision = limiter.hit("k", 2)
    assert (decision.denied, decision.degraded) == (("small",), gone)
    assert decision.limits["large"].remaining == 7


def test_reset_forgets_in_both(scene: Scene) -> None:
    """A key that is reset is fresh in both stores."""
    limiter = scene.limiter(HOURLY)
    limiter.hit("k", 8)
    limiter.reset("k")
    assert limiter.peek("k").remaining == 8
    scene.first.trouble = GONE
    assert limiter.peek("k").remaining == 8


def test_a_reset_that_fails_is_told(scene: Scene) -> None:
    """A first store that is gone still remembers, so the reset raises."""
    limiter = scene.limiter(HOURLY)
    limiter.hit("k", 8)
    scene.first.trouble = GONE
    with pytest.raises(StoreUnavailable):
        limiter.reset("k")
    assert limiter.peek("k").remaining == 8
    scene.first.trouble = None
    assert limiter.peek("k").remaining == 0


def test_errors_are_counted_by_kind(scene: Scene) -> None:
    """The counts are a mapping that doesn't change under its reader."""
    limiter = scene.limiter(HOURLY, breaker=Breaker(failures=9))
    before = scene.store.errors
    for kind in ("timeout", "timeout", "loading"):
        scene.first.trouble = StoreUnavailable("x", kind)
        limiter.hit("k")
    assert (before, scene.store.errors) == ({}, {"timeout": 2, "loading": 1})


def test_a_line_in_the_log_per_change(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """An outage of many requests is two lines, without the key."""
    limiter = scene.limiter(HOURLY)
    with caplog.at_level(logging.DEBUG, "ratelimit"):
        for trouble in (None, GONE, None):
            scene.first.trouble = trouble
            scene.clock.advance(0.5)
            admitted(limiter, key="secret")
    assert [record.name for record in caplog.records] == ["ratelimit.stores.fallback"] * 2
    assert caplog.messages == [
        "the store can't decide (timeout): MemoryStore does until it can",
        "the store answers again, and decides",
    ]


@every_algorithm
def test_an_outage_hands_out_no_fresh_quota(scene: Scene, kind: type[Algorithm]) -> None:
    """What the first store has allowed is charged to the share as well."""
    limiter = scene.limiter(of_five(kind))
    assert admitted(limiter, 3) == 3
    scene.first.trouble = GONE
    assert admitted(limiter) == 2


@every_algorithm
@pytest.mark.parametrize("charge", ["hit", "charge"])
def test_a_share_is_charged_as_far_as_it_goes(
    scene: Scene, kind: type[Algorithm], charge: str
) -> None:
    """A cost that is more than the share has left uses up what it has, and no more."""
    limiter = scene.limiter(kind("40/hour"), nodes=4)
    getattr(limiter, charge)("k", 30)
    scene.first.trouble = GONE
    decision = limiter.hit("k")
    assert (decision.allowed, decision.remaining) == (False, 0)
    share = decision.limit
    assert share == 10
    scene.clock.now += round(decision.reset_after * 1e6)
    assert limiter.peek("k").remaining == share


def test_several_limits_are_kept_warm(scene: Scene) -> None:
    """Each limit's share is charged, also where another one's is used up."""
    limiter = scene.limiter({"a": FixedWindow("4/hour"), "b": FixedWindow("40/hour")}, nodes=4)
    admitted(limiter, 4)
    scene.first.trouble = GONE
    decision = limiter.hit("k")
    assert {name: part.remaining for name, part in decision.limits.items()} == {"a": 0, "b": 6}


@every_algorithm
def test_a_cold_share_is_the_bound(scene: Scene, kind: type[Algorithm]) -> None:
    """Without warming, an outage admits one share more, and not a unit beyond."""
    limiter = scene.limiter(kind("40/hour"), nodes=4, warm=False)
    admitted(limiter)
    limiter.charge("k", 3)
    scene.first.trouble = GONE
    assert admitted(limiter) == 10


@given(
    kind=st.sampled_from(ALGORITHMS),
    limit=st.integers(1, 60),
    nodes=st.integers(1, 9),
    costs=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 9)), max_size=30),
    warm=st.booleans(),
)
def test_the_bound_of_an_outage(
    kind: type[Algorithm], limit: int, nodes: int, costs: list[tuple[int, int]], warm: bool
) -> None:
    """All nodes together admit no more in an outage than the limit, or one unit each."""
    clock = Clock()
    first = Flaky(clock=clock)
    processes = [
        Limiter(
            kind(f"{limit}/hour"),
            store=FallbackStore(
                first,
                MemoryStore(clock=clock),
                nodes=nodes,
                warm=warm,
                breaker=Breaker(clock=clock),
            ),
        )
        for _ in range(nodes)
    ]
    most = processes[0].hit("k", 0).limit
    before = sum(cost for at, cost in costs if processes[at % nodes].hit("k", cost))
    assert before <= most
    first.trouble = GONE
    during = sum(cost for at, cost in costs if processes[at % nodes].hit("k", cost))
    during += sum(admitted(process) for process in processes)
    assert during <= max(most, nodes)
    if warm and nodes == 1:
        assert before + during == most


@given(kind=st.sampled_from(ALGORITHMS), limit=st.integers(1, 10_000), nodes=st.integers(1, 10_000))
def test_shares(kind: type[Algorithm], limit: int, nodes: int) -> None:
    """A share is an equal part of whole units, at least 1, at the same rate or a slower one."""
    whole = kind(f"{limit}/minute")
    share = whole.shared_by(nodes)
    assert type(share) is kind
    assert share.max_cost == max(1, whole.max_cost // nodes)
    assert share.max_debt == 0
    rate = share.quota.limit * whole.quota.period_us * nodes
    assert rate <= max(limit, nodes) * share.quota.period_us


def test_a_share_of_buckets_is_exact() -> None:
    """A bucket's share has the exact rate, and the longest period for one that is slower."""
    assert TokenBucket("10/second", burst=20).shared_by(3) == TokenBucket(
        "10/3 seconds", burst=6, max_debt=0
    )
    assert LeakyBucket("10/second", capacity=19).shared_by(4) == LeakyBucket(
        "10/4 seconds", capacity=4, max_debt=0
    )
    assert TokenBucket("1/3653 days").shared_by(9) == TokenBucket("1/3653 days", max_debt=0)


def test_the_patience_of_a_share(scene: Scene) -> None:
    """Who can't wait for the queue is refused by the second store too."""
    limiter = scene.limiter(LeakyBucket("10/second", capacity=19), nodes=2)
    scene.first.trouble = GONE
    assert [limiter.hit("k").delay for _ in range(4)] == [0, 0.2, 0.4, 0.6]
    with pytest.raises(RateLimitExceeded):
        limiter.acquire("k", timeout=0.5)
    assert limiter.hit("k").delay == 0.8


def test_a_cost_that_never_fits_the_share(scene: Scene) -> None:
    """What fits the limit is denied until the next probe; what doesn't, for ever."""
    limiter = scene.limiter(HOURLY, nodes=4)
    scene.first.trouble = GONE
    decision = limiter.hit("k", 3)
    assert (decision.allowed, decision.degraded, decision.limit) == (False, True, 8)
    assert (decision.remaining, decision.retry_after, decision.reset_after) == (2, 0.5, 0.5)
    assert refused(decision)
    assert not limiter.refund(decision)
    assert limiter.hit("k", 9).retry_after == inf
    assert limiter.charge("k", 9).spent == 2
    assert not refused(limiter.hit("k"))


def test_waiting_for_a_store_to_return(scene: Scene) -> None:
    """Who waits for more than the share gets it from the first store when that is back."""
    limiter = scene.limiter(HOURLY, nodes=4, breaker=Breaker(pause=0.001))

    scene.first.trouble = GONE
    asks = iter(range(100))
    original = scene.first.ask

    def ask() -> None:
        if next(asks) == 5:
            scene.first.trouble = None
        original()

    scene.first.ask = ask  # type: ignore[method-assign]
    assert not limiter.acquire("k", 3, timeout=20).degraded


def test_allow_all(scene: Scene) -> None:
    """Whatever the limit admits at some time is allowed, and nothing is charged."""
    limiter = scene.limiter(HOURLY, AllowAll())
    limiter.hit("k", 8)
    scene.first.trouble = GONE
    assert admitted(limiter) == 100
    decision = limiter.hit("k", 8)
    assert (decision.degraded, decision.remaining, decision.reset_after) == (True, 8, 0)
    assert decision.page.algorithm.effective_window(decision.reading, decision.now) == 3_600_000_000
    assert not limiter.refund(decision)
    assert limiter.charge("k", 5).spent == 0
    assert limiter.peek("k", 8)
    denied = limiter.hit("k", 9)
    assert (denied.allowed, denied.retry_after, refused(denied)) == (False, inf, False)


def test_deny_all(scene: Scene) -> None:
    """Whatever costs anything is denied, for as long as it says."""
    limiter = scene.limiter(HOURLY, DenyAll(retry_after=2.5))
    scene.first.trouble = GONE
    decision = limiter.hit("k")
    assert (decision.allowed, decision.degraded, decision.remaining) == (False, True, 0)
    assert (decision.limit, decision.retry_after, decision.reset_after) == (8, 2.5, 2.5)
    assert decision.page.algorithm.effective_window(decision.reading, decision.now) == 2_500_000
    assert refused(decision)
    assert limiter.hit("k", 0)
    assert limiter.charge("k", 3)
    assert not limiter.peek("k")


def test_constants_serve_alone() -> None:
    """They are stores as others are."""
    limiter = Limiter({"a": HOURLY, "b": TokenBucket("1/s")}, store=AllowAll())
    with limiter:
        assert limiter.hit("k").remaining == 1
        assert limiter.store.refund_all([]) is False
        limiter.reset("k")
        for key, cost in (("", 1), ("k", -1)):
            with pytest.raises(ValueError, match=r"a (key|cost) is"):
                limiter.hit(key, cost)
    assert not Limiter(HOURLY, store=DenyAll()).hit("k")
    constant = Constant(HOURLY, 0, 5)
    assert constant == Constant(HOURLY, 0, 5) != Constant(HOURLY, 8, 0)
    assert constant.shared_by(3) is constant
    assert constant.refund((), 0, 1, (0,)) is None
    assert constant.charge((), 0, 3) == (0, (0,), None)


def test_both_stores_are_closed(scene: Scene) -> None:
    """A limiter that is closed closes both."""
    limiter = scene.limiter(HOURLY, Flaky())
    (limiter.close if scene.colour == "sync" else limiter.aclose)()
    assert (scene.first.closed, scene.store.second.closed) == (1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FallbackStore(wrong(AsyncMemoryStore(MemoryStore()))),
        lambda: FallbackStore(FallbackStore(MemoryStore())),
        lambda: FallbackStore(wrong("redis://localhost")),
        lambda: FallbackStore(MemoryStore(), wrong(RedisStore(redis.Redis()))),
        lambda: FallbackStore(MemoryStore(), nodes=wrong(1.5)),
        lambda: AsyncFallbackStore(wrong(MemoryStore())),
        lambda: DenyAll(retry_after=wrong("1")),
    ],
)
def test_wrong_types_are_refused(make: Callable[[], object]) -> None:
    """A store of the wrong colour, two fallbacks, and a second store that waits are refused."""
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: FallbackStore(MemoryStore(), nodes=0),
        lambda: DenyAll(retry_after=0),
        lambda: Limiter(HOURLY, on_error=wrong("ignore")),
        lambda: AsyncLimiter(HOURLY, on_error=wrong(None)),
        lambda: Limiter(HOURLY, on_error="local", nodes=0),
    ],
)
def test_wrong_values_are_refused(make: Callable[[], object]) -> None:
    """Numbers and words that make no sense are refused at construction, with their name."""
    with pytest.raises(ValueError, match=r"nodes|retry_after|on_error"):
        make()


@pytest.mark.parametrize(
    ("on_error", "second"), [("local", MemoryStore), ("open", AllowAll), ("closed", DenyAll)]
)
def test_on_error_puts_a_store_behind(on_error: Any, second: type) -> None:
    """A URL and an object are treated alike, in both colours."""
    url = f"redis://127.0.0.1:{servers.free_port()}"
    for store in (url, RedisStore(url)):
        limiter = Limiter(HOURLY, store=store, on_error=on_error, nodes=2)
        assert isinstance(limiter.store, FallbackStore)
        assert (type(limiter.store.second), limiter.store.nodes) == (second, 2)
        assert admitted(limiter, 9) == {"local": 4, "open": 9, "closed": 0}[on_error]
        assert limiter.store.errors == {"connection": 3}

    async def scenario() -> None:
        for store in (url, AsyncRedisStore(url)):
            limiter = AsyncLimiter(HOURLY, store=store, on_error=on_error, nodes=2)
            assert isinstance(limiter.store, AsyncFallbackStore)
            assert type(limiter.store.second) is second
            assert (await limiter.hit("k")).degraded

    asyncio.run(scenario())


def test_what_needs_no_fallback_gets_none() -> None:
    """A `MemoryStore` never fails, a `FallbackStore` has one, and by default an error is raised."""
    memory, url = MemoryStore(), f"redis://127.0.0.1:{servers.free_port()}"
    assert Limiter(HOURLY, store=memory, on_error="open").store is memory
    assert isinstance(AsyncLimiter(HOURLY, on_error="closed").store, AsyncMemoryStore)
    store, awaiting = FallbackStore(memory), AsyncFallbackStore(AsyncMemoryStore(memory))
    assert Limiter(HOURLY, store=store, on_error="open").store is store
    assert AsyncLimiter(HOURLY, store=awaiting, on_error="open").store is awaiting
    for limiter in (Limiter(HOURLY, store=url), Limiter(HOURLY, store=url, on_error="raise")):
        with pytest.raises(StoreUnavailable):
            limiter.hit("k")


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.mark.parametrize(
    ("options", "statuses"),
    [
        ({}, [200] * 8 + [429]),
        ({"on_error": "local", "nodes": 4}, [200, 200] + [429] * 7),
        ({"on_error": "open"}, [200] * 9),
        ({"on_error": "closed"}, [503] * 9),
        ({"on_error": "raise"}, [503] * 9),
    ],
)
def test_the_middleware_in_an_outage(options: dict[str, Any], statuses: list[int]) -> None:
    """By default it decides in memory; closed is a 503, as an outage isn't a client's fault."""
    url = f"redis://127.0.0.1:{servers.free_port()}"
    rules = [Rule("all", HOURLY, key="k")]
    client = TestClient(RateLimitMiddleware(hello, rules=rules, store=url, **options))
    answers = [client.get("/") for _ in range(9)]
    assert [answer.status_code for answer in answers] == statuses
    if 503 in statuses:
        assert answers[0].headers["content-type"] == "application/problem+json"
        assert answers[0].json()["type"].endswith("#temporary-reduced-capacity")


def test_a_request_that_costs_more_than_the_share() -> None:
    """It is refused for want of a store, with a 503."""
    url = f"redis://127.0.0.1:{servers.free_port()}"
    rules = [Rule("all", HOURLY, key="k", cost=3)]
    app = RateLimitMiddleware(hello, rules=rules, store=url, nodes=4)
    assert TestClient(app).get("/").status_code == 503


def stores_at(port: int, clock: Callable[[], int]) -> tuple[FallbackStore, AsyncFallbackStore]:
    """Return a store of each colour on a server, with deadlines and pauses made for tests."""
    quick: dict[str, Any] = {"port": port, "socket_timeout": 0.05, "socket_connect_timeout": 0.05}
    blocking = RedisStore(redis.Redis(**quick, retry=Retry(NoBackoff(), 0)))
    awaiting = AsyncRedisStore(redis.asyncio.Redis(**quick, retry=AsyncRetry(NoBackoff(), 0)))
    return (
        FallbackStore(blocking, nodes=4, breaker=Breaker(clock=clock)),
        AsyncFallbackStore(awaiting, nodes=4, breaker=Breaker(clock=clock)),
    )


@contextmanager
def in_both_colours(port: int, clock: Clock) -> Iterator[list[Any]]:
    """Run the limiters of both colours on a server."""
    blocking, awaiting = stores_at(port, clock)
    loop = asyncio.new_event_loop()
    other = Blocking(AsyncLimiter(HOURLY, store=awaiting, name="async"), loop)
    yield [Limiter(HOURLY, store=blocking, name="sync"), other]
    blocking.close()
    other.aclose()
    loop.close()


@contextmanager
def stopped(port: int) -> Iterator[None]:
    """Stop a server, as one that hangs does: it accepts, and is silent."""
    process = redis.Redis(port=port).info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("kind", servers.KINDS)
def test_a_server_that_is_killed_and_comes_back(kind: str, clock: Clock) -> None:
    """The share decides while it is away, and the server again when the next probe finds it."""
    port = servers.free_port()
    with in_both_colours(port, clock) as limiters:
        with servers.running(kind, port=port):
            for limiter in limiters:
                assert not limiter.hit("k", 1).degraded
            os.kill(redis.Redis(port=port).info("server")["process_id"], signal.SIGKILL)
        for limiter in limiters:
            decisions = [limiter.hit("k") for _ in range(9)]
            assert [decision.allowed for decision in decisions] == [True] + [False] * 8
            assert all(decision.degraded for decision in decisions)
        with servers.running(kind, port=port):
            clock.advance(0.5)
            for limiter in limiters:
                decision = limiter.hit("k")
                assert (decision.degraded, decision.remaining) == (False, 7)


def test_a_server_that_hangs(clock: Clock) -> None:
    """Three decisions wait for the deadline, all others are taken at once."""
    with servers.running("redis-7.0") as port, in_both_colours(port, clock) as limiters:
        for limiter in limiters:
            limiter.hit("k")
        with stopped(port):
            for limiter in limiters:
                assert sum(limiter.hit("k").degraded for _ in range(100)) == 100
        clock.advance(0.5)
        for limiter in limiters:
            assert not limiter.peek("k").degraded


def test_within_a_second_of_its_return_the_server_decides() -> None:
    """By the real clock, a client that goes on asking is back on the server soon."""
    port = servers.free_port()
    store = FallbackStore(RedisStore(f"redis://127.0.0.1:{port}"), nodes=4)
    with Limiter(TokenBucket("1000/second"), store=store) as limiter:
        assert all(limiter.hit("k").degraded for _ in range(10))
        with servers.running("redis-7.0", port=port):
            end = time.monotonic() + 10
            while limiter.hit("k").degraded and time.monotonic() < end:
                time.sleep(0.01)
            assert not limiter.hit("k").degraded


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_denial_that_is_remembered_is_no_sign_of_life(colour: str) -> None:
    """What is denied without asking neither closes the breaker nor keeps it from opening."""
    limits = {"a": FixedWindow("1/hour"), "b": FixedWindow("9/hour")}
    loop = asyncio.new_event_loop()
    with servers.running("redis-7.0") as port:
        options: dict[str, Any] = {"deadline": PATIENT, "remember_denials": 3_600}
        url = f"redis://127.0.0.1:{port}"
        limiter: Any
        if colour == "sync":
            store: Any = FallbackStore(RedisStore(url, **options))
            limiter = Limiter(limits, store=store)
        else:
            store = AsyncFallbackStore(AsyncRedisStore(url, **options))
            limiter = Blocking(AsyncLimiter(limits, store=store), loop)
        assert [bool(limiter.hit("blocked")) for _ in range(2)] == [True, False]
    for key in ("a", "b", "c"):
        assert not limiter.hit("blocked").degraded
        assert limiter.hit(key).degraded
    assert store.breaker.is_open
    assert not limiter.hit("blocked").degraded
    assert (store.breaker.is_open, store.errors) == (True, {"connection": 3})
    (limiter.close if colour == "sync" else limiter.aclose)()
    loop.close()
