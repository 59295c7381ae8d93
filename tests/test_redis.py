"""Redis in trouble, and many who share one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from ratelimit.algorithms import FixedWindow, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError
from ratelimit.limiter import Limiter
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.stores.redis.troubles import store_error
from ratelimit.stores.redis.wire import subject
from tests import servers
from tests.conftest import PATIENT, Clock, every_kind, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ratelimit.algorithms import Algorithm

KEY = "ratelimit:{k}:default:token_bucket"


@pytest.fixture(scope="module", params=servers.KINDS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run each server, for this module alone: its settings are changed."""
    with servers.running(request.param) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[redis.Redis]:
    """Return a client of an empty server."""
    with redis.Redis(port=port) as client:
        client.flushall()
        yield client


@pytest.fixture
def limiter(client: redis.Redis) -> Limiter:
    """Return a limiter of ten an hour."""
    return Limiter(TokenBucket("10/hour"), store=RedisStore(client, deadline=PATIENT))


def test_a_server_that_lost_the_script(client: redis.Redis, limiter: Limiter) -> None:
    """After `SCRIPT FLUSH` the script is loaded again, and the hit is charged once."""
    limiter.hit("k")
    client.script_flush()
    assert limiter.hit("k").remaining == 8


@every_kind
def test_every_key_expires_when_it_is_fresh(client: redis.Redis, kind: type[Algorithm]) -> None:
    """No key outlives its use by a millisecond, and none dies before."""
    limiter = Limiter(kind("10/minute"), store=RedisStore(client, deadline=PATIENT))
    for ask in (limiter.hit, limiter.hit, limiter.charge):
        for key in client.scan_iter():
            client.persist(key)
        decision = ask("k", 3)
        (key,) = client.keys()
        left = client.pttl(key) - decision.reset_after * 1_000
        assert -200 < left < (60_000 if kind.kind == "fixed_window" else 2)
    limiter.refund(decision)
    assert client.pttl(key) > 0


def test_a_fast_limit_keeps_its_state(client: redis.Redis) -> None:
    """A limit that fills up within a millisecond still limits."""
    limiter = Limiter(
        TokenBucket("1000000/second", burst=1), store=RedisStore(client, deadline=PATIENT)
    )
    assert limiter.hit("k")
    assert 0 < client.pttl("ratelimit:{k}:default:token_bucket") + 3


def test_reading_writes_nothing(client: redis.Redis, limiter: Limiter) -> None:
    """A peek, a cost of 0 and a denial create no key."""
    limiter.peek("k")
    limiter.hit("k", 0)
    limiter.hit("k", 11)
    assert client.keys() == []


FOREIGN: dict[str, Callable[[redis.Redis, str], object]] = {
    "text": lambda client, key: client.set(key, "1 2 x"),
    "list": lambda client, key: client.rpush(key, "x"),
    "hash": lambda client, key: client.hset(key, "a", "b"),
}
every_foreign = pytest.mark.parametrize("put", FOREIGN.values(), ids=FOREIGN)


@every_kind
@every_foreign
def test_something_else_at_our_key(client: redis.Redis, kind: type[Algorithm], put: Any) -> None:
    """A foreign value is named, left as it is, and nothing is charged beside it."""
    limits = {"a": FixedWindow("5/hour"), "b": kind("5/hour")}
    limiter = Limiter(limits, store=RedisStore(client, deadline=PATIENT))
    key = f"ratelimit:{{k}}:b:{kind.kind}"
    put(client, key)
    with pytest.raises(StoreError, match="something else than a limit") as caught:
        limiter.hit("k")
    assert key in caught.value.keys
    assert client.keys() == [key.encode()]
    client.delete(key)
    assert limiter.hit("k").remaining == 4


@every_kind
@every_foreign
def test_something_else_among_our_keys(
    client: redis.Redis, port: int, kind: type[Algorithm], put: Any
) -> None:
    """Of what leaves together, only the hits on a foreign value fail, and they leave it be."""
    strange = [f"ratelimit:{{{key}}}:default:{kind.kind}" for key in (0, 4, 9)]
    for name in strange:
        put(client, name)
    kept = list(map(client.dump, strange))

    async def hits() -> list[Any]:
        async with AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
            limiter = AsyncLimiter(kind("2/hour"), store=store)
            asks = [limiter.hit(str(key)) for key in [*range(10)] * 4]
            return await asyncio.gather(*asks, return_exceptions=True)

    answers = asyncio.run(hits())
    for position, answer in enumerate(answers):
        if position % 10 in (0, 4, 9):
            assert isinstance(answer, StoreError)
            assert answer.kind == "foreign"
        else:
            assert answer.allowed is (position < 10 * kind("2/hour").max_cost)
    assert list(map(client.dump, strange)) == kept


