"""Remember every hit for one period: exact."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from sys import byteorder
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ratelimit.algorithms.windows import Windows

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Charge, Reading, State, Verdict
    from ratelimit.quota import Quota

_TURN = 2**52
"""Totals start again from 0 here, so that they stay exact for ever; only differences count."""
_NEVER = -(2**62)


def _numbers(buffer: bytearray) -> memoryview[int]:
    """Return the numbers in a buffer, which keeps its size as long as anybody looks at them."""
    return memoryview(buffer).cast("Q")


def _put(buffer: bytearray, index: int, number: int) -> None:
    """Write a number behind the others up to an index, as the last one."""
    del buffer[index * 8 :]
    buffer += number.to_bytes(8, byteorder)


class Totals(NamedTuple):
    """What hits have cost together, modulo 2**52: before each, and all of them."""

    before: bytearray
    tail: int
    """How many of them belong to the log."""
    total: int


class Log(NamedTuple):
    """The hits of a key, oldest first.

    As long as every hit has cost 1 only their times are kept; after that, also the total cost
    before each, and what comes at the same time is one entry. Either way what hits have cost
    together is found by bisection, however long the log. Numbers take 8 bytes each, in buffers
    that the garbage collector needn't look at.

    A hit is appended to the buffers of the log before it, for which it lies behind `tail`. If the
    decision isn't kept, it has to be trimmed.
    """

    used: int
    """What all hits have cost."""
    first: int
    """When the first was."""
    last: int
    """When the last was."""
    times: bytearray
    head: int
    """The first entry that isn't forgotten."""
    totals: Totals | None
    """None if each hit has cost 1."""

    @property
    def tail(self) -> int:
        """The entry behind the last."""
        return self.head + self.used if self.totals is None else self.totals.tail

    def cost(self, start: int, end: int) -> int:
        """Return what the entries from `start` up to `end` have cost."""
        totals = self.totals
        if totals is None:
            return end - start
        before = _numbers(totals.before)
        after = totals.total if end == totals.tail else before[end]
        return (after - before[start]) % _TURN

    def trim(self) -> None:
        """Forget a hit that was decided on, and not kept."""
        del self.times[self.tail * 8 :]

    def since(self, moment: int) -> Log | None:
        """Return the log without the hits up to a moment, or None if none is left."""
        if self.first > moment:
            return self
        tail = self.tail
        head = bisect_right(_numbers(self.times), moment, self.head, tail)
        return _view(self.times, head, tail, self.totals)

    def with_hit(self, moment: int, cost: int) -> Log:
        """Return the log with one hit more, in amortised constant time."""
        log = self
        if log.head > 32 and log.head * 4 > log.tail:
            log = log._packed()
        if log.totals is None and cost != 1:
            log = log._with_totals()
        used, first, last, times, head, totals = log
        tail = log.tail
        if totals is None or last != moment:
            _put(times, tail, moment)
            tail += 1
        if totals is not None:
            totals = _with_cost(totals, tail, cost)
        return Log(used + cost, first, moment, times, head, totals)

    def without(self, moment: int, cost: int) -> tuple[Log | None, int]:
        """Take up to `cost` out of what was hit at a moment, in time linear in the hits since.

        Returns:
            The log, or None if nothing is left of it, and how much was taken.

        """
        times, head, tail, totals = self.times, self.head, self.tail, self.totals
        index = bisect_left(_numbers(times), moment, head, tail)
        if index == tail or _numbers(times)[index] != moment:
            return self, 0
        there = self.cost(index, index + 1)
        taken = min(cost, there)
        if totals is not None:
            totals = _without_cost(totals, index, taken, taken == there)
        if taken == there:
            del times[index * 8 : index * 8 + 8]
            tail -= 1
        return _view(times, head, tail, totals), taken

    def _packed(self) -> Log:
        """Return the log in a room of its own, without what is forgotten."""
        head, tail, totals = self.head, self.tail, self.totals
        if totals is not None:
            before = totals.before[head * 8 : tail * 8]
            totals = Totals(before, tail - head, totals.total)
        return self._replace(times=self.times[head * 8 : tail * 8], head=0, totals=totals)

    def _with_totals(self) -> Log:
        """Return the log with the total before each entry."""
        times, before, tail, last = bytearray(), bytearray(), 0, _NEVER
        for count, time in enumerate(_numbers(self.times)[self.head : self.tail]):
            if time != last:
                _put(times, tail, time)
                _put(before, tail, count)
                tail, last = tail + 1, time
        return self._replace(times=times, head=0, totals=Totals(before, tail, self.used))


def _with_cost(totals: Totals, tail: int, cost: int) -> Totals:
    """Return the totals with the cost of one hit more, which makes the log end at `tail`."""
    before, end, total = totals
    if end < tail:
        _put(before, end, total)
    return Totals(before, tail, (total + cost) % _TURN)


