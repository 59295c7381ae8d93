"""Which rules a request matches."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimit.asgi.asking import BoundRule
from ratelimit.asgi.paths import routed_path
from ratelimit.asgi.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimit.asgi.answers import Answers
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
        answers: How clients are answered by whoever asks for plans, if that is how it is done.

    """

    def __init__(
        self,
        rules: Iterable[Rule],
        store_of: Callable[[Rule], AsyncStore],
        answers: Answers | None = None,
    ) -> None:
        self._answers = answers
        self._bound = tuple(BoundRule(rule, store_of(rule)) for rule in rules)
        self._plans: dict[tuple[int, ...], Plan] = {}
        narrow = any(each.rule.path or each.rule.methods for each in self._bound)
        self._always = None if narrow else self._plan_of(tuple(range(len(self._bound))))
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._match)

    def plan_of(self, scope: Scope) -> Plan:
        """Return what to do for a request; for a preflight, what is done if no rule matches."""
        method = scope["method"]
        if method not in _USUAL:
            method = method.upper()
            if method == "OPTIONS" and _is_preflight(scope):
                return self._plan_of(())
        if self._always is not None:
            return self._always
        path = routed_path(scope)
        match = self._remembered if len(path) <= _LONGEST_REMEMBERED else self._match
        return match(method, path)

    def _match(self, method: str, path: str) -> Plan:
        matching = (i for i, each in enumerate(self._bound) if each.rule.matches(method, path))
        return self._plan_of(tuple(matching))

    def _plan_of(self, matching: tuple[int, ...]) -> Plan:
        if matching not in self._plans:
            self._plans[matching] = Plan([self._bound[i] for i in matching], self._answers)
        return self._plans[matching]


def _is_preflight(scope: Scope) -> bool:
    """Say whether a browser asks for permission; it can't be told to wait."""
    names = {name for name, _ in scope["headers"]}
    return b"origin" in names and b"access-control-request-method" in names
