"""A cluster in every trouble: no hit is lost or charged twice, and it recovers by itself."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Self

import pytest

from ratelimit.algorithms import FixedWindow, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.stores.redis.slots import slot_of
from tests import clusters
from tests.clusters import until
from tests.conftest import PATIENT, check, maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratelimit.decision import Decision
    from tests.clusters import Cluster

DEADLINE = 0.5
MANY = FixedWindow("1000000/day")


@pytest.fixture(scope="module")
def shifting() -> Iterator[Cluster]:
    """Run a cluster with replicas for this module alone: it is changed all the time."""
    with clusters.built(3, 3) as cluster:
        yield cluster


@pytest.fixture
def whole(shifting: Cluster) -> Iterator[Cluster]:
    """Return the cluster when it is in order and empty; no key is left that doesn't expire."""
    until(shifting.is_whole)
    shifting.set_all("cluster-node-timeout", "15000")
    shifting.flush()
    yield shifting
    until(shifting.is_whole)
    shifting.assert_that_all_keys_expire()


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour."""
    with maker(request.param) as make:
        yield make


def keys_of(slot: int) -> Iterator[str]:
    """Return subjects whose keys have a slot."""
    return (key for key in (f"s{n}" for n in count()) if slot_of(f"{{{key}}}") == slot)


def another_than(cluster: Cluster, port: int) -> int:
    """Return the port of another primary."""
    return next(each for each in cluster.primaries() if each != port)


class Ledger:
    """Hits keys, and knows what must be left."""

    def __init__(self, limiter: Any, most: int) -> None:
        self.limiter = limiter
        self.left: Counter[str] = Counter()
        self._most = most

    def hit(self, *keys: str, cost: int = 1) -> Any:
        """Hit each key, and expect to be told what is left in each limit."""
        for key in keys:
            decision = self.limiter.hit(key, cost)
            self.left[key] += cost
            left = {part.remaining for part in decision.limits.values()}
            assert (decision.allowed, left) == (True, {self._most - self.left[key]})
        return decision

    def do_all(self, key: str) -> None:
        """Do everything that can be done to a key."""
        decision = self.hit(key, cost=3)
        assert self.limiter.refund(decision)
        assert not self.limiter.refund(decision)
        self.left[key] -= 3
        assert self.limiter.charge(key, 2).allowed
        self.left[key] += 2
        self.hit(key)
        too_much = self.limiter.hit(key, self._most)
        assert {part.remaining for part in too_much.limits.values()} == {
            self._most - self.left[key]
        }
        assert not self.limiter.peek(key, self._most)
        self.limiter.reset(key)
        self.left[key] = 0
        self.hit(key)


@pytest.mark.parametrize("several", [False, True])
def test_every_stage_of_a_move(whole: Cluster, make: Any, several: bool) -> None:
    """Whatever stage a slot's move is at, everything can be done to its keys, exactly once."""
    slot = 4_321
    first, second, third, fourth = islice(keys_of(slot), 4)
    one = FixedWindow("1000/day")
    limits = {"a": one, "b": SlidingLog("1000/day"), "c": one} if several else one
    ledger = Ledger(make(whole.url, limits, remember_denials=0), 1000)
    ledger.hit(first, second)
    target = another_than(whole, whole.owner(slot))
    whole.begin_to_move(slot, target)
    ledger.hit(first, second, third)
    ledger.do_all(first)
    ledger.do_all(fourth)
    whole.move_keys(slot, target, 1)
    ledger.hit(first, second, third, fourth)
    whole.move_keys(slot, target, 1)
    for key in (first, second, third, fourth):
        ledger.do_all(key)
    whole.move_keys(slot, target)
    ledger.hit(first, second, third, fourth)
    whole.end_to_move(slot, target)
    ledger.hit(first, second, third, fourth)
    ledger.limiter = make(whole.url, limits)
    ledger.hit(first, second, third, fourth)


