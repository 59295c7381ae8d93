"""Open a store by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from ratelimit.quota import whole
from ratelimit.stores.base import is_store
from ratelimit.stores.constant import AllowAll, DenyAll
from ratelimit.stores.fallback import AsyncFallbackStore, FallbackStore
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore

if TYPE_CHECKING:
    from ratelimit.stores.base import AsyncStore, Store
    from ratelimit.stores.fallback import Local

_MEMORY = "memory://"

OnError = Literal["local", "open", "closed", "raise"]
"""What to do while a store is gone: decide in memory, allow all, deny all, or raise."""

_REDIS = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
)


def open_store(store: Store | str | None, on_error: OnError = "raise", nodes: int = 1) -> Store:
    """Return the store that was given, or open the one that its URL names.

    If it can fail, it gets a store behind it as `on_error` says, for one of so many nodes; a
    `FallbackStore` has one already.

    Raises:
        TypeError: It is no store, or one for code that awaits, or `nodes` no `int`.
        ValueError: No store has such a URL, or `on_error` or `nodes` can't be used.
        ImportError: The store's client library isn't installed.

    """
    second = _second(on_error, nodes)
    opened = _opened(store)
    if second is None or isinstance(opened, MemoryStore | FallbackStore):
        return opened
    return FallbackStore(opened, second, nodes=nodes)


def open_async_store(
    store: AsyncStore | MemoryStore | str | None, on_error: OnError = "raise", nodes: int = 1
) -> AsyncStore:
    """Return the store that was given, or open the one that its URL names, as `open_store` does.

    A `MemoryStore` never waits, so it serves here too.

    Raises:
        TypeError: It is no store, or one that would block the event loop, or `nodes` no `int`.
        ValueError: No store has such a URL, or `on_error` or `nodes` can't be used.
        ImportError: The store's client library isn't installed.

    """
    second = _second(on_error, nodes)
    opened = _async_opened(store)
    if second is None or isinstance(opened, AsyncMemoryStore | AsyncFallbackStore):
        return opened
    return AsyncFallbackStore(opened, second, nodes=nodes)


def is_own(store: object) -> bool:
    """Say whether what is given for a store is a memory that nobody else has."""
    return store is None or store == _MEMORY


def _second(on_error: object, nodes: int) -> Local | None:
    """Return who decides while the store is gone, or None if nobody does."""
    if on_error not in get_args(OnError):
        raise ValueError(f"on_error is one of {', '.join(get_args(OnError))}, not {on_error!r}")
    whole(nodes, "nodes", 1)
    if on_error == "raise":
        return None
    if on_error == "local":
        return MemoryStore()
    return AllowAll() if on_error == "open" else DenyAll()


def _opened(store: Store | str | None) -> Store:
    if store is None or store == _MEMORY:
        return MemoryStore()
    if isinstance(store, str):
        _check_url(store)
        from ratelimit.stores.redis import RedisStore

        return RedisStore(store)
    if not is_store(store, "close"):
        raise TypeError(
            f"a Limiter needs a store that doesn't await, such as MemoryStore or RedisStore, "
            f"not {store!r}; an AsyncLimiter takes the others"
        )
    return store


def _async_opened(store: AsyncStore | MemoryStore | str | None) -> AsyncStore:
    if store is None or store == _MEMORY:
        return AsyncMemoryStore(MemoryStore())
    if isinstance(store, MemoryStore):
        return AsyncMemoryStore(store)
    if isinstance(store, str):
        _check_url(store)
        from ratelimit.stores.redis import AsyncRedisStore

        return AsyncRedisStore(store)
    if not is_store(store, "aclose"):
        raise TypeError(
            f"an AsyncLimiter needs a store that awaits, such as AsyncRedisStore, or a "
            f"MemoryStore, not {store!r}, which would block the event loop"
        )
    return store


def _check_url(url: str) -> None:
    if not url.startswith(_REDIS):
        place = url.rpartition("@")[2]
        raise ValueError(f"no store has the URL {place!r}; use memory://, {', '.join(_REDIS)}")
