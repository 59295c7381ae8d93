"""Remember every hit for one period: exact."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ratelimit.algorithms.windows import Windows

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Charge, Reading, State, Verdict
    from ratelimit.quota import Quota

_TURN = 2**52
"""Totals start again from 0 here, so that they stay exact for ever; only differences count."""

_TIME = Struct("<q")
_ENTRY = Struct("<qq")
_time_at = _TIME.unpack_from
_pack_time = _TIME.pack
_TIME_SIZE = _TIME.size
_entry_at = _ENTRY.unpack_from


class Log(NamedTuple):
    """The hits of a key, oldest first, in a buffer.

    An entry is the time of a hit alone, as long as every hit has cost 1 and had its own instant;
    after that, the time and the total cost before it. Either way what hits have cost together is
    found by bisection, however long the log.

    A log is a view: what lies behind `tail` doesn't belong to it. So a hit is appended without
    changing the log that it is appended to, and a decision that isn't kept leaves no trace.
    """

    entries: bytearray
    size: int
    """Bytes an entry: 8 or 16."""
    head: int
    """The first entry that isn't forgotten."""
    tail: int
    total: int
    """The cost of all hits, modulo 2**52."""
    first: int
    """When the hit at `head` was."""
    last: int
    """When the last hit was."""

    def time(self, index: int) -> int:
        """Return when the hit of this entry was."""
        time: int = _time_at(self.entries, index * self.size)[0]
        return time

    def before(self, index: int) -> int:
        """Return the total before this entry."""
        if index == self.tail:
            return self.total
        if self.size == _TIME_SIZE:
            return index
        total: int = _entry_at(self.entries, index * self.size)[1]
        return total

    def cost(self, start: int, end: int) -> int:
        """Return what the entries from `start` up to `end` have cost."""
        return (self.before(end) - self.before(start)) % _TURN

    def since(self, moment: int) -> Log | None:
        """Return the log without the hits up to a moment, or None if none is left."""
        entries, size, head, tail, total, first, _ = self
        if first > moment:
            return self
        head = bisect_right(range(tail), moment, head, key=self.time)
        return _view(entries, size, head, tail, total) if head < tail else None

    def with_hit(self, moment: int, cost: int) -> Log:
        """Return the log with one hit more, in amortised constant time."""
        log = self
        if log.head > 32 and log.head * 4 > log.tail:
            log = log._packed()
        same = log.last == moment
        if log.size == _TIME_SIZE and (same or cost != 1):
            log = log._with_totals()
        entries, size, head, tail, total, first, _ = log
        if not same:
            del entries[tail * size :]
            entries += _pack_time(moment) if size == _TIME_SIZE else _ENTRY.pack(moment, total)
            tail += 1
        return Log(entries, size, head, tail, (total + cost) % _TURN, first, moment)

    def without(self, moment: int, cost: int) -> tuple[Log | None, int]:
        """Take up to `cost` out of what was hit at a moment, in time linear in the hits since.

        Returns:
            The log, or None if nothing is left of it, and how much was taken.

        """
        entries, size, head, tail, total, _, _ = self
        index = bisect_left(range(tail), moment, head, key=self.time)
        if index == tail or self.time(index) != moment:
            return self, 0
        taken = min(cost, self.cost(index, index + 1))
        emptied = taken == self.cost(index, index + 1)
        if size == _ENTRY.size:
            for later in range(index + 1, tail):
                time, before = _entry_at(entries, later * size)
                _ENTRY.pack_into(entries, later * size, time, (before - taken) % _TURN)
        if emptied:
            del entries[index * size : (index + 1) * size]
            tail -= 1
        if head == tail:
            return None, taken
        return _view(entries, size, head, tail, (total - taken) % _TURN), taken

    def _packed(self) -> Log:
        """Return the log in a buffer of its own, without what is forgotten."""
        entries, size, head, tail, total, _, _ = self
        if size == _TIME_SIZE:
            total -= head
        return _view(entries[head * size : tail * size], size, 0, tail - head, total)

    def _with_totals(self) -> Log:
        """Return the log with the total before it in each entry."""
        entries = bytearray()
        for index in range(self.tail):
            entries += _ENTRY.pack(self.time(index), index)
        return self._replace(entries=entries, size=_ENTRY.size)


def _view(entries: bytearray, size: int, head: int, tail: int, total: int) -> Log:
    """Return a log of these entries."""
    first: int = _time_at(entries, head * size)[0]
    last: int = _time_at(entries, (tail - 1) * size)[0]
    return Log(entries, size, head, tail, total, first, last)


def _first_hit(moment: int, cost: int) -> Log:
    """Return a log of one hit."""
    if cost == 1:
        return Log(bytearray(_pack_time(moment)), _TIME_SIZE, 0, 1, 1, moment, moment)
    return Log(bytearray(_ENTRY.pack(moment, 0)), _ENTRY.size, 0, 1, cost, moment, moment)


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
    fresh: ClassVar[State] = ()

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        super().__init__(quota, max_debt=max_debt)
        self._check(_TURN - 1)
        self.horizon = 2 * self._period

    def _live(self, state: State, now: int) -> tuple[int, Log | None, bool]:
        """Return the time to decide at, the hits that count then, and if they were brought back."""
        if not state:
            return now, None, False
        kept = Log(*state)
        last = kept.last
        moment = self._moment(last, now) if last > now else now
        log = kept.since(moment - self._period)
        if log is None or moment >= last:
            return moment, log, False
        return moment, _first_hit(moment, log.cost(log.head, log.tail)), True

    def _reading(self, log: Log | None, cost: int) -> Reading:
        """Return the reading, with the hit that has to be forgotten before `cost` is allowed."""
        if log is None:
            return 0, 0, 0
        head, tail, first = log.head, log.tail, log.first
        used = log.cost(head, tail)
        need = used + (cost if cost <= self._limit else 1) - self._limit
        if need > log.cost(head, head + 1):
            index = bisect_left(range(tail), need, head, key=lambda i: log.cost(head, i + 1))
            first = log.time(index)
        return used, first, log.last

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        if cost == 1 and state and state[1] == _TIME_SIZE:
            entries, size, head, tail, total, first, last = state
            used = tail - head
            if last < now < first + self._period:
                if used < self._limit:
                    if len(entries) != tail * size:
                        del entries[tail * size :]
                    entries += _pack_time(now)
                    after = (entries, size, head, tail + 1, total + 1, first, now)
                    return True, (used + 1, first, now), after
                if used == self._limit:
                    return False, (used, first, last), None
        moment, log, brought_back = self._live(state, now)
        used = log.cost(log.head, log.tail) if log else 0
        if not cost:
            return True, self._reading(log, 1), None
        if used + cost <= self._limit:
            log = log.with_hit(moment, cost) if log else _first_hit(moment, cost)
            return True, (used + cost, log.first, moment), tuple(log)
        return False, self._reading(log, cost), tuple(log) if log and brought_back else None

    def charge(self, state: State, now: int, cost: int) -> Charge:
        moment, log, _ = self._live(state, now)
        used = log.cost(log.head, log.tail) if log else 0
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

    def remaining(self, reading: Reading, now: int) -> int:
        return max(0, self._limit - reading[0])

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        return reading[1] + self._period - now

    def reset_after(self, reading: Reading, now: int) -> int:
        return reading[2] + self._period - now if reading[0] else 0

    def effective_window(self, reading: Reading, now: int) -> int:
        return reading[1] + self._period - now if reading[0] else self._period
