"""Which requests a limit is for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from ratelimit.algorithms.base import Algorithm
from ratelimit.quota import whole
from ratelimit.stores.base import check_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.asgi.identity import Key, Scope

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit on some requests.

    Args:
        name: What clients know the limit by: 1 to 64 of A-Z a-z 0-9 _ -.
        algorithm: How it counts.
        key: Who is charged: a function of the scope, such as `client_ip()`, or a text if all
            share one limit. Requests for which the function returns None share one too.
        cost: What a request costs, or a function of the scope that says so; 0 isn't counted.
        path: The path it is for, without the application's root path. `"/search"` is that path
            alone, `"/api/*"` is `/api` and all below it. All paths if not given.
        methods: The methods it is for; all if not given. HEAD counts as GET.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't be used, or the cost is more than the limit ever admits.

    """

    name: str
    algorithm: Algorithm
    _: KW_ONLY
    key: str | Key
    cost: int | Callable[[Scope], int] = 1
    path: str | None = None
    methods: Collection[str] | None = None

    def __post_init__(self) -> None:
        """Check all of it, so that no request has to."""
        _check_name(self.name)
        if not isinstance(self.algorithm, Algorithm):
            raise TypeError(f"the rule {self.name!r} needs an algorithm, not {self.algorithm!r}")
        _check_function(self.key, "a key")
        if not callable(self.key):
            check_key(self.key)
        _check_function(self.cost, "a cost")
        if not callable(self.cost):
            _check_cost(self.cost, self.algorithm.max_cost)
        if self.path is not None:
            _check_path(self.path)
        if self.methods is not None:
            object.__setattr__(self, "methods", _upper(self.methods))

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request with this method and path counts."""
        return self._has_method(method) and self._has_path(path)

    def key_of(self, scope: Scope) -> str:
        """Return who is charged for a request."""
        if not callable(self.key):
            return self.key
        key = self.key(scope)
        return _UNKNOWN if key is None or key == "" else key

    def cost_of(self, scope: Scope) -> int:
        """Return what a request costs."""
        return self.cost(scope) if callable(self.cost) else self.cost

    def _has_method(self, method: str) -> bool:
        if self.methods is None or method in self.methods:
            return True
        return method == "HEAD" and "GET" in self.methods

    def _has_path(self, path: str) -> bool:
        if self.path is None or path == self.path:
            return True
        if not self.path.endswith("/*"):
            return False
        return path == self.path[:-2] or path.startswith(self.path[:-1])


def checked(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the rules, all of them rules and each with a name of its own.

    Raises:
        TypeError: One of them is no `Rule`.
        ValueError: There is none, or two have one name.

    """
    if isinstance(rules, Rule) or not isinstance(rules, Iterable):
        raise TypeError(f"rules are a list of rules, not {rules!r}")
    every = tuple(rules)
    if not every:
        raise ValueError("a RateLimitMiddleware needs at least one rule")
    names: set[str] = set()
    for rule in every:
        if not isinstance(rule, Rule):
            raise TypeError(f"a rule is a Rule, not {type(rule).__name__}: {rule!r}")
        if rule.name in names:
            raise ValueError(f"two rules have the name {rule.name!r}")
        names.add(rule.name)
    return every


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a rule's name is a str, not {type(name).__name__}: {name!r}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a rule's name is 1 to 64 of A-Z a-z 0-9 _ -, not {name[:80]!r}")


def _check_function(given: object, what: str) -> None:
    """Refuse a function that would have to be awaited."""
    if iscoroutinefunction(given):
        raise TypeError(f"{what} is worked out by a plain function, not by the coroutine {given!r}")


def _check_cost(cost: int, most: int) -> None:
    if whole(cost, "a rule's cost", 1) > most:
        raise ValueError(f"a cost of {cost} never fits a limit of {most}")


def _check_path(path: object) -> None:
    if not isinstance(path, str):
        raise TypeError(f"a path is a str, not {type(path).__name__}: {path!r}")
    if not path.startswith("/"):
        raise ValueError(f"a path starts with a /, not {path[:80]!r}")
    if "*" in path.removesuffix("/*") or "{" in path:
        raise ValueError(
            f"a path is exact, or ends with /* for all below it: {path[:80]!r} is neither; "
            "limit a route with parameters by a decorator or a dependency on it"
        )


def _upper(methods: object) -> frozenset[str]:
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise TypeError(f"methods are a list of str, not {methods!r}")
    every = frozenset(map(_method, methods))
    if not every:
        raise ValueError("methods are at least one, or None for all")
    return every


def _method(method: object) -> str:
    if not isinstance(method, str):
        raise TypeError(f"a method is a str, not {type(method).__name__}: {method!r}")
    return method.upper()
