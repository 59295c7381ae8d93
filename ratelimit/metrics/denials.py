"""Log denials, and not all of them in a flood."""

from __future__ import annotations

import logging
from collections import Counter
from hashlib import blake2b
from math import isinf
from threading import Lock
from typing import TYPE_CHECKING, Any

from ratelimit.algorithms import FixedWindow
from ratelimit.errors import RateLimitExceeded
from ratelimit.limiter import Limiter
from ratelimit.metrics.hooks import outcome
from ratelimit.quota import per_second as each_second

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ratelimit.decision import Decision
    from ratelimit.metrics.hooks import Limited
    from ratelimit.stores.memory import MemoryStore

_SHORTEST, _LONGEST = 16, 64


class DenialLog:
    """A hook that logs denials: at most so many a second of each limit.

    A record's fields are `ratelimit_limit`, `ratelimit_algorithm`, `ratelimit_outcome` (`denied`
    or `shadow`), `ratelimit_cost`, `ratelimit_remaining`, `ratelimit_retry_after` (seconds; None
    if waiting doesn't help), `ratelimit_degraded` and `ratelimit_left_out`: how many denials of
    this limit weren't logged since the record before. The key isn't logged, as it may be a secret
    or an address.

    Args:
        per_second: How many denials of one limit are logged in a second at the most.
        secret: From 16 to 64 bytes. With it each record has a `ratelimit_key`, too: a hash of the
            key by which denials of one caller are found, and the caller isn't without the secret.
        logger: Where to; `ratelimit.denials` if not given.
        level: At which level.
        store: Where it is counted what was logged, for tests: a `MemoryStore` of its own if not
            given.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `per_second` is smaller than 1, or the secret too short or too long.

    """

    def __init__(
        self,
        *,
        per_second: int = 5,
        secret: bytes | None = None,
        logger: logging.Logger | None = None,
        level: int = logging.WARNING,
        store: MemoryStore | None = None,
    ) -> None:
        self._sample = Limiter(FixedWindow(each_second(per_second)), store=store)
        self._secret = None if secret is None else _checked(secret)
        self._logger = logging.getLogger("ratelimit.denials") if logger is None else logger
        self._level = level
        self._left_out: Counter[str] = Counter()
        self._counting = Lock()

    def __call__(self, scope: MutableMapping[str, Any], limit: Limited, decision: Decision) -> None:
        """Log a decision, if it is a denial and not too many were logged."""
        if decision.allowed or not self._logger.isEnabledFor(self._level):
            return
        if not self._sample.hit(limit.name):
            with self._counting:
                self._left_out[limit.name] += 1
            return
        self._record(limit, decision)

    def _record(self, limit: Limited, decision: Decision) -> None:
        with self._counting:
            left_out = self._left_out.pop(limit.name, 0)
        wait = decision.retry_after
        fields = {
            "limit": limit.name,
            "algorithm": limit.algorithm.kind,
            "outcome": outcome(limit, decision),
            "cost": decision.cost,
            "remaining": decision.remaining,
            "retry_after": None if isinf(wait) else wait,
            "degraded": decision.degraded,
            "left_out": left_out,
        }
        if self._secret is not None:
            fields["key"] = _hashed(decision.key, self._secret)
        extra = {f"ratelimit_{name}": value for name, value in fields.items()}
        self._logger.log(self._level, "%s", RateLimitExceeded(decision), extra=extra)


def _checked(secret: object) -> bytes:
    if not isinstance(secret, bytes):
        raise TypeError(f"a secret is bytes, not {type(secret).__name__}")
    if not _SHORTEST <= len(secret) <= _LONGEST:
        raise ValueError(f"a secret has {_SHORTEST} to {_LONGEST} bytes, not {len(secret)}")
    return secret


def _hashed(key: str, secret: bytes) -> str:
    return blake2b(key.encode("utf-8", "surrogatepass"), key=secret, digest_size=8).hexdigest()
