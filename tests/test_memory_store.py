"""States in this process: one transaction at a time, bounded, and forgotten in time."""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Barrier, Event, Thread, main_thread
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit import (
    Algorithm,
    Decision,
    FixedWindow,
    MemoryStore,
    SlidingLog,
    TokenBucket,
)
from ratelimit.stores.base import MAX_KEY, Ask, check_cost, check_key, check_name
from ratelimit.stores.memory import AsyncMemoryStore
from tests.conftest import ALGORITHMS, Clock, every_kind, wrong

if TYPE_CHECKING:
    from ratelimit.algorithms.base import State

SECOND = 1_000_000


def told(decision: Decision) -> tuple[bool, int, float, float, float]:
    """Return what a decision says."""
    return (
        decision.allowed,
        decision.remaining,
        decision.retry_after,
        decision.reset_after,
        decision.delay,
    )


@every_kind
def test_a_hit_is_counted_by_key_and_limit(kind: type[Algorithm]) -> None:
    """Keys don't see each other, nor do limits of other names."""
    store = MemoryStore(clock=Clock())
    page, other = store.open("page", kind("5/minute")), store.open("other", kind("5/minute"))
    full = page.algorithm.max_cost
    assert page.hit("a", full)
    assert not page.hit("a")
    assert page.hit("b", full)
    assert other.hit("a", full)
    assert 3 == len(store)


def test_a_denial_puts_a_state_right_that_lies_ahead(clock: Clock) -> None:
    """Of several limits too, a state of a clock that ran ahead is pulled back, and that is kept."""
    store = MemoryStore(clock=clock)
    ahead, none = (store.open(name, TokenBucket("1/minute")) for name in ("ahead", "none"))
    none.hit("k")
    clock.advance(9_000)
    ahead.hit("k")
    clock.advance(-9_000)
    asks = [Ask(ahead, "k", 1), Ask(none, "k", 1)]
    denied, _ = store.hit_all(asks)
    assert (denied.allowed, denied.retry_after) == (False, 60)
    clock.advance(60)
    assert all(store.hit_all(asks))


@every_kind
def test_two_ledgers_of_one_name_and_kind_share_their_states(kind: type[Algorithm]) -> None:
    """Opening a limit again, even with other numbers, hands out no fresh quota."""
    store = MemoryStore(clock=Clock())
    assert store.open("page", kind("5/minute")).hit("a", 5)
    again = store.open("page", kind("5/minute"))
    assert again.algorithm.max_cost - 5 == again.hit("a", 0).remaining
    assert not store.open("page", kind("2/minute")).hit("a", 2)


def test_limits_of_one_name_and_two_kinds_are_two() -> None:
    """A state is never read by another kind of algorithm."""
    store = MemoryStore(clock=Clock())
    for kind in ALGORITHMS:
        assert store.open("page", kind("5/minute")).hit("a", 5)


