"""Ask sentinels where the primary is."""

from __future__ import annotations

from typing import Any

import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ratelimit.stores.redis.options import options_of
from ratelimit.stores.redis.urls import Address, place_of

PORT = 26_379
Sentinel: Any = redis.sentinel.Sentinel
AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel
parse_url: Any = redis.connection.parse_url
SCHEMES = ("redis+sentinel://", "rediss+sentinel://")


def service_of(url: str) -> tuple[list[Address], str, dict[str, Any], dict[str, Any]]:
    """Return the sentinels of a URL, its service, and how to connect to the primary and to them.

    Raises:
        ValueError: It names no service.

    """
    place = place_of(url, PORT)
    if not 1 <= len(place.path) <= 2:
        raise ValueError(
            "the URL of a primary that sentinels watch ends in /service or /service/db, "
            f"not in {'/'.join(['', *place.path])!r}"
        )
    service, db = [*place.path, "0"][:2]
    options = parse_url(place.plain(db))
    options.pop("host")
    options.pop("port")
    if options.pop("connection_class", None):
        options["ssl"] = True
    shared = {name: value for name, value in options.items() if name.startswith(("ssl", "socket"))}
    return place.addresses, service, options, shared


def primary_of(url: str) -> redis.Redis:
    """Return the client of a URL's primary.

    Raises:
        ValueError: It names no service.

    """
    addresses, service, options, shared = service_of(url)
    sentinel = Sentinel(addresses, sentinel_kwargs=shared)
    primary: redis.Redis = sentinel.master_for(service, **options)
    return primary


def async_primary_of(url: str) -> redis.asyncio.Redis:
    """Return the client of a URL's primary.

    Raises:
        ValueError: It names no service.

    """
    addresses, service, options, shared = service_of(url)
    sentinel = AsyncSentinel(addresses, sentinel_kwargs=shared)
    primary: redis.asyncio.Redis = sentinel.master_for(service, **options)
    return primary


class Primary:
    """Where a service's primary is: asked anew for each connection, of one sentinel after another.

    It stands in for the client's pool, which would wait as long as the client does.

    Args:
        pool: The client's pool.
        deadline: How long a decision may take, in seconds; each sentinel has a part of it.

    Raises:
        TypeError: The client asks replicas.

    """

    is_master = True
    check_connection = False

    def __init__(self, pool: Any, deadline: float) -> None:
        if not pool.is_master:
            raise TypeError("a replica can't decide: use the client of Sentinel.master_for")
        self.service_name = pool.service_name
        self._sentinel = pool.sentinel_manager
        self._patience = deadline / (len(pool.sentinel_manager.sentinels) + 2)

    def get_master_address(self) -> Address:
        """Return where the primary is.

        Raises:
            redis.ConnectionError: No sentinel says.

        """
        known = self._sentinel
        sentinel = Sentinel([], known.min_other_sentinels, force_master_ip=known._force_master_ip)
        sentinel.sentinels = [self._client(each.connection_pool) for each in known.sentinels]
        try:
            address: Address = sentinel.discover_master(self.service_name)
        except redis.ConnectionError as error:
            raise redis.ConnectionError(
                f"none of {len(known.sentinels)} sentinels knows a primary of {self.service_name!r}"
            ) from error
        finally:
            for each in sentinel.sentinels:
                each.close()
        return address

    def _client(self, pool: Any) -> redis.Redis:
        options = options_of(pool.connection_kwargs, self._patience)
        options |= {"socket_timeout": self._patience, "retry": Retry(NoBackoff(), 0)}
        kind = pool.connection_class
        return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **options))


class AsyncPrimary:
    """Where a service's primary is: asked anew for each connection, of one sentinel after another.

    It stands in for the client's pool, which would wait as long as the client does.

    Args:
        pool: The client's pool.
        deadline: How long a decision may take, in seconds; each sentinel has a part of it.

    Raises:
        TypeError: The client asks replicas.

    """

    is_master = True
    check_connection = False

    def __init__(self, pool: Any, deadline: float) -> None:
        if not pool.is_master:
            raise TypeError("a replica can't decide: use the client of Sentinel.master_for")
        self.service_name = pool.service_name
        self._sentinel = pool.sentinel_manager
        self._patience = deadline / (len(pool.sentinel_manager.sentinels) + 2)

    async def get_master_address(self) -> Address:
        """Return where the primary is.

        Raises:
            redis.ConnectionError: No sentinel says.

        """
        known = self._sentinel
        sentinel = AsyncSentinel(
            [], known.min_other_sentinels, force_master_ip=known._force_master_ip
        )
        sentinel.sentinels = [self._client(each.connection_pool) for each in known.sentinels]
        try:
            address: Address = await sentinel.discover_master(self.service_name)
        except redis.ConnectionError as error:
            raise redis.ConnectionError(
                f"none of {len(known.sentinels)} sentinels knows a primary of {self.service_name!r}"
            ) from error
        finally:
            for each in sentinel.sentinels:
                await each.aclose()
        return address

    def _client(self, pool: Any) -> redis.asyncio.Redis:
        options = options_of(pool.connection_kwargs, self._patience)
        options |= {"socket_timeout": self._patience, "retry": AsyncRetry(NoBackoff(), 0)}
        kind = pool.connection_class
        return redis.asyncio.Redis.from_pool(
            redis.asyncio.ConnectionPool(connection_class=kind, **options)
        )
