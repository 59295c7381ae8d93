"""What was decided, and what it means."""

from __future__ import annotations

from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from ratelimit.forks import fork_safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimit.algorithms.base import Algorithm, Reading, Verdict

_taking = fork_safe(Lock())


class Page(Protocol):
    """Where a decision was taken: one limit in one store."""

    name: str
    algorithm: Algorithm
    degraded: bool


class PlainPage(NamedTuple):
    """A page of which only what it says is known, such as in another process."""

    name: str
    algorithm: Algorithm
    degraded: bool


class Decision:
    """The answer of a limit to one question; true if it was allowed.

    Durations are seconds. They are worked out when asked for, from the numbers that the decision
    was made by.
    """

    __slots__ = ("_spent", "cost", "key", "now", "page", "verdict")

    page: Page
    key: str
    cost: int
    now: int
    """When it was taken, in µs since the epoch."""
    verdict: Verdict
    _spent: int

    @classmethod
    def of(
        cls, page: Page, key: str, cost: int, allowed: bool, now: int, reading: Reading, spent: int
    ) -> Self:
        """Return a decision with these parts.

        There is no `__init__`: a call of it would be a tenth of the time of a hit in memory, which
        sets the parts itself, all but what was spent.
        """
        made = cls()
        made.page = page
        made.key = key
        made.cost = cost
        made.now = now
        made.verdict = allowed, reading, None
        made._spent = spent
        return made

    def __bool__(self) -> bool:
        """Say whether it was allowed."""
        return self.verdict[0]

    @property
    def allowed(self) -> bool:
        """Whether it was allowed."""
        return self.verdict[0]

    @property
    def reading(self) -> Reading:
        """The numbers that it was made by."""
        return self.verdict[1][: self.page.algorithm.reading_size]

    @property
    def spent(self) -> int:
        """The units charged and not given back."""
        try:
            return self._spent
        except AttributeError:
            return self.cost if self.verdict[0] else 0

    @property
    def name(self) -> str:
        """The limit's name."""
        return self.page.name

    @property
    def limits(self) -> Mapping[str, Decision]:
        """The answer of each limit by its name: here of the only one."""
        return {self.page.name: self}

    @property
    def denied(self) -> tuple[str, ...]:
        """The names of the limits that denied."""
        return () if self.allowed else (self.page.name,)

    @property
    def limit(self) -> int:
        """The largest cost that a key never used admits."""
        return self.page.algorithm.max_cost

    @property
    def remaining(self) -> int:
        """The largest cost that would be allowed now, after this decision.

        On a denial what is still there, which may be more than 0 if the cost was more than 1.
        """
        return self.page.algorithm.remaining(self.reading, self.now)

    @property
    def retry_after(self) -> float:
        """The wait after which the same cost is allowed if nobody else spends; 0 if it was allowed.

        Sufficient and tight, to the microsecond: then it is allowed, and 1 µs earlier it isn't.
        Infinite if the cost is more than a key never used admits.
        """
        return self.retry_after_us / 1_000_000

    @property
    def reset_after(self) -> float:
        """The wait until the key is as good as never used."""
        return self.page.algorithm.reset_after(self.reading, self.now) / 1_000_000

    @property
    def delay(self) -> float:
        """How long to hold an allowed hit back; 0 except for a leaky bucket."""
        return self.delay_us / 1_000_000

    @property
    def degraded(self) -> bool:
        """Whether another store than the one that was asked for took the decision."""
        return self.page.degraded

    @property
    def retry_after_us(self) -> float:
        """`retry_after` in whole microseconds, or infinity."""
        if self.allowed:
            return 0
        algorithm = self.page.algorithm
        if self.cost > algorithm.max_cost:
            return inf
        return algorithm.retry_after(self.reading, self.now, self.cost)

    @property
    def delay_us(self) -> int:
        """`delay` in whole microseconds."""
        if not self.spent:
            return 0
        return self.page.algorithm.delay(self.reading, self.now, self.spent)

    def take(self) -> int:
        """Return the units charged and not given back, and leave none: for one who refunds."""
        with _taking:
            spent, self._spent = self.spent, 0
        return spent

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it says, as an error does that leaves a process pool."""
        page = PlainPage(self.page.name, self.page.algorithm, self.page.degraded)
        parts = page, self.key, self.cost, self.allowed, self.now, self.reading, self.spent
        return Decision.of, parts

    def __repr__(self) -> str:
        """Say what a reader of a log wants to know; the key isn't told."""
        return (
            f"<{type(self).__name__} {'allowed' if self.allowed else 'denied'} "
            f"by {', '.join(self.denied or self.limits)}: remaining={self.remaining} "
            f"retry_after={self.retry_after:.6f} reset_after={self.reset_after:.6f}>"
        )


class DecisionInLine(Decision):
    """The answer of a limit to one before whom others wait for more than it ever admits at once.

    Args:
        decision: What it answers to as much as it admits.
        wait: The µs until the turn comes.

    """

    __slots__ = ("_wait",)

    def __init__(self, decision: Decision, wait: int) -> None:
        self.page = decision.page
        self.key = decision.key
        self.cost = decision.cost
        self.now = decision.now
        self.verdict = False, decision.reading, None
        self._spent = 0
        self._wait = wait

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it says."""
        made, parts = super().__reduce__()
        return DecisionInLine, (made(*parts), self._wait)

    @property
    def retry_after_us(self) -> float:
        """`retry_after` in whole microseconds."""
        return self._wait


class CombinedDecision(Decision):
    """The answer of several limits to one question: allowed if all of them allow.

    `name` and `limit` are those of the tightest, `remaining` is what all of them would allow, and
    the durations are the longest.
    """

    __slots__ = ("_limits",)

    def __init__(self, limits: Mapping[str, Decision]) -> None:
        first = next(iter(limits.values()))
        self.page = first.page
        self.key = first.key
        self.cost = max(decision.cost for decision in limits.values())
        self.now = first.now
        self.verdict = all(limits.values()), (), None
        self._spent = 0
        self._limits = limits

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what each of them says."""
        return CombinedDecision, (dict(self._limits),)

    @property
    def name(self) -> str:
        """The name of the tightest limit."""
        return self._tightest.name

    @property
    def limits(self) -> Mapping[str, Decision]:
        """The answer of each limit by its name.

        Where another one denied, a limit that allows has charged nothing either.
        """
        return self._limits

    @property
    def denied(self) -> tuple[str, ...]:
        """The names of the limits that denied."""
        return tuple(name for name, decision in self._limits.items() if not decision.allowed)

    @property
    def _tightest(self) -> Decision:
        """The one that has to be waited for longest, else the one with the least left."""
        limits = self._limits.values()
        return min(limits, key=lambda decision: (-decision.retry_after_us, decision.remaining))

    @property
    def limit(self) -> int:
        """The largest cost that a key never used admits, of the tightest limit."""
        return self._tightest.limit

    @property
    def remaining(self) -> int:
        """The largest cost that all of the limits would allow now."""
        return min(decision.remaining for decision in self._limits.values())

    @property
    def reset_after(self) -> float:
        """The wait until all keys are as good as never used."""
        return max(decision.reset_after for decision in self._limits.values())

    @property
    def degraded(self) -> bool:
        """Whether another store than the one that was asked for took the decision."""
        return any(decision.degraded for decision in self._limits.values())

    @property
    def retry_after_us(self) -> float:
        """`retry_after` in whole microseconds, or infinity."""
        return max(decision.retry_after_us for decision in self._limits.values())

    @property
    def delay_us(self) -> int:
        """`delay` in whole microseconds."""
        return max(decision.delay_us for decision in self._limits.values())