@every_kind
@pytest.mark.parametrize("denying", [0, 1, 2])
def test_all_or_nothing(kind: type[Algorithm], denying: int) -> None:
    """If one of several denies, none is charged, and the answers say what is there."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    ledgers = [store.open(f"limit{index}", kind("5/minute")) for index in range(3)]
    full = ledgers[0].algorithm.max_cost
    ledgers[denying].hit("a", full)
    before = [told(ledger.hit("a", 0)) for ledger in ledgers]
    decisions = store.hit_all([Ask(ledger, "a", 2) for ledger in ledgers])
    assert [index != denying for index in range(3)] == [bool(one) for one in decisions]
    assert [0, 0, 0] == [one.spent for one in decisions]
    assert [left for _, left, *_ in before] == [one.remaining for one in decisions]
    assert before == [told(ledger.hit("a", 0)) for ledger in ledgers]
    clock.now += int(decisions[denying].retry_after_us)
    assert all(store.hit_all([Ask(ledger, "a", 2) for ledger in ledgers]))


def test_the_order_of_the_limits_makes_no_difference() -> None:
    """Each limit says the same, and is left the same, wherever it stands."""
    seen = set()
    for order in permutations(range(len(ALGORITHMS))):
        store = MemoryStore(clock=Clock())
        ledgers = [
            store.open(kind.__name__, kind(f"{5 + index}/minute"))
            for index, kind in enumerate(ALGORITHMS)
        ]
        trace = []
        for cost in (3, 3, 1, 1):
            decisions = store.hit_all([Ask(ledgers[index], "a", cost) for index in order])
            trace += sorted((one.name, *told(one)) for one in decisions)
        trace += [(one.name, *told(one.hit("a", 0))) for one in ledgers]
        seen.add(tuple(trace))
    assert 1 == len(seen)


@every_kind
def test_a_peek_says_what_a_hit_would_and_changes_nothing(kind: type[Algorithm]) -> None:
    """Peeking at a cost is free, and creates no key."""
    store = MemoryStore(clock=Clock())
    page = store.open("page", kind("5/minute"))
    full = page.algorithm.max_cost
    (peek,) = store.peek_all([Ask(page, "a", full)])
    assert (True, full, 0) == (peek.allowed, peek.remaining, peek.spent)
    assert 0 == len(store)
    assert page.hit("a", full)
    (peek,) = store.peek_all([Ask(page, "a", 1)])
    assert told(peek) == told(page.hit("a", 1))
    assert page.hit("b", 0)
    assert not page.hit("c", full + 1)
    assert 1 == len(store)


@every_kind
def test_charge_refund_and_reset(kind: type[Algorithm]) -> None:
    """A charge goes into debt, a refund takes it back, a reset forgets the key."""
    store = MemoryStore(clock=Clock())
    page = store.open("page", kind("5/minute", max_debt=2))
    full = page.algorithm.max_cost
    charged, nothing = store.charge_all([Ask(page, "a", full + 9), Ask(page, "b", 0)])
    assert (True, full + 2, 0) == (charged.allowed, charged.spent, charged.remaining)
    assert (0, full) == (nothing.spent, nothing.remaining)
    assert not page.hit("a")
    assert store.refund_all([(charged, charged.spent)])
    assert full == page.hit("a", 0).remaining
    assert not store.refund_all([(charged, charged.spent)])
    assert not store.refund_all([])
    page.hit("a", full)
    store.reset_all([Ask(page, "a", 0), Ask(page, "never", 0)])
    assert full == page.hit("a", 0).remaining
    assert 0 == len(store)
    store.close()
    store.close()


class Keeper:
    """A store that never forgets."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.states: dict[str, State] = {}
        self.degraded = False
        self.name = "page"

    def hit(self, now: int, key: str, cost: int) -> Decision:
        """Ask, and spend if it is allowed."""
        state = self.states.get(key, self.algorithm.fresh)
        allowed, reading, after = self.algorithm.decide(state, now, cost)
        if after is not None:
            self.states[key] = after
        return Decision.of(self, key, cost, allowed, now, reading, cost if allowed else 0)

    def charge(self, now: int, key: str, cost: int) -> Decision:
        """Charge whatever there is left."""
        state = self.states.get(key, self.algorithm.fresh)
        spent, reading, after = self.algorithm.charge(state, now, cost)
        if after is not None:
            self.states[key] = after
        return Decision.of(self, key, cost, True, now, reading, spent)


trace_steps = st.lists(
    st.tuples(
        st.sampled_from(["hit", "hit", "hit", "charge"]),
        st.sampled_from("abcd"),
        st.integers(0, 7),
        st.one_of(st.integers(0, 12 * SECOND), st.integers(0, SECOND), st.just(0)),
    ),
    max_size=60,
)


@every_kind
@given(trace=trace_steps)
def test_forgetting_is_never_visible(
    kind: type[Algorithm], trace: list[tuple[str, str, int, int]]
) -> None:
    """The store answers as one that never forgets, and holds nothing two horizons later."""
    clock = Clock()
    store, keeper = MemoryStore(clock=clock), Keeper(kind("5/second"))
    page = store.open("page", kind("5/second"))
    for act, key, cost, elapsed in trace:
        clock.now += elapsed
        if act == "charge":
            expected = keeper.charge(clock.now, key, cost)
            (actual,) = store.charge_all([Ask(page, key, cost)])
        else:
            expected, actual = keeper.hit(clock.now, key, cost), page.hit(key, cost)
        assert told(expected) == told(actual)
    for _ in range(2):
        clock.now += page.algorithm.horizon
        page.hit("z", 0)
    assert 0 == len(store)


