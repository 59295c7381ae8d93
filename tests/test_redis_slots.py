"""Where the slots of a cluster are is learned, once for all who wait, and mended."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import AskError, InvalidResponse, MovedError

from ratelimit.algorithms import FixedWindow
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore, calls
from ratelimit.stores.redis.loops import AsyncTurn, Turn
from ratelimit.stores.redis.pipeline import Question
from ratelimit.stores.redis.slots import SLOTS, Route, Slots, slot_of
from tests import clusters
from tests.conftest import PATIENT, Clock, maker, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.clusters import Cluster

HERE, THERE = ("here", 7_000), ("there", 7_001)


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour."""
    with maker(request.param) as make:
        yield make


@pytest.mark.parametrize("subject", ["k", "user:42", "%7Bx%7D", "#4711", "a/b@c"])
def test_the_slot_of_a_key_is_the_servers(subject: str) -> None:
    """A subject's slot is the one that redis-py finds for the whole key."""
    key = f"ratelimit:{{{subject}}}:name:token_bucket"
    assert slot_of(f"${len(key)}\r\n{key}\r\n") == key_slot(key.encode())


def entry(first: int, last: int, *places: Any) -> list[Any]:
    """Return what a node says of some slots."""
    return [first, last, *([*place, b"name"] for place in places)]


def test_what_a_node_says() -> None:
    """Hosts are names or addresses, or missing: then it is the node that was asked."""
    slots = Slots([HERE])
    reply = [
        entry(0, 99, (b"", 7_000), (b"other", 7_002)),
        entry(100, 199, (None, 7_000)),
        entry(200, 299, (b"?", 7_003)),
        entry(300, SLOTS - 1, ("there", 7_001)),
    ]
    assert slots.learn(reply, HERE)
    owners = [slots.owner(slot) for slot in (0, 99, 100, 200, 300, SLOTS - 1)]
    assert owners == [HERE, HERE, HERE, ("here", 7_003), THERE, THERE]
    assert slots.nodes == [HERE, ("other", 7_002), ("here", 7_003), THERE]
    assert not slots.wants(0)
    assert slots.remarks() == []


@pytest.mark.parametrize("reply", [b"OK", 7, None, [[1]], [[0, 1]], [[0, 1, [b"h", b"x"]]]])
def test_what_no_node_says(reply: Any) -> None:
    """A reply of another shape is told as what no Redis says, and changes nothing."""
    slots = Slots([HERE])
    with pytest.raises(InvalidResponse):
        slots.learn(reply, HERE)
    assert slots.owner(0) is None


def test_who_is_asked_where_the_slots_are() -> None:
    """Nodes that are known come before those that were named, and those in trouble last."""
    slots = Slots([HERE, ("named", 1)])
    assert slots.sources(0) == [HERE, ("named", 1)]
    slots.suspect(HERE)
    assert slots.sources(0) == [("named", 1), HERE]
    slots.learn([entry(0, SLOTS - 1, THERE)], THERE)
    assert slots.sources(0) == [THERE, ("named", 1), HERE]
    slots.doubt(THERE)
    slots.learn([entry(0, SLOTS - 1, THERE)], HERE)
    assert slots.sources(0) == [HERE, ("named", 1), THERE]


def test_not_all_ask_the_same_node() -> None:
    """Many processes that have reason to ask spread over the nodes."""
    slots = Slots([HERE])
    places = [("many", port) for port in range(20)]
    slots.learn([entry(0, SLOTS - 1, *places)], HERE)
    assert len({slots.sources(0)[0] for _ in range(100)}) > 1


def test_how_often_is_asked() -> None:
    """However many have reason to, the nodes are asked a few times a second."""
    slots = Slots([HERE])
    assert slots.wants(100)
    slots.sources(100)
    slots.learn([entry(0, SLOTS - 1, HERE)], HERE)
    slots.move(7, THERE)
    assert slots.owner(7) == THERE
    assert [slots.wants(now) for now in (100, 100.1, 100.3)] == [False, False, True]
    slots.expire()
    assert slots.wants(100.1)