def test_a_move_in_a_flood(whole: Cluster) -> None:
    """Calls that carry many hits on a slot that is being moved are taken apart and decided."""
    slot = 1_234
    keys = list(islice(keys_of(slot), 6))
    target = another_than(whole, whole.owner(slot))

    async def scenario() -> None:
        async with AsyncRedisStore(whole.url, deadline=PATIENT) as store:
            single = AsyncLimiter(SlidingLog("40/day"), store=store)
            limits = {"x": TokenBucket("25/day"), "y": FixedWindow("1000/day")}
            double = AsyncLimiter(limits, store=store)
            allowed: Counter[Any] = Counter()

            async def flood(keys: list[str]) -> None:
                hits = [single.hit(key) for key in keys * 20]
                both = [double.hit(key) for key in keys * 10]
                for decision in await asyncio.gather(*hits, *both):
                    name = next(iter(decision.limits))
                    key = decision.limits[name].key
                    allowed[name, key] += decision.allowed

            await flood(keys[:3])
            whole.begin_to_move(slot, target)
            await flood(keys[1:5])
            whole.move_keys(slot, target, 4)
            await flood(keys)
            whole.move_keys(slot, target)
            whole.end_to_move(slot, target)
            await flood(keys)
            assert [allowed["default", key] for key in keys] == [40] * 6
            assert [allowed["x", key] for key in keys] == [25] * 5 + [20]
            for key in keys:
                left = (await double.peek(key)).limits["y"].remaining
                assert left == 1000 - allowed["x", key]

    asyncio.run(scenario())


class Load:
    """Threads and tasks that hit keys until they are told to stop."""

    def __init__(self, url: str, keys: list[str], deadline: float) -> None:
        self._keys = keys
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._limits = {"one": MANY, "two": MANY, "all": MANY}
        self.allowed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.errors: list[RateLimitError] = []
        self._store = RedisStore(url, deadline=deadline)
        self._async_store = AsyncRedisStore(url, deadline=deadline)
        self._threads = [threading.Thread(target=self._work, args=[n]) for n in range(2)]
        self._threads.append(threading.Thread(target=lambda: asyncio.run(self._tasks())))

    def __enter__(self) -> Self:
        """Begin, and go on when it is under way."""
        for thread in self._threads:
            thread.start()
        self.go_on(200)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._store.close()

    def go_on(self, hits: int) -> None:
        """Wait until so many more hits are allowed."""
        before = self.allowed.total()
        until(lambda: self.allowed.total() >= before + hits)

    def recover(self) -> None:
        """Wait until hits on each of the keys are allowed again."""
        before = self.allowed.copy()
        until(lambda: all(self.allowed[key] > before[key] + 5 for key in self._keys))

    def _key(self, number: int) -> dict[str, str]:
        key = self._keys[number % len(self._keys)]
        return {"one": key, "two": key, "all": f"{key}:other"}

    def _note(self, decision: Decision) -> None:
        with self._lock:
            self.allowed[decision.limits["one"].key] += decision.allowed

    def _fail(self, key: dict[str, str], error: RateLimitError) -> None:
        with self._lock:
            self.failed[key["one"]] += 1
            self.errors.append(error)

    def _work(self, number: int) -> None:
        limiter = Limiter(self._limits, store=self._store)
        while not self._stop.is_set():
            number += 1
            key = self._key(number)
            try:
                self._note(limiter.hit(key))
            except RateLimitError as error:
                self._fail(key, error)
                self._stop.wait(0.005)

    async def _tasks(self) -> None:
        async with AsyncLimiter(self._limits, store=self._async_store) as limiter:

            async def task(number: int) -> None:
                while not self._stop.is_set():
                    number += 1
                    key = self._key(number)
                    try:
                        self._note(await limiter.hit(key))
                    except RateLimitError as error:
                        self._fail(key, error)
                        await asyncio.sleep(0.005)

            await asyncio.gather(*map(task, range(16)))

    def used(self, cluster: Cluster) -> dict[str, set[int]]:
        """Return what each key's limits say was used."""
        with RedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = Limiter(self._limits, store=store)
            return {
                key: {
                    MANY.max_cost - part.remaining
                    for part in limiter.peek(self._key(number)).limits.values()
                }
                for number, key in enumerate(self._keys)
            }


def counted(load: Load) -> dict[str, set[int]]:
    """Return what was allowed for each key, as `Load.used` has it."""
    return {key: {load.allowed[key]} for key in load._keys}


