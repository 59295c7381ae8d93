"""What is said on a connection, and by whom."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.exceptions import AskError, InvalidResponse, MovedError, NoScriptError, ResponseError

from ratelimit.algorithms import FixedWindow
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.stores.redis.connections import Template, async_template_of, is_quiet
from ratelimit.stores.redis.replies import PlainReplies, QuickReplies
from ratelimit.stores.redis.timed import TimedSocket
from tests.conftest import PATIENT, Blocking, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = FixedWindow("1000/hour")


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour, of a client of that colour."""
    closers: list[Callable[[], object]] = []

    def make(clients: Callable[[Any], Any], **options: Any) -> Any:
        options = {"deadline": PATIENT, **options}
        if request.param == "sync":
            limiter = Limiter(LIMIT, store=RedisStore(clients(redis), **options))
            closers.append(limiter.close)
            return limiter
        store = AsyncRedisStore(clients(redis.asyncio), **options)
        loop = asyncio.new_event_loop()
        blocking = Blocking(AsyncLimiter(LIMIT, store=store), loop)
        closers.extend([blocking.aclose, loop.close])
        return blocking

    yield make
    for close in closers:
        close()


@pytest.mark.parametrize("kind", [PlainReplies, QuickReplies])
@pytest.mark.parametrize("sizes", [1, 2, 3, 100])
def test_replies_come_in_pieces(sizes: int, kind: type[PlainReplies | QuickReplies]) -> None:
    """However they are cut, replies are read as they were sent."""
    said = b"+OK\r\n$0\r\n\r\n$5\r\na\r\nb\n\r\n-NOSCRIPT No matching script.\r\n-ASK 1 a:2\r\n"
    said += b"-MOVED 3 b:4\r\n-MOVED elsewhere\r\n-OOM is full\r\n"
    replies, taken = kind(), []
    for start in range(0, len(said), sizes):
        replies.feed(said[start : start + sizes])
        while (reply := replies.take()) is not None:
            taken.append(reply)
    assert taken[:3] == [b"OK", b"", b"a\r\nb\n"]
    assert [type(error) for error in taken[3:]] == [
        NoScriptError,
        AskError,
        MovedError,
        ResponseError,
        ResponseError,
    ]
    assert str(taken[-1]) == "OOM is full"
    assert not replies


@pytest.mark.parametrize("kind", [PlainReplies, QuickReplies])
@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\n", b":1\r\n", b"$-1\r\n", b"*0\r\n", b"#f\r\n", b"\r\n"]
)
def test_what_no_script_replies(said: bytes, kind: type[PlainReplies | QuickReplies]) -> None:
    """Anything but a text or an error is none of ours."""
    replies = kind()
    replies.feed(said)
    with pytest.raises(InvalidResponse):
        replies.take()


def test_a_socket_is_looked_at_before_it_is_used() -> None:
    """A socket is quiet while it is open and nothing is to be read, not even what was read on."""
    here, there = socket.socketpair()
    with here, there:
        timed = TimedSocket(here, time.monotonic() + PATIENT)
        assert timed.is_quiet()
        there.sendall(b"+one\r\n+two\r\n")
        assert not timed.is_quiet()
        assert timed.exchange(b"") == b"one"
        assert not timed.is_quiet()
        assert timed.exchange(b"") == b"two"
        assert timed.is_quiet()
        there.close()
        assert not timed.is_quiet()
    assert not timed.is_quiet()


