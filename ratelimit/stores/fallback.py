"""Ask another store when the first one is gone."""

from __future__ import annotations

import logging
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from ratelimit.decision import Decision, Page
from ratelimit.errors import OVERLOAD, StoreError, StoreUnavailable
from ratelimit.forks import fork_safe
from ratelimit.quota import whole
from ratelimit.stores.base import Ask, check_cost, check_key, is_store
from ratelimit.stores.breaker import Breaker
from ratelimit.stores.constant import AllowAll, Constant, ConstantLedger, DenyAll
from ratelimit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.stores.base import AsyncLedger, AsyncStore, Ledger, Store

Local = MemoryStore | AllowAll | DenyAll
"""A store that never waits and never fails."""

T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)


class _Pages(Page, Protocol):
    """One limit in both stores."""

    first: Page
    share: Ledger


class Fallback:
    """What a store that falls back does in either colour: all but asking the first one."""

    def __init__(
        self, first: object, second: Local | None, nodes: int, warm: bool, breaker: Breaker | None
    ) -> None:
        if isinstance(first, Fallback):
            raise TypeError(f"a fallback has one second store: {first!r} can't be its first")
        self.second: Local = MemoryStore() if second is None else second
        if not isinstance(self.second, Local):
            raise TypeError(
                "the second store is one that never waits: a MemoryStore, AllowAll or DenyAll, "
                f"not {second!r}"
            )
        self.nodes = whole(nodes, "nodes", 1)
        self.warm = warm and isinstance(self.second, MemoryStore)
        self.breaker = Breaker() if breaker is None else breaker
        self._recall: Callable[[Sequence[Ask]], list[Decision] | None] | None = getattr(
            first, "recall", None
        )
        self._errors: Counter[str] = Counter()
        self._counting = fork_safe(Lock())

    @property
    def errors(self) -> Mapping[str, int]:
        """How often the first store could not decide, by the kind of the error."""
        with self._counting:
            return dict(self._errors)

    def share_of(self, name: str, algorithm: Algorithm) -> Ledger:
        """Return the ledger of a limit in the second store: of this process's part of it."""
        if isinstance(self.second, MemoryStore):
            algorithm = algorithm.shared_by(self.nodes)
        ledger = self.second.open(name, algorithm)
        ledger.degraded = True
        return ledger

    def recalled(self, asks: Sequence[Ask]) -> list[Decision] | None:
        """Return what the first store denies without asking anybody, while it is in trouble.

        That it denies so is no sign that it can decide, and no probe.
        """
        if self._recall is None or not self.breaker.recent_failures:
            return None
        return self._recall(asks)

    def answered(self) -> None:
        """Take note that the first store has answered."""
        if self.breaker.recent_failures and self.breaker.succeeded():
            _log.warning("the store answers again, and decides")

    def failed(self, error: StoreError) -> bool:
        """Take note of an error; whether it is one that passes, so that the second is asked."""
        with self._counting:
            self._errors[error.kind] += 1
        if not isinstance(error, StoreUnavailable):
            self.answered()
            return False
        if error.kind != OVERLOAD and self.breaker.failed():
            second = type(self.second).__name__
            _log.warning("the store can't decide (%s): %s does until it can", error.kind, second)
        return True

    def charge_shares(self, asks: Sequence[Ask], decisions: Sequence[Decision]) -> None:
        """Charge the shares with what the first store has charged, as far as they go."""
        if self.warm:
            self.second.charge_all(
                [
                    Ask(_pages(page).share, key, decision.spent)
                    for (page, key, _), decision in zip(asks, decisions, strict=True)
                ]
            )

    def instead(
        self, decide: Callable[[Sequence[Ask]], list[Decision]], asks: Sequence[Ask]
    ) -> list[Decision]:
        """Return what the second store decides."""
        decisions = decide([Ask(_pages(page).share, key, cost) for page, key, cost in asks])
        return [
            self._refused(page, decision) if _is_too_large(page, decision) else decision
            for (page, _, _), decision in zip(asks, decisions, strict=True)
        ]

    def _refused(self, page: Page, decision: Decision) -> Decision:
        """Return a denial until the next probe, of what fits the limit but never its share."""
        left = decision.remaining
        wait = round(self.breaker.pause * 1_000_000)
        ledger = ConstantLedger(page.name, Constant(page.algorithm, left, wait))
        ledger.degraded = True
        return Decision.of(ledger, decision.key, decision.cost, False, decision.now, (left,), 0)


def _pages(page: Page) -> _Pages:
    return cast("_Pages", page)


