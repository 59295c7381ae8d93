"""Keep states in this process."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING, cast

from ratelimit.decision import Decision
from ratelimit.forks import fork_safe
from ratelimit.quota import whole
from ratelimit.stores.base import check_cost, check_key, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimit.algorithms.base import Algorithm, State
    from ratelimit.stores.base import Ask, AsyncHit, Hit

    Asks = Sequence[tuple["MemoryLedger", str, int]]

_FREED_PER_NEW_KEY = 16
_CANDIDATES = 8
_MOST_CANDIDATES = 64


class Shelf:
    """The states of one limit, in two generations.

    Once per horizon the older generation is dropped: nobody in it has been asked for a horizon,
    so its states are as good as fresh ones.
    """

    __slots__ = ("algorithm", "horizon", "older", "recent", "turn_at")

    def __init__(self, algorithm: Algorithm, now: int) -> None:
        self.algorithm = algorithm
        self.horizon = algorithm.horizon
        self.recent: dict[str, State] = {}
        self.older: dict[str, State] = {}
        self.turn_at = now + self.horizon

    def __len__(self) -> int:
        """Count the keys."""
        return len(self.recent) + len(self.older)


class MemoryLedger:
    """One limit in a `MemoryStore`."""

    __slots__ = ("algorithm", "degraded", "hit", "name", "shelf")

    hit: Hit
    """Ask, and spend if it is allowed: `hit(key, cost=1)`."""

    def __init__(self, store: MemoryStore, name: str, algorithm: Algorithm, shelf: Shelf) -> None:
        self.name = name
        self.algorithm = algorithm
        self.degraded = False
        self.shelf = shelf
        self.hit = _hit_of(store, self, shelf)


class MemoryStore:
    """States in a dict a limit, under one lock: for one process, and any number of threads.

    There is no thread, timer or sweep. Keys are forgotten once their states are as good as
    fresh. Under a flood of new keys the least used of a few candidates is forgotten before that,
    and one that is exhausted only if nobody else is found, so that a flood doesn't reset a
    blocked client.

    Args:
        max_keys: How many keys to remember at the most.
        clock: A function that returns the time in microseconds since the epoch, in place of a
            monotonic clock that was set by the wall clock when the store was made.

    Raises:
        TypeError: `max_keys` is no `int`.
        ValueError: `max_keys` is smaller than 1.

    """

    def __init__(
        self, *, max_keys: int = 1_000_000, clock: Callable[[], int] | None = None
    ) -> None:
        self.max_keys = whole(max_keys, "max_keys", 1)
        self.evictions = 0
        """How many keys were forgotten early, for want of room."""
        self.ticks: Callable[[], int] = time.monotonic_ns if clock is None else _in_ns(clock)
        self.epoch = (time.time_ns() - time.monotonic_ns()) // 1_000 if clock is None else 0
        self.lock = fork_safe(RLock())
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._condemned: list[dict[str, State]] = []

    def __len__(self) -> int:
        """Count the keys that are remembered."""
        return sum(map(len, self._shelves.values()))

    def now(self) -> int:
        """Return the time in microseconds since the epoch."""
        return self.ticks() // 1_000 + self.epoch

    def open(self, name: str, algorithm: Algorithm) -> MemoryLedger:
        """Return the ledger of the limit with this name and kind of algorithm.

        Limits of one name and kind share their states, even where their numbers differ.
        """
        check_name(name)
        with self.lock:
            shelf = self._shelves.setdefault((name, algorithm.kind), Shelf(algorithm, self.now()))
            shelf.horizon = max(shelf.horizon, algorithm.horizon)
        return MemoryLedger(self, name, algorithm, shelf)

    def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        return self.decide_all(_checked(asks))[1]

    def decide_all(self, asks: Asks) -> tuple[bool, list[Decision]]:
        """Do what `hit_all` does with keys and costs that are known to be right.

        Returns:
            Whether all of them allow, and the decisions.

        """
        with self.lock:
            now = self.now()
            decisions, allowed, known = self._decided(asks, now)
            if not allowed:
                self._undo(decisions, now)
                self._keep_denied(decisions, now)
                return False, decisions
            for decision in decisions:
                after = decision.verdict[2]
                if after is None:
                    continue
                shelf: Shelf = decision.page.shelf  # type: ignore[attr-defined] # cast is a call
                if known:
                    shelf.recent[decision.key] = after
                else:
                    self.keep(shelf, decision.key, after, now)
        return True, decisions

    def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and change nothing."""
        checked = _checked(asks)
        with self.lock:
            now = self.now()
            decisions, _, _ = self._decided(checked, now)
            self._undo(decisions, now)
        return decisions

    def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        decisions = []
        checked = _checked(asks)
        with self.lock:
            now = self.now()
            for page, key, cost in checked:
                state = self.state_of(page.shelf, key, now)
                spent, reading, after = page.algorithm.charge(state, now, cost)
                if after is not None:
                    self.keep(page.shelf, key, after, now)
                decisions.append(Decision.of(page, key, cost, True, now, reading, spent))
        return decisions

    def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        given = False
        with self.lock:
            now = self.now()
            for decision, cost in decisions:
                key, algorithm = decision.key, decision.page.algorithm
                shelf = self._shelves[decision.page.name, algorithm.kind]
                state = self.state_of(shelf, key, now)
                after = algorithm.refund(state, now, cost, decision.reading)
                if after is not None:
                    self.keep(shelf, key, after, now)
                    given = True
        return given

    def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        checked = _checked(asks)
        with self.lock:
            for page, key, _ in checked:
                page.shelf.recent.pop(key, None)
                page.shelf.older.pop(key, None)

    def clear(self) -> None:
        """Forget all keys."""
        with self.lock:
            for shelf in self._shelves.values():
                shelf.recent, shelf.older = {}, {}

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _decided(self, asks: Asks, now: int) -> tuple[list[Decision], bool, bool]:
        """Return what is decided on each, whether all are allowed, and whether all keys are known.

        Nothing is kept yet.
        """
        decisions = []
        allowed = known = True
        for page, key, cost in asks:
            shelf = page.shelf
            recent = shelf.recent
            if key in recent and now < shelf.turn_at:
                state = recent[key]
            else:
                known = False
                state = self.state_of(shelf, key, now)
            made = Decision()
            made.page = page
            made.key = key
            made.cost = cost
            made.now = now
            made.verdict = verdict = page.algorithm.decide(state, now, cost)
            if not verdict[0]:
                allowed = False
            decisions.append(made)
        return decisions, allowed, known

    def _undo(self, decisions: Iterable[Decision], now: int) -> None:
        """Let decisions have charged nothing, and take back what isn't kept."""
        for decision in decisions:
            if decision.verdict[0]:
                page = cast("MemoryLedger", decision.page)
                state = self.state_of(page.shelf, decision.key, now)
                decision.verdict = True, page.algorithm.decide(state, now, 0)[1], None
                decision._spent = 0

    def _keep_denied(self, decisions: Iterable[Decision], now: int) -> None:
        """Keep what a denial has put right: a state from a clock that ran ahead."""
        for decision in decisions:
            allowed, _, after = decision.verdict
            if after is not None and not allowed:
                self.keep(cast("MemoryLedger", decision.page).shelf, decision.key, after, now)

    def state_of(self, shelf: Shelf, key: str, now: int) -> State:
        """Return the state of a key, under the lock."""
        if now >= shelf.turn_at:
            self._turn(shelf, now)
        state = shelf.recent.get(key)
        if state is not None:
            return state
        check_key(key)
        state = shelf.older.pop(key, None)
        if state is not None:
            shelf.recent[key] = state
            return state
        return shelf.algorithm.fresh

    def keep(self, shelf: Shelf, key: str, state: State, now: int) -> None:
        """Keep the state of a key, under the lock, and make room if it is a new one."""
        if now >= shelf.turn_at:
            self._turn(shelf, now)
            shelf.older.pop(key, None)
        if key not in shelf.recent:
            self._free()
            if len(self) >= self.max_keys:
                self._evict(now)
        shelf.recent[key] = state

    def mend(self, shelf: Shelf, key: str) -> None:
        """Take back what was decided and not kept, and release the lock, if it is ours."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            check_key(key)
            shelf.algorithm.decide(shelf.recent.get(key, shelf.algorithm.fresh), 0, 0)
        finally:
            with suppress(RuntimeError):
                self.lock.release()
                self.lock.release()

    def _turn(self, shelf: Shelf, now: int) -> None:
        """Drop the older generation. It is freed bit by bit, as a million keys take 50 ms."""
        self._condemned.append(shelf.older)
        if now >= shelf.turn_at + shelf.horizon:
            self._condemned.append(shelf.recent)
            shelf.recent = {}
        shelf.older, shelf.recent = shelf.recent, {}
        shelf.turn_at = now + shelf.horizon

    def _free(self) -> None:
        """Free some of what was dropped."""
        condemned = self._condemned
        for _ in range(_FREED_PER_NEW_KEY):
            while condemned and not condemned[-1]:
                condemned.pop()
            if not condemned:
                return
            condemned[-1].popitem()

    def _evict(self, now: int) -> None:
        """Forget the least used of some keys, and keep the others for another round."""
        shelf = max(self._shelves.values(), key=len)
        candidates: list[tuple[tuple[int, int], str, State]] = []
        while len(candidates) < _MOST_CANDIDATES:
            if not shelf.older:
                shelf.older, shelf.recent = shelf.recent, {}
                shelf.turn_at = now + shelf.horizon
            if not shelf.older:
                break
            key, state = shelf.older.popitem()
            left = _left(shelf.algorithm, state, now)
            candidates.append((left, key, state))
            expired = not left[1]
            if expired or (len(candidates) >= _CANDIDATES and max(candidates)[0][0]):
                break
        least_used = max(candidates)
        shelf.recent.update((key, state) for _, key, state in candidates if key != least_used[1])
        self.evictions += 1


def _left(algorithm: Algorithm, state: State, now: int) -> tuple[int, int]:
    """Return what a key has left, and the time until it has all (negative), to compare keys."""
    reading = algorithm.decide(state, now, 0)[1]
    return algorithm.remaining(reading, now), -algorithm.reset_after(reading, now)


def _in_ns(clock: Callable[[], int]) -> Callable[[], int]:
    return lambda: clock() * 1_000


def _checked(asks: Sequence[Ask]) -> Asks:
    """Check all keys and costs before anything is decided."""
    for _, key, cost in asks:
        check_key(key)
        check_cost(cost)
    return cast("Asks", asks)


def _hit_of(store: MemoryStore, ledger: MemoryLedger, shelf: Shelf) -> Hit:
    """Return `hit` with all that it looks up bound: a fifth faster than a method.

    The lock is taken inside the `try`, in half the time of `with`. As it knows its owner, one who
    is interrupted while waiting for it can't release somebody else's.
    """
    decide = ledger.algorithm.decide
    state_of, keep, mend = store.state_of, store.keep, store.mend
    ticks, epoch, one = store.ticks, store.epoch, 1
    acquire, release = store.lock.acquire, store.lock.release

    def hit(key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        if cost is not one:
            check_cost(cost)
        try:
            acquire()
            now = ticks() // 1_000 + epoch
            recent = shelf.recent
            if key in recent:
                verdict = decide(recent[key], now, cost)
                after = verdict[2]
                if after is not None:
                    if now < shelf.turn_at:
                        recent[key] = after
                    else:
                        keep(shelf, key, after, now)
            else:
                verdict = decide(state_of(shelf, key, now), now, cost)
                if verdict[2] is not None:
                    keep(shelf, key, verdict[2], now)
            release()
        except BaseException:
            mend(shelf, key)
            raise
        made = Decision()
        made.page = ledger
        made.key = key
        made.cost = cost
        made.now = now
        made.verdict = verdict
        return made

    return hit


class AsyncMemoryLedger:
    """One limit in a `MemoryStore`, for code that awaits."""

    __slots__ = ("algorithm", "degraded", "hit", "name", "shelf")

    hit: AsyncHit
    """Ask, and spend if it is allowed: `await hit(key, cost=1)`."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self.name = ledger.name
        self.algorithm = ledger.algorithm
        self.degraded = ledger.degraded
        self.shelf = ledger.shelf
        self.hit = _async(ledger.hit)


class AsyncMemoryStore:
    """A `MemoryStore` for code that awaits. It never waits: its lock is held for a microsecond."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store

    def open(self, name: str, algorithm: Algorithm) -> AsyncMemoryLedger:
        """Return the ledger of the limit with this name and kind of algorithm."""
        return AsyncMemoryLedger(self.store.open(name, algorithm))

    async def hit_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them if all of them allow, else none."""
        return self.store.hit_all(asks)

    async def peek_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Say what `hit_all` would, and change nothing."""
        return self.store.peek_all(asks)

    async def charge_all(self, asks: Sequence[Ask]) -> list[Decision]:
        """Charge all of them, whatever there is left."""
        return self.store.charge_all(asks)

    async def refund_all(self, decisions: Sequence[tuple[Decision, int]]) -> bool:
        """Give back so many units of each decision; whether anything could be given back."""
        return self.store.refund_all(decisions)

    async def reset_all(self, asks: Sequence[Ask]) -> None:
        """Forget the keys."""
        self.store.reset_all(asks)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


def _async(hit: Hit) -> AsyncHit:
    async def async_hit(key: str, cost: int = 1) -> Decision:
        """Ask, and spend if it is allowed."""
        return hit(key, cost)

    return async_hit
