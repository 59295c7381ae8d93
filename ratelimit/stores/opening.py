"""Open a store by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore

if TYPE_CHECKING:
    from ratelimit.stores.base import AsyncStore, Store

_REDIS = ("redis://", "rediss://", "unix://")
_METHODS = ("open", "hit_all", "peek_all", "charge_all", "refund_all", "reset_all")


def open_store(store: Store | str | None) -> Store:
    """Return the store that was given, or open the one that its URL names.

    Raises:
        TypeError: It is no store, or one for code that awaits.
        ValueError: No store has such a URL.
        ImportError: The store's client library isn't installed.

    """
    if store is None or store == "memory://":
        return MemoryStore()
    if isinstance(store, str):
        _check_url(store)
        from ratelimit.stores.redis import RedisStore

        return RedisStore(store)
    if not _is_store(store, "close"):
        raise TypeError(
            f"a Limiter needs a store that doesn't await, such as MemoryStore or RedisStore, "
            f"not {store!r}; an AsyncLimiter takes the others"
        )
    return store


def open_async_store(store: AsyncStore | MemoryStore | str | None) -> AsyncStore:
    """Return the store that was given, or open the one that its URL names.

    A `MemoryStore` never waits, so it serves here too.

    Raises:
        TypeError: It is no store, or one that would block the event loop.
        ValueError: No store has such a URL.
        ImportError: The store's client library isn't installed.

    """
    if store is None or store == "memory://":
        return AsyncMemoryStore(MemoryStore())
    if isinstance(store, MemoryStore):
        return AsyncMemoryStore(store)
    if isinstance(store, str):
        _check_url(store)
        from ratelimit.stores.redis import AsyncRedisStore

        return AsyncRedisStore(store)
    if not _is_store(store, "aclose"):
        raise TypeError(
            f"an AsyncLimiter needs a store that awaits, such as AsyncRedisStore, or a "
            f"MemoryStore, not {store!r}, which would block the event loop"
        )
    return store


def _is_store(store: object, closing: str) -> bool:
    return all(hasattr(store, method) for method in (*_METHODS, closing))


def _check_url(url: str) -> None:
    if not url.startswith(_REDIS):
        place = url.rpartition("@")[2]
        raise ValueError(f"no store has the URL {place!r}; use memory://, {', '.join(_REDIS)}")
