"""What is called once for each decision."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Protocol

from ratelimit.decision import Decision

if TYPE_CHECKING:
    from ratelimit.algorithms.base import Algorithm

WAITS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)
"""The bounds of the buckets that waits are sorted into, in seconds."""

_logger = logging.getLogger(__name__)


class Limited(Protocol):
    """A limit, as a hook sees it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def algorithm(self) -> Algorithm:
        """How it counts."""

    @property
    def shadow(self) -> bool:
        """Whether it only reports, and denies nobody."""


Hook = Callable[[MutableMapping[str, Any], Limited, Decision], object]
"""Called with the request's ASGI scope (empty if there is none), the limit, and what it decided."""


def outcome(limit: Limited, decision: Decision) -> str:
    """Return `allowed`, `denied`, or `shadow` for what would be denied if the limit did deny."""
    if decision.allowed:
        return "allowed"
    return "shadow" if limit.shadow else "denied"


def in_turn(*hooks: Hook) -> Hook:
    """Return a hook that calls several; one that raises is logged, and the others are called."""

    def call_all(scope: MutableMapping[str, Any], limit: Limited, decision: Decision) -> None:
        for hook in hooks:
            tell(hook, scope, limit, decision)

    return call_all


def tell(hook: Hook, scope: MutableMapping[str, Any], limit: Limited, decision: Decision) -> None:
    """Call a hook; its errors are logged, and change nothing."""
    try:
        hook(scope, limit, decision)
    except Exception:
        _logger.exception("a hook failed on a decision of the limit %r", limit.name)
