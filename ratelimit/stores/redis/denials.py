"""Remember denials, and deny the same again without asking.

A denial says how much there was. From that the algorithm tells what there would be now if nobody
had spent; if even that is too little, the store would say the same. To decide, the time that has
passed counts from before the question was sent: it is never too short, and what the store would
allow is never denied, unless somebody else gave something back, or reset the key. To tell how long
to wait, it counts from when the answer came, so that the wait is never too short either.
"""

from __future__ import annotations

from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ratelimit.decision import Decision
from ratelimit.forks import fork_safe
from ratelimit.stores.base import check_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimit.algorithms.base import Verdict
    from ratelimit.decision import Page
    from ratelimit.stores.redis.wire import Transaction

T = TypeVar("T")

_Denial = tuple[int, int, int, int, Decision]
"""When it was asked for and in which turn, until when the same is denied, how far the store's clock
is ahead of ours at the least, and the decision. Times are in nanoseconds by our own clock."""

_MOST = 10_000
"""How many denials to remember, of one limit or of all transactions of several."""


class Changes:
    """Which keys were charged, refunded or reset by this store, and in which turn."""

    def __init__(self) -> None:
        self.turn = 0
        """How often anything has changed."""
        self._lock = fork_safe(Lock())
        self._turns: dict[str, int] = {}
        self._forgotten = 0

    def note(self, names: Iterable[str]) -> None:
        """Take note that what there is at these keys has changed."""
        with self._lock:
            self._note(names)

    def note_own(self, names: Iterable[str], turn: int, all_names: Iterable[str]) -> int:
        """Take note of what somebody has changed who has asked for more since a turn.

        Returns:
            The turn that all of it may be taken to be asked in: this one, unless others have
            changed any of it meanwhile.

        """
        with self._lock:
            changed = self.since(turn, all_names)
            self._note(names)
            return turn if changed else self.turn

    def _note(self, names: Iterable[str]) -> None:
        if len(self._turns) >= _MOST:
            self._forgotten = self.turn
            self._turns.clear()
        self.turn += 1
        self._turns.update(dict.fromkeys(names, self.turn))

    def since(self, turn: int, names: Iterable[str]) -> bool:
        """Say whether any of the keys has changed since a turn, as far as that is known."""
        return any(self._turns.get(name, 0) > turn for name in names) or turn < self._forgotten


class Asked(NamedTuple):
    """When something was asked for."""

    at: int
    """In nanoseconds, by our own clock."""
    turn: int


class Latest(Generic[T]):
    """So many entries at the most: the oldest is forgotten first."""

    __slots__ = ("_lock", "entries")

    def __init__(self) -> None:
        self.entries: dict[str, T] = {}
        self._lock = fork_safe(Lock())

    def put(self, name: str, entry: T) -> None:
        """Keep an entry."""
        with self._lock:
            if len(self.entries) >= _MOST:
                del self.entries[next(iter(self.entries))]
            self.entries[name] = entry

    def drop(self, name: str) -> None:
        """Forget an entry, if there is one."""
        if name in self.entries:
            with self._lock:
                self.entries.pop(name, None)


