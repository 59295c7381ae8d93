"""Redis in every trouble: a decision ends in time, in an error of ours, and it recovers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from ratelimit.algorithms import FixedWindow, SlidingLog, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores import AsyncFallbackStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore, calls, script
from ratelimit.stores.redis.timed import TimedSocket
from tests import proxy as proxies
from tests import servers
from tests.conftest import PATIENT, Blocking, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 0.2
LONG = 100
"""How many times its deadline a decision may take on a machine that is busy with other tests."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Run a server for this module alone: it is stopped and changed."""
    options = ("--enable-debug-command", "yes")
    with servers.running("redis-7.0", *options) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[redis.Redis]:
    """Return a client of an empty server."""
    with redis.Redis(port=port) as client:
        client.flushall()
        yield client


@pytest.fixture
def proxy(port: int, client: redis.Redis) -> Iterator[proxies.Proxy]:
    """Return a proxy before the server."""
    with proxies.before(port) as proxy:
        yield proxy


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour, of 1000 an hour."""
    closers: list[Callable[[], object]] = []

    def make(port: int, deadline: float = DEADLINE, **options: Any) -> Any:
        url = options.pop("url", f"redis://127.0.0.1:{port}?protocol=2")
        limit = FixedWindow("1000/hour")
        if request.param == "sync":
            limiter = Limiter(limit, store=RedisStore(url, deadline=deadline, **options))
            closers.append(limiter.close)
            return limiter
        loop = asyncio.new_event_loop()
        store = AsyncRedisStore(url, deadline=deadline, **options)
        blocking = Blocking(AsyncLimiter(limit, store=store), loop)
        closers.extend([blocking.aclose, loop.close])
        return blocking

    yield make
    for close in closers:
        close()


def fails(ask: Callable[[], object], *kinds: str) -> None:
    """Expect trouble that passes, of one of some kinds, in time."""
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        ask()
    assert caught.value.kind in kinds
    assert time.monotonic() - begun < LONG * DEADLINE


def is_interrupted(ask: Callable[[], object]) -> None:
    """Expect that an interrupt comes through."""
    with pytest.raises(KeyboardInterrupt):
        ask()


def used(limiter: Any) -> int:
    """Ask until there is an answer again; how much is used."""
    for _ in range(200):
        try:
            return 1000 - limiter.peek("k").remaining
        except StoreUnavailable:
            time.sleep(0.05)
    raise AssertionError("it never recovered")


def close(limiter: Any) -> None:
    """Close a limiter of either colour."""
    limiter.close() if isinstance(limiter, Limiter) else limiter.aclose()


@contextmanager
def paused(process: int) -> Iterator[None]:
    """Stop a process for as long as the block lasts."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("trouble", proxies.TROUBLES)
def test_a_connection_in_trouble(make: Any, proxy: proxies.Proxy, trouble: str) -> None:
    """However an answer is lost, the call ends, is charged once at most, and the next is served."""
    limiter = make(proxy.port)
    limiter.hit("k")
    proxy.trouble = trouble
    fails(lambda: limiter.hit("k"), "timeout", "connection")
    proxy.trouble = None
    assert used(limiter) in (1, 2)
    assert proxy.connections >= 2


@pytest.mark.parametrize("trouble", ["silence", "dribble", "cut", "reset", "half-close", "deaf"])
def test_trouble_from_the_first_byte(make: Any, proxy: proxies.Proxy, trouble: str) -> None:
    """A connection that never comes to be ends in time too."""
    limiter = make(proxy.port)
    proxy.trouble = trouble
    fails(lambda: limiter.hit("k"), "timeout", "connection")
    proxy.trouble = None
    assert limiter.hit("k")


