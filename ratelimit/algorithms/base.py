"""What an algorithm is: whole-number arithmetic, and nothing else.

An algorithm knows no clock, no lock, no client and no `await`. Whoever keeps the states hands in
the state and the time, and gets back the answer and the state to keep.

Times and durations are whole microseconds, costs whole units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from ratelimit.quota import Quota, whole

State = tuple[Any, ...]
"""What is kept for a key: a tuple, never changed, so that many keys cost the collector nothing."""

Reading = tuple[int, ...]
"""What a decision was made by: the numbers as they stand after it."""

Verdict = tuple[bool, State, State | None]
"""Allowed or not; the reading, perhaps with more of the state behind it; the state to keep, or None
to leave everything as it is."""

Charge = tuple[int, Reading, State | None]
"""The units charged; the reading; the state to keep, or None to leave everything as it is."""


class Algorithm(ABC):
    """How a limit counts.

    `decide`, `charge` and `refund` run where the state lives, so each has its twin in the `.lua`
    file of the same stem. What a decision means (`remaining` and the others) is worked out from
    its reading, in Python alone, when somebody asks.

    Args:
        quota: How much, per how long: a `Quota` or its text.
        max_debt: How many units `charge` may go beyond what there is; more is forgiven. As many
            as the quota's limit if not given.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: A number is out of range, or the numbers together exceed exact arithmetic.

    """

    __slots__ = ("args", "horizon", "max_cost", "max_debt", "quota")

    kind: ClassVar[str]
    """The algorithm's name in keys and scripts: the stem of its two files."""
    reading_size: ClassVar[int]
    """How many numbers a reading has."""
    fresh: ClassVar[State]
    """The state of a key that was never used."""

    quota: Quota
    max_cost: int
    """The largest cost that a key never used admits."""
    max_debt: int
    horizon: int
    """After this long without a hit, any state equals a fresh one."""
    args: tuple[int, ...]
    """The numbers that the Lua twin needs."""

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        self.quota = Quota.of(quota)
        self.max_debt = self.quota.limit if max_debt is None else whole(max_debt, "max_debt", 0)
        self.max_cost = self.quota.limit

    def within(self, patience: float) -> Self:
        """Return the algorithm for someone who waits at most `patience` µs for their turn.

        Only a queue makes its callers wait after it has allowed them, so only its answer differs.
        """
        return self

    def shared_by(self, nodes: int) -> Self:
        """Return the algorithm for one of so many who share the limit; it knows no debt.

        Each gets an equal part in whole units, and at least 1.
        """
        share = Quota(max(1, self.quota.limit // nodes), self.quota.period)
        return type(self)(share, max_debt=0)

    @abstractmethod
    def decide(self, state: State, now: int, cost: int) -> Verdict:
        """Say whether `cost` is allowed, and what to keep if it is then charged.

        What is to be kept may share a buffer with `state`. Who doesn't keep it asks again with a
        cost of 0, which is always allowed, changes nothing, and takes back what wasn't kept.
        """

    @abstractmethod
    def charge(self, state: State, now: int, cost: int) -> Charge:
        """Charge `cost` whatever there is left, up to `max_debt` beyond it."""

    @abstractmethod
    def refund(self, state: State, now: int, cost: int, reading: Reading) -> State | None:
        """Give back `cost` that the decision with this reading charged.

        Returns:
            The state to keep, or None if there is nothing left to give back.

        """

    def recall(self, reading: Reading, asked: int, now: int, cost: int) -> Verdict | None:
        """Decide on `cost` by the reading of an earlier decision, as if nobody had spent since.

        Here the reading is taken for the state, which it is where both have the same numbers.

        Args:
            reading: What the earlier decision was made by; it charged nothing.
            asked: What the earlier decision was asked for.
            now: The time, not before that of the earlier decision.
            cost: What is asked for this time.

        Returns:
            The verdict, or None if the earlier reading doesn't tell.

        """
        return self.decide(reading, now, cost)

    @abstractmethod
    def remaining(self, reading: Reading, now: int) -> int:
        """Return the largest cost that would be allowed now."""

    @abstractmethod
    def retry_after(self, reading: Reading, now: int, cost: int) -> int:
        """Return the wait after which `cost` (at most `max_cost`) is allowed; it isn't now."""

    @abstractmethod
    def reset_after(self, reading: Reading, now: int) -> int:
        """Return the wait until the key is as good as never used."""

    @abstractmethod
    def effective_window(self, reading: Reading, now: int) -> int:
        """Return the time within which no more than what remains can be used (`t` in headers)."""

    def available(self, reading: Reading, now: int) -> tuple[int, int]:
        """Return what remains, and the effective window: all that a header field tells."""
        return self.remaining(reading, now), self.effective_window(reading, now)

    def delay(self, reading: Reading, now: int, cost: int) -> int:
        """Return how long an allowed hit of `cost` is to be held back."""
        return 0

    def _options(self) -> str:
        """Return the arguments beside the quota, as Python reads them."""
        return "" if self.max_debt == self.quota.limit else f", max_debt={self.max_debt}"

    def __repr__(self) -> str:
        """Say it as Python reads it."""
        return f"{type(self).__name__}({str(self.quota)!r}{self._options()})"

    def __eq__(self, other: object) -> bool:
        """Compare the kind and the numbers."""
        if not isinstance(other, Algorithm):
            return NotImplemented
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        """Hash the kind and the numbers."""
        return hash(repr(self))