def _without_cost(totals: Totals, index: int, cost: int, emptied: bool) -> Totals:
    """Return the totals with less cost at an entry, or without it."""
    before, tail, total = totals
    numbers = _numbers(before)
    for later in range(index + 1, tail):
        numbers[later] = (numbers[later] - cost) % _TURN
    numbers.release()
    if emptied:
        del before[index * 8 : index * 8 + 8]
        tail -= 1
    return Totals(before, tail, (total - cost) % _TURN)


def _view(times: bytearray, head: int, tail: int, totals: Totals | None) -> Log | None:
    """Return a log of these entries, if there are any."""
    if head == tail:
        return None
    numbers = _numbers(times)
    log = Log(tail - head, numbers[head], numbers[tail - 1], times, head, totals)
    return log if totals is None else log._replace(used=log.cost(head, tail))


def _first_hit(moment: int, cost: int) -> Log:
    """Return a log of one hit."""
    totals = None if cost == 1 else Totals(bytearray(8), 1, cost)
    return Log(cost, moment, moment, bytearray(moment.to_bytes(8, byteorder)), 0, totals)


class SlidingLog(Windows):
    """At most `limit` units in any period, wherever it starts: exact.

    Keeps the time of each hit until it is one period old, so it costs 8 bytes a hit in memory
    (16 where hits cost more than 1), up to `limit` hits a key. A hit takes the same time however
    long the log; a refund takes time in the hits since.

    State: the fields of a `Log`, as a plain tuple, which the garbage collector needn't look at.
    Reading: the units used, the time of the last hit that has to be forgotten before more is
    allowed (after a denial, before the same cost is), and the time of the last hit.

    Source: semantics, "Sliding log": allow iff `used + c <= L`; `retry_after = t_j + W - now` for
    the smallest `j` with `c_1 + ... + c_j >= used + c - L`.
    """

    __slots__ = ()

    kind = "sliding_log"
    reading_size = 3
    fresh: ClassVar[State] = (0, _NEVER, _NEVER, bytearray(), 0, None)

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        super().__init__(quota, max_debt=max_debt)
        self._check(_TURN - 1)
        self.horizon = 2 * self._period

    def _live(self, state: State, now: int) -> tuple[int, Log | None, bool]:
        """Return the time to decide at, the hits that count then, and if they were brought back."""
        kept = Log(*state)
        moment = self._moment(kept.last, now)
        log = kept.since(moment - self._period) if kept.used else None
        if log is None or moment >= kept.last:
            return moment, log, False
        return moment, _first_hit(moment, log.used), True

    def _reading(self, log: Log | None, cost: int) -> Reading:
        """Return the reading, with the hit that has to be forgotten before `cost` is allowed."""
        if log is None:
            return 0, 0, 0
        used, first, last, times, head, _ = log
        need = used + (cost if cost <= self._limit else 1) - self._limit
        if need > log.cost(head, head + 1):
            index = bisect_left(range(log.tail), need, head, key=lambda i: log.cost(head, i + 1))
            first = _numbers(times)[index]
        return used, first, last

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        if cost == 1 and state[2] <= now and now - state[1] < self._period:
            used = state[0]
            if used == self._limit:
                return False, state, None
            if used < self._limit and state[5] is None:
                times = state[3]
                times += now.to_bytes(8, byteorder)
                after: State = (used + 1, state[1], now, times, state[4], None)
                return True, after, after
        moment, log, brought_back = self._live(state, now)
        used = log.used if log else 0
        if not cost:
            Log(*state).trim()
            return True, self._reading(log, 1), None
        if used + cost <= self._limit:
            after = tuple(log.with_hit(moment, cost) if log else _first_hit(moment, cost))
            return True, after, after
        return False, self._reading(log, cost), tuple(log) if log and brought_back else None

    def charge(self, state: State, now: int, cost: int) -> Charge:
        moment, log, _ = self._live(state, now)
        used = log.used if log else 0
        spent = max(0, min(cost, self._most - used))
        if not spent:
            return 0, self._reading(log, 1), None
        log = log.with_hit(moment, spent) if log else _first_hit(moment, spent)
        return spent, self._reading(log, 1), tuple(log)

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        _, log, brought_back = self._live(state, now)
        if log is None or brought_back:
            return None
        left, taken = log.without(reading[2], cost)
        return tuple(left or self.fresh) if taken else None

    def recall(self, reading: Reading, asked: int, now: int, cost: int) -> Verdict | None:
        """Tell it while the hit that the reading names is the oldest, and once none counts."""
        used, first, last = reading
        if now >= last + self._period:
            return cost <= self._limit, (0, 0, 0), None
        need = asked if asked <= self._limit else 1
        if need < cost <= self._limit:
            need = cost
        if used + need - self._limit > 1 or now >= first + self._period:
            return None
        return used + cost <= self._limit, reading, None

    def remaining(self, reading: Reading, now: int) -> int:
        return max(0, self._limit - reading[0])

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        return reading[1] + self._period - now

    def reset_after(self, reading: Reading, now: int) -> int:
        return reading[2] + self._period - now if reading[0] else 0

    def effective_window(self, reading: Reading, now: int) -> int:
        return reading[1] + self._period - now if reading[0] else self._period