def test_a_connection_that_was_closed_while_idle(make: Any, client: redis.Redis, port: int) -> None:
    """A connection that the server has closed is opened again, and nobody notices."""
    limiter = make(port, PATIENT)
    limiter.hit("k")
    client.execute_command("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
    if isinstance(limiter, Blocking):
        limiter.run(asyncio.sleep(0.01))
    assert limiter.hit("k").remaining == 998


@contextmanager
def impostor(*answers: bytes) -> Iterator[int]:
    """Run what greets as a Redis does, and answers each script in words of its own."""
    words = list(answers)

    def serve(server: socket.socket) -> None:
        while words:
            peer, _ = server.accept()
            with peer:
                while data := peer.recv(65_536):
                    peer.sendall(b"+OK\r\n" * data.count(b"SETINFO"))
                    if b"EVALSHA" in data:
                        peer.sendall(words.pop(0))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_words_that_nobody_asked_for(make: Any) -> None:
    """A connection that holds an answer to no question isn't used again."""
    answer = b"$10\r\n1000\n1 1 1\r\n"
    with impostor(answer + b"+surprise\r\n", answer) as port:
        limiter = make(port, PATIENT)
        assert [limiter.hit("k").remaining for _ in range(2)] == [999, 999]
        close(limiter)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$2\r\nno\r\n"])
def test_somebody_else_listens(make: Any, answer: bytes) -> None:
    """What answers as no Redis does is a mistake, not an outage."""
    with impostor(answer) as port:
        limiter = make(port, PATIENT)
        with pytest.raises(StoreError, match="as no Redis does") as caught:
            limiter.hit("k")
        assert caught.type is StoreError
        close(limiter)


def test_nobody_listens(make: Any) -> None:
    """A refused connection is told at once."""
    limiter = make(servers.free_port())
    fails(lambda: limiter.hit("k"), "connection")


def test_a_server_that_is_stopped(make: Any, client: redis.Redis, port: int) -> None:
    """While the server's process stands still, calls end in time; then it is asked again."""
    limiter = make(port)
    limiter.hit("k")
    with paused(client.info("server")["process_id"]):
        for _ in range(3):
            fails(lambda: limiter.hit("k"), "timeout")
    assert used(limiter) in range(1, 5)


def test_a_server_that_is_killed(make: Any) -> None:
    """A server that comes back empty is asked again, and sent the script."""
    with servers.running("redis-7.0") as port:
        limiter = make(port)
        limiter.hit("k")
        with redis.Redis(port=port) as client:
            os.kill(client.info("server")["process_id"], signal.SIGKILL)
        fails(lambda: limiter.hit("k"), "connection")
        with servers.running("redis-7.0", port=port):
            assert used(limiter) == 0


@pytest.mark.parametrize("pause", [("CLIENT", "PAUSE", "600"), ("DEBUG", "SLEEP", "0.6")])
def test_a_server_that_pauses(make: Any, client: redis.Redis, port: int, pause: Any) -> None:
    """A server that takes its time is given up, and asked again."""
    limiter = make(port)
    limiter.hit("k")
    sleeper = threading.Thread(target=client.execute_command, args=pause)
    sleeper.start()
    if pause[0] == "CLIENT":
        sleeper.join()
    else:
        time.sleep(0.05)
    fails(lambda: limiter.hit("k"), "timeout")
    sleeper.join()
    assert used(limiter) in (1, 2)


def test_a_server_that_loads(make: Any, tmp_path: Any) -> None:
    """A server that still loads its data is told apart, and asked again."""
    here = f"--dir {tmp_path}"
    options = f"{here} --enable-debug-command yes".split()
    with servers.running("redis-7.0", *options) as port, redis.Redis(port=port) as client:
        client.execute_command("DEBUG", "POPULATE", 200_000)
        client.save()
    options = f"{here} --key-load-delay 20 --loading-process-events-interval-bytes 1024".split()
    with servers.running("redis-7.0", *options) as port:
        limiter = make(port, PATIENT)
        fails(lambda: limiter.hit("k"), "loading")
        with redis.Redis(port=port) as client:
            client.config_set("key-load-delay", "0")
        assert used(limiter) == 0


def test_a_server_that_forgets_the_script(make: Any, client: redis.Redis, port: int) -> None:
    """A lost script is sent again, and each hit is charged once."""
    limiter = make(port, PATIENT)
    for _ in range(3):
        limiter.hit("k")
        client.script_flush()
    assert used(limiter) == 3


def test_a_server_that_is_full(make: Any, client: redis.Redis, port: int) -> None:
    """A full server is told apart, charges nothing, and is asked again."""
    limiter = make(port, PATIENT)
    client.config_set("maxmemory", "1")
    fails(lambda: limiter.hit("k"), "full")
    client.config_set("maxmemory", "0")
    assert used(limiter) == 0


def test_a_server_with_too_many_clients(make: Any, client: redis.Redis, port: int) -> None:
    """A server that takes no more clients is overloaded, not gone."""
    client.config_set("maxclients", "1")
    fails(lambda: make(port, PATIENT).hit("k"), "overload", "connection")
    client.config_set("maxclients", "1000")


def test_a_user_who_loses_a_right(make: Any, client: redis.Redis, port: int) -> None:
    """A right that is taken away is a mistake, and is told with the key."""
    rules: dict[str, Any] = {"enabled": True, "passwords": ["+secret"], "keys": ["ratelimit:*"]}
    limiter = make(port, PATIENT, url=f"redis://limits:secret@127.0.0.1:{port}")
    for commands in (["+ping"], ["+eval", "+evalsha", "+time", "+get"]):
        client.acl_setuser("limits", **rules, commands=commands)
        with pytest.raises(StoreError, match="denies this user") as caught:
            limiter.hit("k")
        assert (caught.type, caught.value.kind) == (StoreError, "permission")
    client.acl_setuser("limits", **rules, commands=["+set", "+eval", "+evalsha", "+time", "+get"])
    assert limiter.hit("k")
    client.acl_deluser("limits")


def test_a_slow_server_is_slow_for_a_few(port: int, client: redis.Redis) -> None:
    """Those who wait behind a call that hangs are told in time, each in an error of their own."""

    async def scenario() -> list[Any]:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=DEADLINE)
        async with AsyncLimiter(TokenBucket("1000/hour"), store=store) as limiter:
            await limiter.hit("k")
            with paused(client.info("server")["process_id"]):
                hits = [asyncio.create_task(limiter.hit("k")) for _ in range(300)]
                return await asyncio.gather(*hits, return_exceptions=True)

    errors = asyncio.run(scenario())
    assert {error.kind for error in errors} == {"timeout"}
    assert len({id(error) for error in errors}) == 300