def _firsts(asks: Sequence[Ask]) -> list[Ask]:
    """Return what to ask the first store, checked: a mistake is no answer to a probe."""
    return [Ask(_pages(page).first, check_key(key), check_cost(cost)) for page, key, cost in asks]


def _is_too_large(page: Page, decision: Decision) -> bool:
    """Say whether a cost that fits the limit was denied as it never fits the share."""
    share = decision.page.algorithm
    return not decision and share.max_cost < decision.cost <= page.algorithm.max_cost


def _by_taker(
    decisions: Sequence[tuple[Decision, int]], *, degraded: bool
) -> list[tuple[Decision, int]]:
    """Return the decisions that the second store has taken, or those that it hasn't."""
    return [item for item in decisions if item[0].degraded is degraded]


class FallbackLedger:
    """One limit in a `FallbackStore`."""

    __slots__ = ("_hit", "_spend", "_store", "algorithm", "degraded", "first", "name", "share")

    def __init__(self, store: FallbackStore, first: Ledger, share: Ledger) -> None:
        self.name = first.name
        self.algorithm = first.algorithm
        self.degraded = False
        self.first = first
        self.share = share
        self._store = store
        self._hit = first.hit
        self._spend = share.hit if store.warm else None

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        store = self._store
        if store.breaker.recent_failures:
            return (store.hit_all([Ask(self, key, cost)]))[0]
        try:
            decision = self._hit(key, cost)
        except StoreError as error:
            if store.failed(error):
                return store.instead(store.second.hit_all, [Ask(self, key, cost)])[0]
            raise
        spend = self._spend
        if spend is not None and decision.verdict[0] and not spend(key, cost) and cost > 1:
            store.charge_shares([Ask(self, key, cost)], [decision])
        return decision