@every_kind
def test_the_keys_of_yesterday_are_gone(kind: type[Algorithm]) -> None:
    """Keys that come once don't pile up: at most those of two horizons are there."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    page = store.open("page", kind("5/second"))
    for number in range(2_000):
        clock.now += page.algorithm.horizon // 100
        page.hit(f"key{number}")
    assert 100 <= len(store) <= 202
    assert 0 == store.evictions


def test_a_longer_limit_of_the_same_name_is_not_forgotten_early() -> None:
    """The longest horizon of those that share a page counts."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    store.open("page", FixedWindow("5/second"))
    clock.now -= clock.now % (3600 * SECOND)
    hourly = store.open("page", FixedWindow("5/hour"))
    assert hourly.hit("a", 5)
    for _ in range(59):
        clock.now += 60 * SECOND
        assert hourly.hit("b", 0)
    assert not hourly.hit("a")


@every_kind
def test_a_flood_of_keys_is_bounded(kind: type[Algorithm]) -> None:
    """There are never more than `max_keys`, and each key forgotten early is counted."""
    store = MemoryStore(max_keys=100, clock=Clock())
    page = store.open("page", kind("5/minute"))
    for number in range(1_000):
        assert page.hit(f"key{number}")
        assert len(store) <= 100
    assert (100, 900) == (len(store), store.evictions)


@every_kind
def test_a_flood_of_keys_does_not_reset_a_blocked_client(kind: type[Algorithm]) -> None:
    """An exhausted key is still denied after ten times `max_keys` new ones."""
    store = MemoryStore(max_keys=100, clock=Clock())
    page = store.open("page", kind("5/hour"))
    victims = [f"victim{number}" for number in range(20)]
    for victim in victims:
        assert page.hit(victim, page.algorithm.max_cost)
    for number in range(1_000):
        page.hit(f"key{number}")
    assert [] == [victim for victim in victims if page.hit(victim)]


def test_a_flood_forgets_what_is_expired_before_what_is_used() -> None:
    """A key whose state is as good as fresh makes room before one that still owes."""
    clock = Clock()
    store = MemoryStore(max_keys=50, clock=clock)
    page = store.open("page", TokenBucket("5/minute"))
    for number in range(10):
        page.hit(f"live{number}", 5)
    for number in range(40):
        page.hit(f"expired{number}")
    clock.now += 13 * SECOND
    for number in range(40):
        page.hit(f"new{number}", 2)
    assert [1] * 10 == [page.hit(f"live{number}", 0).remaining for number in range(10)]
    assert 40 == store.evictions


def test_another_limit_makes_room_for_a_new_one() -> None:
    """A limit that has no keys yet takes the room from the one that has most."""
    store = MemoryStore(max_keys=10, clock=Clock())
    first, second = (store.open(name, TokenBucket("5/minute")) for name in ("one", "two"))
    for number in range(10):
        assert first.hit(f"key{number}")
    assert second.hit("a")
    assert (10, 1) == (len(store), store.evictions)


def test_a_flood_of_one_limit_does_not_reset_a_client_blocked_by_another() -> None:
    """Room is made where it is, not where the few keys are exhausted."""
    store = MemoryStore(max_keys=100, clock=Clock())
    many, few = (store.open(name, TokenBucket("5/hour")) for name in ("many", "few"))
    assert few.hit("victim", 5)
    for number in range(200):
        many.hit(f"key{number}")
    assert few.hit("other")
    assert not few.hit("victim")


def test_a_peek_makes_no_room() -> None:
    """Who writes nothing pushes nobody out, however many keys they ask for."""
    store = MemoryStore(max_keys=10, clock=Clock())
    page = store.open("page", TokenBucket("5/minute"))
    for number in range(10):
        page.hit(f"key{number}")
    for number in range(100):
        page.hit(f"peek{number}", 0)
        page.hit(f"denied{number}", 6)
        store.peek_all([Ask(page, f"peek{number}", 1)])
    assert (10, 0) == (len(store), store.evictions)


def test_a_flood_of_transactions_is_bounded() -> None:
    """Several new keys at once don't exceed the bound either."""
    store = MemoryStore(max_keys=10, clock=Clock())
    ledgers = [store.open(f"limit{number}", TokenBucket("5/minute")) for number in range(3)]
    for number in range(100):
        store.hit_all([Ask(ledger, f"key{number}", 1) for ledger in ledgers])
        store.charge_all([Ask(ledger, f"other{number}", 1) for ledger in ledgers])
        assert len(store) <= 10