def test_slots_that_are_moved_under_load(whole: Cluster) -> None:
    """While slots are moved to and fro, no hit fails, is lost or is charged twice."""
    keys = [f"k{n}" for n in range(12)]
    slots = [slot_of(f"{{{key}}}") for key in keys]
    slots += [slot_of(f"{{{key}:other}}") for key in keys]
    with Load(whole.url, keys, PATIENT) as load:
        for _ in range(2):
            for slot in slots:
                whole.move(slot, another_than(whole, whole.owner(slot)))
            load.recover()
    assert load.errors == []
    assert load.used(whole) == counted(load)


def test_a_failover_that_was_asked_for_under_load(whole: Cluster) -> None:
    """When a replica takes over in order, no hit fails, is lost or is charged twice."""
    keys = [f"k{n}" for n in range(12)]
    primary = whole.primaries()[0]
    replica = whole.replica_of(primary)
    with Load(whole.url, keys, PATIENT) as load:
        whole.ask(replica, "CLUSTER", "FAILOVER")
        until(lambda: replica in whole.primaries())
        load.recover()
    assert load.errors == []
    assert load.used(whole) == counted(load)


def test_a_primary_that_is_killed_under_load(whole: Cluster) -> None:
    """Threads and tasks see no error but trouble that passes, and go on when a replica has it."""
    keys = [f"k{n}" for n in range(12)]
    primary = whole.primaries()[1]
    replica = whole.replica_of(primary)
    whole.set_all("cluster-node-timeout", "700")
    with Load(whole.url, keys, DEADLINE) as load:
        whole.kill(primary)
        until(lambda: replica in whole.primaries())
        until(whole.is_whole)
        load.recover()
        whole.start(primary)
        until(whole.is_whole)
        load.recover()
    assert {type(error) for error in load.errors} <= {StoreUnavailable}
    for key, used in load.used(whole).items():
        assert max(used) <= load.allowed[key] + load.failed[key]


def test_a_limit_through_a_failover(whole: Cluster, make: Any) -> None:
    """A failover gives back what the replica didn't hear of: one more burst at the most."""
    primary = whole.primaries()[2]
    replica = whole.replica_of(primary)
    key = next(whole.keys_at(primary))
    limiter = make(whole.url, FixedWindow("20/day"), DEADLINE, remember_denials=0)
    allowed = sum(map(bool, (limiter.hit(key) for _ in range(30))))
    assert allowed == 20
    whole.set_all("cluster-node-timeout", "700")
    whole.kill(primary)
    for _ in range(10_000):
        try:
            allowed += bool(limiter.hit(key))
        except StoreUnavailable:
            if replica not in whole.primaries():
                continue
        else:
            break
    allowed += sum(map(bool, (limiter.hit(key) for _ in range(30))))
    assert 20 <= allowed <= 40
    whole.start(primary)
    until(whole.is_whole)


def fails(ask: Callable[[], object], *kinds: str) -> None:
    """Expect trouble that passes, of one of some kinds."""
    with pytest.raises(StoreUnavailable) as caught:
        ask()
    assert caught.value.kind in kinds


def test_a_node_that_stands_still(whole: Cluster, make: Any) -> None:
    """The keys of other nodes are decided, and those of the one that is stopped end in time."""
    primaries = whole.primaries()
    still = primaries[-1]
    first, second, third = (next(whole.keys_at(port)) for port in primaries)
    limits = {"a": FixedWindow("1000/day"), "b": FixedWindow("1000/day")}
    single = make(whole.url, limits, DEADLINE)
    for key in (first, second, third):
        single.hit(key)
    with whole.paused(still):
        for _ in range(2):
            fails(lambda: single.hit(third), "timeout")
            assert all(single.hit(key) for key in (first, second))
            fails(lambda: single.hit({"a": first, "b": third}), "timeout")
            fails(lambda: single.peek({"a": third, "b": second}), "timeout")
    until(lambda: answers(lambda: single.peek(third)))
    left = [single.peek(key).limits for key in (first, second, third)]
    assert [each["a"].remaining for each in left[:2]] == [997, 997]
    assert left[2]["a"].remaining in range(997, 1000)
    assert left[2]["b"].remaining in range(995, 1000)


def answers(ask: Callable[[], object]) -> bool:
    """Say whether there is an answer."""
    try:
        ask()
    except StoreUnavailable:
        return False
    return True