def test_a_loop_that_stands_still_is_no_outage(port: int, client: redis.Redis) -> None:
    """An application that blocks its event loop beyond the deadline is answered all the same."""

    async def scenario() -> tuple[list[Any], Any]:
        first = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=DEADLINE)
        async with AsyncLimiter(FixedWindow("1000/hour"), store=AsyncFallbackStore(first)) as one:
            await one.hit("k")
            hits = [asyncio.create_task(one.hit("k")) for _ in range(12)]
            await asyncio.sleep(0)
            time.sleep(1.5 * DEADLINE)  # noqa: ASYNC251  # that is what it is about
            return await asyncio.gather(*hits), wrong(one.store).errors

    decisions, errors = asyncio.run(scenario())
    assert not any(decision.degraded for decision in decisions)
    assert errors == {}


def test_a_flood_on_a_cold_pool(port: int, client: redis.Redis) -> None:
    """Two thousand at once are answered on two connections, and exactly the limit is admitted."""

    async def scenario() -> int:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
        async with AsyncLimiter(SlidingLog("700/hour"), store=store) as limiter:
            return sum(map(bool, await asyncio.gather(*(limiter.hit("k") for _ in range(2000)))))

    before = client.info("stats")["total_connections_received"]
    assert asyncio.run(scenario()) == 700
    assert client.info("stats")["total_connections_received"] == before + 2


def test_the_cancelled_harm_nobody(port: int, client: redis.Redis) -> None:
    """Who is cancelled before leaving isn't charged, and the others are answered."""

    async def scenario() -> tuple[int, int]:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
        async with AsyncLimiter(FixedWindow("1000/hour"), store=store) as limiter:
            await limiter.hit("k")
            hits = [asyncio.create_task(limiter.hit("k")) for _ in range(100)]
            await asyncio.sleep(0)
            for hit in hits[1::2]:
                hit.cancel()
            answers = await asyncio.gather(*hits, return_exceptions=True)
            return sum(map(bool, answers[::2])), (await limiter.peek("k")).remaining

    assert asyncio.run(scenario()) == (50, 949)