class Denials:
    """What transactions of several limits were denied lately; what all limits of a store share.

    Args:
        length: For how long a denial is remembered at the most, in microseconds.
        clock: A function that returns nanoseconds.

    """

    def __init__(self, length: int, clock: Callable[[], int]) -> None:
        self.length = length * 1_000
        self.clock = clock
        self.changes = Changes()
        self._latest: Latest[tuple[Asked, int, list[Decision]]] = Latest()

    def now(self) -> Asked:
        """Return when something is asked for, if it is asked now."""
        return Asked(self.clock(), self.changes.turn)

    def recall(self, request: Transaction, now: Asked) -> list[Decision] | None:
        """Deny a hit, or return None if the store has to say."""
        denial = self._latest.entries.get(request.keys)
        if denial is None:
            return None
        asked, told_at, decisions = denial
        age = now.at - asked.at
        if not 0 <= age < self.length or self.changes.since(asked.turn, request.names):
            self._latest.drop(request.keys)
            return None
        return _denied(decisions, request, -(-age // 1_000), (now.at - told_at) // 1_000)

    def keep(self, request: Transaction, asked: Asked, decisions: list[Decision]) -> None:
        """Remember what a hit was told, if it was denied."""
        if all(decisions):
            self._latest.drop(request.keys)
        elif self.length and not self.changes.since(asked.turn, request.names):
            self._latest.put(request.keys, (asked, self.clock(), decisions))


class LimitDenials:
    """What one limit has denied lately, by key: to ask takes no longer than to ask memory.

    Args:
        denials: Those of the store.
        name_of: What returns the name of the key in Redis.
        page: Where its decisions were taken.

    """

    __slots__ = ("_changes", "_clock", "_latest", "_length", "_name_of", "recall")

    recall: Callable[[str, int], Decision | None]
    """Deny a hit, or return None if the store has to say: `recall(key, cost)`."""

    def __init__(self, denials: Denials, name_of: Callable[[str], str], page: Page) -> None:
        self._length = denials.length
        self._changes = denials.changes
        self._name_of = name_of
        self._clock = denials.clock
        self._latest: Latest[_Denial] = Latest()
        self.recall = self._recalling(page)

    def keep(self, key: str, asked: Asked, decision: Decision) -> None:
        """Remember what a hit was told, if it was denied."""
        if decision.verdict[0]:
            self._latest.drop(key)
        elif self._length and not self._has_changed(key, asked.turn):
            until = asked.at + min(self._length, _lasting(decision))
            ahead = decision.now * 1_000 - self._clock()
            self._latest.put(key, (*asked, until, ahead, decision))

    def _has_changed(self, key: str, turn: int) -> bool:
        return turn != self._changes.turn and self._changes.since(turn, [self._name_of(key)])

    def _recalling(self, page: Page) -> Callable[[str, int], Decision | None]:
        """Return `recall` with all that it looks up bound."""
        entries, clock, changes = self._latest.entries, self._clock, self._changes

        def recalling(key: str, cost: int) -> Decision | None:
            denial = entries.get(key) if type(key) is str else None
            if denial is None:
                return None
            at, turn, until, ahead, earlier = denial
            now = clock()
            if at <= now < until and cost is earlier.cost and turn == changes.turn:
                verdict = earlier.verdict
            elif (later := self._later(denial, key, cost, now)) is not None:
                verdict = later
            else:
                return None
            made = Decision()
            made.page = page
            made.key = key
            made.cost = cost
            made.now = (now + ahead) // 1_000
            made.verdict = verdict
            return made

        return recalling

    def _later(self, denial: _Denial, key: str, cost: int, now: int) -> Verdict | None:
        """Deny another cost, or what is past its wait; None if the store has to say."""
        check_cost(cost)
        at, turn, _, _, earlier = denial
        age = now - at
        if not 0 <= age < self._length or self._has_changed(key, turn):
            self._latest.drop(key)
            return None
        recall = earlier.page.algorithm.recall
        verdict = recall(earlier.verdict[1], earlier.cost, earlier.now - (-age // 1_000), cost)
        return None if verdict is None or verdict[0] else verdict


def _lasting(denial: Decision) -> int:
    """Return for how many ns the same cost is denied for the same reason, however clocks round."""
    wait = denial.retry_after_us
    return 0 if wait == inf else (int(wait) - 1) * 1_000 + 1


def _denied(
    denied: list[Decision], request: Transaction, most: int, least: int
) -> list[Decision] | None:
    """Return what the store would say now if nobody had spent since, if it is a denial.

    Args:
        denied: What it said earlier.
        request: What is asked now.
        most: How many µs that may be ago, for what is decided.
        least: How many it is at least, for what is told: a wait that is no shorter than it is.

    """
    decisions = []
    for (page, key, cost), earlier in zip(request.asks, denied, strict=True):
        recall, now = page.algorithm.recall, earlier.now + most
        later = recall(earlier.reading, earlier.cost, now, cost)
        if later is not None and later[0]:
            later = recall(earlier.reading, earlier.cost, now, 0)
        if later is None:
            return None
        told = earlier.now + least
        decisions.append(Decision.of(page, key, cost, later[0], told, later[1], 0))
    return None if all(decisions) else decisions
