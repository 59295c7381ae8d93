"""What to do for requests that match the same rules."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

from ratelimit.algorithms.base import Algorithm
from ratelimit.asgi.asking import NoAlgorithm, UnknownClient
from ratelimit.asgi.quick import at_once, limits_of, not_at_once, quick
from ratelimit.asgi.state import give_back
from ratelimit.errors import StoreError
from ratelimit.limits import wait_of
from ratelimit.stores.base import Ask

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from ratelimit.asgi.answers import Answers, Telling
    from ratelimit.asgi.asking import BoundRule
    from ratelimit.asgi.limit import Entry, Limit, Part
    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.quick import Decide
    from ratelimit.asgi.state import Room
    from ratelimit.stores.base import AsyncStore

_log = logging.getLogger(__name__)


class Plan:
    """What to do for the requests that match the same rules, worked out once.

    Args:
        rules: The rules; none if requests match none.
        answers: How the client is answered by whoever decides, if that is how it is done.

    """

    telling: Telling
    """Return a `send` that tells the client what was decided; only with answers."""

    def __init__(self, rules: Sequence[BoundRule], answers: Answers | None = None) -> None:
        self.rules = {bound.rule.name: bound for bound in rules}
        self.enforced = [bound for bound in rules if not bound.rule.shadow]
        self._shadows = [bound for bound in rules if bound.rule.shadow]
        self.waits = {each.rule.name: each.rule.wait for each in self.enforced if each.rule.wait}
        """How many seconds a rule holds a request back instead of denying it."""
        self.delays = any(map(_delays, self.enforced))
        """Whether requests that are allowed may have to wait for their turn."""
        self.counts = any(bound.rule.count_if for bound in rules)
        """Whether the response says if a request counts."""
        self.answers = {
            each.rule.name: each.rule.on_denied for each in rules if each.rule.on_denied
        }
        """What answers a denial, by the names of the rules that have something."""
        self.is_plain = not (self.waits or self.delays or self.counts)
        """Whether a request is charged and served at once, and that is all."""
        self.decide: Decide = quick(rules, self.carefully)
        """Decide all rules as one, and leave the decisions in the room; whether they allow."""
        self.at_once = at_once(rules) if self.is_plain else not_at_once
        """Do what `decide` does without awaiting it; None if it has to be awaited."""
        if answers is not None:
            self.telling = answers.telling_by(limits_of(rules))

    async def carefully(self, scope: Scope, room: Room) -> bool:
        """Do what `decide` does, whatever the rules and their functions are."""
        entries = await hit(await self.parts(scope))
        room.add(scope, entries)
        if not all(decision for _, decision in entries):
            return False
        await self.shadow(scope, room)
        return True

    async def parts(self, scope: Scope) -> list[Part]:
        """Return what to ask for a request.

        Raises:
            UnknownClient: It can't be told whom to charge.
            NoAlgorithm: It can't be told how to count.

        """
        every = [await bound.part(scope) for bound in self.enforced]
        return [part for part in every if part is not None]

    async def shadow(self, scope: Scope, room: Room) -> None:
        """Decide the rules that only report, and leave the decisions in the room."""
        if not self._shadows:
            return
        parts = []
        for bound in self._shadows:
            with suppress(UnknownClient, NoAlgorithm):
                parts.append(await bound.part(scope))
        try:
            room.add(scope, await hit([part for part in parts if part is not None]))
        except StoreError as error:
            _log.warning("a rate limit that only reports could not be checked: %s", error)

    def has(self, limit: Limit) -> bool:
        """Say whether a limit is one of the rules', and not another one of that name."""
        bound = self.rules.get(limit.name)
        return bound is not None and bound.has(limit)

    def patience(self, parts: Iterable[Part]) -> float:
        """Return how many seconds a request with these parts may be held back."""
        return min((wait for part in parts if (wait := self.waits.get(part.limit.name))), default=0)

    def line(self, parts: Iterable[Part]) -> Hashable:
        """Return what tells the lines of those who wait apart."""
        return tuple((part.limit.name, part.key) for part in parts if part.limit.name in self.waits)

    def wait_of(self, entries: Iterable[Entry]) -> float:
        """Return the seconds until a request that was denied could be allowed.

        It is 0 if it was allowed, and infinite if a rule denied that doesn't hold back.
        """
        denied = [entry for entry in entries if not entry[1].allowed]
        return max((self._wait_of(*entry) for entry in denied), default=0)

    def _wait_of(self, limit: Limit, decision: Any) -> float:
        return wait_of(decision) / 1_000_000 if limit.name in self.waits else inf


async def hit(parts: Sequence[Part]) -> list[Entry]:
    """Charge all parts if all of them allow, else none.

    Parts in different stores are asked store by store, and what was charged is given back if a
    later one denies or fails.

    Raises:
        StoreError: A store can't decide.

    """
    entries: list[Entry] = []
    try:
        for store, mine in _by_store(parts).items():
            decisions = await store.hit_all(_asks(mine))
            entries += zip((part.limit for part in mine), decisions, strict=True)
            if not all(decisions):
                break
        else:
            return entries
    except BaseException:
        await give_back_calmly(entries)
        raise
    await give_back_calmly(entries)
    return entries


async def peek(parts: Iterable[Part]) -> list[Entry]:
    """Say what `hit` would, and change nothing.

    Raises:
        StoreError: A store can't decide.

    """
    entries: list[Entry] = []
    for store, mine in _by_store(parts).items():
        decisions = await store.peek_all(_asks(mine))
        entries += zip((part.limit for part in mine), decisions, strict=True)
    return entries


def _by_store(parts: Iterable[Part]) -> dict[AsyncStore, list[Part]]:
    by_store: dict[AsyncStore, list[Part]] = {}
    for part in parts:
        by_store.setdefault(part.limit.store, []).append(part)
    return by_store


def _asks(parts: Iterable[Part]) -> list[Ask]:
    return [Ask(limit.ledger, key, cost) for limit, key, cost in parts]


async def give_back_calmly(entries: Iterable[Entry]) -> None:
    """Give back what was charged, also if the request is cancelled meanwhile.

    What can't be given back stays charged, and the log says so.
    """
    charged = [entry for entry in entries if entry[1].spent]
    if charged:
        await asyncio.shield(_give_back(charged))


async def _give_back(entries: list[Entry]) -> None:
    try:
        await give_back(entries)
    except StoreError as error:
        _log.warning("a rate limit could not be given back: %s", error)


def _delays(bound: BoundRule) -> bool:
    return bound.fixed is None or type(bound.fixed.algorithm).delay is not Algorithm.delay