@pytest.mark.parametrize("max_keys", [1, 2])
def test_a_tiny_store_is_bounded(max_keys: int) -> None:
    """A store of one key holds one."""
    store = MemoryStore(max_keys=max_keys, clock=Clock())
    page = store.open("page", TokenBucket("5/minute"))
    for number in range(10):
        assert page.hit(f"key{number}", 5)
    assert max_keys == len(store)


def test_all_keys_exhausted_still_makes_room() -> None:
    """If nobody has anything left, the one who is free soonest is forgotten."""
    clock = Clock()
    store = MemoryStore(max_keys=10, clock=clock)
    page = store.open("page", TokenBucket("1/minute"))
    for number in range(10):
        clock.now += 1
        page.hit(f"key{number}")
    page.hit("new")
    assert (10, 1) == (len(store), store.evictions)
    assert not page.hit("key9")


def test_a_crowd_of_exhausted_keys_makes_room_too() -> None:
    """The search for one that has something left ends, however many have nothing."""
    store = MemoryStore(max_keys=100, clock=Clock())
    page = store.open("page", TokenBucket("1/minute"))
    for number in range(200):
        assert page.hit(f"key{number}")
    assert (100, 100) == (len(store), store.evictions)


@pytest.mark.parametrize("key", [None, 5, 5.0, True, b"a", ("a",), ["a"], {}])
def test_a_key_of_another_type(key: Any) -> None:
    """A key is a str."""
    store = MemoryStore(clock=Clock())
    page = store.open("page", TokenBucket("5/minute"))
    with pytest.raises(TypeError):
        page.hit(key)
    for call in (store.hit_all, store.peek_all, store.charge_all, store.reset_all):
        with pytest.raises(TypeError, match=f"a key is a str, not {type(key).__name__}"):
            call([Ask(page, "good", 1), Ask(page, key, 1)])
    assert 0 == len(store)
    assert page.hit("good", 5)


@pytest.mark.parametrize(("key", "why"), [("", "not empty"), ("a" * (MAX_KEY + 1), "hash it")])
def test_a_key_that_is_empty_or_too_long(key: str, why: str) -> None:
    """A key says whom it means, in at most `MAX_KEY` characters."""
    store = MemoryStore(clock=Clock())
    page = store.open("page", TokenBucket("5/minute"))
    with pytest.raises(ValueError, match=why):
        page.hit(key)
    for call in (store.hit_all, store.peek_all, store.charge_all, store.reset_all):
        with pytest.raises(ValueError, match=why):
            call([Ask(page, "good", 1), Ask(page, key, 1)])
    assert 0 == len(store)


@pytest.mark.parametrize("key", ["\x00", "\ud800", "\udcff\ud800", "🦀", " ", "\n", "a" * MAX_KEY])
def test_any_text_is_a_key(key: str) -> None:
    """Surrogates, NULs and blanks are as good as letters."""
    page = MemoryStore(clock=Clock()).open("page", TokenBucket("5/minute"))
    assert page.hit(key, 5)
    assert not page.hit(key)
    assert page.hit(key + "b" if len(key) < MAX_KEY else "b")


@pytest.mark.parametrize(
    ("cost", "error"),
    [
        (-1, ValueError),
        (-(10**40), ValueError),
        (True, TypeError),
        (1.0, TypeError),
        (float("nan"), TypeError),
        ("1", TypeError),
        (None, TypeError),
    ],
)
def test_a_bad_cost(cost: Any, error: type[Exception]) -> None:
    """A cost is a whole number of 0 or more; nothing is written for another."""
    store = MemoryStore(clock=Clock())
    page = store.open("page", TokenBucket("5/minute"))
    with pytest.raises(error, match="a cost is"):
        page.hit("a", cost)
    for call in (store.hit_all, store.peek_all, store.charge_all, store.reset_all):
        with pytest.raises(error, match="a cost is"):
            call([Ask(page, "a", 1), Ask(page, "b", cost)])
    assert 0 == len(store)


def test_what_is_checked() -> None:
    """Names, keys and costs come back as they were, or raise."""
    assert "a.B_c:9-" == check_name("a.B_c:9-")
    assert "x" * 128 == check_name("x" * 128)
    assert "k" == check_key("k")
    assert 10**40 == check_cost(10**40)
    for name in ("", "x" * 129, "a b", "a\n", "é", 'a"', "{a}"):
        with pytest.raises(ValueError, match="a limit's name is 1 to 128"):
            check_name(name)
    with pytest.raises(TypeError, match="a limit's name is a str, not int: 5"):
        check_name(5)


