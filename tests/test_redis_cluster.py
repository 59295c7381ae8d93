"""A cluster is found by its URL or client, and decides as one server does."""

from __future__ import annotations

import asyncio
import os
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore, async_cluster_calls
from ratelimit.stores.redis.joint import Joint
from ratelimit.stores.redis.slots import slot_of
from tests import clusters, servers
from tests.conftest import ALGORITHMS, PATIENT, check, maker, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.clusters import Cluster


@pytest.fixture(autouse=True)
def _whole(cluster: Cluster) -> Iterator[None]:
    """Begin without keys, and leave none that doesn't expire."""
    cluster.flush()
    yield
    cluster.assert_that_all_keys_expire()


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour."""
    with maker(request.param) as make:
        yield make


def test_each_key_is_where_it_belongs(cluster: Cluster, make: Any) -> None:
    """Keys are spread over all primaries, and each counts for itself."""
    limiter = make(cluster.url, FixedWindow("1000/day"))
    keys = cluster.one_key_each()
    for left in (999, 998):
        assert [limiter.hit(key).remaining for key in keys] == [left] * 3
    assert [cluster.node(port).dbsize() for port in cluster.primaries()] == [1, 1, 1]


def test_several_subjects_in_one_decision(cluster: Cluster, make: Any) -> None:
    """Limits whose keys are on three nodes are all or nothing, and each is reported as it is."""
    limits = {"a": FixedWindow("9/day"), "b": SlidingLog("9/day"), "c": TokenBucket("2/day")}
    for keys in (cluster.one_key_each(), cluster.one_key_each()[::-1]):
        cluster.flush()
        limiter = make(cluster.url, limits, remember_denials=0)
        key = dict(zip(limits, keys, strict=True))
        assert [limiter.hit(key).remaining for _ in range(2)] == [1, 0]
        for _ in range(3):
            denied = limiter.hit(key)
            assert denied.denied == ("c",)
            left = {name: part.remaining for name, part in denied.limits.items()}
            assert left == {"a": 7, "b": 7, "c": 0}
            assert [part.spent for part in denied.limits.values()] == [0, 0, 0]


def test_all_that_deny_are_named(cluster: Cluster, make: Any) -> None:
    """A denial names the limits that deny on other nodes too, though one would do."""
    limits = {"a": FixedWindow("1/day"), "b": FixedWindow("9/day"), "c": FixedWindow("1/day")}
    limiter = make(cluster.url, limits)
    key = dict(zip(limits, cluster.one_key_each(), strict=True))
    assert limiter.hit(key)
    assert limiter.hit(key).denied == ("a", "c")
    assert limiter.peek(key).limits["b"].remaining == 8


@pytest.mark.parametrize("kind", ALGORITHMS, ids=lambda kind: kind.kind)
def test_what_is_done_to_several_subjects(cluster: Cluster, make: Any, kind: Any) -> None:
    """Peek, charge, refund and reset reach each of the nodes."""
    limits = {"a": kind("9/day"), "b": kind("9/day")}
    limiter = make(cluster.url, limits)
    key = dict(zip(limits, cluster.one_key_each(), strict=False))

    def left() -> list[int]:
        return [part.remaining for part in limiter.peek(key).limits.values()]

    decision = limiter.hit(key, {"a": 4, "b": 2})
    full = limiter.peek({"a": "new", "b": "new"}).remaining
    assert left() == [full - 4, full - 2]
    assert limiter.refund(decision)
    assert left() == [full, full]
    assert not limiter.refund(decision)
    charged = limiter.charge(key, {"a": 1, "b": 3}).limits.values()
    assert [part.spent for part in charged] == [1, 3]
    assert left() == [full - 1, full - 3]
    limiter.reset(key)
    assert left() == [full, full]


def test_what_was_given_back_is_not_denied(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A denial that came of what another decision then gave back isn't remembered."""
    a, b = cluster.one_key_each()[:2]
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        both = Limiter({"a": FixedWindow("1/day"), "b": FixedWindow("1/day")}, store=store)
        only_a = Limiter(FixedWindow("1/day"), store=store, name="a")
        Limiter({"b": FixedWindow("1/day")}, store=store).hit(b)
        take_back = Joint._take_back
        between: list[bool] = []

        def meanwhile(self: Joint, *parts: Any) -> Any:
            between.append(only_a.hit(a).allowed)
            return take_back(self, *parts)

        monkeypatch.setattr(Joint, "_take_back", meanwhile)
        assert both.hit({"a": a, "b": b}).denied == ("b",)
        assert between == [False]
        assert both.hit({"a": a, "b": b}).denied == ("b",)
        assert between == [False]  # it was remembered
        assert only_a.hit(a)


