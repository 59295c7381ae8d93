"""Whether to ask a store that may be gone."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from ratelimit.forks import fork_safe
from ratelimit.quota import microseconds, whole

if TYPE_CHECKING:
    from collections.abc import Callable


class Breaker:
    """Lets calls through until several in a row have failed, and then one per pause.

    That one is the probe: if it succeeds, all are let through again. As there is one per pause
    whatever becomes of it, a probe that is cancelled and never reports does no harm.

    It waits for nobody, and may be shared by threads, tasks, and all that use the same server.

    Args:
        failures: After how many in a row it opens. More than 1, so that a single slow answer, or
            a connection that the server has closed meanwhile, is no outage.
        pause: The seconds from one probe to the next. It should be longer than a call may take,
            so that the probes don't overlap.
        clock: A function that returns the time in microseconds, and never runs backwards; the
            monotonic clock if not given.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `failures` is smaller than 1, or `pause` not positive.

    """

    __slots__ = (
        "_clock",
        "_failures",
        "_lock",
        "_pause",
        "_probe_at",
        "is_open",
        "recent_failures",
    )

    def __init__(
        self,
        *,
        failures: int = 3,
        pause: float = 0.5,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._failures = whole(failures, "failures", 1)
        self._pause = whole(microseconds(pause, "a pause"), "a pause in microseconds", 1)
        self._clock = _monotonic if clock is None else clock
        self._lock = fork_safe(Lock())
        self._probe_at = 0
        self.recent_failures = 0
        """How many calls have failed since the last one that succeeded."""
        self.is_open = False
        """Whether all but the probes are held back."""

    @property
    def pause(self) -> float:
        """The seconds from one probe to the next."""
        return self._pause / 1_000_000

    def permits(self) -> bool:
        """Say whether to make a call now; who is permitted one tells how it went."""
        if not self.is_open:
            return True
        with self._lock:
            now = self._clock()
            if now < self._probe_at:
                return False
            self._probe_at = now + self._pause
        return True

    def succeeded(self) -> bool:
        """Take note of a call that went well; whether that has closed the breaker."""
        with self._lock:
            closes, self.is_open = self.is_open, False
            self.recent_failures = 0
        return closes

    def failed(self) -> bool:
        """Take note of a call that failed; whether that has opened the breaker."""
        with self._lock:
            self.recent_failures += 1
            if self.recent_failures < self._failures:
                return False
            self._probe_at = self._clock() + self._pause
            opens, self.is_open = not self.is_open, True
        return opens


def _monotonic() -> int:
    return time.monotonic_ns() // 1_000
