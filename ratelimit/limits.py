"""What a limiter is asked, and what it answers, in either colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from ratelimit.algorithms.base import Algorithm
from ratelimit.decision import CombinedDecision, Decision, DecisionInLine
from ratelimit.stores.base import check_cost, check_key, check_name

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from ratelimit.stores.base import Ask
    from ratelimit.waiting import AsyncPlace, Place

Keys = str | Mapping[str, str]
"""One key for all limits, or where there are several, one for each by the limit's name."""
Costs = int | Mapping[str, int]
"""One cost for all limits, or where there are several, one for each by the limit's name."""
Limits = Algorithm | Mapping[str, Algorithm]
"""One algorithm, or several by name."""

T = TypeVar("T")


def named(limits: Limits, name: str) -> dict[str, Algorithm]:
    """Return the algorithms by name, checked."""
    by_name = {name: limits} if isinstance(limits, Algorithm) else limits
    if not isinstance(by_name, Mapping):
        raise TypeError(
            f"limits are an algorithm or a mapping of names to algorithms, not {limits!r}"
        )
    if not by_name:
        raise ValueError("a limiter needs at least one limit")
    for each, algorithm in by_name.items():
        check_name(each)
        if not isinstance(algorithm, Algorithm):
            raise TypeError(f"the limit {each!r} is an algorithm, not {algorithm!r}")
    return dict(by_name)


def of_limit(given: T | Mapping[str, T], name: str, what: str, alone: bool) -> T:
    """Return what was given for one limit, which may be the only one."""
    if not isinstance(given, Mapping):
        return given
    if alone:
        raise TypeError(
            f"the only limit takes one {what}: a mapping of names is for several limits"
        )
    try:
        return given[name]
    except KeyError:
        raise ValueError(f"no {what} for the limit {name!r}, only for {list(given)}") from None


def line_of(key: Keys) -> Hashable:
    """Return what tells the lines of those who wait apart."""
    return tuple(sorted(key.items())) if isinstance(key, Mapping) else key


def check_names(given: object, limits: Mapping[str, Algorithm]) -> None:
    """Check that a mapping names no limit that there isn't.

    Raises:
        ValueError: It does.

    """
    if isinstance(given, Mapping) and not limits.keys() >= given.keys():
        others = [name for name in given if name not in limits]
        raise ValueError(f"there is no limit {others[0]!r}, only {', '.join(limits)}")


def check_own(decision: object, limits: Mapping[str, Algorithm]) -> None:
    """Check that a decision is one of a limiter's own.

    Raises:
        TypeError: It is no decision.
        ValueError: It is another limiter's.

    """
    if not isinstance(decision, Decision):
        raise TypeError(f"a decision is what hit returns, not {type(decision).__name__}")
    if not limits.keys() >= decision.limits.keys():
        names = ", ".join(decision.limits)
        raise ValueError(f"the decision of {names} is another limiter's: here are {list(limits)}")


def asked_of(asks: Iterable[Ask]) -> dict[str, int]:
    """Return how much is asked of each limit, checked."""
    return {page.name: check_cost(cost) for page, key, cost in asks if check_key(key)}


def never_fits(asked: Mapping[str, int], limits: Mapping[str, Algorithm]) -> bool:
    """Say whether more is asked than a limit ever admits."""
    return any(cost > limits[name].max_cost for name, cost in asked.items())


def in_line(place: Place | AsyncPlace) -> dict[str, int]:
    """Return what has to be there until it is one's turn, of each limit."""
    return {name: cost + place.ahead.get(name, 0) for name, cost in place.asked.items()}


def at_most(wanted: Mapping[str, int], limits: Mapping[str, Algorithm], alone: bool) -> Costs:
    """Return as much of what is wanted as the limits admit at once."""
    costs = {name: min(cost, limits[name].max_cost) for name, cost in wanted.items()}
    return next(iter(costs.values())) if alone else costs


def with_line(decision: Decision, wanted: Mapping[str, int], alone: bool) -> Decision:
    """Return what a decision on as much as is admitted says of all that is wanted."""
    parts = [_with_line(part, wanted[name]) for name, part in decision.limits.items()]
    return combined(parts, alone)


def _with_line(part: Decision, wanted: int) -> Decision:
    algorithm = part.page.algorithm
    beyond = wanted - algorithm.max_cost
    if beyond <= 0:
        return part
    quota = algorithm.quota
    return DecisionInLine(part, int(wait_of(part)) + beyond * quota.period_us // quota.limit)


def wait_of(decision: Decision) -> float:
    """Return the µs until a denied hit could have its turn."""
    return max(
        max(part.retry_after_us, part.page.algorithm.delay(part.reading, part.now, 0))
        for part in decision.limits.values()
    )


def combined(decisions: list[Decision], alone: bool) -> Decision:
    """Return the one decision, or all of them as one."""
    return decisions[0] if alone else CombinedDecision({each.name: each for each in decisions})


def taken_from(decisions: Iterable[Decision], at_most: int | None) -> list[tuple[Decision, int]]:
    """Take what can be given back out of decisions, so that it is given back once."""
    taken = [(decision, decision.take()) for decision in decisions]
    return [
        (decision, spent if at_most is None else min(spent, at_most))
        for decision, spent in taken
        if spent
    ]


def unsettled(estimate: int | None) -> int:
    """Return the estimate of a reservation that isn't settled yet."""
    if estimate is None:
        raise RuntimeError("a reservation is settled once")
    return estimate
