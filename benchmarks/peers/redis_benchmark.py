"""The benchmark that comes with Redis."""

from __future__ import annotations

from benchmarks.peers.base import RAW, Peer
from benchmarks.peers.own import ALL


class RedisBenchmark(Peer):
    """What the server could do if clients cost next to nothing: one of our decisions a call."""

    name = "redis-benchmark"
    group = None
    way = "what one of our sync decisions sends, from as many connections of a client in C"
    offers = {RAW: ALL}


PEER = RedisBenchmark()
