"""What was decided on a request, for those who come later.

`scope["ratelimit"]` is the request's `Room`; in the scope itself, as not every server and test
client gives each request a `scope["state"]` of its own. Whoever decides on the request (middleware,
decorators, dependencies) leaves its decisions there with `record`, in the order in which they are
taken; the outermost middleware tells them to the client when the response starts, and gives back
what they charged if one that came later denies. Applications read them with `decisions`, and
change them with `charge` and `refund`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ratelimit.asgi.doubts import doubt_twice
from ratelimit.asgi.protocol import scope_of
from ratelimit.decision import CombinedDecision
from ratelimit.limits import taken_from
from ratelimit.stores.base import Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimit.asgi.answers import Answers
    from ratelimit.asgi.limit import Entry, Limit
    from ratelimit.asgi.protocol import Connection, Scope
    from ratelimit.decision import Decision
    from ratelimit.stores.base import AsyncStore

    Hook = Callable[[Scope, Limit, Decision], object]
    """What is called once for each decision, as soon as it is taken."""

ROOM = "ratelimit"

_logger = logging.getLogger(__name__)


class Room:
    """The decisions on one request."""

    entries: Sequence[Entry] = ()
    """All of them, in the order in which they were taken."""
    hook: Hook | None = None
    answers: Answers | None = None
    """How the outermost middleware answers, if there is one."""
    begun: float | None = None
    """When the request came, by a clock that counts seconds, if that is told."""
    timing: Sequence[tuple[bytes, bytes]] = ()
    """The field that tells how long it took to decide, if that is told."""
    is_mixed = False
    """Whether others may have decided than the limits of one plan, each once."""
    started = False
    """Whether the response has started, so that nothing can be told any more."""

    def keep(self, scope: Scope, entries: Sequence[Entry]) -> None:
        """Keep decisions that were just taken, on different limits that all enforce."""
        if self.entries or self.hook is not None:
            self.add(scope, entries)
        else:
            self.entries = entries

    def add(self, scope: Scope, entries: Iterable[Entry]) -> None:
        """Keep decisions that were just taken, on any limits, and call the hook for each."""
        self.is_mixed = True
        entries = list(entries)
        if self.entries:
            doubt_twice(self.entries, entries)
        if self.hook is None:
            self.entries = [*self.entries, *entries]
            return
        for limit, decision in entries:
            self.entries = [*self.entries, (limit, decision)]
            try:
                self.hook(scope, limit, decision)
            except Exception:
                _logger.exception("on_decision failed for the limit %r", limit.name)

    def take_over(self, other: Room) -> None:
        """Keep what was decided in another room, whose hook has heard of it."""
        self.is_mixed = True
        if self.entries:
            doubt_twice(self.entries, other.entries)
        self.entries = [*self.entries, *other.entries]

    def renew(self, scope: Scope, entries: Sequence[Entry]) -> None:
        """Do what `add` does, and forget what the same limits have decided before.

        For what lasts and decides again and again, so that nothing piles up.
        """
        names = {limit.name for limit, _ in entries}
        self.entries = [entry for entry in self.entries if entry[0].name not in names]
        self.add(scope, entries)

    @property
    def latest(self) -> list[Entry]:
        """The last decision of each limit."""
        return list({entry[0].name: entry for entry in self.entries}.values())

    @property
    def told(self) -> Sequence[Entry]:
        """What clients are told: the last decision of each limit that doesn't only report."""
        if not self.is_mixed:
            return self.entries
        return [entry for entry in self.latest if not entry[0].shadow]

    @property
    def decision(self) -> Decision:
        """All of them as one decision; there has to be one at least."""
        entries = self.told or self.latest
        if len(entries) == 1:
            return entries[0][1]
        return CombinedDecision({limit.name: decision for limit, decision in entries})


def enter(
    scope: Scope, hook: Hook | None = None, answers: Answers | None = None
) -> tuple[Room, bool]:
    """Return a request's room, and whether whoever enters is the first who answers for it.

    One who stands outside of all that answer may have made it, to look at it or to record.
    """
    room: Room | None = scope.get(ROOM)
    if room is None:
        room = scope[ROOM] = Room()
    elif answers is None or room.answers is not None:
        return room, False
    room.hook = hook
    room.answers = answers
    return room, True


def record(request: Scope | Connection, *entries: Entry) -> None:
    """Leave decisions that were just taken, each with its limit, for those who come later."""
    scope = scope_of(request)
    enter(scope)[0].add(scope, entries)


def decisions(request: Scope | Connection) -> dict[str, Decision]:
    """Return what was decided on a request, by the limits' names, in the order it was taken.

    Of a limit that decided more than once it is the last decision. Limits that only report are
    among them.

    Args:
        request: A scope, or an object that has one, such as Starlette's `Request`.

    """
    room, _ = enter(scope_of(request))
    return {limit.name: decision for limit, decision in room.latest}


async def charge(request: Scope | Connection, cost: int, name: str | None = None) -> Decision:
    """Spend more on a request, whatever there is left: what is known only after the work.

    What goes beyond the limit is a debt, up to the algorithm's `max_debt`. If the response hasn't
    started, it tells what is left afterwards. A WebSocket can be charged again and again: then
    only the last charge of each limit can be given back.

    Args:
        request: A scope, or an object that has one, such as Starlette's `Request`.
        cost: How many units.
        name: The limit to charge. It can be left out if only one has decided on the request.

    Raises:
        TypeError, ValueError: The cost is no whole number or negative.
        LookupError: No such limit has decided on the request, or several have and none is named.
        StoreError: The store could not do it.

    """
    scope = scope_of(request)
    room, _ = enter(scope)
    limit, decision = _one(room.latest, name)
    (charged,) = await limit.store.charge_all([Ask(limit.ledger, decision.key, cost)])
    keep = room.renew if scope["type"] == "websocket" else room.add
    keep(scope, [(limit, charged)])
    return charged


async def refund(request: Scope | Connection, name: str | None = None) -> bool:
    """Give back what was charged for a request, at most once.

    Args:
        request: A scope, or an object that has one, such as Starlette's `Request`.
        name: The limit; all that have decided on the request if not given.

    Returns:
        Whether anything could still be given back.

    Raises:
        StoreError: The store could not do it.

    """
    room, _ = enter(scope_of(request))
    return await give_back(entry for entry in room.entries if name is None or entry[0].name == name)


async def give_back(entries: Iterable[Entry]) -> bool:
    """Give back what the decisions charged; whether anything could be."""
    by_store: dict[AsyncStore, list[Decision]] = {}
    for limit, decision in entries:
        by_store.setdefault(limit.store, []).append(decision)
    given = [
        await store.refund_all(taken)
        for store, each in by_store.items()
        if (taken := taken_from(each, None))
    ]
    return any(given)


def _one(entries: list[Entry], name: str | None) -> Entry:
    if name is None and len(entries) == 1:
        return entries[0]
    for entry in entries:
        if entry[0].name == name:
            return entry
    names = ", ".join(repr(limit.name) for limit, _ in entries) or "no limit"
    if name is None:
        raise LookupError(f"name the limit to charge: {names} decided on this request")
    raise LookupError(f"{name!r} hasn't decided on this request; {names} did")
