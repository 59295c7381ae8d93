"""What a rule asks of its limit for a request, whatever the rule's functions do."""

from __future__ import annotations

import logging
from hashlib import blake2b
from inspect import isawaitable
from typing import TYPE_CHECKING, cast

from ratelimit.algorithms.base import Algorithm
from ratelimit.asgi.clients import ClientIP
from ratelimit.asgi.identity import awaits
from ratelimit.asgi.keys import hashed
from ratelimit.asgi.limit import Limit, Part
from ratelimit.quota import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.asgi.protocol import Message, Scope
    from ratelimit.asgi.rules import Rule
    from ratelimit.stores.base import AsyncStore

LONGEST_KEY = 1024
"""Longer keys are hashed, in characters."""

_SHARED = "\0unknown"
"""The key of those who have none: no text that somebody types is the same."""
_MOST_ALGORITHMS = 256
_FAILED = object()

_logger = logging.getLogger(__name__)


class UnknownClient(Exception):
    """It can't be told whom to charge, and the rule denies such requests."""


class NoAlgorithm(Exception):
    """It can't be told how to count."""


class BoundRule:
    """A rule on a store."""

    __slots__ = ("_limits", "_told", "cost", "fixed", "key", "rule", "store")

    def __init__(self, rule: Rule, store: AsyncStore) -> None:
        self.rule = rule
        self.store = store
        self._told: set[str] = set()
        self._limits: dict[int, tuple[Algorithm, Limit]] = {}
        self.fixed = self._open(rule.algorithm) if isinstance(rule.algorithm, Algorithm) else None
        """The limit, unless a function says which algorithm it has."""
        self.cost = None if callable(rule.cost) else rule.cost
        """What a request costs, unless a function says it."""
        self.key = _key_of(rule)
        """What says who is charged."""

    @property
    def is_quick(self) -> bool:
        """Whether nothing but the key has to be asked for, and that is said at once."""
        known = self.cost is not None and self.fixed is not None
        rule = self.rule
        return known and not (rule.shadow or rule.is_conditional or awaits(self.key))

    async def part(self, scope: Scope) -> Part | None:
        """Return what to ask for a request, or None if the rule isn't for it.

        Raises:
            UnknownClient: It can't be told whom to charge, and the rule denies such requests.
            NoAlgorithm: It can't be told how to count.

        """
        rule = self.rule
        if rule.when is not None and not await self._test("when", rule.when, scope, failed=True):
            return None
        is_exempt = rule.is_exempt
        if is_exempt is not None and await self._test("exempt", is_exempt, scope, failed=False):
            return None
        limit = self.fixed or await self._chosen(scope)
        key = await self._key(scope)
        cost = await self._cost(scope)
        if limit is not None and key is not None and cost is not None:
            return Part(limit, limit.prefix + key, cost)
        if rule.unknown == "exempt":
            return None
        if limit is None:
            raise NoAlgorithm(rule.name)
        if rule.unknown == "deny":
            raise UnknownClient(rule.name)
        cost = limit.algorithm.max_cost if cost is None else cost
        return Part(limit, limit.prefix + (key or _SHARED), cost)

    def has(self, limit: Limit) -> bool:
        """Say whether a limit is the rule's, with whichever algorithm."""
        return limit is self.fixed or any(limit is each for _, each in self._limits.values())

    def counts(self, response: Message) -> bool:
        """Say whether a request with such a response counts."""
        if self.rule.count_if is None:
            return True
        try:
            return bool(self.rule.count_if(response))
        except Exception as error:
            self._tell("count_if", error)
            return True

    async def _test(
        self, what: str, function: Callable[[Scope], object], scope: Scope, *, failed: bool
    ) -> bool:
        said = await self._ask(what, function, scope)
        return failed if said is _FAILED else bool(said)

    async def _chosen(self, scope: Scope) -> Limit | None:
        """Return the limit with the algorithm that the rule's function chooses."""
        choose = cast("Callable[[Scope], object]", self.rule.algorithm)
        algorithm = await self._ask("algorithm", choose, scope)
        known = self._limits.get(id(algorithm))
        if known is not None:
            return known[1]
        if not isinstance(algorithm, Algorithm):
            self._nonsense("algorithm", algorithm)
            return None
        if len(self._limits) >= _MOST_ALGORITHMS:
            self._limits.clear()
        digest = blake2b(repr(algorithm).encode(), digest_size=6).hexdigest()
        limit = self._open(algorithm, f"{digest}:")
        self._limits[id(algorithm)] = algorithm, limit
        return limit

    async def _key(self, scope: Scope) -> str | None:
        key = await self._ask("key", self.key, scope)
        if key is None or key == "":
            return None
        if not isinstance(key, str):
            self._nonsense("key", key)
            return None
        if len(key) <= LONGEST_KEY:
            return key
        return hashed("key", key.encode("utf-8", "surrogatepass"))

    async def _cost(self, scope: Scope) -> int | None:
        if not callable(self.rule.cost):
            return self.cost
        cost = await self._ask("cost", self.rule.cost, scope)
        if type(cost) is int and cost >= 0:
            return min(cost, EXACT)
        self._nonsense("cost", cost)
        return None

    async def _ask(self, what: str, function: Callable[[Scope], object], scope: Scope) -> object:
        """Return what a function of the application's says of a request."""
        try:
            said = function(scope)
            return await said if isawaitable(said) else said
        except Exception as error:
            self._tell(what, error)
            return _FAILED

    def _nonsense(self, what: str, said: object) -> None:
        if said is not _FAILED:
            self._tell(what, TypeError(f"it returned a {type(said).__name__}, or one out of range"))

    def _tell(self, what: str, error: Exception) -> None:
        """Say once in the log that a function fails."""
        if what not in self._told:
            self._told.add(what)
            _logger.error("the %s of the rule %r fails", what, self.rule.name, exc_info=error)

    def _open(self, algorithm: Algorithm, prefix: str = "") -> Limit:
        rule = self.rule
        patient = algorithm.within(rule.wait * 1_000_000) if rule.wait else algorithm
        shadow, jitter = rule.shadow, rule.jitter
        return Limit(rule.name, patient, self.store, shadow=shadow, jitter=jitter, prefix=prefix)


def _key_of(rule: Rule) -> Callable[[Scope], object]:
    """Return what says who is charged, by the shortest way."""
    key = rule.key
    if isinstance(key, str):
        return lambda _: key
    return key.ask if isinstance(key, ClientIP) else key