def test_a_mistake_is_told_before_an_outage() -> None:
    """Of several reasons why nobody said where the slots are, a mistake is the one to mend."""
    slots = Slots([HERE])
    mistake = redis.AuthenticationError("WRONGPASS")
    slots.fail([redis.TimeoutError("silent"), mistake, redis.ConnectionError("refused")])
    errors = [slots.miss(0), slots.miss(0)]
    assert [type(error) for error in errors] == [StoreError] * 2
    assert errors[0] is not errors[1]
    assert errors[0].__cause__ is mistake


def route_of(slots: Slots) -> Route:
    """Return the route of some question."""
    return Route(slots, Question((), 0))


def test_a_question_is_sent_on() -> None:
    """`MOVED` is remembered and `ASK` isn't; after a few hops it rests longer each time."""
    slots = Slots([HERE])
    slots.learn([entry(0, SLOTS - 1, HERE)], HERE)
    route = route_of(slots)
    route.heard(AskError("0 there:7001"), HERE)
    assert (route.find(), route.question.asking, slots.owner(0)) == (THERE, True, HERE)
    route.heard(MovedError("0 there:7001"), HERE)
    assert (route.find(), route.question.asking, slots.owner(0)) == (THERE, False, THERE)
    rests = []
    for _ in range(60):
        route.heard(MovedError("0 :7001"), THERE)
        rests.append(route.rest)
    assert rests[0] == 0
    assert 0 < rests[2] < rests[3]
    assert rests[-1] == rests[-2] == 0.05


def test_one_does_it_and_the_others_wait() -> None:
    """A turn is taken by one thread; the others wait until it is over, or as long as they may."""
    turn = Turn()
    assert not turn.is_taken
    assert turn.take(1)
    assert turn.is_taken
    with pytest.raises(TimeoutError):
        turn.take(0.01)
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda: taken.append(turn.take(60))) for _ in range(3)]
    for thread in threads:
        thread.start()
    turn.end()
    for thread in threads:
        thread.join()
    assert len(taken) == 3


def test_one_task_does_it_and_the_others_wait() -> None:
    """A turn is taken by one task; the others wait until it is over, or as long as they may."""

    async def scenario() -> None:
        turn = AsyncTurn()
        assert await turn.take(1)
        assert turn.is_taken
        with pytest.raises(TimeoutError):
            await turn.take(0.01)
        waiting = [asyncio.create_task(turn.take(60)) for _ in range(3)]
        await asyncio.sleep(0)
        turn.end()
        assert await asyncio.gather(*waiting) == [False] * 3

    asyncio.run(scenario())


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """Return the cluster without keys."""
    cluster.flush()
    return cluster


def nodes_of(limiter: Any) -> Any:
    """Return the nodes of a limiter's store, as they are reached from here."""
    if isinstance(limiter, Limiter):
        return wrong(limiter.store)._calls._nodes
    return limiter._limiter.store._calls._loops[limiter._loop]


def test_who_waits_too_long_for_another(cluster: Cluster, make: Any) -> None:
    """Whoever waits for the slots to be learned is told in time, and goes on the next time."""
    limiter = make(cluster.url, FixedWindow("9/day"), 0.2)
    turn = nodes_of(limiter)._turn
    taking = turn.take(1)
    assert taking if isinstance(limiter, Limiter) else limiter.run(taking)
    with pytest.raises(StoreUnavailable) as caught:
        limiter.hit("k")
    assert caught.value.kind == "timeout"
    turn.end()
    assert limiter.hit("k")


