"""Share what is done: for each event loop apart, or by one for all."""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop
from typing import TYPE_CHECKING, TypeVar

from ratelimit.forks import fork_safe

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerLoop(dict[AbstractEventLoop, T]):
    """What belongs to each event loop, made when it is first looked up there.

    Args:
        make: Makes one, on the loop that it is for.

    """

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make
        self._guard = fork_safe(threading.Lock())

    def __missing__(self, loop: AbstractEventLoop) -> T:
        """Make one, and forget those of loops that are closed."""
        made = self._make()
        with self._guard:
            for other in list(self):
                if other.is_closed():
                    self.pop(other, None)
            self[loop] = made
        return made


class Turn:
    """What one thread does while the others wait until it is done."""

    def __init__(self) -> None:
        self._guard = fork_safe(threading.Lock())
        self._done = threading.Event()
        self._done.set()

    @property
    def is_taken(self) -> bool:
        """Whether somebody is at it."""
        return not self._done.is_set()

    def take(self, timeout: float) -> bool:
        """Take the turn, or wait until whoever has it is done; return whether it was taken.

        Raises:
            TimeoutError: It takes longer, in seconds.

        """
        with self._guard:
            if self._done.is_set():
                self._done.clear()
                return True
        if not self._done.wait(timeout):
            raise TimeoutError
        return False

    def end(self) -> None:
        """Let all who wait go on."""
        self._done.set()


class AsyncTurn:
    """What one task does while the others wait until it is done."""

    def __init__(self) -> None:
        self._done = asyncio.Event()
        self._done.set()

    @property
    def is_taken(self) -> bool:
        """Whether somebody is at it."""
        return not self._done.is_set()

    async def take(self, timeout: float) -> bool:
        """Take the turn, or wait until whoever has it is done; return whether it was taken.

        Raises:
            TimeoutError: It takes longer, in seconds.

        """
        if self._done.is_set():
            self._done.clear()
            return True
        async with asyncio.timeout(timeout):
            await self._done.wait()
        return False

    def end(self) -> None:
        """Let all who wait go on."""
        self._done.set()
