"""Who is right: the algorithms in whole numbers, with all that was ever admitted.

A judge follows what a limiter admitted, rightly or wrongly, and says for each hit how long the
algorithm would have made it wait. Times are in ns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict, deque

from benchmarks.peers.base import BUCKET, COUNTER, FIXED, GCRA, LOG, QUEUE

NEVER = 10**30


class Judge(ABC):
    """One key of one limit."""

    def __init__(self, limit: int, period: int) -> None:
        self.limit = limit
        self.period = period

    def wait(self, now: int, cost: int) -> int:
        """Return the shortest wait after which a cost fits."""
        return NEVER if cost > self.limit else self._wait(now, cost)

    @abstractmethod
    def _wait(self, now: int, cost: int) -> int:
        """Return the wait for a cost that fits some day."""

    @abstractmethod
    def spend(self, now: int, cost: int) -> None:
        """Count what was admitted."""


class Windows(Judge):
    """Windows that are aligned to the epoch."""

    def __init__(self, limit: int, period: int) -> None:
        super().__init__(limit, period)
        self.counts: dict[int, int] = defaultdict(int)

    def _wait(self, now: int, cost: int) -> int:
        window = now // self.period
        return 0 if self.counts[window] + cost <= self.limit else (window + 1) * self.period - now

    def spend(self, now: int, cost: int) -> None:
        """Count it in its window."""
        self.counts[now // self.period] += cost


class WindowsFromFirst(Judge):
    """Windows that start with the first hit after the one before has ended."""

    def __init__(self, limit: int, period: int) -> None:
        super().__init__(limit, period)
        self.start = -period
        self.count = 0

    def _wait(self, now: int, cost: int) -> int:
        left = self.start + self.period - now
        return left if left > 0 and self.count + cost > self.limit else 0

    def spend(self, now: int, cost: int) -> None:
        """Count it, in a new window if the last has ended."""
        if now >= self.start + self.period:
            self.start, self.count = now, 0
        self.count += cost


class Log(Judge):
    """Each hit counts for one period."""

    def __init__(self, limit: int, period: int) -> None:
        super().__init__(limit, period)
        self.hits: deque[tuple[int, int]] = deque()

    def _wait(self, now: int, cost: int) -> int:
        live = [(at, spent) for at, spent in self.hits if at + self.period > now]
        excess = sum(spent for _, spent in live) + cost - self.limit
        wait = 0
        for at, spent in live:
            if excess <= 0:
                break
            excess -= spent
            wait = at + self.period - now
        return wait

    def spend(self, now: int, cost: int) -> None:
        """Keep it, and forget what is long past."""
        self.hits.append((now, cost))
        while self.hits[0][0] + 2 * self.period < now:
            self.hits.popleft()


class Counters(Windows):
    """The window before fades, as this one goes on."""

    def _wait(self, now: int, cost: int) -> int:
        window, elapsed = divmod(now, self.period)
        before, here = self.counts[window - 1], self.counts[window]
        rest, free = self.period - elapsed, self.limit - cost
        if here > free:
            return rest + max(0, self.period - self._rest(here, free))
        return max(0, rest - self._rest(before, free - here)) if before else 0

    def _rest(self, before: int, free: int) -> int:
        """Return how long a window may still last, for the one before to leave so much free."""
        return free * self.period // before


class FlooredCounters(Counters):
    """The same, where what is left of the window before is rounded down to whole units."""

    def _rest(self, before: int, free: int) -> int:
        """Return how long a window may still last, for the one before to leave so much free."""
        return ((free + 1) * self.period - 1) // before


class CountersFromFirst(FlooredCounters):
    """The same, where windows follow each other from the first hit on, while anybody asks."""

    def __init__(self, limit: int, period: int) -> None:
        super().__init__(limit, period)
        self.start = self.end = 0

    def _wait(self, now: int, cost: int) -> int:
        if now >= self.end:
            return 0
        since = max(0, now - self.start)
        self._go_on(since)
        return super()._wait(since, cost)

    def spend(self, now: int, cost: int) -> None:
        """Count it, in a first window if nothing counts any more."""
        if now >= self.end:
            self.start = now
            self.counts.clear()
        self._go_on(now - self.start)
        super().spend(now - self.start, cost)

    def _go_on(self, since: int) -> None:
        """Keep the windows for two more, as whoever asks does, allowed or not."""
        self.end = max(self.end, self.start + (since // self.period + 2) * self.period)


class Bucket(Judge):
    """Tokens that flow back at the rate; as many as the limit at the most, all at the start."""

    def __init__(self, limit: int, period: int) -> None:
        super().__init__(limit, period)
        self.owed = 0
        """In grains: ns times the limit."""
        self.since = 0

    def _owed(self, now: int) -> int:
        return max(0, self.owed - max(0, now - self.since) * self.limit)

    def _wait(self, now: int, cost: int) -> int:
        excess = self._owed(now) + (cost - self.limit) * self.period
        return max(0, -(-excess // self.limit))

    def spend(self, now: int, cost: int) -> None:
        """Owe it."""
        self.owed, self.since = self._owed(now) + cost * self.period, now


CONTRACTS: dict[str, tuple[type[Judge], ...]] = {
    FIXED: (Windows, WindowsFromFirst),
    LOG: (Log,),
    COUNTER: (Counters, FlooredCounters, CountersFromFirst),
    BUCKET: (Bucket,),
    GCRA: (Bucket,),
    QUEUE: (Bucket,),
}
"""What an algorithm of that name may mean; the one that fits a limiter best is its judge."""
