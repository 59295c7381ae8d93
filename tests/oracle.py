"""What the algorithms promise, in fractions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from math import ceil, floor, inf
from typing import NamedTuple

from ratelimit import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)


class Answer(NamedTuple):
    """What a decision says; durations in microseconds."""

    allowed: bool
    remaining: int
    retry_after: float
    reset_after: int
    delay: int


class Oracle(ABC):
    """One key of one limit, under a clock that never runs backwards."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.limit = algorithm.quota.limit
        self.period = algorithm.quota.period_us
        self.most = self.limit + algorithm.max_debt
        self.capacity = algorithm.max_cost
        self.max_debt = algorithm.max_debt

    def hit(self, now: int, cost: int) -> Answer:
        """Ask, and spend if it is allowed."""
        if cost > self.capacity:
            return Answer(False, self.remaining(now), inf, self.reset_after(now), 0)
        wait = self.wait(now, cost) if cost else 0
        if wait:
            return Answer(False, self.remaining(now), wait, self.reset_after(now), 0)
        delay = self.delay(now) if cost else 0
        if cost:
            self.spend(now, cost)
        return Answer(True, self.remaining(now), 0, self.reset_after(now), delay)

    def charge(self, now: int, cost: int) -> int:
        """Spend whatever there is left, up to the cap on debt; return how much."""
        spent = max(0, min(cost, self.room(now)))
        if spent:
            self.spend(now, spent)
        return spent

    def delay(self, now: int) -> int:
        """Return the time until the turn of whoever comes now."""
        return 0

    @abstractmethod
    def wait(self, now: int, cost: int) -> int:
        """Return the shortest wait after which the cost fits."""

    @abstractmethod
    def spend(self, now: int, cost: int) -> None:
        """Count the cost."""

    @abstractmethod
    def room(self, now: int) -> int:
        """Return what may be charged before the cap on debt."""

    @abstractmethod
    def remaining(self, now: int) -> int:
        """Return the largest cost that fits."""

    @abstractmethod
    def reset_after(self, now: int) -> int:
        """Return the wait until nothing of the past counts."""

    @abstractmethod
    def refund(self, now: int, cost: int, charged_at: int, turn: int) -> bool:
        """Give back what was charged then, as the so-manieth spending."""

    turn = 0
    """How many spendings there were; only a queue counts them."""


class FixedWindowOracle(Oracle):
    """Units by window."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(algorithm)
        self.counts: dict[int, int] = {}

    def count(self, moment: int, back: int = 0) -> int:
        """Return the units of the window of a moment, or of one so many before it."""
        return self.counts.get(moment // self.period - back, 0)

    def end(self, now: int) -> int:
        """Return the time left in the window."""
        return (now // self.period + 1) * self.period - now

    def wait(self, now: int, cost: int) -> int:
        return 0 if self.count(now) + cost <= self.limit else self.end(now)

    def spend(self, now: int, cost: int) -> None:
        self.counts[now // self.period] = self.count(now) + cost

    def room(self, now: int) -> int:
        return self.most - self.count(now)

    def remaining(self, now: int) -> int:
        return max(0, self.limit - self.count(now))

    def reset_after(self, now: int) -> int:
        return self.end(now) if self.count(now) else 0

    def counting(self, now: int) -> set[int]:
        """Return the windows that count now."""
        return {now // self.period}

    def refund(self, now: int, cost: int, charged_at: int, turn: int) -> bool:
        window = charged_at // self.period
        given = min(cost, self.counts.get(window, 0)) if window in self.counting(now) else 0
        if given:
            self.counts[window] -= given
        return given > 0


class SlidingWindowCounterOracle(FixedWindowOracle):
    """Units by window, of which the one before fades."""

    def faded(self, now: int) -> Fraction:
        """Return what counts now."""
        left = 1 - Fraction(now % self.period, self.period)
        return self.count(now, 1) * left + self.count(now)

    def counting(self, now: int) -> set[int]:
        return {now // self.period, now // self.period - 1}

    def wait(self, now: int, cost: int) -> int:
        if self.faded(now) + cost <= self.limit:
            return 0
        elapsed = now % self.period
        free = self.limit - cost
        if self.count(now) <= free:
            share = Fraction(free - self.count(now), self.count(now, 1))
            return ceil(self.period * (1 - share)) - elapsed
        share = min(Fraction(1), Fraction(free, self.count(now)))
        return self.end(now) + ceil(self.period * (1 - share))

    def remaining(self, now: int) -> int:
        return max(0, floor(self.limit - self.faded(now)))

    def reset_after(self, now: int) -> int:
        if self.count(now):
            return self.end(now) + self.period
        return self.end(now) if self.count(now, 1) else 0


class SlidingLogOracle(Oracle):
    """Every event."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(algorithm)
        self.events: dict[int, int] = {}

    def live(self, now: int) -> list[tuple[int, int]]:
        """Return the events that count, oldest first."""
        return sorted((t, c) for t, c in self.events.items() if c and t + self.period > now)

    def used(self, now: int) -> int:
        """Return what they cost."""
        return sum(cost for _, cost in self.live(now))

    def wait(self, now: int, cost: int) -> int:
        excess = self.used(now) + cost - self.limit
        for moment, gone in self.live(now):
            if excess <= 0:
                return 0
            excess -= gone
            if excess <= 0:
                return moment + self.period - now
        return 0

    def spend(self, now: int, cost: int) -> None:
        self.events[now] = self.events.get(now, 0) + cost

    def room(self, now: int) -> int:
        return self.most - self.used(now)

    def remaining(self, now: int) -> int:
        return max(0, self.limit - self.used(now))

    def reset_after(self, now: int) -> int:
        live = self.live(now)
        return live[-1][0] + self.period - now if live else 0

    def refund(self, now: int, cost: int, charged_at: int, turn: int) -> bool:
        given = min(cost, dict(self.live(now)).get(charged_at, 0))
        if given:
            self.events[charged_at] -= given
        return given > 0


