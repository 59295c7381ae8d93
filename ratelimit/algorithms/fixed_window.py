"""Count in windows that follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ratelimit.algorithms.windows import Windows
from ratelimit.quota import EXACT, Quota

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Charge, Reading, State, Verdict


class FixedWindow(Windows):
    """At most `limit` units in each window; a new window starts from nothing.

    Windows are aligned to the Unix epoch: a day ends at midnight UTC. An event on a boundary
    belongs to the new window.

    Costs two numbers a key. Its weakness is the boundary: up to twice the limit can pass within
    one period, half of it just before and half just after.

    State, Reading: the time of the last hit, and the units counted in its window. As the window
    is worked out from the time, a state is still understood when the period has changed.

    Source: semantics, "Fixed window": `w = now div W`; allow iff `n + c <= L`;
    `retry_after = reset_after = (w+1)W - now`.
    """

    __slots__ = ()

    kind = "fixed_window"
    reading_size = 2
    fresh: ClassVar[State] = (0, 0)

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        super().__init__(quota, max_debt=max_debt)
        self._check(EXACT)
        self.horizon = 2 * self._period

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        last, used = state
        start, end = self._window
        moment = now
        if not start <= last <= now < end:
            moment = self._moment(last, now)
            if last < self._start_of(moment):
                used = 0
        total = used + cost
        if total <= self._limit:
            reading = (moment, total)
            return True, reading, reading if cost else None
        reading = (moment, used)
        return not cost, reading, reading if cost and moment < last else None

    def charge(self, state: State, now: int, cost: int) -> Charge:
        moment, used = self.decide(state, now, 0)[1]
        spent = max(0, min(cost, self._most - used))
        reading = (moment, used + spent)
        return spent, reading, reading if spent else None

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        moment, used = self.decide(state, now, 0)[1]
        given = min(cost, used)
        if reading[0] < moment - moment % self._period or not given:
            return None
        return moment, used - given

    def remaining(self, reading: Reading, now: int) -> int:
        return max(0, self._limit - reading[1])

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        return self.effective_window(reading, now)

    def reset_after(self, reading: Reading, now: int) -> int:
        return self.effective_window(reading, now) if reading[1] else 0

    def effective_window(self, reading: Reading, now: int) -> int:
        moment = reading[0]
        return moment - moment % self._period + self._period - now

    def available(self, reading: Reading, now: int) -> tuple[int, int]:
        moment, used = reading
        start, end = self._window
        if not start <= moment < end:
            end = self._start_of(moment) + self._period
        if used >= self._limit:
            return 0, end - now
        return self._limit - used, end - now
