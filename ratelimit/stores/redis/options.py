"""Take over how a client connects, but not that it retries."""

from __future__ import annotations

from typing import Any

_FOREIGN = ("maint", "orig_", "himport", "redis_connect_func")
"""How options start that tie a connection to the client's own pool."""


def options_of(given: dict[str, Any], patience: float) -> dict[str, Any]:
    """Return the options of a connection of ours, which waits so many seconds to be made."""
    options = {name: value for name, value in given.items() if not name.startswith(_FOREIGN)}
    return options | {
        "decode_responses": False,
        "retry_on_error": [],
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "socket_connect_timeout": patience,
    }
