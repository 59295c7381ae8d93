"""A primary that sentinels watch is found, and found again when another takes over."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel

from ratelimit.algorithms import FixedWindow, SlidingLog
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import RateLimitError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.opening import open_store
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.stores.redis.urls import place_of
from tests import servers
from tests.conftest import PATIENT, Blocking, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Watched(NamedTuple):
    """Two servers of one service, and three sentinels that watch them."""

    sentinels: list[int]
    servers: list[int]

    @property
    def hosts(self) -> list[tuple[str, int]]:
        """The sentinels, with one before them that nobody listens at."""
        return [("127.0.0.1", port) for port in [servers.free_port(), *self.sentinels]]

    @property
    def url(self) -> str:
        """The service's URL."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"redis+sentinel://:secret@{hosts}/limits/1?protocol=2"

    def primary(self) -> int:
        """Return the port of the primary, by what the first sentinel says."""
        with redis.Redis(port=self.sentinels[0]) as sentinel:
            return int(sentinel.sentinel_master("limits")["port"])


@contextmanager
def sentinels_of(primary: int, folder: Path) -> Iterator[list[int]]:
    """Run three sentinels that watch a primary."""
    with ExitStack() as stack:
        ports = [servers.free_port() for _ in range(3)]
        for port in ports:
            file = folder / f"{port}.conf"
            file.write_text(
                "sentinel resolve-hostnames no\n"
                f"sentinel monitor limits 127.0.0.1 {primary} 2\n"
                "sentinel auth-pass limits secret\n"
                "sentinel down-after-milliseconds limits 300\n"
                "sentinel failover-timeout limits 2000\n"
            )
            stack.enter_context(servers.watching(file, port))
        until(lambda: all(knows_the_others(port) for port in ports))
        yield ports


def knows_the_others(port: int) -> bool:
    """Say whether a sentinel knows the other sentinels and the replica."""
    with redis.Redis(port=port) as sentinel:
        state: Any = sentinel.sentinel_master("limits")
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1


