"""Who comes when, and wants how much."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000_000


class Hit(NamedTuple):
    """One question."""

    at: int
    """In ns after the start."""
    key: str = "a"
    cost: int = 1
    clock: int = 0
    """By how many ns the asking client's clocks are ahead; on a store that clients share."""
    set_by: int = 0
    """By how many ns the wall clock has been set since the start."""


Shape = list[Hit]


def steady(limit: int, seconds: float, periods: float, share: float) -> Shape:
    """Return hits at a share of the limit, not quite evenly spaced, like nobody's clock."""
    chance = random.Random(42)
    count = int(limit * periods * share)
    step = seconds * SECOND / (limit * share)
    return [Hit(round((number + chance.uniform(0.1, 0.9)) * step)) for number in range(count)]


def bursts(limit: int, seconds: float, periods: float, _share: float = 1) -> Shape:
    """Return all of a limit just before each end of a window, and all of it just after."""
    hits = []
    for number in range(1, int(periods)):
        for away in (-0.02, 0.02):
            start = round((number + away) * seconds * SECOND)
            hits += [Hit(start + index * 1_000) for index in range(limit)]
    return hits


def alternating(limit: int, seconds: float, periods: float, share: float = 1.1) -> Shape:
    """Return three clients that take turns, each above the limit."""
    return [
        Hit(hit.at, "abc"[number % 3])
        for number, hit in enumerate(steady(limit, seconds, periods, share * 3))
    ]


def costly(limit: int, seconds: float, periods: float, share: float = 0.6) -> Shape:
    """Return hits of mixed costs, some of which are half the limit, at nearly twice its rate."""
    chance = random.Random(42)
    costs = [1, 1, 2, 3, limit // 10, limit // 2]
    mean = sum(costs) / len(costs)
    hits = steady(limit, seconds, periods, 3 * share / mean)
    return [Hit(hit.at, cost=chance.choice(costs)) for hit in hits]


def clock_set(limit: int, seconds: float, periods: float, share: float = 1.1) -> Shape:
    """Return steady hits, while the wall clock is set back by half a period, then on by two."""
    hits = steady(limit, seconds, periods, share)
    back, on = -round(seconds * SECOND / 2), round(seconds * SECOND * 2)
    third = len(hits) // 3
    steps = [0] * third + [back] * third + [on] * (len(hits) - 2 * third)
    return [Hit(hit.at, set_by=step) for hit, step in zip(hits, steps, strict=True)]


def skewed(limit: int, seconds: float, periods: float, share: float = 2) -> Shape:
    """Return two clients of one key, of whom one's clock is ahead by 30 % of a period."""
    ahead = round(seconds * SECOND * 0.3)
    hits = steady(limit, seconds, periods, share)
    return [Hit(hit.at, clock=ahead * (number % 2)) for number, hit in enumerate(hits)]


def _steadily(share: float) -> Callable[[int, float, float], Shape]:
    return lambda limit, seconds, periods: steady(limit, seconds, periods, share)


VIRTUAL = {
    "90 %": _steadily(0.9),
    "100 %": _steadily(1.0),
    "110 %": _steadily(1.1),
    "300 %": _steadily(3.0),
    "bursts": bursts,
    "clients": alternating,
    "costs": costly,
    "clock set": clock_set,
}
"""What virtual time is good for."""
REAL = {"110 %": _steadily(1.1), "bursts": bursts, "skewed": skewed}
"""What is asked of a server, in real time."""


def worst_window(admitted: list[tuple[int, int]], period: int) -> int:
    """Return the most units in any one period, wherever it starts: over all of them."""
    worst = units = first = 0
    for moment, cost in admitted:
        units += cost
        while admitted[first][0] + period <= moment:
            units -= admitted[first][1]
            first += 1
        worst = max(worst, units)
    return worst
