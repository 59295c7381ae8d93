"""Remember denials, and deny the same again without asking."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ratelimit.algorithms.base import Reading
    from ratelimit.stores.redis.wire import Transaction

_MOST = 10_000
"""How many denials to remember."""


class Denial(NamedTuple):
    """What a transaction was told, and when it asked."""

    asked: int
    """When it was asked for, in nanoseconds by our own clock."""
    turn: int
    """How often anything had changed by then."""
    now: int
    """When it was denied, in microseconds by the server's clock."""
    costs: tuple[int, ...]
    readings: tuple[Reading, ...]


class Denials:
    """What was denied lately: others can only have spent since, so it is denied still.

    A denial says how much there was. From that the algorithm tells what there would be now if
    nobody had spent; if even that is too little, the store would say the same. The time that has
    passed counts from before the question was sent, so it is never too short, and what the store
    would allow is never denied, unless somebody else gave something back, or reset the key.

    Args:
        length: For how long a denial is remembered at the most, in microseconds.
        clock: A function that returns nanoseconds.

    """

    def __init__(self, length: int, clock: Callable[[], int]) -> None:
        self._length = length
        self._clock = clock
        self._lock = Lock()
        self._denials: dict[str, Denial] = {}
        self._turn = 0
        self._changes: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the denials that are remembered."""
        return len(self._denials)

    def recall(self, request: Transaction) -> list[Decision] | None:
        """Deny a hit, or return None if the store has to say."""
        request.asked, request.turn = self._clock(), self._turn
        denial = self._denials.get(request.keys)
        if denial is None:
            return None
        age = -(-(request.asked - denial.asked) // 1_000)
        if not 0 <= age < self._length or self._has_changed(request, denial.turn):
            self._denials.pop(request.keys, None)
            return None
        return _denied(denial, request, denial.now + age)

    def keep(self, request: Transaction, *decisions: Decision) -> None:
        """Remember what a hit was told, if it was denied."""
        if not all(decisions):
            self._remember(request, decisions)
        elif self._denials:
            self._denials.pop(request.keys, None)

    def forget(self, request: Transaction) -> None:
        """Forget what was denied so far: what there is has changed."""
        with self._lock:
            if len(self._changes) >= _MOST:
                self._denials.clear()
                self._changes.clear()
            self._turn += 1
            self._changes.update(dict.fromkeys(request.names, self._turn))

    def _remember(self, request: Transaction, decisions: Sequence[Decision]) -> None:
        costs = tuple(decision.cost for decision in decisions)
        readings = tuple(decision.reading for decision in decisions)
        denial = Denial(request.asked, request.turn, decisions[0].now, costs, readings)
        with self._lock:
            if not self._length or self._has_changed(request, denial.turn):
                return
            if len(self._denials) >= _MOST:
                del self._denials[next(iter(self._denials))]
            self._denials[request.keys] = denial

    def _has_changed(self, request: Transaction, turn: int) -> bool:
        """Say whether any of the keys has changed since a turn."""
        changes = self._changes
        return bool(changes) and any(changes.get(name, 0) > turn for name in request.names)


def _denied(denial: Denial, request: Transaction, now: int) -> list[Decision] | None:
    """Return what the store would say now if nobody had spent since, if it is a denial."""
    decisions = []
    for (page, key, cost), asked, reading in zip(
        request.asks, denial.costs, denial.readings, strict=True
    ):
        recall = page.algorithm.recall
        later = recall(reading, asked, now, cost)
        if later is not None and later[0]:
            later = recall(reading, asked, now, 0)
        if later is None:
            return None
        decisions.append(Decision.of(page, key, cost, later[0], now, later[1], 0))
    return None if all(decisions) else decisions
