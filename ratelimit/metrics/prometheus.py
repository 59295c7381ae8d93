"""Count decisions for Prometheus."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from ratelimit.metrics.hooks import WAITS, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from ratelimit.decision import Decision
    from ratelimit.metrics.hooks import Limited

    _Series = tuple[Callable[[], None], Callable[[float], None] | None]

_LABELS = "limit", "algorithm", "outcome", "degraded"


class PrometheusHook:
    """A hook that counts decisions, and sorts by length the waits that denials tell.

    The counter is `ratelimit_decisions_total` and the histogram `ratelimit_retry_after_seconds`.
    Their labels are `limit`, `algorithm`, `outcome` (`allowed`, `denied` or `shadow`) and
    `degraded` (`true` or `false`); a key is never one of them.

    Args:
        registry: Where they are registered, once; the client's own registry if not given.

    Raises:
        ValueError: The registry has them already: several limits share one hook.

    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._decisions = Counter(
            "ratelimit_decisions", "Decisions on rate limits.", _LABELS, registry=registry
        )
        self._waits = Histogram(
            "ratelimit_retry_after_seconds",
            "How long those who were denied have to wait.",
            _LABELS,
            registry=registry,
            buckets=WAITS,
        )
        self._known: dict[tuple[object, ...], _Series] = {}

    def __call__(self, scope: MutableMapping[str, Any], limit: Limited, decision: Decision) -> None:
        """Count a decision."""
        allowed = decision.allowed
        series = limit.name, limit.algorithm.kind, allowed, limit.shadow, decision.degraded
        known = self._known.get(series)
        if known is None:
            known = self._known[series] = self._of(limit, decision)
        count, observe = known
        count()
        if observe is not None and not isinf(wait := decision.retry_after):
            observe(wait)

    def _of(self, limit: Limited, decision: Decision) -> _Series:
        """Return what counts such decisions, and what takes their waits if they have any."""
        degraded = str(decision.degraded).lower()
        labels = limit.name, limit.algorithm.kind, outcome(limit, decision), degraded
        count = self._decisions.labels(*labels).inc
        return count, None if decision.allowed else self._waits.labels(*labels).observe
