"""What the algorithms that count in windows share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimit.algorithms.base import Algorithm

if TYPE_CHECKING:
    from ratelimit.quota import Quota


class Windows(Algorithm):
    """A limit of units in a window of one period."""

    __slots__ = ("_limit", "_most", "_period", "_window")

    def __init__(self, quota: Quota | str, *, max_debt: int | None = None) -> None:
        super().__init__(quota, max_debt=max_debt)
        self._period = self.quota.period_us
        self._limit = self.quota.limit
        self._most = self._limit + self.max_debt
        self._window = (0, 0)
        self.args = (self._period, self._limit, self._most)

    def _check(self, largest: int) -> None:
        """Refuse a limit that could exceed exact arithmetic."""
        if self._most > largest:
            raise ValueError(
                f"a limit of {self._limit} with a max_debt of {self.max_debt} exceeds exact "
                f"arithmetic: together they are at most {largest} in a {type(self).__name__}; "
                "count in larger units, or lower max_debt"
            )

    def _moment(self, last: int, now: int) -> int:
        """Return the time to decide at, when the state was last written at `last`.

        Time that runs backwards never admits more: a state from up to a period ahead is decided
        on at its own time. One from further ahead would lock its key out, and is brought back.
        """
        return last if now < last <= now + self._period else now

    def _start_of(self, moment: int) -> int:
        """Return when the window of a moment starts.

        The window is remembered, since most hits come in the same one as the hit before: two
        comparisons take a third of the time of a division, whichever key they are for.
        """
        start = moment - moment % self._period
        self._window = (start, start + self._period)
        return start
