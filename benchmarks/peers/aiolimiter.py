"""The `aiolimiter` library."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.peers.base import ASYNC_MEMORY, QUEUE, Built, Peer, Verdict

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class AioLimiter(Peer):
    """A leaky bucket as a meter; one object a key, and no denial: it waits."""

    name = "aiolimiter"
    packages = ("aiolimiter",)
    way = "`await limiters[key].acquire()` with one limiter a key; a denial is `not has_capacity()`"
    lighter = (
        "Its denial is `has_capacity()` alone: no lock is taken, "
        "no wait is told, and one limiter is one key."
    )
    offers = {ASYNC_MEMORY: (QUEUE,)}

    def async_memory(self, _algorithm: str, setting: Setting) -> Built:
        """Keep one limiter a key."""
        from aiolimiter import AsyncLimiter

        limiters: dict[str, AsyncLimiter] = defaultdict(
            lambda: AsyncLimiter(setting.limit, setting.seconds)
        )

        async def hit(key: str) -> bool:
            limiter = limiters[key]
            if not limiter.has_capacity():
                return False
            await limiter.acquire()
            return True

        async def spend(key: str, cost: int) -> Verdict:
            limiter = limiters[key]
            if not limiter.has_capacity(cost):
                return Verdict(allowed=False)
            await limiter.acquire(cost)
            return Verdict(allowed=True)

        return Built(hit, spend=spend)


PEER = AioLimiter()
