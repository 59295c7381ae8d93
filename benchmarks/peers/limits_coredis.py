"""The `limits` library, with coredis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.base import ASYNC_REDIS, Built, Peer
from benchmarks.peers.limits import STRATEGIES, Limits, awaited

if TYPE_CHECKING:
    from benchmarks.peers.base import Setting


class LimitsCoredis(Peer):
    """Three strategies, with the client that its async storage takes by default."""

    name = "limits (coredis)"
    packages = ("limits", "coredis")
    way = "as limits, with `storage_from_string('async+redis://…', implementation='coredis')`"
    lighter = Limits.lighter
    offers = {ASYNC_REDIS: tuple(STRATEGIES)}

    def async_redis(self, algorithm: str, setting: Setting) -> Built:
        """Keep states in Redis, by coredis, and be awaited."""
        from limits.storage import storage_from_string

        storage = storage_from_string(f"async+{setting.url}", implementation="coredis")
        return awaited(algorithm, storage, setting)


PEER = LimitsCoredis()
