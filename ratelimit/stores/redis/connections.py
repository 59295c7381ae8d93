"""Make connections as a client would, but none that retries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from ratelimit.stores.redis import sentinel
from ratelimit.stores.redis.options import options_of
from ratelimit.stores.redis.timed import TimedSocket, timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.stores.redis.pipeline import Pipeline
    from ratelimit.stores.redis.replies import Reply
    from ratelimit.stores.redis.wire import Command


@dataclass(frozen=True, slots=True)
class Template:
    """How a client makes its connections: where to, as whom, over TLS or not."""

    kind: type[Any]
    options: dict[str, Any]
    client: object
    """The client, which some kinds of connections lean on."""
    tls: dict[str, Any] = field(default_factory=dict)
    """What connections over TLS share: to read certificates holds an event loop up for 25 ms."""

    def connection(self) -> Any:
        """Return a connection that isn't open yet."""
        connection = self.kind(**self.options)
        context = getattr(connection, "ssl_context", None)
        if context is not None:
            connection.ssl_context = self.tls.setdefault("context", context)
        return connection


def template_of(client: object, deadline: float) -> Template:
    """Return how a client, or the one of a URL, makes its connections.

    Raises:
        TypeError: It is no client and no URL, or one for code that awaits.
        ValueError: The URL can't be used.

    """
    if isinstance(client, str):
        watched = client.startswith(sentinel.SCHEMES)
        client_of = sentinel.primary_of if watched else redis.Redis.from_url
        client = client_of(client)
    if not isinstance(client, redis.Redis):
        raise TypeError(
            f"a RedisStore needs a redis.Redis, a RedisCluster or a URL, not {client!r}; "
            "an AsyncRedisStore takes those of redis.asyncio"
        )
    pool = client.connection_pool
    options = options_of(pool.connection_kwargs, deadline)
    options |= {"socket_timeout": deadline, "retry": Retry(NoBackoff(), 0)}
    if isinstance(pool, redis.sentinel.SentinelConnectionPool):
        options["connection_pool"] = sentinel.Primary(pool, deadline)
    return Template(timed(pool.connection_class), options, client)


def async_template_of(client: object, deadline: float) -> Template:
    """Return how a client for code that awaits, or the one of a URL, makes its connections.

    Raises:
        TypeError: It is no client and no URL, or one that blocks.
        ValueError: The URL can't be used.

    """
    if isinstance(client, str):
        watched = client.startswith(sentinel.SCHEMES)
        client_of = sentinel.async_primary_of if watched else redis.asyncio.Redis.from_url
        client = client_of(client)
    if not isinstance(client, redis.asyncio.Redis):
        raise TypeError(
            "an AsyncRedisStore needs a redis.asyncio.Redis, a RedisCluster of redis.asyncio or a "
            f"URL, not {client!r}; a RedisStore takes those that block"
        )
    pool = client.connection_pool
    template = async_template(pool.connection_class, pool.connection_kwargs, deadline, client)
    if isinstance(pool, redis.asyncio.sentinel.SentinelConnectionPool):
        template.options["connection_pool"] = sentinel.AsyncPrimary(pool, deadline)
    return template


def async_template(
    kind: type[Any], given: dict[str, Any], deadline: float, client: object
) -> Template:
    """Return how connections of a kind are made with the options of a client."""
    options = options_of(given, deadline)
    options |= {"socket_timeout": None, "retry": AsyncRetry(NoBackoff(), 0)}
    return Template(kind, options, client)


def converse(connection: Any, command: Command) -> bytes:
    """Send a call and return its reply; a server that lacks the script is sent it.

    Raises:
        redis.RedisError: The server can't be asked, or says an error.

    """
    reply = _exchange(connection, command.by_digest())
    if isinstance(reply, NoScriptError):
        reply = _exchange(connection, command.by_text())
    if isinstance(reply, ResponseError):
        raise reply
    return reply


def _exchange(connection: Any, packed: bytes) -> Reply:
    """Send a command and return its reply; redis-py does it where the connection is no socket."""
    if isinstance(connection._sock, TimedSocket):
        return connection._sock.exchange(packed)
    try:
        return ask(connection, packed)
    except ResponseError as error:
        return error


def run(connection: Any, pipeline: Pipeline) -> None:
    """Send what there is to send, and take the replies, until nothing is left to be sent.

    Raises:
        redis.RedisError: The server can't be asked.

    """
    while packed := pipeline.packed():
        pipeline.take(_exchange(connection, packed))
        while pipeline.replies:
            pipeline.take(_exchange(connection, b""))


def ask(connection: Any, packed: bytes) -> bytes:
    """Send a command and return its reply."""
    connection.send_packed_command([packed])
    reply: bytes = connection.read_response(disable_decoding=True)
    return reply


async def async_ask(connection: Any, packed: bytes) -> bytes:
    """Send a command and return its reply."""
    await connection.send_packed_command([packed])
    reply: bytes = await connection.read_response(disable_decoding=True)
    return reply


CLUSTER_SLOTS = b"*2\r\n$7\r\nCLUSTER\r\n$5\r\nSLOTS\r\n"
INFO = b"*1\r\n$4\r\nINFO\r\n"


def _look_of(connection: Any) -> Callable[[], Any]:
    """Return what tells if there is anything to read: redis-py has named it so since 8.0."""
    look: Callable[[], Any] = (
        getattr(connection, "can_read", None) or connection.can_read_destructive
    )
    return look


def is_quiet(connection: Any) -> bool:
    """Say whether it is open, and holds nothing that nobody has asked for."""
    sock = connection._sock
    if isinstance(sock, TimedSocket) and (sock.is_plain or sock.has_more):
        return sock.is_quiet()
    try:
        return not _look_of(connection)()
    except (OSError, RedisError):
        return False


def check_quiet(connection: Any) -> None:
    """Check that a connection holds nothing that nobody has asked for.

    Raises:
        redis.ConnectionError: It does.

    """
    if _look_of(connection)():
        raise redis.ConnectionError("it says what nobody has asked for")


async def async_check_quiet(connection: Any) -> None:
    """Check that a connection holds nothing that nobody has asked for.

    Raises:
        redis.ConnectionError: It does.

    """
    if await _look_of(connection)():
        raise redis.ConnectionError("it says what nobody has asked for")