def test_the_one_who_calls_is_cancelled(port: int, client: redis.Redis) -> None:
    """If the one whose call is in flight is cancelled, those behind are still answered."""

    async def scenario() -> tuple[int, int]:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
        async with AsyncLimiter(FixedWindow("1000/hour"), store=store) as limiter:
            hits = [asyncio.create_task(limiter.hit("k")) for _ in range(100)]
            await asyncio.sleep(0)
            hits[0].cancel()
            answers = await asyncio.gather(*hits, return_exceptions=True)
            assert isinstance(answers[0], asyncio.CancelledError)
            return sum(map(bool, answers[1:])), 1000 - (await limiter.peek("k")).remaining

    answered, charged = asyncio.run(scenario())
    assert answered == 99
    assert charged in (99, 100)


def test_closing_answers_those_who_wait(port: int, client: redis.Redis) -> None:
    """`aclose` lets what was asked be answered, leaves no task, and the store can be used again."""

    async def scenario() -> None:
        store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
        limiter = AsyncLimiter(FixedWindow("1000/hour"), store=store)
        hits = [asyncio.create_task(limiter.hit("k")) for _ in range(300)]
        await asyncio.sleep(0)
        await limiter.aclose()
        assert sum(map(bool, await asyncio.gather(*hits))) == 300
        async with store:
            assert await limiter.hit("k")
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
    assert client.info("clients")["connected_clients"] == 1


def test_threads_wait_for_a_connection(
    port: int, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many threads share few connections, and who waits in vain is told of an overload."""
    monkeypatch.setattr(calls, "_MOST", 2)
    with RedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("100/hour"), store=store)
        allowed: list[bool] = []

        def work() -> None:
            allowed.extend(bool(limiter.hit("k")) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(allowed) == 100
        assert len(wrong(store._calls)._pool.idle) <= 2
    with RedisStore(f"redis://127.0.0.1:{port}", deadline=DEADLINE) as store:
        wrong(store._calls)._pool.permits.get()
        wrong(store._calls)._pool.permits.get()
        fails(lambda: Limiter(FixedWindow("9/s"), store=store).hit("k"), "overload")


def test_a_forked_process_has_connections_of_its_own(port: int, client: redis.Redis) -> None:
    """A child that is forked from a process in the middle of its calls disturbs nobody."""
    with RedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("1000/hour"), store=store)
        limiter.hit("k")
        child = os.fork()
        if child == 0:
            os._exit(not all(limiter.hit("k") for _ in range(50)))
        assert all(limiter.hit("k") for _ in range(50))
        assert os.waitpid(child, 0)[1] == 0
        assert used(limiter) == 101


def test_a_forked_process_starts_anew(port: int, client: redis.Redis) -> None:
    """In another process than the one that opened them, connections are left alone."""
    with RedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("9/hour"), store=store)
        limiter.hit("k")
        (parents,) = wrong(store._calls)._pool.idle
        wrong(store._calls)._pool.process -= 1
        limiter.hit("k")
        assert parents not in wrong(store._calls)._pool.idle
        assert not parents.can_read()
        parents.disconnect()


@pytest.mark.parametrize(
    ("error", "left"),
    [(None, 1), (redis.ResponseError("no"), 1), (redis.ConnectionError("reset by peer"), 0)],
)
def test_another_pool_meanwhile(
    port: int,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
    left: int,
) -> None:
    """If two threads of a forked process make a pool each, a call keeps to its own."""
    with RedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("9/hour"), store=store)
        limiter.hit("k")
        own = wrong(store._calls)
        mine, other = own._pool, calls.Pool()
        ours, theirs = mine.idle[0], own._opened(time.monotonic() + PATIENT)
        other.idle.append(theirs)
        exchange, converse = own._exchange, wrong(calls).converse
        used = []

        def meanwhile(*args: Any) -> Any:
            own._pool = other
            return exchange(*args)

        def watched(connection: Any, *args: Any) -> Any:
            used.append(connection)
            if error is not None:
                raise error
            return converse(connection, *args)

        monkeypatch.setattr(own, "_exchange", meanwhile)
        monkeypatch.setattr(calls, "converse", watched)
        with pytest.raises(StoreError) if error else nullcontext():
            limiter.hit("k")
        assert used == [ours]
        assert [pool.permits.qsize() for pool in (mine, other)] == [calls._MOST, calls._MOST]
        assert [list(pool.idle) for pool in (mine, other)] == [[ours] * left, [theirs]]
        mine.clear()


@pytest.mark.parametrize(
    ("error", "expect", "left"),
    [
        (redis.ConnectionError("reset by peer"), lambda ask: fails(ask, "connection"), 0),
        (KeyboardInterrupt(), is_interrupted, 1),
    ],
)
def test_the_idle_go_with_one_that_was_cut_off(
    port: int,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expect: Callable[[Callable[[], object]], None],
    left: int,
) -> None:
    """Where a connection breaks in a call, and only then, those that are idle aren't tried."""

    def cut_off(*args: Any) -> Any:
        raise error

    with RedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("9/hour"), store=store)
        limiter.hit("k")
        own = wrong(store._calls)
        own._pool.idle.append(own._opened(time.monotonic() + PATIENT))
        with monkeypatch.context() as patched:
            patched.setattr(calls, "converse", cut_off)
            expect(lambda: limiter.hit("k"))
        assert len(own._pool.idle) == left
        assert limiter.hit("k").remaining == 7