def test_a_denial_among_changes_is_not_remembered(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reset while a denial was on its way is asked for again."""
    a, b = cluster.one_key_each()[:2]
    limits = {"a": FixedWindow("1/day"), "b": FixedWindow("1/day")}
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        both, only_b = Limiter(limits, store=store), Limiter({"b": limits["b"]}, store=store)
        only_b.hit(b)
        take_back = Joint._take_back

        def meanwhile(self: Joint, *parts: Any) -> Any:
            only_b.reset(b)
            return take_back(self, *parts)

        monkeypatch.setattr(Joint, "_take_back", meanwhile)
        assert not both.hit({"a": a, "b": b})
        assert both.hit({"a": a, "b": b})


def test_eight_threads_share_limits(cluster: Cluster) -> None:
    """Eight threads are let in exactly as often as the limit of several nodes says."""
    keys = dict(zip("ab", cluster.one_key_each()[::2], strict=True))
    allowed: list[bool] = []
    with RedisStore(cluster.url, deadline=PATIENT, remember_denials=0) as store:
        limits = {"a": SlidingLog("1000/day"), "b": FixedWindow("60/day")}
        limiter = Limiter(limits, store=store)

        def work() -> None:
            allowed.extend(bool(limiter.hit(keys)) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(allowed) == 60
        left = limiter.peek(keys).limits
        assert [left[name].remaining for name in "ab"] == [940, 0]


def test_two_hundred_tasks_share_limits(cluster: Cluster) -> None:
    """Two hundred tasks on a cold cluster are let in exactly as often as the limits say."""
    a, b, c = cluster.one_key_each()

    async def scenario() -> None:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT, remember_denials=0) as store:
            limiter = AsyncLimiter(SlidingLog("50/day"), store=store)
            hits = [limiter.hit((a, b, c)[n % 3]) for n in range(300)]
            assert sum(map(bool, await asyncio.gather(*hits))) == 150
            limits = {"one": FixedWindow("1000/day"), "two": TokenBucket("70/day")}
            both = AsyncLimiter(limits, store=store)
            key = {"one": c, "two": a}
            hits = [both.hit(key) for _ in range(200)]
            assert sum(map(bool, await asyncio.gather(*hits))) == 70
            left = (await both.peek(key)).limits
            assert [left[name].remaining for name in limits] == [930, 0]

    asyncio.run(scenario())


def test_what_is_asked_together_leaves_together(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood on many keys goes to each node in a few batches, on two connections at most."""
    batches: list[int] = []
    call = async_cluster_calls.NodeLane.call

    def counted(self: Any, batch: Any, done: Any) -> None:
        batches.append(len(batch))
        call(self, batch, done)

    monkeypatch.setattr(async_cluster_calls.NodeLane, "call", counted)

    async def scenario() -> int:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("9/day"), store=store)
            hits = await asyncio.gather(*(limiter.hit(f"k{n % 700}") for n in range(2_100)))
            return sum(map(bool, hits))

    before = connections_made(cluster)
    assert asyncio.run(scenario()) == 2_100
    assert sum(batches) == 2_100
    assert len(batches) < 60
    assert connections_made(cluster) - before <= 3 * 2 + 1


def connections_made(cluster: Cluster) -> int:
    """Return how many connections the nodes have ever taken."""
    stats = [cluster.node(port).info("stats") for port in cluster.ports]
    return sum(each["total_connections_received"] for each in stats)


def connections_open(cluster: Cluster) -> int:
    """Return how many connections are open beside the tests' own."""
    clients = [cluster.node(port).info("clients")["connected_clients"] for port in cluster.ports]
    return sum(clients) - len(clients)


def test_closing_leaves_nothing_behind(cluster: Cluster, make: Any) -> None:
    """Connections are closed, twice does no harm, and the store can be used again."""
    limiter = make(cluster.url, FixedWindow("1000/day"))
    close = limiter.close if isinstance(limiter, Limiter) else limiter.aclose
    for left in (999, 998):
        assert [limiter.hit(key).remaining for key in cluster.one_key_each()] == [left] * 3
        assert connections_open(cluster) >= 3
        close()
        close()
        clusters.until(lambda: connections_open(cluster) == 0)


def test_closing_answers_those_who_wait(cluster: Cluster) -> None:
    """`aclose` lets what was asked be answered, and leaves no task."""
    keys = dict(zip("abc", cluster.one_key_each(), strict=True))

    async def scenario() -> None:
        store = AsyncRedisStore(cluster.url, deadline=PATIENT)
        limits = dict.fromkeys("abc", FixedWindow("1000/day"))
        limiter = AsyncLimiter(limits, store=store)
        hits = [asyncio.create_task(limiter.hit(keys)) for _ in range(50)]
        await asyncio.sleep(0)
        await limiter.aclose()
        assert sum(map(bool, await asyncio.gather(*hits))) == 50
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
    clusters.until(lambda: connections_open(cluster) == 0)


def test_the_cancelled_harm_nobody(cluster: Cluster) -> None:
    """Who is cancelled while the slots are learned, or in flight, leaves the others undisturbed."""
    keys = cluster.one_key_each()

    async def scenario() -> None:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("1000/day"), store=store)
            for rounds in (0, 1, 3, 10):
                hits = [asyncio.create_task(limiter.hit(key)) for key in keys * 20]
                for _ in range(rounds):
                    await asyncio.sleep(0)
                for hit in hits[::2]:
                    hit.cancel()
                answers = await asyncio.gather(*hits, return_exceptions=True)
                assert all(bool(answer) for answer in answers[1::2])
            assert [each for each in asyncio.all_tasks() if each.get_name() == "leak"] == []

    asyncio.run(scenario())


