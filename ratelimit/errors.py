"""What is raised."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimit.decision import Decision


OVERLOAD = "overload"
"""The kind of a `StoreUnavailable` where we ask more than we have connections for: no outage."""


class RateLimitError(Exception):
    """The base of what this library raises, beside `TypeError` and `ValueError`."""


class RateLimitExceeded(RateLimitError):
    """A limit denied; `decision` says which one and for how long."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.decision = decision

    def __str__(self) -> str:
        """Name the limits that denied, and the wait."""
        names = ", ".join(self.decision.denied)
        for part in self.decision.limits.values():
            if isinf(part.retry_after):
                never = f"a cost of {part.cost} never fits a limit of {part.limit}"
                return f"denied by {names}: {never}"
        return f"denied by {names}: retry after {self.decision.retry_after:.6f} s"


class StoreError(RateLimitError):
    """The store could not decide; the message says why, and the cause is chained.

    Args:
        message: What is wrong, without the keys: they may be secrets, and messages are logged.
        kind: The same in one word, to count errors by.
        keys: The names of the keys in the store that it happened to, where they are known.

    """

    def __init__(self, message: str, kind: str = "error", keys: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.keys = tuple(keys)


class StoreUnavailable(StoreError):
    """The store can't decide just now: it is gone, slow, full, loading or read-only.

    A `StoreError` that is none of these comes from a mistake, and doesn't pass by waiting.
    """