def test_a_loop_that_died_is_forgotten(port: int, client: redis.Redis) -> None:
    """What was opened on an event loop that is gone isn't kept, though nobody closed it."""
    store = AsyncRedisStore(f"redis://127.0.0.1:{port}", deadline=PATIENT)
    limiter = AsyncLimiter(FixedWindow("9/hour"), store=store)

    async def scenario() -> int:
        await limiter.hit("k")
        (line,) = wrong(store._calls)._lines.values()
        lane = line._lanes[0]
        lane._close()
        assert await limiter.hit("k")
        await lane.aclose()
        return len(wrong(store._calls)._lines)

    assert [asyncio.run(scenario()) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("protocol", [2, 3])
def test_it_works_without_hiredis(
    port: int, client: redis.Redis, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parsers that are Python's own serve too, in either protocol."""
    monkeypatch.setitem(sys.modules, "hiredis", None)
    options: dict[str, Any] = {"port": port, "protocol": protocol}
    kind = getattr(redis.connection, f"_RESP{protocol}Parser")
    pool = redis.ConnectionPool(parser_class=kind, **options)
    with RedisStore(redis.Redis(connection_pool=pool), deadline=PATIENT) as store:
        limiter = Limiter(FixedWindow("1000/hour"), store=store)
        assert [limiter.hit("k").remaining for _ in range(3)] == [999, 998, 997]
    kind = getattr(redis.asyncio.connection, f"_AsyncRESP{protocol}Parser")
    async_pool = redis.asyncio.ConnectionPool(parser_class=kind, **options)

    async def scenario() -> int:
        source = redis.asyncio.Redis(connection_pool=async_pool)
        async with AsyncRedisStore(source, deadline=PATIENT) as store:
            limiter = AsyncLimiter(FixedWindow("1000/hour"), store=store)
            hits = await asyncio.gather(*(limiter.hit("k") for _ in range(100)))
        return min(hit.remaining for hit in hits)

    assert asyncio.run(scenario()) == 897


def test_a_socket_ends_in_time() -> None:
    """A socket whose moment has come takes no more."""
    here, there = socket.socketpair()
    with here, there:
        timed = TimedSocket(here, time.monotonic() - 1)
        with pytest.raises(TimeoutError):
            timed.sendall(b"late")
        there.sendall(b"+in time\r\n")
        assert timed.recv(10) == b"+in time\r\n"
        timed.end += 60
        timed.settimeout(0)
        with pytest.raises(redis.TimeoutError):
            timed.exchange(b"question")
        with pytest.raises(BlockingIOError):
            timed.recv(1)
        timed.settimeout(None)
        there.sendall(b"x")
        assert timed.recv(1) == b"x"


def test_the_script_is_plain_ascii() -> None:
    """The script's length in characters is its length in bytes."""
    assert script.TEXT.isascii()