def until(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    for _ in range(600):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("it never came to be")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run a primary, its replica and three sentinels for this module alone."""
    folder = tmp_path_factory.mktemp("sentinels")
    secret = (
        "--requirepass",
        "secret",
        "--masterauth",
        "secret",
        "--repl-diskless-sync-delay",
        "0",
    )
    with ExitStack() as stack:
        primary = stack.enter_context(servers.running("redis-7.0", *secret))
        replicates = ("--replicaof", "127.0.0.1", str(primary))
        replica = stack.enter_context(servers.running("redis-7.0", *secret, *replicates))
        sentinels = stack.enter_context(sentinels_of(primary, folder))
        yield Watched(sentinels, [primary, replica])


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour, of 1000 an hour."""
    with ExitStack() as stack:

        def make(url: str, deadline: float = PATIENT) -> Any:
            limit = FixedWindow("1000/hour")
            if request.param == "sync":
                store = stack.enter_context(RedisStore(url, deadline=deadline))
                return Limiter(limit, store=store)
            loop = asyncio.new_event_loop()
            stack.callback(loop.close)
            async_store = AsyncRedisStore(url, deadline=deadline)
            blocking = Blocking(AsyncLimiter(limit, store=async_store), loop)
            stack.callback(blocking.aclose)
            return blocking

        yield make


def remaining(limiter: Any, key: str) -> int:
    """Hit until there is an answer; what remains."""
    for _ in range(300):
        try:
            left: int = limiter.hit(key).remaining
        except StoreUnavailable:
            time.sleep(0.05)
        else:
            return left
    raise AssertionError("it never recovered")


def test_the_primary_is_found(make: Any, watched: Watched, request: Any) -> None:
    """A URL of several sentinels, the first of which is gone, leads to the service's database."""
    limiter = make(watched.url)
    key = request.node.name
    assert [limiter.hit(key).remaining for _ in range(2)] == [999, 998]
    with redis.Redis(port=watched.primary(), password="secret", db=1) as client:
        assert list(client.scan_iter(f"*{key.partition('[')[0]}*"))


def test_a_client_of_a_sentinel(watched: Watched) -> None:
    """The client that a sentinel gives for the primary serves; that for replicas doesn't."""
    sentinel: Any = redis.sentinel.Sentinel(watched.hosts, password="secret")
    with RedisStore(sentinel.master_for("limits"), deadline=PATIENT) as store:
        assert Limiter(SlidingLog("9/hour"), store=store).hit("handed in")
    with pytest.raises(TypeError, match="a replica can't decide"):
        RedisStore(sentinel.slave_for("limits"))

    async def scenario() -> int:
        sentinel: Any = redis.asyncio.sentinel.Sentinel(watched.hosts, password="secret")
        async with AsyncRedisStore(sentinel.master_for("limits"), deadline=PATIENT) as store:
            limiter = AsyncLimiter(SlidingLog("9/hour"), store=store)
            left = (await limiter.hit("handed in")).remaining
        with pytest.raises(TypeError, match="a replica can't decide"):
            AsyncRedisStore(sentinel.slave_for("limits"))
        return left

    assert asyncio.run(scenario()) == 7


def test_a_service_that_nobody_watches(make: Any, watched: Watched) -> None:
    """A service that no sentinel knows can't be reached."""
    limiter = make(watched.url.replace("/limits", "/others"))
    with pytest.raises(
        StoreUnavailable, match="none of 4 sentinels knows a primary of 'others'"
    ) as caught:
        limiter.hit("k")
    assert caught.value.kind == "connection"


def test_a_sentinel_that_is_silent(make: Any, watched: Watched) -> None:
    """A sentinel that doesn't answer has a part of the deadline; then the next is asked."""
    with redis.Redis(port=watched.sentinels[0]) as sentinel:
        process = sentinel.info("server")["process_id"]
    limiter = make(watched.url, 2.0)
    os.kill(process, signal.SIGSTOP)
    try:
        assert remaining(limiter, "silent") < 1000
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_primary_that_was_demoted(make: Any) -> None:
    """A server that has become a replica is left, so that the next call looks for the primary."""
    with servers.running("redis-7.0") as port, redis.Redis(port=port) as client:
        limiter = make(f"redis://127.0.0.1:{port}")
        limiter.hit("k")
        client.execute_command("REPLICAOF", "127.0.0.1", str(servers.free_port()))
        before = client.info("stats")["total_connections_received"]
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as caught:
                limiter.hit("k")
            assert caught.value.kind == "read-only"
        assert client.info("stats")["total_connections_received"] > before
        client.execute_command("REPLICAOF", "NO", "ONE")
        assert limiter.hit("k")


def test_a_failover_that_was_asked_for(make: Any, watched: Watched, request: Any) -> None:
    """When another server takes over, the store finds it by itself."""
    limiter = make(watched.url)
    limiter.hit(request.node.name)
    before = watched.primary()
    fail_over(watched)
    assert remaining(limiter, request.node.name) in (998, 999)
    assert watched.primary() != before


def fail_over(watched: Watched) -> None:
    """Let the other server take over, as soon as the sentinels are ready for it."""
    before = watched.primary()

    def asked() -> bool:
        with redis.Redis(port=watched.sentinels[0]) as sentinel:
            try:
                sentinel.execute_command("SENTINEL", "FAILOVER", "limits")
            except redis.ResponseError:
                return False
            return True

    until(asked)
    until(lambda: watched.primary() != before)


def test_a_primary_that_is_killed_under_load(watched: Watched) -> None:
    """Threads and tasks see no error but trouble that passes, and go on by themselves."""
    primary = watched.primary()
    with redis.Redis(port=primary, password="secret") as client:
        process = client.info("server")["process_id"]
    stop = threading.Event()
    errors: list[BaseException] = []
    answered: list[float] = []

    def work(hit: Callable[[], object]) -> None:
        while not stop.is_set():
            try:
                hit()
                answered.append(time.monotonic())
            except RateLimitError as error:
                errors.append(error)
                time.sleep(0.005)

    async def tasks(limiter: AsyncLimiter) -> None:
        async def task() -> None:
            while not stop.is_set():
                try:
                    await limiter.hit("load")
                    answered.append(time.monotonic())
                except RateLimitError as error:
                    errors.append(error)
                    await asyncio.sleep(0.005)

        async with limiter:
            await asyncio.gather(*(task() for _ in range(8)))

    store = RedisStore(watched.url, deadline=0.5)
    async_store = AsyncRedisStore(watched.url, deadline=0.5)
    limiter = Limiter(FixedWindow("1000000/hour"), store=store)
    async_limiter = AsyncLimiter(FixedWindow("1000000/hour"), store=async_store)
    threads = [threading.Thread(target=work, args=[lambda: limiter.hit("load")]) for _ in range(2)]
    threads.append(threading.Thread(target=lambda: asyncio.run(tasks(async_limiter))))
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 100)
    os.kill(process, signal.SIGKILL)
    try:
        until(lambda: watched.primary() != primary)
        recovered = time.monotonic()
        until(lambda: sum(moment > recovered for moment in answered) > 100)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        store.close()
    assert errors
    assert {type(error) for error in errors} == {StoreUnavailable}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+sentinel://one:26379", "ends in /service"),
        ("redis+sentinel://one/service/0/more", "ends in /service"),
        ("redis+sentinel://one:port/service", "a port behind each host"),
        ("redis+sentinel://one,,two/service", "names hosts as host:port"),
    ],
)
def test_a_url_that_is_wrong(url: str, said: str) -> None:
    """A URL that names no service or no host is told at once."""
    with pytest.raises(ValueError, match=said):
        open_store(url)


def test_a_url_of_several_servers() -> None:
    """Hosts may have a port or not, and be addresses of either kind; the rest is redis-py's."""
    place = place_of("rediss+sentinel://me:pass%2Fword@[::1]:7,two/a%20b/3?protocol=3", 26_379)
    assert place.addresses == [("::1", 7), ("two", 26_379)]
    assert place.path == ["a b", "3"]
    assert place.plain("3") == "rediss://me:pass%2Fword@[::1]:7/3?protocol=3"


def test_a_url_over_tls() -> None:
    """The primary and the sentinels are both asked over TLS."""
    with RedisStore("rediss+sentinel://one/service?ssl_cert_reqs=none") as store:
        template = wrong(store._calls)._template
        assert issubclass(template.kind, redis.SSLConnection)
        (sentinel,) = template.options["connection_pool"]._sentinel.sentinels
        assert sentinel.connection_pool.connection_class is redis.SSLConnection