class FallbackStore(Fallback):
    """A store that may fail, and one that decides in its place while it does.

    Only a `StoreUnavailable` makes it fall back: a mistake is raised. A decision of the second
    store is `degraded`, and is given back there. Errors are counted, and each change of state is
    one line in the log.

    Args:
        first: The store that is asked.
        second: The store that decides when the first can't: a `MemoryStore` of its own if not
            given.
        nodes: Among how many processes a limit is shared while each decides for itself. In a
            `MemoryStore` each has an equal part of it, in whole units and at least 1.
        warm: Whether a `MemoryStore` is charged with what the first store allows, so that an
            outage hands out no fresh quota. Takes a microsecond a hit.
        breaker: When to ask the first store; one of its own if not given. It may be shared by
            stores on one server.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `nodes` is smaller than 1.

    """

    def __init__(
        self,
        first: Store,
        second: Local | None = None,
        *,
        nodes: int = 1,
        warm: bool = True,
        breaker: Breaker | None = None,
    ) -> None:
        super().__init__(first, second, nodes, warm, breaker)
        if not is_store(first, "close"):
            raise TypeError(f"{first!r} is no Store to ask first")
        self.first = first

    def open(self, name: str, algorithm: Algorithm) -> FallbackLedger:
        """Return the ledger of the limit with this name and algorithm."""
        first = self.first.open(name, algorithm)
        return FallbackLedger(self, first, self.share_of(name, algorithm))

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        firsts = _firsts(asks)
        denied = self.recalled(firsts)
        if denied:
            return denied
        decisions = self._asked(self.first.hit_all, firsts)
        if decisions is None:
            return self.instead(self.second.hit_all, asks)
        self.charge_shares(asks, decisions)
        return decisions

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        decisions = self._asked(self.first.peek_all, _firsts(asks))
        return self.instead(self.second.peek_all, asks) if decisions is None else decisions

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left; a share as far as it goes."""
        decisions = self._asked(self.first.charge_all, _firsts(asks))
        if decisions is None:
            return self.instead(self.second.charge_all, asks)
        self.charge_shares(asks, decisions)
        return decisions

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision, in the store that took it.

        Returns:
            Whether anything could be given back: if that store is gone, nothing can.

        """
        degraded = _by_taker(decisions, degraded=True)
        others = _by_taker(decisions, degraded=False)
        given = bool(degraded) and self.second.refund_all(degraded)
        return bool(others and self._asked(self.first.refund_all, others)) or given

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys in both stores.

        Raises:
            StoreUnavailable: The first store is gone, and still remembers them.

        """
        self.second.reset_all([Ask(_pages(page).share, key, cost) for page, key, cost in asks])
        self.first.reset_all(_firsts(asks))

    def close(self) -> None:
        """Close both stores; it can be called twice."""
        self.second.close()
        self.first.close()

    def _asked(self, ask: Callable[[Sequence[T]], R], given: Sequence[T]) -> R | None:
        """Return what the first store answers, or None if it can't or isn't asked."""
        if not self.breaker.permits():
            return None
        try:
            answer = ask(given)
        except StoreError as error:
            if self.failed(error):
                return None
            raise
        self.answered()
        return answer


class AsyncFallbackLedger:
    """One limit in an `AsyncFallbackStore`."""

    __slots__ = ("_hit", "_spend", "_store", "algorithm", "degraded", "first", "name", "share")

    def __init__(self, store: AsyncFallbackStore, first: AsyncLedger, share: Ledger) -> None:
        self.name = first.name
        self.algorithm = first.algorithm
        self.degraded = False
        self.first = first
        self.share = share
        self._store = store
        self._hit = first.hit
        self._spend = share.hit if store.warm else None

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        store = self._store
        if store.breaker.recent_failures:
            return (await store.hit_all([Ask(self, key, cost)]))[0]
        try:
            decision = await self._hit(key, cost)
        except StoreError as error:
            if store.failed(error):
                return store.instead(store.second.hit_all, [Ask(self, key, cost)])[0]
            raise
        spend = self._spend
        if spend is not None and decision.verdict[0] and not spend(key, cost) and cost > 1:
            store.charge_shares([Ask(self, key, cost)], [decision])
        return decision


class AsyncFallbackStore(Fallback):
    """A store that may fail, and one that decides in its place: for code that awaits.

    Only a `StoreUnavailable` makes it fall back: a mistake is raised. A decision of the second
    store is `degraded`, and is given back there. Errors are counted, and each change of state is
    one line in the log.

    Args:
        first: The store that is asked.
        second: The store that decides when the first can't: a `MemoryStore` of its own if not
            given.
        nodes: Among how many processes a limit is shared while each decides for itself. In a
            `MemoryStore` each has an equal part of it, in whole units and at least 1.
        warm: Whether a `MemoryStore` is charged with what the first store allows, so that an
            outage hands out no fresh quota. Takes a microsecond a hit.
        breaker: When to ask the first store; one of its own if not given. It may be shared by
            stores on one server.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `nodes` is smaller than 1.

    """

    def __init__(
        self,
        first: AsyncStore,
        second: Local | None = None,
        *,
        nodes: int = 1,
        warm: bool = True,
        breaker: Breaker | None = None,
    ) -> None:
        super().__init__(first, second, nodes, warm, breaker)
        if not is_store(first, "aclose"):
            raise TypeError(f"{first!r} is no AsyncStore to ask first")
        self.first = first

    def open(self, name: str, algorithm: Algorithm) -> AsyncFallbackLedger:
        """Return the ledger of the limit with this name and algorithm."""
        first = self.first.open(name, algorithm)
        return AsyncFallbackLedger(self, first, self.share_of(name, algorithm))

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        firsts = _firsts(asks)
        denied = self.recalled(firsts)
        if denied:
            return denied
        decisions = await self._asked(self.first.hit_all, firsts)
        if decisions is None:
            return self.instead(self.second.hit_all, asks)
        self.charge_shares(asks, decisions)
        return decisions

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and write nothing."""
        decisions = await self._asked(self.first.peek_all, _firsts(asks))
        return self.instead(self.second.peek_all, asks) if decisions is None else decisions

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left; a share as far as it goes."""
        decisions = await self._asked(self.first.charge_all, _firsts(asks))
        if decisions is None:
            return self.instead(self.second.charge_all, asks)
        self.charge_shares(asks, decisions)
        return decisions

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision, in the store that took it.

        Returns:
            Whether anything could be given back: if that store is gone, nothing can.

        """
        degraded = _by_taker(decisions, degraded=True)
        others = _by_taker(decisions, degraded=False)
        given = bool(degraded) and self.second.refund_all(degraded)
        return bool(others and await self._asked(self.first.refund_all, others)) or given

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys in both stores.

        Raises:
            StoreUnavailable: The first store is gone, and still remembers them.

        """
        self.second.reset_all([Ask(_pages(page).share, key, cost) for page, key, cost in asks])
        await self.first.reset_all(_firsts(asks))

    async def aclose(self) -> None:
        """Close both stores; it can be called twice."""
        self.second.close()
        await self.first.aclose()

    async def _asked(
        self, ask: Callable[[Sequence[T]], Awaitable[R]], given: Sequence[T]
    ) -> R | None:
        """Return what the first store answers, or None if it can't or isn't asked."""
        if not self.breaker.permits():
            return None
        try:
            answer = await ask(given)
        except StoreError as error:
            if self.failed(error):
                return None
            raise
        self.answered()
        return answer