def test_a_node_that_stands_still_in_a_flood(whole: Cluster) -> None:
    """A flood on one node that is stopped leaves the tasks that ask others undisturbed."""
    primaries = whole.primaries()
    still = next(whole.keys_at(primaries[0]))
    others = [next(whole.keys_at(port)) for port in primaries[1:]]

    async def scenario() -> list[Any]:
        async with AsyncRedisStore(whole.url, deadline=2.0) as store:
            limiter = AsyncLimiter(FixedWindow("1000/day"), store=store)
            await asyncio.gather(*map(limiter.hit, [still, *others]))
            with whole.paused(primaries[0]):
                flood = [asyncio.create_task(limiter.hit(still)) for _ in range(100)]
                for key in others * 50:
                    assert await limiter.hit(key)
                return await asyncio.gather(*flood, return_exceptions=True)

    errors = asyncio.run(scenario())
    assert {(type(error), error.kind) for error in errors} == {(StoreUnavailable, "timeout")}
    assert len({id(error) for error in errors}) == 100


def test_a_node_that_stands_still_keeps_nobody_from_others(whole: Cluster) -> None:
    """What is asked of several nodes is asked at once, whichever of them answers first."""
    keys = dict(zip("abc", whole.one_key_each(), strict=True))
    limits = dict.fromkeys(keys, FixedWindow("1000/day"))

    async def scenario() -> dict[str, int]:
        async with AsyncRedisStore(whole.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(limits, store=store)
            others = {name: AsyncLimiter(limits[name], store=store, name=name) for name in "bc"}
            await limiter.hit(keys)
            with whole.paused(whole.primaries()[0]):
                charging = asyncio.create_task(limiter.charge(keys, 10))
                for name, other in others.items():
                    while (await other.peek(keys[name])).remaining == 999:
                        assert not charging.done()
            charged = await charging
            return {name: each.remaining for name, each in charged.limits.items()}

    assert asyncio.run(scenario()) == dict.fromkeys("abc", 989)


def test_a_seed_that_stands_still(whole: Cluster, make: Any) -> None:
    """Where the slots are is asked of the next node, if the first one doesn't say."""
    still, other, *_ = whole.primaries()
    key = next(whole.keys_at(other))
    limiter = make(f"redis+cluster://127.0.0.1:{still},127.0.0.1:{other}", MANY, 2.0)
    with whole.paused(still):
        assert limiter.hit(key)


def test_a_node_that_is_new(whole: Cluster, make: Any) -> None:
    """A node that has joined is asked, and one that has left is forgotten."""
    limiter = make(whole.url, FixedWindow("1000/day"))
    key = "k"
    slot = slot_of(f"{{{key}}}")
    before = whole.owner(slot)
    assert limiter.hit(key).remaining == 999
    new = whole.start()
    whole.meet(new)
    until(whole.is_whole)
    whole.move(slot, new)
    assert limiter.hit(key).remaining == 998
    whole.move(slot, before)
    assert limiter.hit(key).remaining == 997
    whole.leave(new)
    assert limiter.hit(key).remaining == 996


def test_a_cluster_that_is_down(make: Any) -> None:
    """A cluster that serves nobody is told apart, and asked again when it is well."""
    with clusters.built(1) as cluster:
        (port,) = cluster.ports
        slot = slot_of("{k}")
        limiter = make(cluster.url, FixedWindow("1000/day"), remember_denials=0)
        other = next(key for key in cluster.keys_at(port) if slot_of(f"{{{key}}}") != slot)
        assert limiter.hit("k").remaining == 999
        cluster.ask(port, "CLUSTER", "DELSLOTS", slot)
        fails(lambda: limiter.hit("k"), "cluster")
        fails(lambda: limiter.hit(other), "cluster")
        cluster.node(port).config_set("cluster-require-full-coverage", "no")
        until(lambda: answers(lambda: limiter.hit(other)))
        fails(lambda: limiter.hit("k"), "cluster")
        (remark,) = check(limiter)
        assert remark.startswith("1 of 16384 slots have no node")
        cluster.ask(port, "CLUSTER", "ADDSLOTS", slot)
        until(lambda: answers(lambda: limiter.hit("k")))
