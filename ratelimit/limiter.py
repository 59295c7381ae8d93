"""Ask, spend, wait, give back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Self

from ratelimit.errors import RateLimitExceeded, StoreError
from ratelimit.limits import (
    asked_of,
    at_most,
    check_names,
    check_own,
    combined,
    in_line,
    line_of,
    named,
    never_fits,
    of_limit,
    taken_from,
    unsettled,
    wait_of,
    with_line,
)
from ratelimit.quota import whole
from ratelimit.short_lived import made
from ratelimit.stores.base import Ask, check_cost
from ratelimit.stores.opening import is_own, open_store
from ratelimit.waiting import Deadline, Lines, Place, sleep

if TYPE_CHECKING:
    from types import TracebackType

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Decision
    from ratelimit.limits import Costs, Keys, Limits
    from ratelimit.stores.base import Store
    from ratelimit.stores.opening import OnError


class Limiter:
    """Limits, by key, on a store.

    Args:
        limits: One algorithm, or a mapping of names to algorithms: then each hit is one decision
            of all of them, all or nothing.
        store: Where states are kept: a store, or its URL (`"memory://"`, `"redis://..."`). A
            `MemoryStore` of its own if not given.
        name: The name of the limit, if there is one only. Limits of one name and algorithm on
            one store share their states, so those that are to be apart need names of their own.
        on_error: What to do while a store can't decide: `"raise"`, or `"local"` (decide in this
            process's memory), `"open"` (allow all) or `"closed"` (deny all). See `FallbackStore`.
        nodes: Among how many processes a limit is shared while each decides for itself.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: There is no limit, or a name, URL, `on_error` or `nodes` can't be used.

    """

    def __init__(
        self,
        limits: Limits,
        *,
        store: Store | str | None = None,
        name: str = "default",
        on_error: OnError = "raise",
        nodes: int = 1,
    ) -> None:
        self.limits: Mapping[str, Algorithm] = named(limits, name)
        self.store: Store = open_store(store, on_error, nodes)
        self._alone = not isinstance(limits, Mapping)
        self._pages = {each: self.store.open(each, self.limits[each]) for each in self.limits}
        self._lines: Lines[Place] = Lines()
        if self._alone and type(self).hit is Limiter.hit:
            vars(self)["hit"] = self._pages[name].hit
        if is_own(store):
            made(self, max(algorithm.horizon for algorithm in self.limits.values()))

    def hit(self, key: Keys, cost: Costs = 1) -> Decision:
        """Ask, and spend if it is allowed.

        A cost of 0 is always allowed and changes nothing.

        Raises:
            TypeError: A key is no `str`, or a cost no `int`.
            ValueError: A key is empty or too long, or a cost negative.
            StoreError: The store could not decide.

        """
        return combined(self.store.hit_all(self._asks(key, cost)), self._alone)

    def peek(self, key: Keys, cost: Costs = 1) -> Decision:
        """Ask whether `hit` would be allowed, and change nothing.

        Raises:
            TypeError, ValueError, StoreError: As `hit`.

        """
        return combined(self.store.peek_all(self._asks(key, cost)), self._alone)

    def charge(self, key: Keys, cost: Costs) -> Decision:
        """Spend whatever there is left, for what is known only afterwards.

        What goes beyond the limit is a debt, up to the algorithm's `max_debt`: every later hit
        is denied until it is worked off.

        Raises:
            TypeError, ValueError, StoreError: As `hit`.

        """
        return combined(self.store.charge_all(self._asks(key, cost)), self._alone)

    def refund(self, decision: Decision) -> bool:
        """Give back what a decision charged, at most once.

        Returns:
            Whether anything could still be given back.

        Raises:
            TypeError, ValueError: It is no decision, or another limiter's.
            StoreError: The store could not do it.

        """
        return self._refund(decision, None)

    def reset(self, key: Keys) -> None:
        """Forget a key, as if it had never been used.

        Raises:
            TypeError, ValueError, StoreError: As `hit`.

        """
        self.store.reset_all(self._asks(key, 0))

    def acquire(self, key: Keys, cost: Costs = 1, *, timeout: float | None = None) -> Decision:
        """Wait until it is allowed, and spend; first come, first served per key and limiter.

        A leaky bucket's delay is waited out too. In total it waits at most `timeout` seconds, or
        as long as it takes if that is None; if it would take longer, it is refused at once.

        Raises:
            RateLimitExceeded: It can't be allowed within the timeout, or never.
            TypeError, ValueError, StoreError: As `hit`.

        """
        deadline = Deadline(timeout)
        asked = asked_of(self._asks(key, cost))
        if never_fits(asked, self.limits):
            raise RateLimitExceeded(self.peek(key, cost))
        place = Place(line_of(key), asked)
        try:
            self._lines.join(place)
            if place.ahead:
                decision = self._peek_in_line(key, place)
                if deadline.is_before(wait_of(decision)):
                    raise RateLimitExceeded(decision)
            if not place.wait(deadline):
                decision = self._peek_in_line(key, place)
                if not decision:
                    raise RateLimitExceeded(decision)
            decision = self._hit_before(deadline, key, cost)
        finally:
            self._lines.leave(place)
        self._wait_out(decision)
        return decision

    def enter(self, key: Keys, cost: Costs = 1, *, timeout: float | None = None) -> Decision:
        """Spend or raise; with a timeout, wait that long for it. A leaky bucket's delay is kept.

        Raises:
            RateLimitExceeded: It is denied.
            TypeError, ValueError, StoreError: As `hit`.

        """
        if timeout is not None:
            return self.acquire(key, cost, timeout=timeout)
        decision = self.hit(key, cost)
        if not decision:
            raise RateLimitExceeded(decision)
        self._wait_out(decision)
        return decision

    def guard(self, key: Keys, cost: Costs = 1, *, timeout: float | None = None) -> Guard:
        """Return a context manager that does what `enter` does when it is entered."""
        return Guard(self, key, cost, timeout)

    def reserve(self, key: Keys, estimate: int, *, timeout: float | None = None) -> Reservation:
        """Spend an estimate now, and settle when the actual cost is known.

        What is never settled stays charged.

        Raises:
            RateLimitExceeded: The estimate is denied.
            TypeError, ValueError, StoreError: As `hit`.

        """
        decision = self.enter(key, check_cost(estimate), timeout=timeout)
        return Reservation(self, decision, key, estimate)

    def close(self) -> None:
        """Close the store. A store that was handed in is closed too; twice does no harm."""
        self.store.close()

    def __enter__(self) -> Self:
        """Return the limiter itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the store."""
        self.close()

    def _peek_in_line(self, key: Keys, place: Place) -> Decision:
        """Ask for what is wanted by those in line, up to and with this one."""
        wanted = in_line(place)
        most = at_most(wanted, self.limits, self._alone)
        return with_line(self.peek(key, most), wanted, self._alone)

    def _hit_before(self, deadline: Deadline, key: Keys, cost: Costs) -> Decision:
        while True:
            asks = self._asks(key, cost, deadline.left_us)
            decision = combined(self.store.hit_all(asks), self._alone)
            if decision:
                return decision
            if deadline.is_before(wait_of(decision)):
                raise RateLimitExceeded(decision)
            sleep(decision.retry_after)

    def _wait_out(self, decision: Decision) -> None:
        try:
            sleep(decision.delay)
        except BaseException:
            with suppress(StoreError):  # what can't be given back stays charged
                self.refund(decision)
            raise

    def _refund(self, decision: Decision, at_most: int | None) -> bool:
        check_own(decision, self.limits)
        taken = taken_from(decision.limits.values(), at_most)
        return bool(taken) and self.store.refund_all(taken)

    def _asks(self, key: Keys, cost: Costs, patience: float = inf) -> list[Ask]:
        asks = []
        for name, algorithm in self.limits.items():
            patient = algorithm.within(patience)
            page = self._pages[name]
            if patient is not algorithm:
                page = self.store.open(name, patient)
            one_key = of_limit(key, name, "key", self._alone)
            asks.append(Ask(page, one_key, of_limit(cost, name, "cost", self._alone)))
        check_names(key, self.limits)
        check_names(cost, self.limits)
        return asks


class Guard:
    """Spends when it is entered, or raises `RateLimitExceeded`."""

    __slots__ = ("_cost", "_key", "_limiter", "_timeout")

    def __init__(self, limiter: Limiter, key: Keys, cost: Costs, timeout: float | None) -> None:
        self._limiter = limiter
        self._key = key
        self._cost = cost
        self._timeout = timeout

    def __enter__(self) -> Decision:
        """Spend, and return the decision."""
        return self._limiter.enter(self._key, self._cost, timeout=self._timeout)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave things as they are: what was spent stays spent."""


class Reservation:
    """An estimate that was charged; as a context manager it stays charged if not settled."""

    __slots__ = ("_estimate", "_key", "_limiter", "decision")

    def __init__(self, limiter: Limiter, decision: Decision, key: Keys, estimate: int) -> None:
        self.decision = decision
        self._limiter = limiter
        self._key = key
        self._estimate: int | None = estimate

    def settle(self, actual: int) -> None:
        """Give back what was too much, or charge what was too little.

        Raises:
            TypeError, ValueError: `actual` is no whole number, or negative.
            RuntimeError: It was settled before.
            StoreError: The store could not do it.

        """
        more = whole(actual, "an actual cost", 0) - unsettled(self._estimate)
        self._estimate = None
        if more > 0:
            self._limiter.charge(self._key, more)
        elif more < 0:
            self._limiter._refund(self.decision, -more)

    def __enter__(self) -> Self:
        """Return the reservation itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave things as they are: what isn't settled stays charged."""