@contextmanager
def listening(*serves: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve one connection after the other on a thread; gives the port."""

    def accept(server: socket.socket) -> None:
        for serve in serves:
            peer, _ = server.accept()
            with peer:
                serve(peer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=[server])
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_server_that_says_too_much_at_once(make: Any) -> None:
    """A connection that says more than the handshake asks for isn't used at all."""

    def serve(peer: socket.socket) -> None:
        peer.sendall(b"+OK\r\n" * 9)
        while peer.recv(65_536):
            pass

    with listening(serve) as port:
        limiter = make(lambda kind: kind.Redis(port=port, protocol=2))
        with pytest.raises(StoreUnavailable, match="nobody has asked for"):
            limiter.hit("k")


def test_a_server_that_always_lacks_the_script(make: Any) -> None:
    """What never knows the script, though it was just sent, is a mistake and not asked for ever."""

    def serve(peer: socket.socket) -> None:
        while data := peer.recv(65_536):
            peer.sendall(b"+OK\r\n" * data.count(b"SETINFO"))
            if b"EVAL" in data or b"local" in data:
                peer.sendall(b"-NOSCRIPT what?\r\n" * (data.count(b"EVAL")))

    with listening(serve) as port:
        limiter = make(lambda kind: kind.Redis(port=port, protocol=2))
        with pytest.raises(StoreError, match="what"):
            limiter.hit("k")
        (limiter.close if isinstance(limiter, Limiter) else limiter.aclose)()


@pytest.mark.parametrize("call", [1, 2])
def test_a_clock_that_fails(make: Any, call: int) -> None:
    """What the store's clock raises comes out, and the next hit is served."""
    server = fakeredis.FakeServer()
    asked = 0

    def clock() -> int:
        nonlocal asked
        asked += 1
        if asked == call:
            raise ZeroDivisionError("no time")
        return 1_790_000_000_000_000

    clients = {redis: fakeredis.FakeRedis, redis.asyncio: fakeredis.FakeAsyncRedis}
    limiter = make(lambda kind: clients[kind](server=server), clock=clock)
    with pytest.raises(ZeroDivisionError):
        limiter.hit("k")
    assert limiter.hit("k").remaining == 999


def test_credentials_that_fail(make: Any) -> None:
    """What a client's own provider of credentials raises comes out."""

    class Provider(redis.CredentialProvider):
        def get_credentials(self) -> Any:
            raise LookupError("no password")

        async def get_credentials_async(self) -> Any:
            raise LookupError("no password")

    def serve(peer: socket.socket) -> None:
        while peer.recv(65_536):
            pass

    with listening(serve) as port:
        limiter = make(lambda kind: kind.Redis(port=port, credential_provider=Provider()))
        with pytest.raises(LookupError, match="no password"):
            limiter.hit("k")


def test_a_fake_server_that_is_gone(make: Any) -> None:
    """A client that has no socket is asked as redis-py would ask it, in trouble too."""
    server = fakeredis.FakeServer()
    clients = {redis: fakeredis.FakeRedis, redis.asyncio: fakeredis.FakeAsyncRedis}
    limiter = make(lambda kind: clients[kind](server=server))
    assert limiter.hit("k")
    server.connected = False
    with pytest.raises(StoreUnavailable):
        limiter.hit("k")
    server.connected = True
    assert limiter.hit("k").remaining == 998


def test_words_while_idle(make: Any) -> None:
    """A connection that says something unasked while nobody looks isn't used again."""
    speaks = threading.Event()

    def serve(peer: socket.socket) -> None:
        while data := peer.recv(65_536):
            peer.sendall(b"+OK\r\n" * data.count(b"SETINFO"))
            if b"EVALSHA" in data:
                peer.sendall(b"$10\r\n1000\n1 1 1\r\n")
                speaks.wait()
                peer.sendall(b"+surprise\r\n")

    with listening(serve, serve) as port:
        limiter = make(lambda kind: kind.Redis(port=port, protocol=2))
        assert limiter.hit("k")
        speaks.set()
        if isinstance(limiter, Blocking):
            limiter.run(asyncio.sleep(0.05))
        else:
            time.sleep(0.05)
        assert limiter.hit("k")
        (limiter.close if isinstance(limiter, Limiter) else limiter.aclose)()


def test_connections_over_tls_share_a_context() -> None:
    """Certificates are read once, as that holds an event loop up."""
    template = async_template_of("rediss://127.0.0.1", PATIENT)
    assert template.connection().ssl_context is template.connection().ssl_context


def test_more_was_read_over_tls_than_was_asked_for() -> None:
    """Where bytes can't be looked at, those that were read already are."""
    here, there = socket.socketpair()
    with here, there:
        timed = TimedSocket(here, time.monotonic() + PATIENT)
        timed.is_plain = False
        there.sendall(b"+one\r\n+two\r\n")
        assert timed.exchange(b"") == b"one"
        assert not is_quiet(SimpleNamespace(_sock=timed))


@pytest.mark.parametrize("error", [OSError("reset"), redis.ConnectionError("closed")])
def test_a_connection_that_cannot_be_looked_at(error: Exception) -> None:
    """A connection over TLS that redis-py finds closed isn't quiet."""

    class Closed:
        _sock = None

        def can_read(self) -> bool:
            raise error

    assert not is_quiet(Closed())


def test_two_who_close_at_once() -> None:
    """Each of two who close while something is in flight waits for it."""

    async def scenario() -> None:
        store = AsyncRedisStore(fakeredis.FakeAsyncRedis(), deadline=PATIENT)
        hit = asyncio.create_task(AsyncLimiter(LIMIT, store=store).hit("k"))
        await asyncio.sleep(0)
        (line,) = wrong(store._calls)._lines.values()
        await asyncio.gather(line.aclose(), line.aclose())
        assert await hit

    asyncio.run(scenario())


def test_a_connection_that_is_reset_while_idle() -> None:
    """A connection that was reset isn't quiet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
        with here:
            timed = TimedSocket(here, time.monotonic() + PATIENT)
            there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            there.close()
            assert not timed.is_quiet()


def test_a_connection_that_fails_as_its_time_is_up() -> None:
    """Whatever an attempt to connect is interrupted in, the next one is made, and it can close."""

    class Clinging:
        attempts = 0

        async def connect(self) -> None:
            Clinging.attempts += 1
            raise redis.ConnectionError("refused")

        async def disconnect(self, *, nowait: bool) -> None:
            await asyncio.sleep(PATIENT)

    async def scenario() -> None:
        store = AsyncRedisStore("redis://127.0.0.1:1", deadline=0.02)
        wrong(store._calls)._template = Template(Clinging, {}, None)
        limiter = AsyncLimiter(LIMIT, store=store)
        async with asyncio.timeout(PATIENT):
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="in time"):
                    await limiter.hit("k")
            await limiter.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
    assert Clinging.attempts == 2
