"""Which rules a request matches."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimit.asgi.asking import BoundRule
from ratelimit.asgi.paths import routed_path
from ratelimit.asgi.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.rules import Rule
    from ratelimit.stores.base import AsyncStore

_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
_USUAL = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"))


class RuleSet:
    """Rules on their stores, and a plan for each set of rules that requests match.

    Args:
        rules: The rules, checked.
        store_of: What says in which store a rule's states are kept.

    """

    def __init__(self, rules: Iterable[Rule], store_of: Callable[[Rule], AsyncStore]) -> None:
        self._bound = tuple(BoundRule(rule, store_of(rule)) for rule in rules)
        self._plans: dict[tuple[int, ...], Plan | None] = {(): None}
        narrow = any(each.rule.path or each.rule.methods for each in self._bound)
        self._always = None if narrow else self._plan_of(tuple(range(len(self._bound))))
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._match)

    def plan_of(self, scope: Scope) -> Plan | None:
        """Return what to do for a request, or None if it matches no rule or is a preflight."""
        method = scope["method"]
        if method not in _USUAL:
            method = method.upper()
            if method == "OPTIONS" and _is_preflight(scope):
                return None
        if self._always is not None:
            return self._always
        path = routed_path(scope)
        match = self._remembered if len(path) <= _LONGEST_REMEMBERED else self._match
        return match(method, path)

    def _match(self, method: str, path: str) -> Plan | None:
        matching = (i for i, each in enumerate(self._bound) if each.rule.matches(method, path))
        return self._plan_of(tuple(matching))

    def _plan_of(self, matching: tuple[int, ...]) -> Plan | None:
        if matching not in self._plans:
            self._plans[matching] = Plan([self._bound[i] for i in matching])
        return self._plans[matching]


def _is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks for permission; it can't be told to wait."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
