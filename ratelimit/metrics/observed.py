"""Tell a hook what a limiter decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from ratelimit.decision import Page
from ratelimit.metrics.hooks import tell
from ratelimit.stores.base import Ask
from ratelimit.stores.opening import open_async_store, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision
    from ratelimit.metrics.hooks import Hook, Limited
    from ratelimit.stores.base import AsyncLedger, AsyncStore, Ledger, Store
    from ratelimit.stores.memory import MemoryStore


class _Observed(Page, Protocol):
    """One limit in a store that is observed."""

    inner: Page
    shadow: bool


class ObservedLedger:
    """One limit in an `ObservedStore`."""

    __slots__ = ("_hit", "_hook", "algorithm", "degraded", "inner", "name", "shadow")

    def __init__(self, inner: Ledger, hook: Hook) -> None:
        self.name = inner.name
        self.algorithm = inner.algorithm
        self.degraded = inner.degraded
        self.shadow = False
        self.inner = inner
        self._hit = inner.hit
        self._hook = hook

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        decision = self._hit(key, cost)
        tell(self._hook, {}, self, decision)
        return decision


class ObservedStore:
    """A store that calls a hook once for each decision, as soon as it is taken.

    It is for limiters and functions; `RateLimitMiddleware` takes a hook itself. What is hit or
    charged is told, and what is only peeked at isn't. Whoever waits for its turn asks several
    times, and each answer is told. A limiter on another store pays nothing.

    Args:
        store: The store that decides, or its URL; a `MemoryStore` of its own if not given.
        on_decision: The hook. What it raises is logged, and changes nothing.

    Raises:
        TypeError, ValueError, ImportError: The store can't be used.

    """

    def __init__(self, store: Store | str | None, on_decision: Hook) -> None:
        self.store: Store = open_store(store)
        self._hook = on_decision

    def open(self, name: str, algorithm: Algorithm) -> ObservedLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return ObservedLedger(self.store.open(name, algorithm), self._hook)

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        return _told(self._hook, asks, self.store.hit_all(_inner(asks)))

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        return self.store.peek_all(_inner(asks))

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        return _told(self._hook, asks, self.store.charge_all(_inner(asks)))

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        return self.store.refund_all(decisions)

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        self.store.reset_all(_inner(asks))

    def close(self) -> None:
        """Close the store; it can be called twice."""
        self.store.close()


class AsyncObservedLedger:
    """One limit in an `AsyncObservedStore`."""

    __slots__ = ("_hit", "_hook", "algorithm", "degraded", "inner", "name", "shadow")

    def __init__(self, inner: AsyncLedger, hook: Hook) -> None:
        self.name = inner.name
        self.algorithm = inner.algorithm
        self.degraded = inner.degraded
        self.shadow = False
        self.inner = inner
        self._hit = inner.hit
        self._hook = hook

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        decision = await self._hit(key, cost)
        tell(self._hook, {}, self, decision)
        return decision


class AsyncObservedStore:
    """A store that calls a hook once for each decision: for code that awaits.

    It is for limiters and functions; `RateLimitMiddleware` takes a hook itself. What is hit or
    charged is told, and what is only peeked at isn't. Whoever waits for its turn asks several
    times, and each answer is told. A limiter on another store pays nothing.

    Args:
        store: The store that decides, or its URL; a `MemoryStore` of its own if not given.
        on_decision: The hook. What it raises is logged, and changes nothing.

    Raises:
        TypeError, ValueError, ImportError: The store can't be used.

    """

    def __init__(self, store: AsyncStore | MemoryStore | str | None, on_decision: Hook) -> None:
        self.store: AsyncStore = open_async_store(store)
        self._hook = on_decision

    def open(self, name: str, algorithm: Algorithm) -> AsyncObservedLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return AsyncObservedLedger(self.store.open(name, algorithm), self._hook)

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        return _told(self._hook, asks, await self.store.hit_all(_inner(asks)))

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        return await self.store.peek_all(_inner(asks))

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        return _told(self._hook, asks, await self.store.charge_all(_inner(asks)))

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        return await self.store.refund_all(decisions)

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        await self.store.reset_all(_inner(asks))

    async def aclose(self) -> None:
        """Close the store; it can be called twice."""
        await self.store.aclose()


def _observed(page: Page) -> _Observed:
    return cast("_Observed", page)


def _inner(asks: Sequence[Ask]) -> list[Ask]:
    return [Ask(_observed(page).inner, key, cost) for page, key, cost in asks]


def _told(hook: Hook, asks: Sequence[Ask], decisions: list[Decision]) -> list[Decision]:
    """Tell the hook what was decided, and return it."""
    for ask, decision in zip(asks, decisions, strict=True):
        limit: Limited = _observed(ask.page)
        tell(hook, {}, limit, decision)
    return decisions
