"""Decide rules of which nothing but the keys has to be asked for.

This is the way of most requests, so what doesn't depend on the request is looked up once. A key
that can't be used is asked for again with more care.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from ratelimit.asgi.asking import LONGEST_KEY
from ratelimit.asgi.clients import ClientIP
from ratelimit.stores.base import Ask
from ratelimit.stores.memory import AsyncMemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimit.asgi.asking import BoundRule
    from ratelimit.asgi.limit import Limit
    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.state import Room
    from ratelimit.stores.memory import MemoryStore

Decide = Callable[["Scope", "Room"], Coroutine[Any, Any, bool]]
"""Decide rules for a request, and leave the decisions in the room; whether they allow."""
AtOnce = Callable[["Scope", "Room"], bool | None]
"""Do the same without awaiting anything; None if that can't be done, and nothing is."""
Keys = Callable[["Scope"], list[str] | None]
"""Return the keys of a request, each once; None if one of them can't be used."""


def quick(rules: Sequence[BoundRule], carefully: Decide) -> Decide:
    """Return what decides the rules, by the shortest way that there is."""
    limits = limits_of(rules)
    if not limits:
        return carefully
    keys_of, asked = _asked(rules, limits)
    hit_all = limits[0].store.hit_all

    async def decide(scope: Scope, room: Room) -> bool:
        keys = keys_of(scope)
        if keys is None:
            return await carefully(scope, room)
        if len(asked) == 1:
            decisions = [await limits[0].ledger.hit(keys[0], asked[0][2])]
        else:
            decisions = await hit_all([Ask(page, keys[index], cost) for page, index, cost in asked])
        room.keep(scope, list(zip(limits, decisions, strict=True)))
        return all(decisions)

    return decide


def at_once(rules: Sequence[BoundRule]) -> AtOnce:
    """Return what decides the rules if they are quick and their states in memory."""
    if not rules:
        return _nothing
    limits = limits_of(rules)
    if not limits or type(limits[0].store) is not AsyncMemoryStore:
        return not_at_once
    store = limits[0].store.store
    return (
        _alone(rules[0], limits[0], store) if len(rules) == 1 else _together(rules, limits, store)
    )


def limits_of(rules: Sequence[BoundRule]) -> list[Limit]:
    """Return the limits of rules that are quick and in one store; none if they aren't."""
    limits = [bound.fixed for bound in rules if bound.is_quick and bound.fixed is not None]
    together = len(limits) == len(rules) and len({limit.store for limit in limits}) == 1
    return limits if together else []


def _asked(
    rules: Sequence[BoundRule], limits: Sequence[Limit]
) -> tuple[Keys, list[tuple[Any, int, int]]]:
    """Return what asks each key function once, and which of the keys each limit is asked for."""
    functions = list(dict.fromkeys(bound.key for bound in rules))
    asked = [
        (limit.ledger, functions.index(bound.key), bound.cost or 0)
        for limit, bound in zip(limits, rules, strict=True)
    ]

    def keys_of(scope: Scope) -> list[str] | None:
        try:
            keys: list[Any] = [function(scope) for function in functions]
        except Exception:
            return None
        for key in keys:
            if type(key) is not str or not key or len(key) > LONGEST_KEY:
                _drop(keys)
                return None
        return keys

    return keys_of, asked


def _alone(bound: BoundRule, limit: Limit, store: MemoryStore) -> AtOnce:
    key_of, cost, checks = bound.key, bound.cost or 0, not isinstance(bound.rule.key, ClientIP)
    hit = store.open(limit.name, limit.algorithm).hit

    def decide(scope: Scope, room: Room) -> bool | None:
        try:
            key: Any = key_of(scope)
        except Exception:
            return None
        if key is None or (checks and (type(key) is not str or not key or len(key) > LONGEST_KEY)):
            _drop([key])
            return None
        decision = hit(key, cost)  # and then `Room.keep`, without its call
        if room.entries or room.hook is not None:
            room.add(scope, ((limit, decision),))
        else:
            room.entries = ((limit, decision),)
        return decision.verdict[0]

    return decide


def _together(rules: Sequence[BoundRule], limits: Sequence[Limit], store: MemoryStore) -> AtOnce:
    keys_of, asked = _asked(rules, limits)
    decide_all = store.decide_all

    def decide(scope: Scope, room: Room) -> bool | None:
        keys = keys_of(scope)
        if keys is None:
            return None
        allowed, decisions = decide_all([(page, keys[index], cost) for page, index, cost in asked])
        room.keep(scope, list(zip(limits, decisions, strict=True)))
        return allowed

    return decide


def not_at_once(_scope: Scope, _room: Room) -> None:
    """Say that it has to be awaited."""


def _nothing(_scope: Scope, _room: Room) -> bool:
    """Allow what no rule is for."""
    return True


def _drop(keys: Iterable[object]) -> None:
    """Forget what functions have said that are asked once more."""
    for key in keys:
        if iscoroutine(key):
            key.close()