SECRET = "token=s3cr3t/é"


@pytest.mark.parametrize("key", [SECRET, SECRET * 20], ids=["escaped", "hashed"])
def test_no_message_has_a_key(client: redis.Redis, key: str) -> None:
    """A key may be a secret: a message says where to look, and the error has the key itself."""
    limiter = Limiter(FixedWindow("5/hour"), store=RedisStore(client), name="api")
    limiter.hit(key)
    (name,) = map(bytes.decode, client.scan_iter())
    client.set(name, "x")
    with pytest.raises(StoreError) as caught:
        limiter.hit(key)
    said = f"{caught.value} {caught.value!r}"
    assert "(for ratelimit:{*}:api:fixed_window)" in said
    assert name.split("}")[0] not in said
    assert caught.value.keys == (name,)


@pytest.mark.parametrize("end", [9, 30])
def test_no_message_has_what_a_server_repeats(end: int) -> None:
    """A server that refuses a command repeats the beginning of it."""
    name = f"ratelimit:{{{subject(SECRET)}}}:api:fixed_window"[:-end]
    said = f"unknown command 'EVALSHA', with args beginning with: 'f1' '1' '{name}"
    message = str(store_error(redis.ResponseError(said)))
    assert "s3cr3t" not in message
    assert "unknown command 'EVALSHA'" in message


def test_a_full_server(client: redis.Redis, limiter: Limiter) -> None:
    """A server without memory is named, and the next call works."""
    client.config_set("maxmemory", "1")
    with pytest.raises(StoreError, match="Redis is full"):
        limiter.hit("k")
    client.config_set("maxmemory", "0")
    assert limiter.hit("k").remaining == 9


def test_a_replica(client: redis.Redis, limiter: Limiter) -> None:
    """A replica is named, and the next call works."""
    client.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
    with pytest.raises(StoreError, match="is a replica"):
        limiter.hit("k")
    client.execute_command("REPLICAOF", "NO", "ONE")
    assert limiter.hit("k")


def test_a_server_with_a_password(client: redis.Redis, port: int) -> None:
    """A missing and a wrong password are told apart from other troubles."""
    client.config_set("requirepass", "right")
    try:
        for user in ("", ":wrong@"):
            with pytest.raises(StoreError, match="needs a password"):
                Limiter(TokenBucket("1/s"), store=f"redis://{user}127.0.0.1:{port}").hit("k")
        assert Limiter(TokenBucket("1/s"), store=f"redis://:right@127.0.0.1:{port}").hit("k")
    finally:
        client.config_set("requirepass", "")


def test_a_user_without_the_right(client: redis.Redis, port: int) -> None:
    """A user who may not run scripts is told so."""
    client.acl_setuser("guest", enabled=True, nopass=True, commands=["+ping"], keys=["*"])
    with (
        redis.Redis(port=port, username="guest", password="x") as guest,
        pytest.raises(StoreError, match="denies this user"),
    ):
        Limiter(TokenBucket("1/s"), store=RedisStore(guest)).hit("k")


def test_a_server_that_is_not_there() -> None:
    """Nobody at the address is an error of ours, at once, in both colours."""
    url = f"redis://127.0.0.1:{servers.free_port()}"
    with pytest.raises(StoreError, match="can't be reached"):
        Limiter(TokenBucket("1/s"), store=url).hit("k")

    async def scenario() -> None:
        with pytest.raises(StoreError, match="can't be reached"):
            await AsyncLimiter(TokenBucket("1/s"), store=url).hit("k")

    asyncio.run(scenario())


