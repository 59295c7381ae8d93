"""Let two counters stand in for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ratelimit.algorithms.windows import Windows

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Charge, Reading, State, Verdict
    from ratelimit.quota import Quota


class SlidingWindowCounter(Windows):
    """About `limit` units in any period: the window before fades out as this one goes on.

    Costs three numbers a key and needs no log. It is an approximation, as it takes the hits of
    the window before as evenly spread: in the worst case `2 * limit - 1` units pass within one
    period, and a client may be made to wait up to two periods.

    State, Reading: the time of the last hit, the units in the window before, those in this one.

    Source: semantics, "Sliding-window counter": with `e = now mod W`, allow iff
    `P(W-e) + (C+c)W <= LW`, without a division.
    """

    __slots__ = ()

    kind = "sliding_window_counter"
    reading_size = 3
    fresh: ClassVar[State] = (0, 0, 0)

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        super().__init__(quota, max_debt=max_debt)
        self._check(2**28)
        self.horizon = 3 * self._period

    def _counts(self, state: State, now: int) -> tuple[int, int, int]:
        """Return the time to decide at, and the two counts as they stand then."""
        last, previous, current = state
        period = self._period
        moment = self._moment(last, now)
        start = self._start_of(moment)
        if last > moment:
            return moment, 0, min(previous + current, self._most)
        if last >= start:
            return moment, previous, current
        if last >= start - period:
            return moment, current, 0
        return moment, 0, 0

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        last, previous, current = state
        start, end = self._window
        moment = now
        if not start <= last <= now < end:
            moment, previous, current = self._counts(state, now)
            end = moment - moment % self._period + self._period
        left = self._limit - current - cost
        if left >= 0 and previous * (end - moment) <= left * self._period:
            after = (moment, previous, current + cost)
            return True, after, after if cost else None
        reading = (moment, previous, current)
        return not cost, reading, reading if cost and moment < last else None

    def charge(self, state: State, now: int, cost: int) -> Charge:
        moment, previous, current = self._counts(state, now)
        spent = max(0, min(cost, self._most - current))
        after = (moment, previous, current + spent)
        return spent, after, after if spent else None

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        moment, previous, current = self._counts(state, now)
        start = moment - moment % self._period
        if reading[0] >= start:
            given = min(cost, current)
            return (moment, previous, current - given) if given else None
        given = min(cost, previous) if reading[0] >= start - self._period else 0
        return (moment, previous - given, current) if given else None

    def remaining(self, reading: Reading, now: int) -> int:
        moment, previous, current = reading if reading[0] == now else self._counts(reading, now)
        period = self._period
        faded = previous * (period - moment % period)
        return max(0, ((self._limit - current) * period - faded) // period)

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        moment, previous, current = reading if reading[0] == now else self._counts(reading, now)
        period = self._period
        elapsed = moment % period
        left = self._limit - cost
        if current <= left:
            wait = period - (left - current) * period // previous - elapsed
        else:
            wait = period - elapsed + max(0, period - left * period // current)
        return moment - now + wait

    def reset_after(self, reading: Reading, now: int) -> int:
        moment, previous, current = reading if reading[0] == now else self._counts(reading, now)
        period = self._period
        if not previous and not current:
            return 0
        return moment - now + (2 * period if current else period) - moment % period

    def effective_window(self, reading: Reading, now: int) -> int:
        return self.available(reading, now)[1]

    def available(self, reading: Reading, now: int) -> tuple[int, int]:
        remaining = self.remaining(reading, now)
        if remaining >= self._limit:
            return remaining, self._period
        return remaining, self.retry_after(reading, now, remaining + 1)
