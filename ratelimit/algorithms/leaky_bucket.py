"""Queue, and leave at a steady pace."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

from ratelimit.algorithms.grains import Grains
from ratelimit.quota import Quota, whole

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Reading, State, Verdict


class LeakyBucket(Grains):
    """A queue that hits leave one by one, evenly spaced, `limit` of them a period.

    An allowed hit carries `delay`, the time until its turn; who honours it never sees two closer
    together than `period / limit`. A hit is denied if the queue is full. A hit that costs more
    than 1 takes as many turns.

    Costs two numbers a key. Nothing ever bunches, and the price is the delay.

    State, Reading: the time at which the queue has drained, in µs, rounded up, and by how many
    grains that is late.

    Args:
        quota: How fast hits leave: a `Quota` or its text.
        capacity: How many may wait behind the one whose turn it is; the quota's limit if not
            given. With 0 nobody waits: too early is denied.
        max_debt: How many turns `charge` may take beyond the queue's end; more is forgiven.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of range, or the numbers together exceed exact arithmetic.

    Source: semantics, "Leaky bucket: the queue", as in nginx's `limit_req`.

    """

    __slots__ = ("_patience", "capacity")

    kind = "leaky_bucket"

    def __init__(
        self, quota: Quota | str, capacity: int | None = None, *, max_debt: int | None = None
    ) -> None:
        limit = Quota.of(quota).limit
        self.capacity = limit if capacity is None else whole(capacity, "a capacity", 0)
        super().__init__(quota, self.capacity + 1, max_debt=max_debt)
        self._set_patience(self._full)

    def _set_patience(self, patience: int) -> None:
        self._patience = patience
        self.args = (self._rate, self._unit, self._full, self._most, patience)

    def within(self, patience: float) -> Self:
        if patience * self._rate >= self._full:
            return self
        impatient = copy(self)
        impatient._set_patience(int(patience) * self._rate)
        return impatient

    def shared_by(self, nodes: int) -> Self:
        places = max(1, self.max_cost // nodes)
        share = type(self)(self._pace(nodes), places - 1, max_debt=0)
        return share.within(-(-self._patience // self._rate))

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        owed = self._owed(state, now)
        total = owed + cost * self._unit
        if total <= self._full and owed <= self._patience:
            after = self._owing(total, now)
            return True, after, after if cost else None
        reading = self._owing(owed, now)
        return not cost, reading, reading if cost and state[0] - now > self.horizon else None

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        if state != reading:
            return None
        owed = self._owed(state, now)
        return self._owing(max(0, owed - cost * self._unit), now) if owed else None

    def remaining(self, reading: Reading, now: int) -> int:
        if self._owed(reading, now) > self._patience:
            return 0
        return super().remaining(reading, now)

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        late = -(-(self._owed(reading, now) - self._patience) // self._rate)
        return max(late, super().retry_after(reading, now, cost))

    def delay(self, reading: Reading, now: int, cost: int) -> int:
        return -(-(self._owed(reading, now) - cost * self._unit) // self._rate)

    def _options(self) -> str:
        capacity = "" if self.capacity == self.quota.limit else f", capacity={self.capacity}"
        return capacity + super()._options()