def test_a_store_outlives_its_event_loops(cluster: Cluster) -> None:
    """One store serves each event loop on connections of its own, and threads with loops too."""
    store = AsyncRedisStore(cluster.url, deadline=PATIENT)
    limiter = AsyncLimiter(FixedWindow("1000/day"), store=store)
    keys = cluster.one_key_each()

    async def scenario() -> None:
        async with limiter:
            await asyncio.gather(*(limiter.hit(key) for key in keys * 20))

    for _ in range(2):
        threads = [threading.Thread(target=asyncio.run, args=[scenario()]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def left() -> list[int]:
        async with limiter:
            return [(await limiter.peek(key)).remaining for key in keys]

    assert asyncio.run(left()) == [880] * 3


def test_a_forked_process_has_connections_of_its_own(cluster: Cluster) -> None:
    """A child that is forked from a process in the middle of its calls disturbs nobody."""
    keys = cluster.one_key_each()
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("1000/day"), store=store)
        limiter.hit(keys[0])
        child = os.fork()
        if child == 0:
            os._exit(not all(limiter.hit(key) for key in keys * 20))
        assert all(limiter.hit(key) for key in keys * 20)
        assert os.waitpid(child, 0)[1] == 0
        assert [limiter.peek(key).remaining for key in keys] == [959, 960, 960]


def test_a_forked_process_starts_anew(cluster: Cluster) -> None:
    """In another process than the one that opened them, connections are left alone."""
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("9/day"), store=store)
        limiter.hit("k")
        parents = wrong(store._calls)._nodes
        wrong(store._calls)._process -= 1
        assert limiter.hit("k").remaining == 7
        assert wrong(store._calls)._nodes is not parents
        parents.close()


def test_nobody_listens(make: Any) -> None:
    """Where none of the nodes can be reached, that is told, and at once the next time."""
    nodes = ",".join(f"127.0.0.1:{servers.free_port()}" for _ in range(3))
    limiter = make(f"redis+cluster://{nodes}", FixedWindow("9/day"))
    for ask in (limiter.hit, limiter.hit, limiter.peek, lambda _: check(limiter)):
        with pytest.raises(StoreUnavailable) as caught:
            ask("k")
        assert caught.value.kind == "connection"


def test_a_node_that_forgets_the_script(cluster: Cluster, make: Any) -> None:
    """A node that lacks the script is sent it, and each hit is charged once."""
    limits = {"a": LeakyBucket("9/hour", capacity=9), "b": FixedWindow("9/day")}
    limiter = make(cluster.url, limits)
    keys = cluster.one_key_each()
    for left in (8, 7, 6):
        for port in cluster.ports[::2]:
            cluster.node(port).script_flush()
        assert [limiter.hit(key).limits["b"].remaining for key in keys] == [left] * 3


def test_nodes_that_forget_the_script_in_a_flood(cluster: Cluster) -> None:
    """Many calls that were refused for want of the script are made once more, together."""

    async def scenario() -> None:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("9/day"), store=store)
            keys = [f"k{n}" for n in range(300)]
            for left in (8, 7):
                for port in cluster.ports:
                    cluster.node(port).script_flush()
                hits = await asyncio.gather(*map(limiter.hit, keys))
                assert [hit.remaining for hit in hits] == [left] * 300

    asyncio.run(scenario())


def test_something_else_at_a_key(cluster: Cluster, make: Any) -> None:
    """A foreign value at one key fails the decision, and what others had charged is given back."""
    keys = dict(zip("ab", cluster.one_key_each(), strict=False))
    limiter = make(cluster.url, dict.fromkeys("ab", FixedWindow("9/day")))
    node = cluster.node(cluster.primaries()[1])
    name = f"ratelimit:{{{keys['b']}}}:b:fixed_window"
    node.set(name, "text", ex=60)
    with pytest.raises(StoreError, match="something else than a limit"):
        limiter.hit(keys)
    node.delete(name)
    assert limiter.hit(keys).limits["a"].remaining == 8


def test_keys_of_one_slot_are_one_call(cluster: Cluster) -> None:
    """Limits on one subject are decided by one call, as on one server."""
    slots = {slot_of(f"{{{key}}}") for key in islice(cluster.keys_at(cluster.ports[0]), 3)}
    assert len(slots) == 3
    with RedisStore(cluster.url, deadline=PATIENT) as store:
        request = Limiter(dict.fromkeys("ab", FixedWindow("9/day")), store=store)
        joint = Joint(
            store._wire, store._wire.request("hit", request._asks("k", 1)), store._denials
        )
        asked = joint.go_on(None)
        assert asked is not None
        assert [len(question.transactions[0].names) for question in asked.questions] == [2]
        assert not asked.in_part
