"""Limit what comes to a point inside of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ratelimit.algorithms.fixed_window import FixedWindow
from ratelimit.asgi.asking import BoundRule, NoAlgorithm, UnknownClient
from ratelimit.asgi.doubts import addresses_of, doubt_rules, doubt_store
from ratelimit.asgi.handshakes import as_request
from ratelimit.asgi.holding import Crowded, Holding
from ratelimit.asgi.limit import LARGEST
from ratelimit.asgi.listening import Deaf
from ratelimit.asgi.plan import Plan, give_back_calmly
from ratelimit.asgi.rules import Rule, checked
from ratelimit.asgi.state import Room, enter
from ratelimit.asgi.watching import Watch
from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.quota import Quota
from ratelimit.stores.base import check_key
from ratelimit.stores.constant import AllowAll
from ratelimit.stores.memory import AsyncMemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.asgi.keys import Key
    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.stores import Stores
    from ratelimit.decision import Decision

_WITHOUT_END = FixedWindow(Quota(LARGEST, 1), max_debt=0)


class RoutedRule(Rule):
    """A rule for requests that were routed: a parameter of the path is one of the route's."""

    __slots__ = ()

    def _key(self) -> str | Key:
        return self.key if callable(self.key) else check_key(self.key)


class Checkpoint:
    """Decides on what comes to it, and leaves the decisions in the request's room.

    Args:
        rules: The limits, which are one decision.
        stores: Where states are kept.
        max_waiting: How many may be held back at once.

    Raises:
        TypeError, ValueError: The store can't take one of the limits, or two have one name.

    """

    watch: ClassVar[Watch | None] = Watch()
    """What looks at the first requests to any of those that charge the address the server gives."""
    is_doubted: ClassVar[bool] = False
    """Whether it was told that one of them counts for this process alone."""

    def __init__(self, rules: Iterable[RoutedRule], stores: Stores, max_waiting: int) -> None:
        self._rules = checked(rules)
        self._stores = stores
        self._holding = Holding(max_waiting)
        self._exempt = AllowAll().open(self._rules[0].name, _WITHOUT_END)
        self.is_open = False
        """Whether it lets everything pass."""
        self._read()
        doubt_rules(self._rules)
        self._by_peer = any(key.address is None for key in addresses_of(self._rules))
        if not Checkpoint.is_doubted:
            Checkpoint.is_doubted = doubt_store(stores.first)

    @property
    def stores(self) -> Stores:
        """Where states are kept."""
        return self._stores

    @property
    def statuses(self) -> set[int]:
        """The statuses of what may be answered in place of what is limited."""
        plan = self._plan
        if not plan.enforced:
            return set()
        statuses = {429}
        if any(bound.rule.unknown == "deny" for bound in plan.enforced):
            statuses.add(403)
        is_known = plan.is_plain and all(bound.fixed is not None for bound in plan.enforced)
        if not is_known or not isinstance(self._stores.first, AsyncMemoryStore):
            statuses.add(503)
        return statuses

    async def enter(self, scope: Scope) -> Decision:
        """Charge a request, and hold it back for as long as it has to wait.

        Whatever keeps it from being served, what was charged for it before is given back.

        Returns:
            The decision; of a request that no limit is for, one that knows no limit.

        Raises:
            RateLimitExceeded: A limit denied.
            StoreError: The store can't decide.
            UnknownClient: It can't be told whom to charge, and a limit denies such requests.
            NoAlgorithm: It can't be told how to count.
            Crowded: Too many are held back.

        """
        if self.is_open:
            return self._exempt.hit("exempt", 0)
        room, _ = enter(scope)
        here = Room()
        here.hook = room.hook
        asked = as_request(scope) if scope["type"] == "websocket" else scope
        if self._by_peer and Checkpoint.watch is not None and not Checkpoint.watch.goes_on(asked):
            Checkpoint.watch = None
        try:
            allowed = await self._holding.decide(self._plan, asked, here, Deaf())
        except (StoreError, UnknownClient, NoAlgorithm, Crowded):
            await give_back_calmly(room.entries)
            raise
        finally:
            room.take_over(here)
        if not allowed:
            await give_back_calmly(room.entries)
            raise RateLimitExceeded(here.decision)
        return here.decision if here.entries else self._exempt.hit("exempt", 0)

    def _read(self) -> None:
        """Read the rules, which states are kept by name outlive."""
        self._plan = Plan([BoundRule(rule, self._stores.of(rule)) for rule in self._rules])