def test_who_comes_when_it_is_done(
    cluster: Cluster, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gets the turn when the slots have just been learned asks for nothing."""
    limiter = make(cluster.url, FixedWindow("9/day"))
    limiter.hit("k")
    nodes = nodes_of(limiter)
    answers = iter([True, True])
    monkeypatch.setattr(nodes._slots, "wants", lambda _: next(answers, False))
    monkeypatch.setattr(nodes, "_ask_around", None)
    assert limiter.hit("k")


def test_who_learns_is_interrupted(
    cluster: Cluster, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the one who asks where the slots are is interrupted, the next one asks."""
    limiter = make(cluster.url, FixedWindow("9/day"))

    def interrupted(*_: Any) -> Any:
        raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(nodes_of(limiter), "_once", interrupted)
        with pytest.raises(KeyError):
            limiter.hit("k")
    assert limiter.hit("k").remaining == 8


def test_who_learns_is_cancelled(cluster: Cluster) -> None:
    """If the task that asks where the slots are is cancelled, one of those who wait asks."""

    async def scenario() -> None:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("1000/day"), store=store)
            hits = [asyncio.create_task(limiter.hit("cancelled")) for _ in range(10)]
            await asyncio.sleep(0)
            hits[0].cancel()
            answers = await asyncio.gather(*hits, return_exceptions=True)
            assert isinstance(answers[0], asyncio.CancelledError)
            assert all(bool(answer) for answer in answers[1:])

    asyncio.run(scenario())


def test_a_seed_that_belongs_to_nobody(cluster: Cluster, make: Any) -> None:
    """A node that knows of no slots isn't believed: the next is asked, if there is one."""
    with clusters.built(0) as alone:
        url = f"redis+cluster://127.0.0.1:{alone.ports[0]}"
        with pytest.raises(StoreUnavailable, match="no node has slot") as caught:
            make(url, FixedWindow("9/day")).hit("alone")
        assert caught.value.kind == "cluster"
        assert make(f"{url},127.0.0.1:{cluster.ports[0]}", FixedWindow("9/day")).hit("alone")


def test_nodes_that_have_left(cluster: Cluster, make: Any) -> None:
    """Connections to nodes that have left are closed, but not under those who still wait there."""
    limiter = make(cluster.url, FixedWindow("1000/day"))
    keys = [next(cluster.keys_at(port)) for port in cluster.ports]
    for key in keys:
        limiter.hit(key)
    nodes = nodes_of(limiter)
    left = cluster.ports[0]

    def forget() -> None:
        forgetting = nodes._forget_others()
        if forgetting is not None:
            limiter.run(forgetting)

    nodes._slots.nodes = [("127.0.0.1", port) for port in cluster.ports[1:]]
    forget()
    assert ("127.0.0.1", left) not in nodes._nodes
    assert len(nodes._nodes) == 2
    assert limiter.hit(keys[0])


def test_a_node_that_has_left_and_is_asked(cluster: Cluster) -> None:
    """A node that has left is kept as long as somebody waits there."""

    async def scenario() -> None:
        async with AsyncRedisStore(cluster.url, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("1000/day"), store=store)
            await limiter.hit("left")
            nodes = wrong(store._calls)._loops[asyncio.get_running_loop()]
            nodes._slots.nodes = []
            hit = asyncio.create_task(limiter.hit("left"))
            await asyncio.sleep(0)
            await nodes._forget_others()
            assert len(nodes._nodes) == 1
            assert await hit
            await asyncio.sleep(0)
            await nodes._forget_others()
            assert len(nodes._nodes) == 0

    asyncio.run(scenario())


def test_a_clock_that_fails(cluster: Cluster, make: Any) -> None:
    """What a clock of one's own raises is told, and the next hit is decided."""
    clock = Clock()
    failing = [False, True, True, False]

    def time() -> int:
        if failing and failing.pop(0):
            raise ZeroDivisionError
        return clock()

    limiter = make(cluster.url, FixedWindow("9/day"), clock=time, remember_denials=0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            limiter.hit("clock")
    assert limiter.hit("clock").remaining == 8


def test_threads_wait_for_a_connection(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for one of a node's connections in vain is told of an overload."""
    monkeypatch.setattr(calls, "_MOST", 1)
    with RedisStore(cluster.url, deadline=0.2) as store:
        limiter = Limiter(FixedWindow("9/day"), store=store)
        limiter.hit("busy")
        nodes = wrong(store._calls)._nodes
        owner = nodes._slots.owner(slot_of("{busy}"))
        nodes._nodes[owner]._pool.permits.get()
        with pytest.raises(StoreUnavailable) as caught:
            limiter.hit("busy")
        assert caught.value.kind == "overload"
        nodes._nodes[owner]._pool.permits.put(None)
        assert limiter.hit("busy")
