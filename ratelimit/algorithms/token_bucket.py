"""Save idle time up, and spend it in a burst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ratelimit.algorithms.grains import Grains
from ratelimit.quota import Quota, whole

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Reading, State, Verdict


class TokenBucket(Grains):
    """A bucket of `burst` tokens that refills continuously, `limit` tokens a period.

    A hit takes as many tokens as it costs, and is denied if there are too few. The limiter that
    counts a theoretical arrival time (GCRA) is this one: the time at which the bucket is full
    again is that time.

    Costs two numbers a key. Within one period up to `burst + limit` units can pass.

    State, Reading: the time at which the bucket is full again, in µs, rounded up, and by how many
    grains that is late.

    Args:
        quota: How fast it refills: a `Quota` or its text.
        burst: How many tokens the bucket holds; the quota's limit if not given.
        max_debt: How many tokens `charge` may take beyond those there are; more is forgiven.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of range, or the numbers together exceed exact arithmetic.

    Source: semantics, "Token bucket": allow iff `c * unit <= grains`;
    `retry_after = ceil((c * unit - grains) / rate)`.

    """

    __slots__ = ("burst",)

    kind = "token_bucket"

    def __init__(
        self, quota: Quota | str, burst: int | None = None, *, max_debt: int | None = None
    ) -> None:
        self.burst = Quota.of(quota).limit if burst is None else whole(burst, "a burst", 1)
        super().__init__(quota, self.burst, max_debt=max_debt)

    def shared_by(self, nodes: int) -> Self:
        return type(self)(self._pace(nodes), max(1, self.burst // nodes), max_debt=0)

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        rate = self._rate
        owed: int = state[0] - now
        if owed <= 0:
            owed = 0
        elif rate != 1 or owed > self.horizon:
            owed = self._owed(state, now)
        total = owed + cost * self._unit
        if total <= self._full:
            after = (now + total, 0) if rate == 1 else self._owing(total, now)
            return True, after, after if cost else None
        if cost and rate == 1 and state == (now + owed, 0):
            return False, state, None
        reading = self._owing(owed, now)
        return not cost, reading, reading if cost and state[0] - now > self.horizon else None

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        owed = self._owed(state, now)
        return self._owing(max(0, owed - cost * self._unit), now) if owed else None

    def _options(self) -> str:
        burst = "" if self.burst == self.quota.limit else f", burst={self.burst}"
        return burst + super()._options()