@pytest.mark.parametrize(
    ("max_keys", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)]
)
def test_a_bad_bound(max_keys: Any, error: type[Exception]) -> None:
    """The bound is a whole number, at least 1."""
    with pytest.raises(error, match="max_keys is"):
        MemoryStore(max_keys=max_keys)


def test_the_clock_is_monotonic_and_tells_the_time_of_the_wall() -> None:
    """Without a clock of its own a store tells microseconds since the epoch."""
    store = MemoryStore()
    assert abs(store.now() - time.time_ns() // 1_000) < SECOND
    assert store.now() <= store.now()
    assert MemoryStore(clock=Clock(7)).now() == 7


@every_kind
def test_threads_are_let_in_exactly_as_often_as_the_limit_says(kind: type[Algorithm]) -> None:
    """Eight threads that start together share one limit, in every call that charges."""
    store = MemoryStore(clock=Clock())
    page, other = store.open("page", kind("500/hour")), store.open("other", kind("900/hour"))
    together = Barrier(8)

    def work(number: int) -> int:
        together.wait()
        admitted = 0
        for _ in range(200):
            if number % 2:
                admitted += bool(page.hit("a"))
            else:
                admitted += all(store.hit_all([Ask(page, "a", 1), Ask(other, "a", 1)]))
        return admitted

    with ThreadPoolExecutor(8) as pool:
        admitted = sum(pool.map(work, range(8)))
    assert page.algorithm.max_cost == admitted


def test_the_async_store_is_the_same_store() -> None:
    """Each call of the async colour does what its twin does."""

    async def scenario() -> None:
        inner = MemoryStore(clock=Clock())
        store = AsyncMemoryStore(inner)
        page = store.open("page", TokenBucket("5/minute"))
        assert ("page", False, 5) == (page.name, page.degraded, page.algorithm.max_cost)
        assert await page.hit("a")
        (hit,) = await store.hit_all([Ask(page, "a", 3)])
        (peek,) = await store.peek_all([Ask(page, "a", 2)])
        assert (1, False) == (hit.remaining, peek.allowed)
        assert await store.refund_all([(hit, hit.take())])
        (charged,) = await store.charge_all([Ask(page, "a", 9)])
        assert 0 == charged.remaining
        await store.reset_all([Ask(page, "a", 0)])
        assert 0 == len(inner)
        await store.aclose()

    asyncio.run(scenario())


def test_an_interrupted_hit_leaves_the_lock_free() -> None:
    """Whatever breaks in on a hit, in the lock or while waiting for it, the next one works."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    page = store.open("page", TokenBucket("2/hour"))
    clock.now = "broken"  # type: ignore[assignment]
    with pytest.raises(TypeError):
        page.hit("a")
    clock.now = 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    locked, done = Event(), Event()

    def hold() -> None:
        with store.lock:
            locked.set()
            done.wait(0.1)
            signal.pthread_kill(main_thread().ident or 0, signal.SIGUSR1)
            done.wait()

    holder = Thread(target=hold)
    holder.start()
    locked.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            page.hit("a")
        assert not store.lock.acquire(blocking=False)
    finally:
        done.set()
        holder.join()
        signal.signal(signal.SIGUSR1, before)
    assert page.hit("a").remaining == 1


def test_an_interruption_before_it_is_kept() -> None:
    """What was decided and couldn't be kept is taken back, also from a log."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    page = store.open("page", SlidingLog("3/second"))
    page.hit("a")
    (shelf,) = store._shelves.values()
    turn_at, shelf.turn_at = shelf.turn_at, "broken"  # type: ignore[assignment]
    clock.now += SECOND // 2
    with pytest.raises(TypeError):
        page.hit("a")
    shelf.turn_at = turn_at
    clock.now += SECOND // 4
    page.hit("a")
    clock.now += SECOND // 2
    assert page.hit("a", 0).reset_after == 0.5
    assert page.hit("a", 2).retry_after == 0


def test_an_unhashable_key() -> None:
    """It is refused as any other key that is no text."""
    page = MemoryStore().open("page", TokenBucket("2/hour"))
    with pytest.raises(TypeError, match="a key is a str, not list"):
        page.hit(wrong(["a"]))
    assert page.hit("a").remaining == 1
