"""What the two buckets share: time cut into grains, so that nothing is ever rounded."""

from __future__ import annotations

from datetime import timedelta
from math import gcd
from typing import ClassVar

from ratelimit.algorithms.base import Algorithm, Charge, Reading, State
from ratelimit.quota import EXACT, LONGEST, Quota


class Grains(Algorithm):
    """A limit that gives back `N` units in every `P` µs, at a steady pace.

    With `g = gcd(N, P)`, one µs gives back `rate = N/g` grains and a unit is `unit = P/g` grains.
    A state holds the time from which nothing is owed any more: in µs, rounded up, and by how many
    grains that is late. As it is a time, it needs no conversion when the numbers change.
    """

    __slots__ = ("_full", "_most", "_rate", "_unit")

    reading_size = 2
    fresh: ClassVar[State] = (0, 0)

    def __init__(self, quota: Quota | str, max_cost: int, *, max_debt: int | None) -> None:
        super().__init__(quota, max_debt=max_debt)
        limit, period = self.quota.limit, self.quota.period_us
        self.max_cost = max_cost
        common = gcd(limit, period)
        self._rate, self._unit = limit // common, period // common
        self._full = self.max_cost * self._unit
        self._most = self._full + self.max_debt * self._unit
        self.horizon = -(-self._most // self._rate)
        self.args = (self._rate, self._unit, self._full, self._most)
        if self._most + self._rate > EXACT:
            raise ValueError(
                f"{self!r} exceeds exact arithmetic: it needs whole numbers up to "
                f"{self._most + self._rate}, and 2**53 - 1 is the largest; take a limit that "
                "divides the period more evenly (a round one), or less burst, capacity or max_debt"
            )
        if self.horizon > 2 * LONGEST:
            raise ValueError(
                f"{self!r} takes {self.horizon / 31_557_600_000_000:.0f} years to fill, and 20 "
                "is the most; take less burst, capacity or max_debt"
            )

    def _pace(self, nodes: int) -> Quota:
        """Return the pace of one of so many: the same units in a longer period, so it is exact."""
        period = min(self.quota.period_us * nodes, LONGEST)
        return Quota(self.quota.limit, timedelta(microseconds=period))

    def _owed(self, state: State, now: int) -> int:
        """Return the grains used and not given back yet.

        A state further ahead than any debt can bring it is brought back to nothing left.
        """
        clear_at: int
        late: int
        clear_at, late = state
        if clear_at <= now:
            return 0
        if clear_at - now > self.horizon:
            return self._full
        return (clear_at - now) * self._rate - (late if late < self._rate else 0)

    def _owing(self, owed: int, now: int) -> tuple[int, int]:
        """Return the state that owes so many grains now."""
        wait = -(-owed // self._rate)
        return now + wait, wait * self._rate - owed

    def charge(self, state: State, now: int, cost: int) -> Charge:
        owed = self._owed(state, now)
        room = (self._most - owed) // self._unit
        spent = max(0, min(cost, room))
        after = self._owing(owed + spent * self._unit, now)
        return spent, after, after if spent else None

    def remaining(self, reading: Reading, now: int) -> int:
        return max(0, self._full - self._owed(reading, now)) // self._unit

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        missing = self._owed(reading, now) + cost * self._unit - self._full
        return -(-missing // self._rate)

    def reset_after(self, reading: Reading, now: int) -> int:
        return reading[0] - now

    def effective_window(self, reading: Reading, now: int) -> int:
        return self.available(reading, now)[1]

    def available(self, reading: Reading, now: int) -> tuple[int, int]:
        remaining = self.remaining(reading, now)
        if not remaining:
            return 0, self.retry_after(reading, now, 1)
        return remaining, -(-remaining * self._unit // self._rate)
