"""Decide rules of which nothing but the keys has to be asked for.

This is the way of most requests, so what doesn't depend on the request is looked up once. A key
that can't be used is asked for again with more care.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from ratelimit.asgi.asking import LONGEST_KEY
from ratelimit.stores.base import Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.asgi.asking import BoundRule
    from ratelimit.asgi.limit import Limit
    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.state import Room

Decide = Callable[["Scope", "Room"], Coroutine[Any, Any, bool]]
"""Decide rules for a request, and leave the decisions in the room; whether they allow."""


def quick(rules: Sequence[BoundRule], carefully: Decide) -> Decide:
    """Return what decides the rules, by the shortest way that there is."""
    limits = [bound.fixed for bound in rules if bound.is_quick and bound.fixed is not None]
    if len(limits) < len(rules) or len({limit.store for limit in limits}) > 1:
        return carefully
    return (
        _alone(rules[0], limits[0], carefully)
        if len(rules) == 1
        else _together(rules, limits, carefully)
    )


def _alone(bound: BoundRule, limit: Limit, carefully: Decide) -> Decide:
    key_of, hit, cost = bound.key, limit.ledger.hit, bound.cost or 0

    async def decide(scope: Scope, room: Room) -> bool:
        try:
            key: Any = key_of(scope)
        except Exception:
            return await carefully(scope, room)
        if type(key) is not str or not 0 < len(key) <= LONGEST_KEY:
            _give_up(key)
            return await carefully(scope, room)
        decision = await hit(key, cost)
        room.add(scope, ((limit, decision),))
        return decision.verdict[0]

    return decide


def _together(rules: Sequence[BoundRule], limits: Sequence[Limit], carefully: Decide) -> Decide:
    """Return what asks each key function once, also if several rules have it in common."""
    keys = list(dict.fromkeys(bound.key for bound in rules))
    asked = [
        (limit.ledger, keys.index(bound.key), bound.cost or 0)
        for limit, bound in zip(limits, rules, strict=True)
    ]
    hit_all = limits[0].store.hit_all

    async def decide(scope: Scope, room: Room) -> bool:
        try:
            said: list[Any] = [key(scope) for key in keys]
        except Exception:
            return await carefully(scope, room)
        for key in said:
            if type(key) is not str or not 0 < len(key) <= LONGEST_KEY:
                _give_up(*said)
                return await carefully(scope, room)
        asks = [Ask(ledger, said[index], cost) for ledger, index, cost in asked]
        decisions = await hit_all(asks)
        room.add(scope, zip(limits, decisions, strict=True))
        return all(decision.verdict[0] for decision in decisions)

    return decide


def _give_up(*said: object) -> None:
    """Close what would have to be awaited, as it is asked for again."""
    for each in said:
        if iscoroutine(each):
            each.close()