class TokenBucketOracle(Oracle):
    """Units owed, which a steady stream works off."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(algorithm)
        self.owed = Fraction(0)
        self.since = 0

    def drain(self, now: int) -> Fraction:
        """Work off what the time since then is good for."""
        given = Fraction((now - self.since) * self.limit, self.period)
        self.owed, self.since = max(Fraction(0), self.owed - given), now
        return self.owed

    def time(self, units: Fraction) -> int:
        """Return how long so many units take, rounded up."""
        return ceil(units * self.period / self.limit)

    def wait(self, now: int, cost: int) -> int:
        return max(0, self.time(self.drain(now) + cost - self.capacity))

    def spend(self, now: int, cost: int) -> None:
        self.owed = self.drain(now) + cost

    def room(self, now: int) -> int:
        return floor(self.capacity + self.max_debt - self.drain(now))

    def remaining(self, now: int) -> int:
        return max(0, floor(self.capacity - self.drain(now)))

    def reset_after(self, now: int) -> int:
        return self.time(self.drain(now))

    def refund(self, now: int, cost: int, charged_at: int, turn: int) -> bool:
        given = min(self.drain(now), Fraction(cost))
        self.owed -= given
        return given > 0


class LeakyBucketOracle(TokenBucketOracle):
    """A queue: units owed are places taken."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(algorithm)
        self.queue: list[int] = []

    def delay(self, now: int) -> int:
        return self.time(self.drain(now))

    def spend(self, now: int, cost: int) -> None:
        super().spend(now, cost)
        self.turn += 1
        self.queue.append(self.turn)

    def refund(self, now: int, cost: int, charged_at: int, turn: int) -> bool:
        if not self.queue or self.queue[-1] != turn or not self.drain(now):
            return False
        self.queue.pop()
        return super().refund(now, cost, charged_at, turn)


ORACLES: dict[type[Algorithm], type[Oracle]] = {
    FixedWindow: FixedWindowOracle,
    LeakyBucket: LeakyBucketOracle,
    SlidingLog: SlidingLogOracle,
    SlidingWindowCounter: SlidingWindowCounterOracle,
    TokenBucket: TokenBucketOracle,
}


def oracle_of(algorithm: Algorithm) -> Oracle:
    """Return the oracle of an algorithm's kind and numbers."""
    return ORACLES[type(algorithm)](algorithm)
