"""Count decisions for OpenTelemetry."""

from __future__ import annotations

from math import isinf
from typing import TYPE_CHECKING, Any

from opentelemetry.metrics import get_meter

from ratelimit.metrics.hooks import WAITS, outcome

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from opentelemetry.metrics import Meter

    from ratelimit.decision import Decision
    from ratelimit.metrics.hooks import Limited


class OpenTelemetryHook:
    """A hook that counts decisions, and sorts by length the waits that denials tell.

    The counter is `ratelimit.decisions` and the histogram `ratelimit.retry_after`, in seconds.
    Their attributes are `ratelimit.limit`, `ratelimit.algorithm`, `ratelimit.outcome` (`allowed`,
    `denied` or `shadow`) and `ratelimit.degraded`; a key is never one of them.

    Args:
        meter: What makes the instruments; the one named `ratelimit` of the global provider if not
            given.

    """

    def __init__(self, meter: Meter | None = None) -> None:
        meter = get_meter("ratelimit") if meter is None else meter
        self._count = meter.create_counter(
            "ratelimit.decisions", unit="{decision}", description="Decisions on rate limits."
        ).add
        self._wait = meter.create_histogram(
            "ratelimit.retry_after",
            unit="s",
            description="How long those who were denied have to wait.",
            explicit_bucket_boundaries_advisory=WAITS,
        ).record
        self._known: dict[tuple[object, ...], dict[str, str | bool]] = {}

    def __call__(self, scope: MutableMapping[str, Any], limit: Limited, decision: Decision) -> None:
        """Count a decision."""
        allowed = decision.allowed
        series = limit.name, limit.algorithm.kind, allowed, limit.shadow, decision.degraded
        attributes = self._known.get(series)
        if attributes is None:
            attributes = self._known[series] = _attributes(limit, decision)
        self._count(1, attributes)
        if not allowed and not isinf(wait := decision.retry_after):
            self._wait(wait, attributes)


def _attributes(limit: Limited, decision: Decision) -> dict[str, str | bool]:
    return {
        "ratelimit.limit": limit.name,
        "ratelimit.algorithm": limit.algorithm.kind,
        "ratelimit.outcome": outcome(limit, decision),
        "ratelimit.degraded": decision.degraded,
    }
