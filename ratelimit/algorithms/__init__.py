"""How a limit counts: five algorithms, each with its Lua twin beside it."""

from ratelimit.algorithms.base import Algorithm
from ratelimit.algorithms.fixed_window import FixedWindow
from ratelimit.algorithms.leaky_bucket import LeakyBucket
from ratelimit.algorithms.sliding_log import SlidingLog
from ratelimit.algorithms.sliding_window_counter import SlidingWindowCounter
from ratelimit.algorithms.token_bucket import TokenBucket

__all__ = [
    "Algorithm",
    "FixedWindow",
    "LeakyBucket",
    "SlidingLog",
    "SlidingWindowCounter",
    "TokenBucket",
]
