"""What is limited, and how."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal, cast, get_args

from ratelimit.algorithms.base import Algorithm
from ratelimit.asgi.clients import finder_of, within
from ratelimit.asgi.identity import bound
from ratelimit.asgi.paths import Path
from ratelimit.asgi.protocol import Application, Message, Scope
from ratelimit.quota import whole
from ratelimit.stores.base import check_key
from ratelimit.stores.opening import OnError

if TYPE_CHECKING:
    from ratelimit.asgi.keys import Key

Test = Callable[[Scope], bool | Awaitable[bool]]
"""A question about a request."""
Unknown = Literal["shared", "exempt", "deny"]
"""What becomes of a request of which it can't be told who is charged, or how much."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit on some requests.

    Every function gets the scope of the request, and may be a coroutine function. One that raises
    or returns nonsense harms nobody but the limit: the log says so once, and the request counts.

    Args:
        name: What clients know the limit by: 1 to 64 of A-Z a-z 0-9 _ -.
        algorithm: How it counts, or a function that says it: each algorithm that the function
            returns has a count of its own for each key. Make them once, and not in the function.
        key: Who is charged: `client_ip()`, `header("x-tenant")`, a function that returns a text,
            or a text if all share one limit.
        cost: What a request costs, or a function that says so; 0 isn't counted.
        path: The path it is for, without the application's root path: `"/search"` is that path
            alone, `"/api/*"` is `/api` and all below it, and `"/items/{id:int}"` has a parameter
            as in Starlette's routes. All paths if not given.
        methods: The methods it is for; all if not given. HEAD counts as GET.
        when: A function that says whether it is for a request with such a path and method.
        exempt: Who isn't limited: a function that says so, or a list of networks, in which the
            address is looked up that the key is made of.
        unknown: What to do if the key is None or fails: `"shared"` charges one key that all such
            requests share, `"exempt"` doesn't limit them, and `"deny"` answers 403. If it is the
            cost that fails, `"shared"` charges as much as the limit ever admits.
        shadow: Whether the rule only decides and reports, tells clients nothing and denies none.
        wait: How many seconds a request may be held back instead of being denied.
        jitter: Up to how many seconds more a client is told to wait, so that those who were denied
            in one window don't all return at its end. Each client is always told the same.
        count_if: A function of the `http.response.start` message, such as
            `lambda response: response["status"] >= 400`. A request is charged before it runs, and
            what it cost is given back if its response doesn't count.
        on_denied: The ASGI application that answers what this rule denies.
        on_error: What to do while the store can't decide, if it isn't what the middleware does:
            `"local"`, `"open"`, `"closed"` or `"raise"`. Rules that differ in this are asked one
            after the other, and what was charged is given back if a later one denies.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't be used, or the cost is more than the limit ever admits.

    """

    name: str
    algorithm: Algorithm | Callable[[Scope], Algorithm | Awaitable[Algorithm]]
    _: KW_ONLY
    key: str | Key
    cost: int | Callable[[Scope], int | Awaitable[int]] = 1
    path: str | None = None
    methods: Collection[str] | None = None
    when: Test | None = None
    exempt: Test | Iterable[str] | None = None
    unknown: Unknown = "shared"
    shadow: bool = False
    wait: float = 0
    jitter: int = 0
    count_if: Callable[[Message], bool] | None = None
    on_denied: Application | None = None
    on_error: OnError | None = None
    pattern: Path | None = field(init=False, repr=False, compare=False)
    """The path, as it is looked for."""
    is_exempt: Test | None = field(init=False, repr=False, compare=False)
    """What says who isn't limited."""

    def __post_init__(self) -> None:
        """Check all of it, so that no request has to."""
        _check_name(self.name)
        if not isinstance(self.algorithm, Algorithm) and not _is_function(self.algorithm):
            raise TypeError(f"the rule {self.name!r} needs an algorithm, not {self.algorithm!r}")
        self._set("pattern", None if self.path is None else Path(self.path))
        self._set("key", self._key())
        self._check_cost()
        if self.methods is not None:
            self._set("methods", _upper(self.methods))
        networks = self.exempt is not None and not callable(self.exempt)
        self._set("is_exempt", self._within() if networks else self.exempt)
        for name in ("when", "count_if", "on_denied"):
            check_function(getattr(self, name), name)
        if self.unknown not in get_args(Unknown):
            raise ValueError(f"unknown is one of {get_args(Unknown)}, not {self.unknown!r}")
        if self.on_error not in (None, *get_args(OnError)):
            raise ValueError(f"on_error is one of {get_args(OnError)}, not {self.on_error!r}")
        if not isinstance(self.shadow, bool):
            raise TypeError(f"shadow is true or false, not {self.shadow!r}")
        _check_wait(self.wait)
        whole(self.jitter, "jitter", 0)

    @property
    def is_conditional(self) -> bool:
        """Whether more than path and method say if it is for a request."""
        return self.when is not None or self.exempt is not None

    def matches(self, method: str, path: str) -> bool:
        """Say whether it is for requests with this method and path."""
        if self.pattern is not None and not self.pattern.matches(path):
            return False
        if self.methods is None or method in self.methods:
            return True
        return method == "HEAD" and "GET" in self.methods

    def _key(self) -> str | Key:
        return bound(self.key, self.pattern) if callable(self.key) else check_key(self.key)

    def _within(self) -> Test:
        return within(cast("Iterable[str]", self.exempt), finder_of(self.key))

    def _check_cost(self) -> None:
        if callable(self.cost):
            return
        cost = whole(self.cost, "a rule's cost", 1)
        if isinstance(self.algorithm, Algorithm) and cost > self.algorithm.max_cost:
            raise ValueError(f"a cost of {cost} never fits a limit of {self.algorithm.max_cost}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


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
        raise ValueError("at least one rule is needed")
    for rule in every:
        if not isinstance(rule, Rule):
            raise TypeError(f"a rule is a Rule, not {type(rule).__name__}: {rule!r}")
    check_names(rule.name for rule in every)
    return every


def check_names(names: Iterable[str]) -> None:
    """Check that each name is there once.

    Raises:
        ValueError: Two are the same.

    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two rules have the name {name!r}")
        seen.add(name)


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a rule's name is a str, not {type(name).__name__}: {name!r}")
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"a rule's name is 1 to 64 of A-Z a-z 0-9 _ -, not {name[:80]!r}")


def _check_wait(wait: object) -> None:
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise TypeError(f"wait is seconds, not {type(wait).__name__}: {wait!r}")
    if not wait >= 0:
        raise ValueError(f"wait is 0 s or more, not {wait}")


def check_function(given: object, what: str) -> None:
    """Refuse what is given as a function and is none.

    Raises:
        TypeError: It is no function.

    """
    if given is not None and not _is_function(given):
        raise TypeError(f"{what} is a function, not {given!r}")


def _is_function(given: object) -> bool:
    return callable(given) and not (isinstance(given, type) and issubclass(given, Algorithm))


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
