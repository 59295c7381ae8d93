"""Count what is decided, and log what is denied."""

from ratelimit.metrics.denials import DenialLog
from ratelimit.metrics.hooks import Hook, Limited, in_turn, outcome
from ratelimit.metrics.observed import AsyncObservedStore, ObservedStore

__all__ = [
    "AsyncObservedStore",
    "DenialLog",
    "Hook",
    "Limited",
    "ObservedStore",
    "in_turn",
    "outcome",
]