def test_a_server_that_never_answers() -> None:
    """Silence ends with an error of ours."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        quick = redis.Redis(
            port=silent.getsockname()[1],
            socket_timeout=0.05,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=False,
        )
        with pytest.raises(StoreError, match="in time"):
            Limiter(TokenBucket("1/s"), store=RedisStore(quick)).hit("k")


def test_other_errors_are_ours() -> None:
    """What the server says otherwise is passed on in an error of ours."""
    assert "could not decide: ERR what" in str(store_error(redis.ResponseError("ERR what")))
    assert "needs a password" in str(store_error(redis.AuthenticationError("no")))
    for said in ("upstream failure", "no upstream host", "ERR Server closed the connection"):
        assert store_error(redis.ResponseError(said)).kind == "connection"
    assert store_error(redis.ResponseError("ERR Error: Script killed by user")).kind == "busy"


def test_the_wrong_client_is_refused() -> None:
    """A client of the other colour is told at construction, with the mend."""
    with pytest.raises(TypeError, match="AsyncRedisStore takes"):
        RedisStore(wrong(redis.asyncio.Redis()))
    with pytest.raises(TypeError, match="RedisStore takes"):
        AsyncRedisStore(wrong(redis.Redis()))
    with pytest.raises(TypeError, match="AsyncLimiter takes the others"):
        Limiter(TokenBucket("1/s"), store=wrong(AsyncRedisStore("redis://127.0.0.1")))
    with pytest.raises(TypeError, match="block the event loop"):
        AsyncLimiter(TokenBucket("1/s"), store=wrong(RedisStore("redis://127.0.0.1")))
    with pytest.raises(ValueError, match="no store has the URL"):
        Limiter(TokenBucket("1/s"), store="memcached://127.0.0.1")
    with pytest.raises(ValueError, match="no store has the URL"):
        AsyncLimiter(TokenBucket("1/s"), store="memcached://127.0.0.1")


def test_bad_limits_are_refused() -> None:
    """Misuse of a limiter is told at construction."""
    for limits, error in (({}, ValueError), ("10/s", TypeError), ({"a": "10/s"}, TypeError)):
        with pytest.raises(error):
            Limiter(wrong(limits))
    with pytest.raises(ValueError, match="a limit's name"):
        Limiter({"a b": TokenBucket("1/s")})
    with pytest.raises(TypeError, match="a limit's name"):
        Limiter(TokenBucket("1/s"), name=wrong(7))
    with pytest.raises(ValueError, match="no key for the limit 'a'"):
        Limiter({"a": TokenBucket("1/s")}).hit({"b": "k"})


def test_memory_by_its_url() -> None:
    """`memory://` is a memory store, in both colours."""
    assert isinstance(Limiter(TokenBucket("1/s"), store="memory://").store, MemoryStore)
    limiter = AsyncLimiter({"a": TokenBucket("1/s")}, store="memory://")
    assert asyncio.run(limiter.hit("k"))


def test_eight_threads_share_a_limit(client: redis.Redis) -> None:
    """Eight threads are let in exactly as often as the limit says."""
    limiter = Limiter(SlidingLog("100/hour"), store=RedisStore(client, deadline=PATIENT))
    allowed: list[bool] = []

    def work() -> None:
        allowed.extend(bool(limiter.hit("k")) for _ in range(40))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 100


def test_two_hundred_tasks_share_a_limit(client: redis.Redis, port: int) -> None:
    """Two hundred tasks on a cold pool are let in exactly as often as the limit says."""

    async def scenario() -> int:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
        async with AsyncLimiter(TokenBucket("50/hour"), store=store) as limiter:
            return sum(map(bool, await asyncio.gather(*(limiter.hit("k") for _ in range(200)))))

    assert asyncio.run(scenario()) == 50


CHILD = f"""
import sys
from ratelimit import Limiter, SlidingLog
from ratelimit.stores.redis import RedisStore
limiter = Limiter(SlidingLog("50/200ms"), store=RedisStore(sys.argv[1], deadline={PATIENT}))
admitted = 0
while admitted < 60:
    decision = limiter.hit("k")
    if decision:
        admitted += 1
        print(decision.now)
"""


def test_four_processes_share_a_limit(client: redis.Redis, port: int) -> None:
    """Over all windows of what four processes did, never more than the limit was let in."""
    command = [sys.executable, "-c", CHILD, f"redis://127.0.0.1:{port}"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    times = sorted(int(line) for child in children for line in child.communicate()[0].split())
    assert len(times) == 240
    assert all(late - early >= 200_000 for early, late in zip(times, times[50:], strict=False))


def test_a_store_outlives_its_event_loops(port: int) -> None:
    """One store from a URL serves each event loop on connections of its own."""
    store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT, clock=Clock())

    async def scenario() -> bool:
        async with AsyncLimiter(TokenBucket("9/s"), store=store) as limiter:
            await limiter.hit("k")
            return bool(await limiter.hit("k"))

    assert asyncio.run(scenario())
    assert asyncio.run(scenario())


@pytest.mark.parametrize("name", ["deadline", "remember_denials"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, None])
def test_a_bad_duration_is_refused(name: str, value: Any) -> None:
    """A duration that is no number, or out of range, is told at construction."""
    options: dict[str, Any] = {name: value}
    for store in (RedisStore, AsyncRedisStore):
        with pytest.raises((TypeError, ValueError), match=name):
            store("redis://127.0.0.1", **options)


def test_a_bad_url_is_refused_at_once() -> None:
    """A URL that redis-py can't read is told at construction, in both colours."""
    for store in (RedisStore, AsyncRedisStore):
        with pytest.raises(ValueError, match=r"port|integer|cast"):
            store("redis://127.0.0.1:x/0")
