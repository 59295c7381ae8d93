"""Hold requests back until it is their turn."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ratelimit.asgi.plan import give_back_calmly, hit, peek
from ratelimit.limits import in_line, with_line
from ratelimit.waiting import AsyncPlace, Deadline, Lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ratelimit.asgi.limit import Entry, Part
    from ratelimit.asgi.listening import Deaf, Listener
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.protocol import Scope
    from ratelimit.asgi.state import Room


class Crowded(Exception):
    """As many requests as may be are held back already."""


class Holding:
    """Where requests wait: first come, first served, by the keys that they wait for.

    Args:
        most: How many requests may be held back at once.

    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        """How many are held back now."""
        self._lines: Lines[AsyncPlace] = Lines()

    async def decide(self, plan: Plan, scope: Scope, room: Room, listener: Listener | Deaf) -> bool:
        """Decide a plan as soon as all of its rules allow; whether they do in time.

        Raises:
            Crowded: Too many are held back to wait for a turn that was had.
            HungUp: The client has hung up; nothing is charged.
            StoreError: The store can't decide.

        """
        if plan.is_plain:
            return await plan.decide(scope, room)
        before = len(room.entries)
        if plan.waits:
            entries = await self._hit(plan, scope, listener)
            room.keep(scope, entries)
            if not all(decision for _, decision in entries):
                return False
            await plan.shadow(scope, room)
        elif not await plan.decide(scope, room):
            return False
        ours = [entry for entry in room.entries[before:] if not entry[0].shadow]
        await self._wait_out(ours, listener)
        return True

    async def _hit(self, plan: Plan, scope: Scope, listener: Listener | Deaf) -> list[Entry]:
        """Charge all parts as soon as all of them allow, or return why that is too late."""
        parts = await plan.parts(scope)
        if any(part.cost > part.limit.algorithm.max_cost for part in parts):
            return await hit(parts)
        loop = asyncio.get_running_loop()
        end = loop.time() + plan.patience(parts)
        asked = {part.limit.name: part.cost for part in parts if part.limit.name in plan.waits}
        place = AsyncPlace((id(loop), plan.line(parts)), asked)
        try:
            self._lines.join(place)
            if place.ahead:
                entries = await _peek_in_line(parts, place)
                if loop.time() + plan.wait_of(entries) > end:
                    return entries
                if not await self._turn(place, end - loop.time(), listener):
                    return await hit(parts)
            while True:
                entries = await hit(parts)
                wait = plan.wait_of(entries)
                if not wait or loop.time() + wait > end or self.held >= self.most:
                    return entries
                await self._sleep(wait, listener)
        finally:
            self._lines.leave(place)

    async def _wait_out(self, entries: Sequence[Entry], listener: Listener | Deaf) -> None:
        """Wait for a turn; if it is given up before, it isn't charged."""
        delay = max((decision.delay for _, decision in entries), default=0)
        if not delay:
            return
        try:
            await self._sleep(delay, listener)
        except BaseException:
            await give_back_calmly(entries)
            raise

    async def _sleep(self, seconds: float, listener: Listener | Deaf) -> None:
        with self._held():
            await listener.wait_for(asyncio.sleep(seconds))

    async def _turn(self, place: AsyncPlace, patience: float, listener: Listener | Deaf) -> bool:
        """Wait for the first place in the line; whether it was had in time."""
        try:
            with self._held():
                return await listener.wait_for(place.wait(Deadline(max(0, patience))))
        except Crowded:
            return False

    @contextmanager
    def _held(self) -> Iterator[None]:
        if self.held >= self.most:
            raise Crowded
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


async def _peek_in_line(parts: Sequence[Part], place: AsyncPlace) -> list[Entry]:
    """Ask for what is wanted by those in line, up to and with this one."""
    wanted = {part.limit.name: part.cost for part in parts} | in_line(place)
    entries = await peek([part.at_most(wanted[part.limit.name]) for part in parts])
    return [(limit, with_line(decision, wanted, alone=True)) for limit, decision in entries]
