"""Keep nothing, and give the same answer each time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Self

from ratelimit.algorithms.base import Algorithm
from ratelimit.decision import Decision
from ratelimit.quota import microseconds, whole
from ratelimit.stores.base import check_cost, check_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.algorithms.base import Charge, Reading, State, Verdict
    from ratelimit.decision import Page
    from ratelimit.stores.base import Ask


class Constant(Algorithm):
    """Allows or denies whatever was used, in the place of a limit whose numbers it takes.

    A cost that the limit never admits is denied for ever even so.

    Reading: what remains.
    """

    __slots__ = ("_remaining", "_wait")

    kind = "constant"
    reading_size = 1
    fresh: ClassVar[State] = ()

    def __init__(self, limit: Algorithm, remaining: int, wait: int) -> None:
        super().__init__(limit.quota, max_debt=limit.max_debt)
        self.max_cost = limit.max_cost
        self.horizon = 0
        self.args = ()
        self._remaining = remaining
        self._wait = wait

    @property
    def refuses(self) -> bool:
        """Whether it denies whatever costs anything."""
        return self._wait > 0

    def shared_by(self, nodes: int) -> Self:
        return self

    def decide(self, state: State, now: int, cost: int) -> Verdict:
        allowed = not cost or (not self.refuses and cost <= self.max_cost)
        return allowed, (self._remaining,), None

    def charge(self, state: State, now: int, cost: int) -> Charge:
        return 0, (self._remaining,), None

    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        return None

    def remaining(self, reading: Reading, now: int) -> int:
        return reading[0]

    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        return self._wait

    def reset_after(self, reading: Reading, now: int) -> int:
        return self._wait

    def effective_window(self, reading: Reading, now: int) -> int:
        return self._wait or self.quota.period_us

    def _options(self) -> str:
        return f", remaining={self._remaining}, wait={self._wait}"


class ConstantLedger:
    """One limit in a store that keeps nothing."""

    __slots__ = ("algorithm", "degraded", "name")

    algorithm: Algorithm

    def __init__(self, name: str, algorithm: Constant) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False

    def hit(self, key: str, cost: int = 1) -> Decision:
        """Say the same as always."""
        return _decision(self, key, cost)


class _ConstantStore:
    """A store that keeps nothing."""

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say the same as always."""
        return [_decision(*ask) for ask in asks]

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say the same as always."""
        return [_decision(*ask) for ask in asks]

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge nothing."""
        return [_decision(*ask, charged=True) for ask in asks]

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give nothing back, as nothing was charged."""
        return False

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget nothing, as nothing is known."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class AllowAll(_ConstantStore):
    """Allows whatever a limit admits at some time: for a fallback that rather lets all in."""

    def open(self, name: str, algorithm: Algorithm) -> ConstantLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return ConstantLedger(name, Constant(algorithm, algorithm.max_cost, 0))


class DenyAll(_ConstantStore):
    """Denies whatever costs anything: for a fallback that rather lets nobody in.

    Args:
        retry_after: The wait that it tells, in seconds.

    Raises:
        TypeError: `retry_after` is no number.
        ValueError: `retry_after` is not positive.

    """

    def __init__(self, *, retry_after: float = 1.0) -> None:
        wait = microseconds(retry_after, "retry_after")
        self._wait = whole(wait, "retry_after in microseconds", 1)

    def open(self, name: str, algorithm: Algorithm) -> ConstantLedger:
        """Return the ledger of the limit with this name and algorithm."""
        return ConstantLedger(name, Constant(algorithm, 0, self._wait))


def _decision(page: Page, key: str, cost: int, *, charged: bool = False) -> Decision:
    check_key(key)
    allowed, reading, _ = page.algorithm.decide((), 0, check_cost(cost))
    now = time.time_ns() // 1_000
    return Decision.of(page, key, cost, charged or allowed, now, reading, 0)


def refused(decision: Decision) -> bool:
    """Say whether a denial is for want of a store, and not because somebody has used too much."""
    algorithms = (decision.limits[name].page.algorithm for name in decision.denied)
    return any(isinstance(algorithm, Constant) and algorithm.refuses for algorithm in algorithms)
